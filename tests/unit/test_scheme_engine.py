"""What the engine does beyond the kernel's rules, and at its edges."""

import pytest

from isotherm.clock import VirtualClock
from isotherm.core.act import Done
from isotherm.core.look import Check
from isotherm.core.monitor import Monitor
from isotherm.core.ops import Ops
from isotherm.core.reference.regions import RegionTable
from isotherm.core.scheme_runner import Round
from isotherm.errors import IsothermError, NotSupportedError, TargetGoneError
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import (
    Access,
    Action,
    Age,
    Filter,
    FilterType,
    Goal,
    Limits,
    Metric,
    Pattern,
    Quota,
    Scheme,
    Watermarks,
    Weights,
)
from isotherm.schemes.engine import MOST_FAILED_TRIES, Engine

UNIT = 4096
COLD = Pattern(access=Access(0, 0, "samples"))


class Recorder(Ops):
    """Notes what it is asked to do; `answer` decides what comes of it."""

    def __init__(self, answer=Done):
        self.answer = answer
        self.asked = []

    def prepare(self, addresses):
        raise AssertionError

    def check(self):
        raise AssertionError

    def why_not(self, scheme):
        return "not today" if scheme.action is Action.COLLAPSE else ""

    def act(self, scheme, target, start, end, *, filtered, dry):
        self.asked.append((str(scheme.action), target, start, end, filtered))
        return self.answer(end - start)


class Figures:
    free = 500

    def why_not(self, goal):
        return "no such node" if goal.nid else ""

    def free_permil(self):
        return self.free


class Bench:
    """An engine over a table, and rounds a window apart."""

    def __init__(self, schemes, rows, *, answer=Done, **options):
        self.table = RegionTable(UNIT)
        self.table.load([[(start * UNIT, end * UNIT, *rest) for start, end, *rest in rows]])
        self.ops = Recorder(answer)
        self.attrs = Attrs()
        self.engine = Engine(schemes, UNIT, Figures(), **options)
        self.engine.begin(self.attrs, 0)
        self.sis = 0

    def round(self, ms=100):
        self.sis += 20
        self.ops.asked.clear()
        self.engine.apply(
            Round(self.table, self.ops, self.attrs, self.sis, 0, 2**40, self.sis * ms // 20)
        )
        return [
            (region.start // UNIT, region.end // UNIT)
            for region in self.engine.take_states()[0].tried
        ]

    def state(self):
        return self.engine.take_states()[0]


def test_regions_of_which_nothing_is_known_match_nothing():
    table = RegionTable(UNIT)
    table.set_targets([0])
    table.set_regions(0, [(0, 10 * UNIT)])
    everything = Limits(0, 2**64 - 1, 0, 2**32 - 1, 0, 2**32 - 1)
    assert list(table.matching(everything, 0, known=True)) == []
    bench = Bench([Scheme(Action.PAGEOUT)], [])
    bench.table = table
    assert bench.round() == []
    table.load([[(0, 10 * UNIT, 0, 0, 3)]])
    assert bench.round() == [(0, 10)]


def test_an_action_renews_the_age_and_stat_does_not():
    old = Pattern(age=Age(3, None, "windows"))
    bench = Bench([Scheme(Action.STAT, old)], [(0, 4, 0, 0, 5)])
    assert [bench.round(), bench.round()] == [[(0, 4)]] * 2
    assert bench.ops.asked == []
    bench = Bench([Scheme(Action.PAGEOUT, old)], [(0, 4, 0, 0, 5)])
    assert [bench.round(), bench.round()] == [[(0, 4)], []]


def test_percent_and_time_follow_the_intervals_in_force():
    scheme = Scheme(Action.STAT, Pattern(access=Access(5, None), age=Age(1_000_000)))
    assert scheme.pattern.limits(Attrs())[2:] == (1, 2**32 - 1, 10, 2**32 - 1)
    slow = Attrs(sample_us=10_000, aggr_us=400_000)
    assert scheme.pattern.limits(slow)[2:] == (2, 2**32 - 1, 3, 2**32 - 1)


def test_the_coldest_come_first_when_the_quota_does_not_last():
    quota = Quota(size_bytes=4 * UNIT, weights=Weights(0, 0, 1))
    rows = [(0, 4, 0, 0, 20), (4, 8, 0, 0, 90_000), (8, 12, 0, 0, 400)]
    bench = Bench([Scheme(Action.PAGEOUT, COLD, quota=quota)], rows)
    assert bench.round() == [(4, 8)]
    assert bench.round() == []
    assert bench.state().charged_bytes == 4 * UNIT
    assert bench.round(ms=2000) == [(8, 12)]
    assert bench.state().stats.qt_exceeds == 1


def test_who_gave_up_goes_on_where_that_was():
    """Or the last regions would never have their turn."""
    nr = MOST_FAILED_TRIES * 3 // 2
    rows = [(i * 2, i * 2 + 1, 0, 0, 5) for i in range(nr)]
    scheme = Scheme(Action.PAGEOUT, COLD, quota=Quota())
    bench = Bench([scheme], rows, answer=lambda _: Done())
    tried = [bench.round(ms=1000) for _ in range(3)]
    assert [len(one) for one in tried] == [MOST_FAILED_TRIES, nr - MOST_FAILED_TRIES, 1000]
    assert tried[1][-1] == (nr * 2 - 2, nr * 2 - 1)


@pytest.mark.parametrize("how", ["gone", "empty"])
def test_a_target_that_ends_while_the_quota_goes_on_with_it_ends_nothing(how):
    rows = [(0, 4, 0, 0, 5), (4, 8, 0, 1, 5)]
    quota = Quota(size_bytes=4 * UNIT, reset_ms=100)
    bench = Bench([Scheme(Action.PAGEOUT, COLD, quota=quota)], [])
    table = [(start * UNIT, end * UNIT, *rest) for start, end, *rest in rows]
    bench.table.load([table, table])
    assert bench.round() == [(0, 4)]
    assert bench.ops.asked[0][1] == 0
    if how == "gone":
        bench.table.set_targets([1])
    else:
        bench.table.load([[], table])
    assert any(bench.round() for _ in range(3)), "the other target was left out for ever"


def test_failing_tries_are_bounded_per_window():
    quota = Quota(size_bytes=2**40, fail_charge=(0, 1))
    rows = [(i * 2, i * 2 + 1, 0, 0, 5) for i in range(300)]
    scheme = Scheme(Action.PAGEOUT, COLD, quota=quota)
    bench = Bench([scheme], rows, answer=lambda _: Done(errors={"EBUSY": 1}))
    tries = sum(len(bench.round(ms=0)) for _ in range(10))
    assert tries == MOST_FAILED_TRIES
    assert bench.state().stats.errors == {"EBUSY": MOST_FAILED_TRIES}
    left = 300 - MOST_FAILED_TRIES % 300
    assert [len(bench.round(ms=ms)) for ms in (10_000, 20_000)] == [left, 300]
    free = Bench([Scheme(Action.PAGEOUT, COLD, quota=Quota())], rows, answer=lambda _: Done())
    assert sum(len(free.round(ms=1)) for _ in range(10)) == MOST_FAILED_TRIES
    free.ops.answer = Done
    assert len(free.round(ms=1000)) == left, "without a quota it gave up for good"
    kernel = Bench([scheme], rows, answer=lambda _: Done(), careful=False)
    assert sum(len(kernel.round(ms=0)) for _ in range(10)) == 3000


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (OSError(12, "Cannot allocate memory"), {"[Errno 12] Cannot allocate memory": 1}),
        (IsothermError("no", hint="yes"), {"no": 1}),
        (TargetGoneError("gone"), {}),
    ],
)
def test_what_the_ops_raises_is_counted_and_the_loop_goes_on(error, counted):
    def raising(_size):
        raise error

    bench = Bench([Scheme(Action.PAGEOUT, COLD)], [(0, 4), (8, 9)], answer=raising)
    assert len(bench.round()) == 2
    stats = bench.state().stats
    assert (stats.nr_tried, stats.nr_applied) == (2, 0)
    assert stats.errors == dict.fromkeys(counted, 2)


