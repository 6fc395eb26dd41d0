"""The policy "sentinels" through the monitor, on a simulated machine that charges for looking."""

import math
import statistics

import pytest

import isotherm
from isotherm.backends.opening import Wish
from isotherm.backends.sim.charged import ChargedLook
from isotherm.backends.sim.costs import PROFILES
from isotherm.backends.sim.judge import judge
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.patterns import workload_named
from isotherm.backends.sim.workload import BASE, SECOND, Area, Use, Workload
from isotherm.backends.sim.workloads import MIB, MS, fixed
from isotherm.clock import VirtualClock
from isotherm.core.look import Look
from isotherm.core.monitor import Monitor
from isotherm.core.sentinels.policy import recommended
from isotherm.errors import NotSupportedError
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Access, Action, Age, Pattern, Scheme
from isotherm.session.simulated import Simulation

GIB = 1 << 30


class Blind(Look):
    """Sees single pages only."""

    def prepare(self, addresses):
        del addresses

    def check(self):
        return b""


def watch(look, seconds, *, overhead=0.01, seed=1, page_map=None):
    attrs = recommended(Attrs(), overhead)
    monitor = Monitor(
        look,
        attrs,
        policy="sentinels",
        clock=look.clock,
        seed=seed,
        page_map=page_map,
        overhead=overhead,
    )
    until = look.clock.now_ns() + int(seconds * SECOND)
    with monitor:
        return list(monitor.snapshots(until)), monitor.policy.core.stats()


def hot_workload(size=GIB, start=300 * MIB, length=64 * MIB):
    uses = (Use(start=0, size=size, rate=0.01), Use(start=start, size=length, rate=100.0))
    return Workload("hot", (Area(size=size, uses=uses),), 20.0)


def hot_share(snapshot, start, length):
    """How much of the hottest memory, of the size of what is hot, is what is hot."""
    found, left = 0, length
    for region in sorted(snapshot.regions, key=lambda region: -(region.rate or 0)):
        size = min(left, region.size)
        inside = min(region.end, start + length) - max(region.start, start)
        found += max(0, inside) * size // region.size
        left -= size
    return found / length


@pytest.mark.parametrize("overhead", [0.001, 0.003, 0.01])
def test_hot_memory_is_found_within_the_budget(overhead):
    look = ChargedLook(hot_workload(), PROFILES["cold"], seed=3)
    snapshots, _ = watch(look, 15, overhead=overhead)
    assert hot_share(snapshots[-1], BASE + 300 * MIB, 64 * MIB) > 0.95
    cpu_ns = look.clock.cpu_ns()
    # What is lent at the beginning is a tenth of it.
    assert cpu_ns < 1.15 * overhead * look.clock.now_ns()


def test_regions_say_how_often_their_pages_are_accessed():
    look = ChargedLook(hot_workload(), PROFILES["cold"])
    snapshots, _ = watch(look, 10)
    last = snapshots[-1]
    middle = BASE + 330 * MIB
    [hot] = [region for region in last.regions if region.start <= middle < region.end]
    assert hot.low <= hot.rate <= hot.high
    assert 60 < hot.rate < 170
    # Of checks of 5 ms each so many find an access.
    assert hot.nr_accesses / last.max_nr_accesses == pytest.approx(0.39, abs=0.15)
    assert last.working_set_bytes == pytest.approx(74 * MIB, rel=0.25)
    assert sum(region.size for region in last.regions) == GIB


@pytest.mark.parametrize("uses", ["few of many pages", "now and then"])
def test_the_working_set_is_what_its_rates_make_expect(uses):
    # By DAMON's count all of it would be used in one window, and nothing in the next.
    if uses == "few of many pages":
        part = Use(start=0, size=512 * MIB, rate=100.0, group=8)
        used = 512 * MIB / 8
    else:
        part = Use(start=0, size=512 * MIB, rate=0.5)
        used = 512 * MIB * -math.expm1(-0.5 * 0.15)
    look = ChargedLook(Workload("sparse", (Area(size=GIB, uses=(part,)),), 20.0), PROFILES["cold"])
    snapshots, _ = watch(look, 8)
    sizes = [snapshot.working_set_bytes for snapshot in snapshots[-20:]]
    assert statistics.median(sizes) == pytest.approx(used, rel=0.25)
    assert max(sizes) < 1.5 * used


