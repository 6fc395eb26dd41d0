"""Many targets take turns: whose it is, what stands of those that rest, what the governor asks."""

from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.clock import VirtualClock
from isotherm.core.look import Check, TargetRanges
from isotherm.core.monitor import Monitor
from isotherm.core.ops import Ops
from isotherm.core.overhead import Governor
from isotherm.core.turns import Turns
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import Range
from isotherm.model.snapshot import Columns, Snapshot
from isotherm.model.target import Target

MANY = 100


def awake(ids, resting):
    return [key for key, rests in zip(ids, resting or bytes(len(ids)), strict=True) if not rests]


@given(st.integers(2, 60), st.floats(0.01, 1))
def test_everybody_has_a_turn_before_anybody_has_another(nr, share):
    turns, ids = Turns(), list(range(0, 3 * nr, 3))
    turns.next(ids, 1.0)
    looked = dict.fromkeys(ids, 0)
    for _ in range(4 * nr):
        for key in awake(ids, turns.next(ids, share)):
            looked[key] += 1
        assert max(looked.values()) - min(looked.values()) <= 1
    assert min(looked.values()) >= 1


@given(st.lists(st.integers(0, 8), min_size=1, max_size=30), st.floats(0.05, 0.9))
def test_many_that_come_keep_nobody_waiting_for_ever(arrivals, share):
    turns, old = Turns(), list(range(20))
    turns.next(old, 1.0)
    ids, looked = list(old), set()
    for nr in arrivals + [0] * 400:
        ids += range(ids[-1] + 1, ids[-1] + 1 + nr)
        looked.update(awake(ids, turns.next(ids, share)))
    assert looked == set(ids)


def test_a_new_target_does_not_wait():
    turns, ids = Turns(), list(range(50))
    turns.next(ids, 1.0)
    assert 50 in awake([*ids, 50], turns.next([*ids, 50], 0.1))


def test_nobody_rests_where_all_can_be_paid():
    assert Turns().next([1, 2, 3], 1.0) is None


class Resting(Ops):
    """Targets whose every sample says `script[tick]`, unless they rest."""

    takes_turns = True

    def __init__(self, nr, script=(Check.ACCESSED,)):
        self.nr, self.script = nr, script
        self.clock = VirtualClock()
        self.resting = bytes(nr)
        self.looked = [0] * nr
        self.ticks = 0

    def targets(self):
        return [
            TargetRanges(Target(i, f"t{i}"), (Range(i << 30, (i << 30) + (64 << 12)),))
            for i in range(self.nr)
        ]

    def rest(self, resting):
        self.resting = resting

    def prepare(self, addresses):
        self.batch = addresses

    def check(self):
        said = self.script[min(self.ticks, len(self.script) - 1)]
        self.ticks += 1
        for target in self.batch.targets:
            self.looked[target] += not self.resting[target]
        return bytes(
            Check.RESTING if self.resting[target] else said for target in self.batch.targets
        )


class Half(Governor):
    """Keeps the intervals, and lets half of all targets rest."""

    def observe(self, snapshot, thread_cpu_ns, attrs):
        self.turns = 0.5


@pytest.mark.parametrize("native", [False, True])
def test_what_was_known_of_who_rests_stands_and_grows_no_older(native):
    ops = Resting(4)
    attrs = Attrs(min_nr_regions=4, max_nr_regions=4)
    governor = Half(0.01, attrs)
    with Monitor(ops, attrs, clock=ops.clock, seed=1, native=native, governor=governor) as watched:
        found = []
        for snapshot in islice(watched.snapshots(), 9):
            found.append((snapshot, ops.resting))
            watched.charge(snapshot, 0)
    checks = {snapshot.cost.checks for snapshot, _ in found[2:]}
    assert checks == {2 * attrs.samples_per_aggr}, "nobody looked at who rests"
    assert sum(snapshot.cost.missed for snapshot, _ in found) == 0
    for (before, _), (after, resting) in pairwise(found):
        for old, new in zip(before.regions, after.regions, strict=True):
            assert new.nr_accesses == attrs.samples_per_aggr
            if resting[new.target]:
                assert new.age == old.age
    # Half of all windows were looked at, and in none of them anything was another.
    assert max(region.age for region in found[-1][0].regions) >= 7


@pytest.mark.parametrize("native", [False, True])
def test_of_who_rests_from_the_beginning_nothing_is_known(native):
    ops = Resting(2)
    ops.resting = b"\0\1"
    with Monitor(ops, Attrs(min_nr_regions=3), clock=ops.clock, seed=1, native=native) as watched:
        (snapshot,) = islice(watched.snapshots(), 1)
    unknown = [0, 0]
    for region in snapshot.regions:
        unknown[region.target] += region.unobservable
    assert unknown == [0, 64 << 12]


def governed(nr_targets, tick_us, windows=400, **options):
    """Return governor and attributes after so many windows; looking costs by the target."""
    governor, attrs = Governor(0.01, Attrs(), **options), Attrs()
    targets = tuple(Target(i, "t") for i in range(nr_targets))
    for index in range(windows):
        snapshot = Snapshot(
            index, 0, attrs.aggr_us * 1000, attrs.sample_us, attrs.aggr_us, targets, Columns()
        )
        cost = int(attrs.samples_per_aggr * tick_us * governor.turns * 1000)
        attrs = governor.observe(snapshot, cost, attrs) or attrs
    return governor, attrs


def test_many_targets_take_turns_rather_than_long_windows():
    governor, attrs = governed(MANY, 2000, turns=True)
    assert attrs.aggr_us <= 1_000_000
    share = 2000 * governor.turns / attrs.sample_us
    assert 0.006 <= share <= 0.01


def test_intervals_grow_on_where_turns_are_not_enough():
    governor, attrs = governed(MANY, 90_000, turns=True)
    assert governor.turns == 1 / 64
    assert attrs.sample_us == 20 * Attrs().sample_us


@pytest.mark.parametrize(("nr", "turns"), [(5, True), (MANY, False)])
def test_a_few_targets_and_a_look_without_turns_have_longer_windows(nr, turns):
    governor, attrs = governed(nr, 2000, turns=turns)
    assert governor.turns == 1
    assert attrs.sample_us == 20 * Attrs().sample_us


def test_nobody_rests_any_more_where_it_became_cheap():
    governor, attrs = governed(MANY, 2000, turns=True)
    targets = tuple(Target(i, "t") for i in range(MANY))
    for index in range(400):
        snapshot = Snapshot(
            index, 0, attrs.aggr_us * 1000, attrs.sample_us, attrs.aggr_us, targets, Columns()
        )
        attrs = governor.observe(snapshot, attrs.samples_per_aggr * 20_000, attrs) or attrs
    assert (governor.turns, attrs) == (1, Attrs())
