"""The policy "map", over the bulk face of a simulated world: regions are what the map knows."""

from dataclasses import replace
from itertools import islice

import pytest

import isotherm
from isotherm.backends.opening import Wish
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.patterns import workload_named
from isotherm.backends.sim.workloads import BASE, MIB, MS, fixed
from isotherm.clock import VirtualClock
from isotherm.core.map_policy import _Before, _region
from isotherm.core.monitor import Monitor
from isotherm.core.native_map import NativePageMap
from isotherm.core.page_map import Run
from isotherm.core.region_list import ListedRegion, RegionList, cut_after
from isotherm.errors import NotSupportedError
from isotherm.model.page_use import summed
from isotherm.model.scheme import Access, Action, Age, Pattern, Scheme
from isotherm.model.target import Mapping
from isotherm.session.options import Options
from isotherm.session.simulated import Simulation
from isotherm.session.start import start

TOTAL = 12 * MIB
HOT = (4 * MIB, 2 * MIB)
#: The simulated world is slow to ask: what a second of it costs is no matter here.
PLENTY = "6400%"


def watch(duration, *, world=None, **asked):
    clock = VirtualClock(1000 * MS)
    look = SimOps(world or fixed(TOTAL, (HOT,)), clock)
    with isotherm.monitor(
        ops=look, policy="map", clock=clock, overhead=PLENTY, **asked
    ) as session:
        return list(session.snapshots(duration)), look


def test_regions_are_what_is_used_and_what_is_not():
    snapshots, _ = watch("5s")
    last = snapshots[-1]
    used = [region for region in last.regions if region.nr_accesses]
    assert (used[0].start, used[-1].end) == (BASE + HOT[0], BASE + sum(HOT))
    # Everything in them is used in every sampling interval.
    assert {region.nr_accesses for region in used} == {last.max_nr_accesses}
    assert last.working_set_bytes == HOT[1]
    assert sum(region.size for region in last.regions) == TOTAL
    assert last.cost.checks == 0


def test_ages_count_windows_without_a_change():
    snapshots, _ = watch("5s")
    ages = [{region.age for region in snapshot.regions} for snapshot in snapshots]
    assert ages == [{0}, {1}, {2}, {3}, {4}]


def test_windows_are_of_lengths_that_a_map_can_tell():
    snapshots, _ = watch("3s")
    assert {(s.sample_us, s.aggr_us) for s in snapshots} == {(100_000, 1_000_000)}
    asked, _ = watch("3s", sample="200ms", aggr="1s")
    assert {(s.sample_us, s.aggr_us) for s in asked} == {(200_000, 1_000_000)}


@pytest.mark.parametrize("bounds", [(3, 5), (10, 100), (40, 50)])
def test_bounds_of_the_number_hold(bounds):
    snapshots, _ = watch("3s", regions=bounds)
    for snapshot in snapshots:
        assert bounds[0] <= len(snapshot.regions) <= bounds[1]
        assert sum(region.size for region in snapshot.regions) == TOTAL
        assert snapshot.working_set_bytes == HOT[1]


def test_what_was_used_a_little_is_not_idle():
    # One page of 8 MiB: too little for a share, and yet not nothing.
    snapshots, _ = watch("4s", world=fixed(8 * MIB, ((4 * MIB, 4096),)))
    counts = {region.nr_accesses for region in snapshots[-1].regions if region.used}
    assert counts == {1}
    assert snapshots[-1].working_set_bytes == 4096


def test_schemes_act_on_its_regions():
    cold = Scheme(Action.PAGEOUT, Pattern(access=Access(0, 0), age=Age(2_000_000, 1 << 40, "us")))
    snapshots, look = watch("8s", schemes=[cold])
    assert look.resident_bytes(0) == HOT[1]
    # What is not in memory is in no region.
    assert sum(region.size for region in snapshots[-1].regions) < TOTAL


class NoBulk(SimOps):
    name = "plain"

    def bulk(self):
        return None


def test_without_a_map_it_says_so():
    clock = VirtualClock()
    look = NoBulk(fixed(TOTAL, (HOT,)), clock)
    with pytest.raises(NotSupportedError, match="backend plain has no map of pages"):
        isotherm.monitor(ops=look, policy="map", clock=clock)