def test_the_same_seed_gives_the_same_snapshots():
    def once():
        look = ChargedLook(workload_named("phases", GIB, seed=2), PROFILES["cold"], seed=2)
        return watch(look, 4)[0]

    assert once() == once()


def test_a_map_beside_it_and_sentinels_tell_each_other_what_they_clear():
    # Used by all pages twice a second: who does not know of the other's clears says less.
    uses = (Use(start=0, size=128 * MIB, rate=2.0),)
    look = ChargedLook(Workload("even", (Area(size=128 * MIB, uses=uses),), 1.0), PROFILES["cold"])
    page_map = look.page_map(1.0)
    snapshots, _ = watch(look, 12, page_map=page_map)
    last = snapshots[-1]
    assert page_map is not None
    most = max(last.regions, key=lambda region: region.size)
    assert most.rate == pytest.approx(2.0, rel=0.2)


def test_huge_pages_are_watched_by_the_huge_page():
    look = ChargedLook(workload_named("huge", GIB, seed=1), PROFILES["cold"], seed=1)
    snapshots, _ = watch(look, 10)
    [area] = look.workload.areas
    hot = area.uses[1]
    assert hot_share(snapshots[-1], area.start + hot.start, hot.size) > 0.8


def test_memory_that_goes_and_comes_is_forgotten_and_explored():
    # The second half is another mapping from 5 s on, at other addresses, all of it hot.
    half, late = 256 * MIB, BASE + GIB
    first = Area(start=BASE, size=half, until_ns=5 * SECOND)
    then = Area(
        start=late, size=half, from_ns=4 * SECOND, uses=(Use(start=0, size=half, rate=100.0),)
    )
    look = ChargedLook(Workload("remapped", (first, then), 20.0), PROFILES["cold"], seed=1)
    snapshots, stats = watch(look, 8)
    assert stats["dropped"] > 0
    assert {region.start >= late for region in snapshots[-1].regions} == {True}
    assert hot_share(snapshots[-1], late, half) == 1
    assert min(region.rate for region in snapshots[-1].regions) > 20


def test_schemes_act_on_its_regions():
    clock = VirtualClock(1000 * MS)
    look = SimOps(fixed(16 * MIB, ((4 * MIB, 2 * MIB),)), clock)
    cold = Scheme(Action.PAGEOUT, Pattern(access=Access(0, 0), age=Age(500_000, 1 << 40, "us")))
    with isotherm.monitor(
        ops=look, policy="sentinels", clock=clock, overhead="1%", schemes=[cold], seed=1
    ) as session:
        snapshots = list(session.snapshots("2s"))
    assert look.resident_bytes(0) < 4 * MIB
    assert snapshots[-1].columns.rate is not None
    assert len(snapshots[-1].columns.rate) == len(snapshots[-1].regions)


def test_windows_are_what_the_share_can_pay():
    windows = {share: recommended(Attrs(), share).aggr_us for share in (0.001, 0.003, 0.01, 0.2)}
    assert windows == {0.001: 1_500_000, 0.003: 500_000, 0.01: 150_000, 0.2: 100_000}


def test_a_look_without_a_bulk_face_is_refused():
    with pytest.raises(NotSupportedError, match="has no clumps"):
        Monitor(Blind(), policy="sentinels")


def test_a_page_that_was_used_soon_after_its_first_clear_is_asked_again_at_once():
    """Single pages, as page_idle clears them: 64 MiB in a terabyte, used beside much else."""
    session, look = Simulation(
        workload=workload_named("spot64M", 1 << 40, seed=1),
        costs=PROFILES["page-idle"],
        wish=Wish(policy="sentinels"),
        overhead=0.01,
        seed=1,
    ).start()
    with session:
        *_, last = session.snapshots(4.5)
    assert judge(look, last).found_share > 0.8
