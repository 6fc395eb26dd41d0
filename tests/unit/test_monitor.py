"""The monitor around the algorithm: targets that come and go, changes, stops and errors."""

import signal
import threading
from dataclasses import replace
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm import _core
from isotherm.clock import VirtualClock
from isotherm.core.damon.profile import PROFILES
from isotherm.core.look import WAS_YOUNG, Check, TargetRanges
from isotherm.core.monitor import Monitor
from isotherm.core.ops import Ops
from isotherm.errors import TargetGoneError
from isotherm.model.attrs import Attrs, IntervalsGoal
from isotherm.model.ranges import Range
from isotherm.model.target import Mapping, Target

GIB = 1 << 30
SLOW = Attrs(sample_us=3_600_000_000, aggr_us=3_600_000_000, update_us=10**12)


@pytest.fixture(params=[False, True], ids=["python", "native"])
def native(request):
    return request.param


class Fake(Ops):
    """`script[i]` are the targets of the i-th call of targets(), the last one ever after."""

    def __init__(self, *script, results=(Check.IDLE,)):
        self.script = list(script) or [[known(0)]]
        self.results = results
        self.asked = []
        self.clock = VirtualClock()
        self.ticks = self.closed = 0
        self.prepared = threading.Event()

    def targets(self):
        self.asked.append(self.clock.now_ns() // 1_000_000)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def prepare(self, addresses):
        self.batch = addresses
        self.prepared.set()

    def check(self):
        self.ticks += 1
        nr = len(self.results)
        return bytes(self.results[(a // 4096 + self.ticks) % nr] for a in self.batch)

    def cleared(self):
        return 7

    def close(self):
        self.closed += 1


def known(target_id, *ranges, mappings=()):
    spans = tuple(Range(*r) for r in ranges or [(0, GIB)])
    return TargetRanges(Target(target_id, f"t{target_id}"), spans, mappings)


def monitor(ops, attrs=None, **options):
    return Monitor(ops, attrs, clock=ops.clock, seed=1, **options)


def first(nr, watched):
    return list(islice(watched.snapshots(), nr))


def test_targets_are_matched_by_id_and_the_end_of_all_is_the_end(native):
    a, b = known(4), known(9, (GIB, 2 * GIB))
    ops = Fake([a], [b, a], [b], [])
    with monitor(ops, Attrs(update_us=100_000), native=native) as watched:
        snapshots = list(watched.snapshots())
    assert [[t.id for t in s.targets] for s in snapshots] == [[4], [9, 4], [9]]
    both = snapshots[1].regions
    assert {(r.target, r.start >= GIB) for r in both} == {(0, True), (1, False)}
    ages = {r.age for r in both if r.target == 1}
    assert ages == {2}, "the target that stayed kept its regions"
    assert ops.closed == 1


def test_a_new_range_is_covered_and_a_vanished_one_left(native):
    ops = Fake([known(0, (0, GIB), (4 * GIB, 5 * GIB))], [known(0, (GIB, 2 * GIB))])
    with monitor(ops, Attrs(update_us=100_000), native=native) as watched:
        before, after = first(2, watched)
    assert before.monitored_bytes == 2 * GIB
    assert after.monitored_bytes == GIB
    assert {r.start >= GIB and r.end <= 2 * GIB for r in after.regions} == {True}


def test_mappings_come_only_when_they_changed(native):
    heap, more = Mapping(0, GIB, "rw-p", "[heap]"), Mapping(0, 2 * GIB, "rw-p", "[heap]")
    ops = Fake(
        [known(0, mappings=(heap,))], [known(0, mappings=(heap,))], [known(0, mappings=(more,))]
    )
    with monitor(ops, Attrs(update_us=100_000), native=native) as watched:
        assert [s.mappings for s in first(4, watched)] == [{0: (heap,)}, None, {0: (more,)}, None]


def test_the_address_map_is_read_at_each_update_interval(native):
    ops = Fake()
    with monitor(ops, Attrs(update_us=250_000), native=native) as watched:
        first(11, watched)
    assert ops.asked == [0, 250, 500, 750, 1000]


def test_tuning_does_not_put_the_address_map_off(native):
    goal = IntervalsGoal(min_sample_us=5_000, max_sample_us=5_000)
    ops = Fake(results=[Check.ACCESSED])
    with monitor(ops, Attrs(update_us=1_000_000, goal=goal), native=native) as watched:
        first(31, watched)
    assert ops.asked == [0, 1000, 2000, 3000]


def test_targets_gone_amid_a_window_end_it_normally(native):
    class Leaving(Fake):
        def check(self):
            if self.ticks == 30:
                raise TargetGoneError("gone")
            return super().check()

    with monitor(Leaving(), native=native) as watched:
        assert len(list(watched.snapshots())) == 1


def test_an_ops_that_breaks_the_contract_is_named(native):
    class Short(Fake):
        def check(self):
            return super().check()[1:]

    with monitor(Short(), native=native) as watched, pytest.raises(ValueError, match="results"):
        list(watched.snapshots())


def test_an_error_of_the_ops_comes_out(native):
    class Broken(Fake):
        def prepare(self, _addresses):
            raise ZeroDivisionError

    with monitor(Broken(), native=native) as watched, pytest.raises(ZeroDivisionError):
        list(watched.snapshots())


def test_cost_counts(native):
    ops = Fake(results=[Check.MISSED])
    with monitor(ops, native=native) as watched:
        (snapshot,) = first(1, watched)
    cost = snapshot.cost
    assert (cost.ticks, cost.cleared, cost.late_ns) == (20, 7, 0)
    assert cost.checks == cost.missed == 20 * len(snapshot.columns)


def test_what_was_missed_altogether_is_unknown_not_idle(native):
    with monitor(Fake(results=[Check.MISSED]), native=native) as watched:
        (snapshot,) = first(1, watched)
    assert {region.nr_accesses for region in snapshot.regions} == {None}
    assert snapshot.working_set_bytes == 0
    assert snapshot.unobservable_bytes == snapshot.monitored_bytes


def test_what_cannot_be_seen_is_not_idle(native):
    ops = Fake([known(0), known(1)])
    ops.check = lambda: bytes(
        Check.UNOBSERVABLE if target else Check.IDLE for target in ops.batch.targets
    )
    with monitor(ops, native=native) as watched:
        (snapshot,) = first(1, watched)
    assert {(r.target, r.nr_accesses) for r in snapshot.regions} == {(0, 0), (1, None)}
    assert snapshot.unobservable_bytes == GIB


def test_a_late_tick_is_counted_and_no_burst_follows(native):
    class Stalling(Fake):
        def check(self):
            if self.ticks == 3:
                self.clock.sleep_until(self.clock.now_ns() + 52_000_000)
            self.times = [*getattr(self, "times", []), self.clock.now_ns() // 1000]
            return super().check()

    ops = Stalling()
    with monitor(ops, native=native) as watched:
        (snapshot,) = first(1, watched)
    gaps = [b - a for a, b in pairwise(ops.times)]
    assert gaps == [5000, 5000, 57_000, *[5000] * 16]
    assert snapshot.cost.late_ns == 47_000_000


def test_commit_begins_a_window_with_the_new_intervals(native):
    ops = Fake()
    with monitor(ops, native=native) as watched:
        snapshots = watched.snapshots()
        next(snapshots)
        watched.commit(Attrs(sample_us=1_000, aggr_us=40_000))
        committed = next(snapshots)
    assert (committed.sample_us, committed.aggr_us) == (1_000, 40_000)
    assert committed.end_ns == 140_000_000
    assert committed.cost.ticks == 40


@pytest.mark.parametrize("what", ["stop", "commit"])
def test_a_long_sleep_is_ended_from_another_thread(what):
    ops = Fake()
    with Monitor(ops, SLOW, seed=1) as watched:
        seen = []
        thread = threading.Thread(target=lambda: seen.extend(first(1, watched)))
        thread.start()
        assert ops.prepared.wait(60)
        if what == "stop":
            watched.stop()
        else:
            watched.commit(Attrs(sample_us=1_000, aggr_us=2_000))
        thread.join(60)
        assert not thread.is_alive()
    assert [s.sample_us for s in seen] == ([] if what == "stop" else [1_000])


@pytest.mark.parametrize("raises", [False, True])
def test_a_signal_reaches_its_handler_amid_a_long_sleep(raises):
    ops = Fake()

    def handler(_number, _frame):
        if raises:
            raise KeyboardInterrupt
        watched.stop()

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with Monitor(ops, SLOW, seed=1) as watched:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            if raises:
                with pytest.raises(KeyboardInterrupt):
                    list(watched.snapshots())
            else:
                assert list(watched.snapshots()) == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_the_table_is_left_alone_while_the_sampler_runs():
    table, rng, ops = _core.RegionTable(), _core.Rng(), Fake()
    table.load([[(0, GIB)]])
    ops.check = table.reset
    sampler = _core.Sampler(table, rng, _core.python_access(ops), VirtualClock())
    with pytest.raises(RuntimeError, match="sampler"):
        sampler.run(1, 1000)
    table.reset()


def test_only_known_generators():
    for kind in (False, True):
        with pytest.raises(ValueError, match="generator"):
            Monitor(Fake(), native=kind, prng="dice")


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**64 - 1),
    results=st.lists(st.sampled_from([0, 1, 2, 3, WAS_YOUNG, WAS_YOUNG | 1]), min_size=1),
    bounds=st.tuples(st.integers(3, 20), st.integers(20, 200)),
    profile=st.sampled_from(list(PROFILES)),
)
def test_both_engines_give_the_same_snapshots(seed, results, bounds, profile):
    attrs = Attrs(min_nr_regions=bounds[0], max_nr_regions=bounds[1], goal=IntervalsGoal())
    found = []
    for kind in (False, True):
        ops = Fake([known(0), known(1, (GIB, 2 * GIB))], results=results)
        with Monitor(
            ops, attrs, clock=ops.clock, seed=seed, native=kind, profile=profile
        ) as watched:
            snapshots = first(6, watched)
        found.append([replace(s, cost=replace(s.cost, cpu_ns=0)) for s in snapshots])
    assert found[0] == found[1]
