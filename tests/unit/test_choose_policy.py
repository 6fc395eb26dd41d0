"""Which policy "auto" stands for, and why."""

import pytest

import isotherm
from isotherm.backends import registry
from isotherm.backends.choose_policy import policy_for, resolved
from isotherm.backends.opening import Opening, Wish
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import MIB, fixed
from isotherm.clock import VirtualClock
from isotherm.core import policies
from isotherm.errors import BadValueError
from isotherm.session.metrics import SystemMetrics
from isotherm.targets.target_set import TargetFacts

GIB = 1 << 30
AUTO = Wish(policy="auto")
BPF = registry.kind_of("bpf")


def chosen(size, *, kind=BPF, wish=AUTO, overhead=0.01, schemes=False):
    facts = TargetFacts(pids=(1,), resident_bytes=size)
    return policy_for(kind, wish, facts, overhead=overhead, schemes=schemes)


@pytest.mark.parametrize(
    ("size", "overhead", "name"),
    [
        (GIB, 0.01, "damon"),
        (3 * GIB, 0.01, "damon"),
        (4 * GIB, 0.01, "sentinels"),
        (GIB, 0.003, "damon"),
        (2 * GIB, 0.003, "sentinels"),
        (1 << 40, 0.01, "sentinels"),
    ],
)
def test_a_map_that_takes_long_makes_place_for_sentinels(size, overhead, name):
    found = chosen(size, overhead=overhead)
    assert found.name == name
    assert "resident" in found.reason
    assert "a pass" in found.reason


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": registry.kind_of("clear-refs")}, "no clumps"),
        ({"kind": registry.kind_of("kdamond")}, "no clumps"),
        ({"wish": Wish(policy="auto", sample="10ms")}, "intervals"),
        ({"wish": Wish(policy="auto", profile="6.12")}, "profiles"),
        ({"schemes": True}, "schemes"),
    ],
)
def test_what_is_of_damon_stays_with_damon(change, why):
    found = chosen(1 << 40, **change)
    assert found.name == "damon"
    assert why in found.reason


def test_what_was_asked_for_is_taken():
    found = chosen(1 << 40, wish=Wish(policy="map"))
    assert (found.name, found.reason) == ("map", "asked for")


def test_nobody_there_yet_is_told_from_where_on():
    found = policy_for(BPF, AUTO, TargetFacts(), overhead=0.01)
    assert (found.name, "sentinels above 3.7 GiB" in found.reason) == ("damon", True)


def test_a_backend_is_opened_with_a_real_policy():
    facts = TargetFacts(pids=(1,), resident_bytes=1 << 40)
    opening = Opening(targets=None, metrics=SystemMetrics(), wish=AUTO)
    assert resolved(BPF, opening, facts).wish.policy == "sentinels"
    assert registry.kind_of("kdamond").unsuited(resolved(BPF, opening, facts))


def test_auto_is_no_name_for_an_own_policy():
    with pytest.raises(BadValueError, match="whichever suits"):
        policies.register("auto", policies.policy_named("damon"))


def test_of_an_own_look_nothing_is_known():
    clock = VirtualClock(0)
    look = SimOps(fixed(16 * MIB, ()), clock)
    with isotherm.monitor(ops=look, clock=clock, policy="auto", seed=1) as session:
        assert next(iter(session.snapshots("1s"))).columns.rate is None
