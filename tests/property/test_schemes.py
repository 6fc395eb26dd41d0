"""The scheme engine's invariants, over random schemes and tables, on both twins of the table."""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given, settings

from isotherm import _core
from isotherm.core.act import Done
from isotherm.core.damon.profile import PROFILES
from isotherm.core.ops import Ops
from isotherm.core.reference import regions
from isotherm.core.scheme_runner import Round
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import join_adjacent
from isotherm.model.scheme import (
    Access,
    Action,
    Age,
    Filter,
    FilterType,
    Pattern,
    Quota,
    Scheme,
    Weights,
)
from isotherm.schemes.engine import Engine

UNIT = 16
SAMPLES = 20
LIMIT = 10_000 * UNIT


class Partial(Ops):
    """Does a share of what is asked, which depends on the place; notes what was asked."""

    def __init__(self):
        self.asked = []

    def prepare(self, addresses):
        raise AssertionError

    def check(self):
        raise AssertionError

    def act(self, scheme, target, start, end, *, filtered, dry):
        self.asked.append((scheme.title, target, start, end, filtered, dry))
        return Done((end - start) * (start // UNIT % 4) // 3 // UNIT * UNIT)


class Free:
    def free_permil(self):
        return 500


@st.composite
def tables(draw):
    targets = []
    for _ in range(draw(st.integers(1, 3))):
        rows, end = [], 0
        for _ in range(draw(st.integers(0, 10))):
            start = end + draw(st.sampled_from([0, 0, UNIT]))
            end = start + draw(st.integers(1, 60)) * UNIT
            counts = draw(st.integers(0, SAMPLES)), draw(st.integers(0, SAMPLES))
            rows.append((start, end, *counts, draw(st.integers(0, 50))))
        targets.append(rows)
    return targets


def bounds(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted).map(tuple)


filters = st.one_of(
    st.builds(
        Filter,
        st.just(FilterType.ADDR),
        st.booleans(),
        st.booleans(),
        bounds(0, 400).map(lambda pair: (pair[0] * 7, pair[1] * 7)),
    ),
    st.builds(
        Filter, st.just(FilterType.TARGET), st.booleans(), st.booleans(), target=st.integers(0, 2)
    ),
    st.builds(Filter, st.just(FilterType.ANON), st.booleans(), st.booleans()),
)
quotas = st.builds(
    Quota,
    size_bytes=st.integers(1, 300).map(lambda n: n * 7),
    reset_ms=st.sampled_from([0, 100, 250]),
    weights=st.builds(Weights, st.just(0), st.integers(0, 3), st.integers(0, 3)),
    fail_charge=st.sampled_from([(0, 0), (1, 4)]),
)
schemes = st.builds(
    lambda action, access, age, quota, chosen, every: Scheme(
        action,
        Pattern(access=Access(*access, "samples"), age=Age(*age, "windows")),
        quota=quota,
        filters=tuple(chosen),
        apply_interval_us=every,
    ),
    st.sampled_from([Action.PAGEOUT, Action.STAT, Action.COLD, Action.LRU_PRIO]),
    bounds(0, SAMPLES),
    bounds(0, 60),
    st.none() | quotas,
    st.lists(filters, max_size=3),
    st.sampled_from([0, 0, 50_000, 300_000]),
)


class Run:
    def __init__(self, table, given, **options):
        self.table = table
        self.ops = Partial()
        self.engine = Engine(given, UNIT, Free(), **options)
        self.attrs = Attrs()
        self.engine.begin(self.attrs, 0)

    def round(self, sis, left_bp):
        now = Round(self.table, self.ops, self.attrs, sis, left_bp, LIMIT, sis * 5)
        self.engine.apply(now)
        return self.engine.take_states()


def as_of(profile, scheme):
    """The scheme without what the profile does not have."""
    quota, filters = scheme.quota, scheme.filters
    if quota is not None and not profile.has_fail_charge:
        quota = replace(quota, fail_charge=(0, 0))
    if not profile.has_allow_filters:
        filters = tuple(replace(one, allow=False) for one in filters)
    return replace(scheme, quota=quota, filters=filters)


def covered(table):
    return [join_adjacent(row[:2] for row in rows) for rows in table.rows()]


@settings(deadline=None, max_examples=200)
@given(
    rows=tables(),
    given_schemes=st.lists(schemes, min_size=1, max_size=3),
    times=st.lists(st.tuples(st.integers(1, 30), st.sampled_from([0, 2_500, 10_000])), max_size=6),
    careful=st.booleans(),
    profile=st.sampled_from(list(PROFILES.values())),
)
def test_rounds_of_schemes(rows, given_schemes, times, careful, profile):
    runs = []
    given_schemes = [as_of(profile, scheme) for scheme in given_schemes]
    for kind in (regions.RegionTable, _core.RegionTable):
        table = kind(UNIT, profile, SAMPLES)
        table.load(rows)
        runs.append(Run(table, given_schemes, careful=careful, profile=profile))
    python, native = runs
    before, sis, last = covered(native.table), 0, None
    for span, left_bp in times:
        sis += span
        states = python.round(sis, left_bp)
        assert states == native.round(sis, left_bp)
        assert python.ops.asked == native.ops.asked
        assert python.table.rows() == native.table.rows()
        assert covered(native.table) == before
        for index, (state, scheme) in enumerate(zip(states, given_schemes, strict=True)):
            check_state(state, scheme, last[index] if last else None)
        last = states


def check_state(state, scheme, before):
    """What holds of a scheme after any round."""
    stats = state.stats
    assert stats.nr_applied <= stats.nr_tried
    assert stats.sz_applied <= stats.sz_tried
    if before is not None:
        for name in ("nr_tried", "sz_tried", "nr_applied", "sz_applied", "qt_exceeds"):
            assert getattr(stats, name) >= getattr(before.stats, name)
    if scheme.quota is not None and state.effective_bytes is not None:
        assert state.charged_bytes <= state.effective_bytes
        assert state.effective_bytes <= scheme.quota.size_bytes
    limits = scheme.pattern.limits(Attrs())
    for region in state.tried:
        assert region.start % UNIT == region.end % UNIT == 0
        assert limits.min_accesses <= region.nr_accesses <= limits.max_accesses
        assert limits.min_age <= region.age <= limits.max_age
        assert region.applied_bytes <= region.size
        for one in scheme.core_filters:
            inside = one.target == region.target
            if one.type is FilterType.ADDR:
                low, high = (bound // UNIT * UNIT for bound in one.bounds)
                inside = low <= region.start and region.end <= high
                assert inside or region.end <= low or high <= region.start
            if inside == one.matching:  # decides; those behind it were not asked
                break
