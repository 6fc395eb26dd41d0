"""The monitor as a backend: what a session asks of it."""

import subprocess
import sys
from itertools import islice

import pytest

from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import MIB, MS, fixed
from isotherm.clock import VirtualClock
from isotherm.core.act import CountOnly, Done
from isotherm.core.monitor import Monitor
from isotherm.core.overhead import Governor
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import PAGE
from isotherm.model.scheme import Access, Action, Pattern, Quota, Scheme
from isotherm.schemes.engine import Engine

ATTRS = Attrs()
TOTAL, HOT = 64 * MIB, 8 * MIB
OUT = Scheme(Action.PAGEOUT, Pattern(access=Access(0, 0)), quota=Quota(size_bytes=MIB))
WINDOW_NS = ATTRS.aggr_us * 1000


class Warming(SimOps):
    warm = True
    closed = 0

    def warming_up(self):
        return not self.warm

    def close(self):
        self.closed += 1


class NoMetrics:
    """No goal and no watermark asks for one."""


@pytest.fixture
def opened():
    monitors = []

    def make(*schemes, **options):
        clock = VirtualClock(1000 * MS)
        look = Warming(fixed(TOTAL, ((0, HOT),)), clock)
        engine = Engine(schemes, PAGE, NoMetrics(), clock=clock) if schemes else None
        monitor = Monitor(look, ATTRS, clock=clock, seed=1, schemes=engine, **options)
        monitors.append(monitor)
        return monitor, look, engine

    yield make
    for monitor in monitors:
        monitor.close()


def charged(monitor, share, windows=11):
    """Have so many windows cost this share of a CPU; return the sampling intervals in force."""
    found = []
    for snapshot in islice(monitor.snapshots(), windows):
        monitor.charge(snapshot, int(share * (snapshot.end_ns - snapshot.start_ns)))
        found.append(monitor.attrs.sample_us)
    return found


def test_a_cost_above_the_share_stretches_the_intervals(opened):
    monitor, _, _ = opened(governor=Governor(0.01, ATTRS))
    assert monitor.stretches
    found = charged(monitor, 0.015)
    assert found[0] == ATTRS.sample_us < found[-1]


def test_without_a_governor_nothing_stretches(opened):
    monitor, _, _ = opened()
    assert not monitor.stretches
    assert set(charged(monitor, 0.5)) == {ATTRS.sample_us}


def test_work_of_the_start_stretches_nothing(opened):
    monitor, look, _ = opened(governor=Governor(0.01, ATTRS))
    look.warm = False
    assert set(charged(monitor, 0.5)) == {ATTRS.sample_us}
    look.warm = True
    assert charged(monitor, 0.5)[-1] > ATTRS.sample_us


def test_acting_is_no_cost_of_looking(opened):
    monitor, _, engine = opened(OUT, governor=Governor(0.01, ATTRS))
    intervals = []
    for snapshot in islice(monitor.snapshots(), 11):
        engine._acted_ns = int(0.5 * WINDOW_NS)
        monitor.charge(snapshot, int(0.505 * WINDOW_NS))
        intervals.append(monitor.attrs.sample_us)
    assert set(intervals) == {ATTRS.sample_us}


def test_throttled_schemes_do_their_share(opened):
    monitor, look, _ = opened(OUT)
    run = monitor.snapshots()
    monitor.throttle(0)
    next(run)
    assert look.resident_bytes(0) == TOTAL
    monitor.throttle(1)
    next(run)
    assert look.resident_bytes(0) == TOTAL - MIB


def test_throttling_without_schemes_is_nothing(opened):
    monitor, _, _ = opened()
    monitor.throttle(0.5)
    assert len(list(islice(monitor.snapshots(), 2))) == 2


def test_states_of_schemes_leave_the_tried_regions_to_snapshots(opened):
    monitor, _, _ = opened(OUT)
    run = monitor.snapshots()
    first = next(run)
    (state,) = monitor.scheme_states()
    assert state.stats == first.schemes[0].stats
    assert state.stats.sz_applied == MIB
    assert first.schemes[0].tried
    assert state.tried == ()
    assert opened()[0].scheme_states() == ()


class Warns(CountOnly):
    """Warns of its action, and of what is the same for all."""

    def why_not(self, scheme):
        return ""

    def warnings_for(self, scheme):
        return ["no swap", f"{scheme.action} is slow"]

    def act(self, scheme, target, start, end, *, filtered, dry=False):
        return Done()


def test_warnings_and_obstacles_are_those_of_who_acts(opened):
    cold = Scheme(Action.COLD)
    monitor, _, _ = opened(OUT, cold, act=Warns("warns"))
    assert monitor.warnings_for(cold) == ["no swap", "cold is slow"]
    assert monitor.why_not(cold) == ""
    nothing = opened()[0]
    assert nothing.warnings_for(OUT) == []
    assert "cannot act" in CountOnly("nobody").why_not(OUT)


def test_it_has_the_name_of_its_look_and_lives_as_its_targets_do(opened):
    monitor, _, _ = opened()
    assert (monitor.name, monitor.profile, monitor.alive()) == ("sim", "7.3", True)


def test_closing_twice_closes_the_look_once(opened):
    monitor, look, _ = opened()
    monitor.close()
    monitor.close()
    assert look.closed == 1


def test_the_readable_twins_are_not_loaded_by_the_product():
    code = (
        "import sys, itertools, isotherm\n"
        "from isotherm.core.monitor import Monitor\n"
        "class Idle(isotherm.Ops):\n"
        "    def ranges(self): return [(0, 1 << 30)]\n"
        "    def prepare(self, addresses): self.nr = len(addresses)\n"
        "    def check(self): return bytes(self.nr)\n"
        "list(itertools.islice(Monitor(Idle()).snapshots(), 1))\n"
        "print([name for name in sys.modules if '.reference' in name])\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"
