"""The region table's invariants, executed on both twins, which must agree after every step."""

from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from isotherm import _core
from isotherm.clock import VirtualClock
from isotherm.core.damon.profile import PROFILES
from isotherm.core.look import WAS_YOUNG, Check
from isotherm.core.ops import Ops
from isotherm.core.reference import region, regions, rng
from isotherm.core.reference.sampler import PySampler
from isotherm.errors import BadValueError
from isotherm.model.ranges import join_adjacent
from isotherm.model.scheme import Limits

UNIT = 16
SAMPLES = 20
RESULTS = bytes(
    [
        Check.IDLE,
        Check.ACCESSED,
        Check.MISSED,
        Check.UNOBSERVABLE,
        Check.RESTING,
        Check.IDLE | WAS_YOUNG,
        Check.ACCESSED | WAS_YOUNG,
    ]
)


class HashOps(Ops):
    """Results that depend on the address, the tick and a salt only; `kinds` of them."""

    def __init__(self):
        self.ticks = 0
        self.salt = 0
        self.kinds = len(RESULTS)
        self.seen = []

    def prepare(self, addresses):
        self.batch = addresses
        self.seen.append((addresses.addresses, addresses.targets, addresses.checked))

    def check(self):
        self.ticks += 1
        return bytes(
            RESULTS[hash((address, self.ticks, self.salt)) % self.kinds] for address in self.batch
        )


@st.composite
def ranges(draw, valid=True):
    """Sorted ranges that do not overlap once aligned; or anything."""
    if not valid:
        pair = st.tuples(st.integers(0, 500), st.integers(0, 500))
        return draw(st.lists(pair, max_size=4))
    ends = draw(st.lists(st.integers(0, 4000), max_size=8, unique=True).map(sorted))
    pairs = list(zip(ends[::2], ends[1::2], strict=False))
    unaligned = st.integers(0, UNIT - 1)
    return [(a * UNIT + draw(unaligned), b * UNIT - draw(unaligned)) for a, b in pairs]


#: Regions of 4 GiB and about it.
huge = st.sampled_from([2**28 - 1, 2**28, 2**28 + 7, 5 * 2**28])


@st.composite
def tables(draw):
    counts = st.integers(0, SAMPLES)
    probes = st.tuples(*[st.integers(0, 255)] * region.MAX_PROBES)
    targets = []
    for _ in range(draw(st.integers(0, 3))):
        rows, end = [], 0
        for _ in range(draw(st.integers(0, 12))):
            start = end + draw(st.sampled_from([0, 0, 0, UNIT, 50 * UNIT]))
            end = start + draw(st.integers(1, 300) | huge) * UNIT
            age = draw(st.sampled_from([0, 1, 3, 100, 2**32 - 1]))
            rows.append((start, end, draw(counts), draw(counts), age, draw(probes), draw(probes)))
        targets.append(rows)
    return targets


counts = st.sampled_from([0, 1, 3, 2**32 - 1])
weights = st.lists(st.integers(0, 5), max_size=region.MAX_PROBES)
limits = st.integers(1, 4000).map(lambda n: n * UNIT)