def test_an_own_action_is_called_and_may_fail():
    seen = []

    def mine(target, start, end):
        seen.append((target, start, end))
        if start:
            raise ZeroDivisionError("oh")
        return end - start

    bench = Bench([Scheme(Action.STAT, COLD, own=mine)], [(0, 4), (8, 9)])
    assert bench.round() == [(0, 4), (8, 9)]
    assert bench.ops.asked == []
    assert seen == [(0, 0, 4 * UNIT), (0, 8 * UNIT, 9 * UNIT)]
    state = bench.state()
    assert state.stats.sz_applied == 4 * UNIT
    assert state.stats.errors == {"ZeroDivisionError: oh": 1}


def test_an_error_of_ours_is_not_swallowed():
    def broken(_size):
        raise KeyError

    bench = Bench([Scheme(Action.PAGEOUT, COLD)], [(0, 4)], answer=broken)
    with pytest.raises(KeyError):
        bench.round()


def test_a_guard_holds_everything_and_lets_a_share_through():
    quota = Quota(size_bytes=8 * UNIT, reset_ms=100)
    bench = Bench([Scheme(Action.PAGEOUT, COLD, quota=quota)], [(0, 100)])
    bench.engine.throttle(0)
    assert bench.round() == []
    assert bench.state().held
    bench.engine.throttle(0.5)
    assert bench.round() == [(0, 4)]
    assert bench.state().effective_bytes == 4 * UNIT
    bench.engine.throttle(1)
    assert bench.round() == [(4, 12)]
    free = Bench([Scheme(Action.PAGEOUT, COLD)], [(0, 100)])
    free.engine.throttle(0.5)
    assert free.round() == []
    free.engine.throttle(1)
    assert free.round() == [(0, 100)]


def test_an_address_filter_cuts_and_is_undone():
    keep_out = Filter(FilterType.ADDR, matching=False, allow=False, bounds=(4 * UNIT, 6 * UNIT))
    bench = Bench([Scheme(Action.STAT, COLD, filters=(keep_out,))], [(0, 10)])
    assert bench.round() == [(4, 6)]
    assert len(bench.table) == 1