def test_parts_of_a_region_have_together_what_it_had():
    region = ListedRegion(0, 0, 10 * 4096, count=3, age=7, unobservable=4099, used=8193)
    table = RegionList()
    table.ids, table.regions = [5], [replace(region)]
    table.cut(0, 3 * 4096)
    parts = table.regions
    assert [part.size for part in parts] == [3 * 4096, 7 * 4096]
    assert sum(part.unobservable for part in parts) == 4099
    assert sum(part.used for part in parts) == 8193
    assert table.spans() == [(0, 2)]
    table.rejoin(10 * 4096)
    assert table.regions == [region]
    assert cut_after(region, 4096)[1].start == 4096


def test_beside_another_policy_regions_tell_what_was_used_of_them():
    clock = VirtualClock(1000 * MS)
    look = SimOps(fixed(TOTAL, (HOT,)), clock)
    pages = NativePageMap(look.bulk(), clock, share=64)
    with Monitor(look, clock=clock, seed=1, page_map=pages) as monitor:
        snapshots = list(islice(monitor.snapshots(), 60))
    assert all(one.columns.used is not None for one in snapshots)
    last = snapshots[-1]
    assert sum(region.used for region in last.regions) == HOT[1]
    for region in last.regions:
        inside = min(region.end, BASE + sum(HOT)) - max(region.start, BASE + HOT[0])
        assert region.used == max(0, inside)


def test_sums_can_do_without_the_names_of_mappings():
    halves = [
        Mapping(BASE, BASE + TOTAL // 2, "rw-p", "[heap]"),
        Mapping(BASE + TOTAL // 2, BASE + TOTAL, "rw-p", "[anon:arena]"),
    ]
    found = []
    for titles in (True, False):
        clock = VirtualClock(1000 * MS)
        look = SimOps(fixed(TOTAL, (HOT,)), clock)
        made = NativePageMap(look.bulk(), clock, share=64.0, titles=titles)
        made.update([replace(known, mappings=halves) for known in look.targets()])
        while not made.covered() or clock.now_ns() < 3000 * MS:
            clock.sleep_until(made.step())
        found.append(made.sum())
        made.close()
    named, plain = found
    assert {row.what for row in named.rows} == {"[heap]", "[anon:arena]"}
    (row,) = plain.rows
    assert row == summed(named.rows)


def test_schemes_may_come_where_there_were_none():
    clock = VirtualClock(1000 * MS)
    look = SimOps(fixed(TOTAL, (HOT,)), clock)
    schemes = (Scheme(Action.STAT, Pattern()),)
    found = []
    with start(Options(look=look, clock=clock, schemes_later=True)) as session:
        for snapshot in session.snapshots("1s"):
            if not found:
                session.monitor.commit(None, schemes)
            found.append(sum(state.stats.sz_tried for state in snapshot.schemes))
    assert found[0] == 0
    assert found[-1] > 0


def test_when_all_was_looked_at_once_that_is_told_whatever_a_sum_costs():
    clock = VirtualClock(1000 * MS)
    look = SimOps(fixed(TOTAL, (HOT,)), clock)
    made = NativePageMap(look.bulk(), clock, share=64.0)
    made.update(look.targets())
    clock.sleep_until(2000 * MS)
    first = made.take()
    assert first is None or first.uncovered == first.resident
    made._sum_due_ns = 10**15
    while not made.covered():
        clock.sleep_until(made.step())
    told = made.take()
    assert told is not None
    assert (told.resident, told.uncovered) == (TOTAL, 0)
    made._sum_due_ns = 10**15
    assert made.take() is None
    made.close()


def test_rates_are_as_fine_as_the_map_knows_them():
    run = Run(BASE, BASE + 100 * 4096, 100 * 4096, 0, 3 * 4096, 40 * 4096)
    region = _region(0, run, 10, _Before(RegionList()))
    assert (region.count, region.share) == (1, 0.03)  # not a whole sample of ten


def test_while_clears_cannot_be_paid_nobody_is_woken_for_them(monkeypatch):
    """Half of 256 MiB used again and again is more than 0.1 % of a CPU can clear each second."""
    steps = []
    step = NativePageMap.step
    monkeypatch.setattr(NativePageMap, "step", lambda self: steps.append(1) or step(self))
    session, _ = Simulation(
        workload=workload_named("zipf", 256 * MIB, seed=1),
        wish=Wish(policy="map"),
        overhead=0.001,
        seed=1,
    ).start()
    with session:
        seconds = sum(1 for _ in session.snapshots("30s"))
    assert seconds >= 29
    assert len(steps) < 30 * seconds
