"""What schemes do otherwise in older releases of Linux, computed by hand from the rules."""

from dataclasses import replace

import pytest

from isotherm.core.act import Done
from isotherm.core.damon.profile import PROFILES
from isotherm.core.ops import Ops
from isotherm.core.reference.regions import RegionTable
from isotherm.core.scheme_runner import Round
from isotherm.errors import BadValueError
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import (
    Action,
    Filter,
    FilterType,
    Goal,
    Metric,
    Quota,
    Scheme,
    Weights,
)
from isotherm.schemes.engine import Engine
from isotherm.schemes.goals import GoalState
from isotherm.schemes.quota import QuotaState

UNIT = 4096
PSI = Goal(Metric.SOME_MEM_PSI_US, 1000)
every = pytest.mark.parametrize("profile", list(PROFILES))


class Willing(Ops):
    def prepare(self, addresses):
        raise AssertionError

    def check(self):
        raise AssertionError

    def why_not(self, scheme):
        return ""

    def act(self, scheme, target, start, end, *, filtered, dry):
        return Done(end - start)


class Figures:
    psi = 0

    def why_not(self, goal):
        return ""

    def free_permil(self):
        return 500

    def psi_some_us(self):
        return self.psi


class Bench:
    """An engine over a table; rounds are 100 ms apart and say what was tried, in units."""

    def __init__(self, profile, scheme, *rows):
        self.table = RegionTable(UNIT, PROFILES[profile])
        self.table.load([[(start * UNIT, end * UNIT, *rest) for start, end, *rest in rows]])
        self.engine = Engine([scheme], UNIT, Figures(), profile=PROFILES[profile])
        self.engine.begin(Attrs(), 0)
        self.sis = 0

    def round(self):
        self.sis += 20
        now = Round(self.table, Willing(), Attrs(), self.sis, 0, 2**40, self.sis * 5)
        self.engine.apply(now)
        (state,) = self.engine.take_states()
        return [(one.start // UNIT, one.end // UNIT) for one in state.tried]


@pytest.mark.parametrize(("profile", "first"), [("7.3", 2), ("7.2", 2), ("6.12", 8)])
def test_the_first_window_of_a_quota(profile, first):
    scheme = Scheme(Action.PAGEOUT, quota=Quota(size_bytes=2 * UNIT, reset_ms=500))
    bench = Bench(profile, scheme, (0, 8))
    tried = [sum(end - start for start, end in bench.round()) for _ in range(6)]
    # Without an effective size there is no quota; the second window begins after 500 ms.
    assert tried == [first, *([8 if first == 8 else 0] * 4), 2]


@every
def test_a_window_of_no_length_is_computed_at_once(profile):
    scheme = Scheme(Action.PAGEOUT, quota=Quota(size_bytes=2 * UNIT, reset_ms=0))
    assert Bench(profile, scheme, (0, 8)).round() == [(0, 2)]


@pytest.mark.parametrize(("profile", "holds"), [("7.3", True), ("7.2", True), ("6.12", False)])
def test_when_a_quota_is_in_force(profile, holds):
    state = QuotaState(Quota(size_bytes=UNIT), UNIT, PROFILES[profile])
    assert (state.is_set, state.is_full) == (holds, holds)
    state.effective = 4 * UNIT
    assert (state.is_set, state.is_full) == (True, False)


@pytest.mark.parametrize(("profile", "full"), [("7.3", True), ("7.2", True), ("6.12", False)])
def test_when_a_quota_is_used_up(profile, full):
    state = QuotaState(Quota(size_bytes=UNIT + 100), UNIT, PROFILES[profile])
    state.effective, state.charged = UNIT + 100, UNIT
    assert state.is_full == full
    state.charged += 100
    assert state.is_full


@pytest.mark.parametrize(
    ("profile", "tried"), [("7.3", [(4, 8)]), ("7.2", [(4, 8)]), ("6.12", [])]
)
def test_what_filters_keep_out_among_those_that_compete(profile, tried):
    """The older region would use up the quota, but is kept out; the other one scores less."""
    quota = Quota(size_bytes=4 * UNIT, reset_ms=0, weights=Weights(0, 1, 1))
    keep_out = Filter(FilterType.ADDR, True, False, (0, 4 * UNIT))
    scheme = Scheme(Action.PAGEOUT, quota=quota, filters=(keep_out,))
    assert Bench(profile, scheme, (0, 4, 0, 0, 1000), (4, 8, 0, 0, 20)).round() == tried


@pytest.mark.parametrize(
    ("scheme", "what"),
    [
        (Scheme(Action.STAT, filters=(Filter(FilterType.ANON, allow=True),)), "allows"),
        (Scheme(Action.STAT, quota=Quota(size_bytes=1, fail_charge=(1, 2))), "failed"),
        (Scheme(Action.STAT, quota=Quota(goals=(PSI,), tuner="temporal")), "temporal"),
    ],
)
def test_what_6_12_does_not_have(scheme, what):
    for name in ("7.3", "7.2"):
        Engine([scheme], UNIT, Figures(), profile=PROFILES[name]).check(Willing(), [scheme])
    with pytest.raises(BadValueError, match=what):
        Engine([scheme], UNIT, Figures(), profile=PROFILES["6.12"])
    engine = Engine([], UNIT, Figures(), profile=PROFILES["6.12"])
    with pytest.raises(BadValueError, match=what):
        engine.check(Willing(), [scheme])


@every
def test_what_all_have(profile):
    filters = (Filter(FilterType.ANON), Filter(FilterType.TARGET, target=0))
    scheme = Scheme(Action.STAT, quota=Quota(goals=(PSI,)), filters=filters)
    Engine([scheme], UNIT, Figures(), profile=PROFILES[profile]).check(Willing(), [scheme])


@pytest.mark.parametrize(
    ("profile", "seen"), [("7.3", [1000, 600]), ("7.2", [5000, 600]), ("6.12", [5000, 600])]
)
def test_the_first_look_at_pressure(profile, seen):
    state, figures = GoalState(PSI, PROFILES[profile]), Figures()
    got = []
    for figures.psi in (5000, 5600):
        got.append(state.current(figures, "consist", 0))
    assert got == seen


@pytest.mark.parametrize(("profile", "seen"), [("7.3", 2000), ("7.2", 600), ("6.12", 600)])
def test_pressure_after_a_commit(profile, seen):
    state = QuotaState(Quota(goals=(PSI,)), UNIT, PROFILES[profile])
    figures = Figures()
    figures.psi = 5000
    state.goals[0].current(figures, "consist", 0)
    state.commit(Quota(goals=(replace(PSI, target=2000), PSI)))
    figures.psi = 5600
    assert state.goals[0].current(figures, "consist", 0) == seen