def test_a_core_filter_that_allows_spares_the_ops_filters():
    allow = Filter(FilterType.ADDR, allow=True, bounds=(0, 4 * UNIT))
    anon = Filter(FilterType.ANON, matching=False)
    bench = Bench([Scheme(Action.STAT, COLD, filters=(allow, anon))], [(0, 10)])
    bench.round()
    filtered = {(start // UNIT, end // UNIT): f for _, _, start, end, f in bench.ops.asked}
    assert filtered == {(0, 4): False, (4, 10): True}


def test_own_goals_are_callables():
    values = iter([0, 20_000])
    goal = Goal(Metric.OWN, 10_000, read=lambda: next(values))
    quota = Quota(size_bytes=8 * UNIT, reset_ms=100, goals=(goal,), tuner="temporal")
    bench = Bench([Scheme(Action.PAGEOUT, COLD, quota=quota)], [(0, 100)])
    assert bench.round() == [(0, 8)]
    assert bench.state().score == 0.0
    assert bench.round() == []
    assert bench.state().score == 2.0


class Idle(Recorder):
    """Memory that nobody uses, under a monitor; ends after some looks."""

    def __init__(self, looks, **kwargs):
        super().__init__(**kwargs)
        self.looks = looks

    def ranges(self):
        return [(0, 100 * UNIT)]

    def alive(self):
        self.looks -= 1
        return self.looks > 0

    def prepare(self, addresses):
        self.nr = len(addresses)

    def check(self):
        return bytes([Check.IDLE]) * self.nr


def monitor_of(ops, *schemes, figures=None, **options):
    clock = VirtualClock()
    engine = Engine(schemes, UNIT, figures or Figures(), clock=clock, **options)
    return Monitor(ops, Attrs(), clock=clock, seed=1, schemes=engine), clock


def test_snapshots_tell_what_came_of_the_schemes():
    monitor, _ = monitor_of(Idle(3), Scheme(Action.PAGEOUT, COLD, name="all"))
    with monitor:
        states = [snapshot.schemes for snapshot in monitor.snapshots()]
    assert [state.title for (state,) in states] == ["all"] * 3
    applied = [state.stats.sz_applied for (state,) in states]
    assert applied == [100 * UNIT, 200 * UNIT, 300 * UNIT]
    for (state,) in states:
        assert sum(region.size for region in state.tried) == 100 * UNIT
        assert sum(region.applied_bytes for region in state.tried) == 100 * UNIT


def test_a_commit_is_by_position_keeps_statistics_and_is_all_or_nothing():
    first, second = Scheme(Action.PAGEOUT, COLD, name="a"), Scheme(Action.COLD, COLD, name="b")
    monitor, _ = monitor_of(Idle(4), first)
    with monitor:
        stream = monitor.snapshots()
        before = next(stream).schemes
        with pytest.raises(NotSupportedError, match="not today"):
            monitor.commit(schemes=[second, Scheme(Action.COLLAPSE)])
        assert [state.title for state in next(stream).schemes] == ["a"]
        monitor.commit(schemes=[first, second])
        (a, b) = next(stream).schemes
    assert a.stats.nr_tried > before[0].stats.nr_tried
    assert (a.title, b.title) == ("a", "b")


def test_what_cannot_be_done_is_told_beforehand():
    engine = Engine([], UNIT, Figures())
    engine.check(Recorder(), [Scheme(Action.PAGEOUT)])
    with pytest.raises(NotSupportedError, match="'collapse' cannot be done here: not today"):
        engine.check(Recorder(), [Scheme(Action.PAGEOUT), Scheme(Action.COLLAPSE)])
    goal = Goal(Metric.NODE_MEM_FREE_BP, 10, nid=3)
    with pytest.raises(NotSupportedError, match="no such node"):
        engine.check(Recorder(), [Scheme(Action.STAT, quota=Quota(goals=(goal,)))])


def test_monitoring_rests_while_all_schemes_do_and_ends_in_time():
    marks = Watermarks("free_mem_rate", 5_000_000, 400, 300, 200)
    figures = Figures()
    monitor, clock = monitor_of(
        Idle(10**6), Scheme(Action.PAGEOUT, COLD, watermarks=marks), figures=figures
    )
    with monitor:
        assert list(monitor.snapshots(until_ns=60 * 10**9)) == []
    assert clock.now_ns() == 60 * 10**9
    figures.free = 250
    monitor, clock = monitor_of(
        Idle(3), Scheme(Action.PAGEOUT, COLD, watermarks=marks), figures=figures
    )
    with monitor:
        states = [snapshot.schemes[0] for snapshot in monitor.snapshots()]
    assert [state.active for state in states] == [True] * 3


def test_a_set_that_cannot_act_only_counts():
    class Plain(Idle):
        why_not = Ops.why_not
        act = Ops.act

    ops = Plain(3)
    assert "can only count" in ops.why_not(Scheme(Action.PAGEOUT))
    assert ops.why_not(Scheme(Action.STAT)) == ""