class Twins(RuleBasedStateMachine):
    """Each rule is one operation, done to both tables."""

    @initialize(name=st.sampled_from(list(PROFILES)))
    def begin(self, name):
        self.profile = PROFILES[name]
        self.python = regions.RegionTable(UNIT, self.profile, SAMPLES)
        self.native = _core.RegionTable(UNIT, self.profile, SAMPLES)
        self.rngs = rng.Rng("splitmix", 1), _core.Rng("splitmix", 1)
        self.ops = HashOps(), HashOps()
        self.samplers = (
            PySampler(self.python, self.rngs[0], self.ops[0], VirtualClock()),
            _core.Sampler(
                self.native, self.rngs[1], _core.python_access(self.ops[1]), VirtualClock()
            ),
        )
        self.limit = None  # what no region exceeds

    def both(self, name, *args, **kwargs):
        """Call on both; the results, or the errors, must be the same. Returns the result."""
        outcomes = []
        for table in (self.python, self.native):
            try:
                outcomes.append(("gave", getattr(table, name)(*args, **kwargs)))
            except (BadValueError, KeyError) as error:
                outcomes.append(("raised", type(error)))
        assert outcomes[0] == outcomes[1]
        return outcomes[0][1]

    def covered(self):
        """The union of regions per target."""
        return [join_adjacent(row[:2] for row in rows) for rows in self.native.rows()]

    def unobservable(self):
        return sum(self.native.columns().unobservable)

    @rule(rows=tables())
    def load(self, rows):
        self.both("load", rows)
        self.limit = None

    @rule(ids=st.lists(st.integers(0, 5), max_size=4))
    def set_targets(self, ids):
        before = self.native.target_ids()
        self.both("set_targets", ids)
        duplicates = len(set(ids)) < len(ids)
        assert self.native.target_ids() == (before if duplicates else ids)

    @rule(data=st.data(), valid=st.booleans())
    def set_regions(self, data, valid):
        wanted = data.draw(ranges(valid))
        ids = self.native.target_ids()
        target = data.draw(st.sampled_from([*ids, 9]))
        before = self.native.rows()
        outcome = self.both("set_regions", target, wanted)
        self.limit = None
        if outcome is not None:
            assert target == 9 or not valid
            assert self.native.rows() == before
            return
        aligned = [(a // UNIT * UNIT, -(-b // UNIT) * UNIT) for a, b in wanted]
        assert self.covered()[ids.index(target)] == join_adjacent(aligned)

    @rule(ticks=st.integers(0, 5), salt=st.integers(0, 3), kinds=st.integers(1, len(RESULTS)))
    def sample(self, ticks, salt, kinds):
        for ops, sampler in zip(self.ops, self.samplers, strict=True):
            ops.salt, ops.kinds = salt, kinds
            assert sampler.run(ticks, 5_000_000) == ticks
        assert self.ops[0].seen == self.ops[1].seen
        assert self.samplers[0].take() == self.samplers[1].take()

    @rule()
    def end_window(self):
        highest = self.both("end_window", SAMPLES)
        columns = self.native.columns()
        assert highest == max(columns.nr_accesses, default=0)
        assert all(
            unseen <= end - start
            for start, end, unseen in zip(
                columns.start, columns.end, columns.unobservable, strict=True
            )
        )
        for window, count in zip(self.native.windows(), columns.nr_accesses, strict=True):
            if window[4] or (window[5] and (window[0] or window[2])):  # missed, or partly seen
                assert count <= SAMPLES

    @rule(threshold=st.integers(0, 25), limit=limits, ages=st.booleans(), weights=weights)
    def merge(self, threshold, limit, ages, weights):
        before, unseen, nr = self.covered(), self.unobservable(), len(self.native)
        self.both("merge", threshold, limit, count_age=ages, weights=weights)
        assert self.covered() == before
        assert self.unobservable() == unseen
        assert len(self.native) <= nr
        if self.limit is not None:
            self.limit = max(self.limit, limit)

    @rule(max_nr=st.integers(3, 40), threshold=st.integers(0, 3), limit=limits)
    def merge_to(self, max_nr, threshold, limit):
        before = self.covered()
        highest = max(self.native.columns().nr_accesses, default=0)
        self.both("merge_to", max_nr, threshold, limit, SAMPLES)
        assert self.covered() == before
        if self.limit is not None:
            self.limit = max(self.limit, limit)
        if len(self.native) > max_nr and highest <= SAMPLES:
            assert not self.mergeable(limit)

    def mergeable(self, limit):
        return any(
            left[1] == right[0]
            and right[1] - left[0] <= limit
            and abs(left[2] - right[2]) <= SAMPLES
            for rows in self.native.rows()
            for left, right in pairwise(rows)
        )

    @rule(min_nr=st.integers(0, 30))
    def enforce_min(self, min_nr):
        before, unseen = self.covered(), self.unobservable()
        nr, limit = len(self.native), self.both("enforce_min", min_nr)
        assert limit % UNIT == 0
        if self.profile.enforces_min_regions:
            self.limit = limit
        else:
            assert len(self.native) == nr
        assert self.covered() == before
        assert self.unobservable() == unseen

    @rule()
    def reset(self):
        counts = list(self.native.columns().nr_accesses)
        self.both("reset")
        rows = [row for rows in self.native.rows() for row in rows]
        assert [row[3] for row in rows] == counts
        assert not any(row[2] for row in rows)

    def split_both(self, name, number):
        before, unseen = self.covered(), self.unobservable()
        for table, random in zip((self.python, self.native), self.rngs, strict=True):
            getattr(table, name)(number, random)
        assert self.covered() == before
        assert self.unobservable() == unseen

    @rule(max_nr=st.integers(3, 60))
    def split(self, max_nr):
        nr = len(self.native)
        self.split_both("split", max_nr)
        if nr >= max_nr:
            assert len(self.native) == nr
        else:
            assert nr <= len(self.native) <= max_nr

    @rule(pieces=st.integers(1, 5))
    def split_all(self, pieces):
        nr = len(self.native)
        self.split_both("split_all", pieces)
        assert len(self.native) <= nr * pieces

    @rule(step=st.integers(1, 9))
    def split_every(self, step):
        nr = len(self.native)
        self.split_both("split_every", step)
        assert len(self.native) <= nr + -(-nr // step)

    @rule(
        old=st.tuples(st.integers(1, 5000), st.integers(1, 10**7)),
        new=st.tuples(st.integers(1, 5000), st.integers(0, 10**7)),
        aggregating=st.booleans(),
    )
    def rescale(self, old, new, aggregating):
        self.both("rescale", old[0], new[0], old[1], new[1], aggregating=aggregating)

    @rule(data=st.data(), left_bp=st.integers(0, 10_000))
    def cut(self, data, left_bp):
        if not len(self.native):
            return
        place = data.draw(st.integers(0, len(self.native) - 1))
        start, end, rate, age, unseen = self.both("region", place, left_bp)
        assert self.native.mvsum(left_bp)[place] == rate
        if end - start < 2 * UNIT:
            return
        size = data.draw(st.integers(1, (end - start) // UNIT - 1)) * UNIT
        before, bytes_unseen = self.covered(), self.unobservable()
        self.both("cut", place, size)
        assert (self.covered(), self.unobservable()) == (before, bytes_unseen)
        left, right = (self.both("region", place + i, left_bp) for i in (0, 1))
        assert (left[:2], right[:2]) == ((start, start + size), (start + size, end))
        assert left[2:4] == right[2:4] == (rate, age)
        assert left[4] + right[4] == unseen
        self.both("renew", place)
        assert self.both("region", place, left_bp)[3] == 0

    @rule(limit=limits)
    def rejoin(self, limit):
        before, unseen = self.covered(), self.unobservable()
        self.both("rejoin", limit)
        assert (self.covered(), self.unobservable()) == (before, unseen)
        if self.limit is not None:
            self.limit = max(self.limit, limit)
        for rows in self.native.rows():
            for left, right in pairwise(rows):
                same = left[1] == right[0] and left[2:5] == right[2:5]
                assert not same or right[1] - left[0] >= limit

    @rule(
        limits=st.tuples(
            *[st.integers(0, 400 * UNIT)] * 2, *[st.integers(0, SAMPLES)] * 2, *[counts] * 2
        ),
        left_bp=st.sampled_from([0, 3_000, 10_000]),
        known=st.booleans(),
    )
    def matching(self, limits, left_bp, known):
        low, high, least, most, youngest, oldest = limits
        found = self.both("matching", Limits(*limits), left_bp, known=known)
        assert [*found] == sorted(found)
        spans = self.both("spans")
        assert [end - first for first, end in spans] == [len(rows) for rows in self.native.rows()]
        for place in range(len(self.native)):
            start, end, rate, age, unseen = self.native.region(place, left_bp)
            matches = low <= end - start <= high and least <= rate <= most
            matches &= youngest <= age <= oldest and not (known and unseen >= end - start)
            assert (place in found) == matches

    @rule(left_bp=st.integers(0, 10_000))
    def read(self, left_bp):
        self.both("mvsum", left_bp)
        self.both("access_events")

    @invariant()
    def twins_are_equal(self):
        assert self.python.rows() == self.native.rows()
        assert self.python.windows() == self.native.windows()
        assert self.python.moving_sums() == self.native.moving_sums()
        assert self.python.columns() == self.native.columns()
        assert self.rngs[0].state == self.rngs[1].state
        assert len(self.python) == len(self.native)

    @invariant()
    def regions_are_ordered_and_aligned(self):
        for rows in self.native.rows():
            end = 0
            for start, stop, *_ in rows:
                assert end <= start < stop
                assert start % UNIT == stop % UNIT == 0
                end = stop

    @invariant()
    def no_region_exceeds_the_limit(self):
        if self.limit is not None:
            columns = self.native.columns()
            assert all(
                end - start <= self.limit
                for start, end in zip(columns.start, columns.end, strict=True)
            )


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@settings(deadline=None)
@given(
    kind=st.sampled_from(["splitmix", "lcg"]),
    seed=st.integers(0, 2**64 - 1),
    spans=st.lists(st.tuples(st.integers(0, 2**62), st.integers(1, 2**62)), max_size=20),
)
def test_both_generators_draw_the_same(kind, seed, spans):
    python, native = rng.Rng(kind, seed), _core.Rng(kind, seed)
    for start, length in spans:
        drawn = python.range(start, start + length)
        assert drawn == native.range(start, start + length)
        assert start <= drawn < start + length
    assert python.u32() == native.u32()


@settings(deadline=None)
@given(
    hits=st.integers(0, 8),
    old=st.integers(0, 8),
    cleared=st.integers(0, 8),
    again=st.integers(0, 8),
    missed=st.integers(0, 40),
    unobservable=st.integers(0, 20),
    last=st.integers(0, SAMPLES),
    before=st.integers(0, 4096),
)
def test_imputation_keeps_to_what_was_seen(
    hits, old, cleared, again, missed, unobservable, last, before
):
    one = region.RegionState(0, 4096, last_nr_accesses=last, unobservable=before)
    hits, again = min(hits, old), min(again, cleared)
    results = (
        [Check.ACCESSED] * hits
        + [Check.IDLE] * (old - hits)
        + [Check.ACCESSED | WAS_YOUNG] * again
        + [Check.IDLE | WAS_YOUNG] * (cleared - again)
        + [Check.MISSED] * missed
        + [Check.UNOBSERVABLE] * unobservable
    )
    for result in results:
        one.count(result)
    one.end_window(SAMPLES)
    if not missed and not unobservable:
        assert one.nr_accesses == hits + again
    elif old + cleared + missed:
        rate = again / cleared if cleared else last / SAMPLES
        expected = (hits + (cleared + missed) * rate) / (old + cleared + missed) * SAMPLES
        assert one.nr_accesses == pytest.approx(expected, abs=0.5 + 1e-6)
    elif unobservable:
        assert one.nr_accesses == 0
        assert one.unobservable == 4096
    asked = old + cleared + missed + unobservable
    unseen = 4096 * unobservable // asked if asked else before
    learned = old + cleared
    assert one.unobservable == (unseen if learned else max(unseen, before))
