"""A simulated machine that charges: what costs what, who is told of it, workloads by name."""

from array import array
from math import sqrt

import pytest

from isotherm import _core
from isotherm.backends.sim.charged import ChargedLook
from isotherm.backends.sim.costs import PROFILES, Costs, costs_named
from isotherm.backends.sim.patterns import LARGEST, RECIPES, SMALLEST, workload_named
from isotherm.backends.sim.workload import BASE, FOREVER, SECOND, Area, Use, Workload
from isotherm.core.monitor import Monitor
from isotherm.core.overhead import Governor
from isotherm.errors import BadValueError
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import PAGE
from isotherm.session.simulated import Simulation

MIB, TABLE = 1 << 20, 2 << 20
COLD = PROFILES["cold"]


def look_at(*areas, costs=COLD, **options):
    return ChargedLook(Workload("own", areas, 20.0), costs, **options)


def idle(size=64 * MIB, **options):
    return look_at(Area(size=size), **options)


def cost_of(look, act):
    before = look.clock.cpu_ns()
    act()
    return look.clock.cpu_ns() - before


@pytest.mark.parametrize(("pages", "ns"), [(1, 120), (16, 135), (64, 135 + round(615 * 48 / 496))])
def test_a_read_of_side_by_side_entries_costs_by_their_number(pages, ns):
    look = idle()
    assert abs(cost_of(look, lambda: look.world.peek(0, BASE, pages)) - ns) <= 1


def test_tables_are_read_for_their_price_each():
    look = idle()
    assert cost_of(look, lambda: look.world.read(0, BASE, BASE + 10 * TABLE)) == 7_500


def test_where_nothing_is_mapped_entries_of_the_level_above_are_read():
    look = idle(size=TABLE)
    beyond = BASE + 100 * TABLE
    assert cost_of(look, lambda: look.world.read(0, beyond, beyond + TABLE)) == 120


def test_a_table_of_huge_pages_is_one_entry_each():
    look = look_at(Area(size=64 * MIB, huge=True))
    assert cost_of(look, lambda: look.world.read(0, BASE, BASE + 16 * TABLE)) == 135
    assert (
        cost_of(look, lambda: look.world.clear(0, [(BASE, BASE + 16 * TABLE)])) == 8000 + 16 * 88
    )


def test_a_clear_costs_by_range_and_page_and_less_where_nothing_was_young():
    look = idle()
    clump, table = [(BASE, BASE + 16 * PAGE)], [(BASE + TABLE, BASE + 2 * TABLE)]
    assert cost_of(look, lambda: look.world.clear(0, clump)) == 8000 + 16 * 88
    assert cost_of(look, lambda: look.world.clear(0, clump)) == 500 + 16 * 88
    assert cost_of(look, lambda: look.world.clear(0, table)) == 8000 + 512 * 88
    # All at once: the fixed part once, 23 ms a GiB.
    half = [(BASE + 2 * TABLE, BASE + 18 * TABLE)]
    assert cost_of(look, lambda: look.world.clear(0, half)) == 8000 + 16 * 512 * 88
    assert look.world.stats()["clears"] == 16 + 512 + 16 * 512
    assert look.cleared() == 16 + 512 + 16 * 512
    assert look.cleared() == 0


def test_what_was_cleared_stays_cleared_around_what_is_cleared_again():
    look = idle(size=TABLE)
    for start, end in ((100, 200), (120, 130), (90, 105), (190, 210), (300, 400), (150, 350)):
        look.world.clear(0, [(BASE + start * PAGE, BASE + end * PAGE)])
    states = look.world.read(0, BASE, BASE + TABLE)
    assert states == b"\2" * 90 + b"\1" * 310 + b"\2" * 112


def test_a_sweep_uses_each_page_once_and_in_order():
    """100 pages a second: cleared behind the sweep, a page stays old until the next one."""
    sweep = Use(start=0, size=100 * PAGE, rate=1.0, order="sweep")
    look = look_at(Area(size=100 * PAGE, uses=(sweep,)), costs=Costs(*[0.0] * 6))
    everything = [(BASE, BASE + 100 * PAGE)]
    look.world.clear(0, everything)
    for step in range(1, 21):
        look.clock.sleep_until(step * SECOND // 10 + SECOND // 1000)
        states = look.world.read(0, BASE, BASE + 100 * PAGE)
        used = [page for page, state in enumerate(states) if state == 2]
        # The page at the moment itself is used already, at first those from 0 on.
        begin = (step - 1) * 10 + (step > 1)
        assert used == sorted(page % 100 for page in range(begin, step * 10 + 1))
        look.world.clear(0, everything)


def test_the_clock_goes_on_by_what_is_spent():
    look = idle()
    look.clock.sleep_until(5 * SECOND)
    look.world.clear(0, [(BASE, BASE + TABLE)])
    assert look.clock.now_ns() == 5 * SECOND + look.clock.cpu_ns()
    assert look.clock.sleep_until(5 * SECOND) == look.clock.cpu_ns()


def test_less_than_a_nanosecond_adds_up():
    look = idle()
    for _ in range(1000):
        look.world.charge(0.25)
    assert look.clock.cpu_ns() == 250


def test_waking_up_costs_what_it_is_said_to():
    look = idle(costs=costs_named("cold,wake=30"))
    look.clock.sleep_until(SECOND)
    assert look.clock.cpu_ns() == 30_000
    look.clock.sleep_until(SECOND)  # no sleep, no waking up
    assert look.clock.cpu_ns() == 30_000


def batch(*addresses):
    count = len(addresses)
    return array("Q", addresses), array("I", [0] * count), array("I", [0] * count)


NOTHING = array("Q"), array("I"), array("I")


def test_samples_cost_a_read_each_turn_and_a_clear_where_young():
    look = idle()
    places = [BASE + i * TABLE for i in range(4)]
    assert cost_of(look, lambda: look.world.turn(*batch(*places))) == 4 * 120 + 4 * 8088
    assert cost_of(look, lambda: look.world.turn(*batch(*places))) == 8 * 120
    assert cost_of(look, lambda: look.world.turn(*NOTHING)) == 4 * 120


def test_the_budget_of_clears_binds_and_the_rest_is_missed():
    """1 % of a CPU for 10 s is 100 ms, of which a quarter is always for clears."""
    look = idle(size=1 << 30, overhead=0.01)
    attrs = Attrs(min_nr_regions=50, max_nr_regions=50)
    with Monitor(look, attrs, clock=look.clock, seed=1) as monitor:
        taken = list(monitor.snapshots(10 * SECOND))
    spent = look.clock.cpu_ns()
    reads = 2 * sum(snapshot.cost.checks for snapshot in taken) * 120
    clears = sum(snapshot.cost.cleared for snapshot in taken)
    assert sum(snapshot.cost.missed for snapshot in taken) > 0
    assert spent == pytest.approx(reads + 8088 * clears, rel=0.01)
    assert spent < 1.1 * 0.01 * 10 * SECOND
    # What a window cost is said in simulated time.
    assert sum(snapshot.cost.cpu_ns for snapshot in taken) == pytest.approx(spent, rel=0.01)


def test_without_a_bound_every_young_page_is_cleared():
    look = idle(size=1 << 30)
    attrs = Attrs(min_nr_regions=50, max_nr_regions=50)
    with Monitor(look, attrs, clock=look.clock, seed=1) as monitor:
        taken = list(monitor.snapshots(SECOND))
    assert sum(snapshot.cost.missed for snapshot in taken) == 0


def test_the_governor_stretches_intervals_for_costs_of_the_model():
    look = idle(size=1 << 30, overhead=0.001)
    attrs = Attrs(min_nr_regions=100)
    monitor = Monitor(look, attrs, clock=look.clock, seed=1, governor=Governor(0.001, attrs))
    with monitor:
        cpu_ns, spent = 0, []
        for snapshot in monitor.snapshots(30 * SECOND):
            monitor.charge(snapshot, look.clock.cpu_ns() - cpu_ns)
            cpu_ns = look.clock.cpu_ns()
            spent.append((look.clock.now_ns(), cpu_ns))
        assert monitor.attrs.sample_us > 5000
    (began, before), (ended, after) = next(row for row in spent if row[0] > 20 * SECOND), spent[-1]
    assert (after - before) / (ended - began) < 0.0015


def test_the_map_of_pages_keeps_to_its_share_of_simulated_cpu():
    look = look_at(Area(size=1 << 30, uses=(Use(start=0, size=32 * MIB, rate=100.0),)))
    page_map = look.page_map(0.01, alone=True)
    with Monitor(look, policy="map", clock=look.clock, seed=1, page_map=page_map) as monitor:
        uses = [s.page_use for s in monitor.snapshots(20 * SECOND) if s.page_use is not None]
    assert 0.001 < look.clock.cpu_ns() / (20 * SECOND) < 0.011
    second = uses[-1].windows_ns.index(SECOND)
    rows = uses[-1].rows
    low, high = (
        sum(column)
        for column in zip(
            *((row.used_low[second], row.used_high[second]) for row in rows), strict=True
        )
    )
    assert low <= 32 * MIB <= high
    assert sum(row.resident for row in rows) == 1 << 30


def test_the_map_is_told_what_samples_clear():
    """Hot pages stay used for the map whoever clears them, as on a real machine."""
    look = look_at(Area(size=64 * MIB, uses=(Use(start=0, size=16 * MIB, rate=100.0),)))
    page_map = look.page_map(0.5)
    with Monitor(look, clock=look.clock, seed=1, page_map=page_map) as monitor:
        uses = [s.page_use for s in monitor.snapshots(10 * SECOND) if s.page_use is not None]
    second = uses[-1].windows_ns.index(SECOND)
    idle_bytes = sum(row.idle[second] for row in uses[-1].rows)
    assert idle_bytes == 48 * MIB


def test_the_same_seed_gives_the_same_run():
    def run(seed):
        workload = workload_named("births", 1 << 30, seed=seed)
        look = ChargedLook(workload, COLD, seed=seed, overhead=0.01)
        with Monitor(look, clock=look.clock, seed=seed) as monitor:
            return [snapshot.columns for snapshot in monitor.snapshots(2 * SECOND)]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_pages_are_used_as_often_as_the_truth_says():
    """Within four standard deviations, of pages that are drawn: the hashes are random enough."""
    size = 32 * MIB
    uses = (
        Use(start=0, size=size, rate=0.3),
        Use(start=0, size=size // 2, rate=2.0, unit=1, group=4, levels=2, gain=3.0),
    )
    look = look_at(Area(size=size, uses=uses))
    look.world.clear(0, [(BASE, BASE + size)])
    since = look.clock.now_ns()
    for seconds in (0.1, 0.5, 1, 4):
        look.clock.sleep_until(since + round(seconds * SECOND))
        now = look.clock.now_ns()
        young = look.world.read(0, BASE, BASE + size).count(2)
        truth = look.world.truth(array("Q", [0, BASE, BASE + size]), since, now, 1.0)[1] / PAGE
        assert abs(young - truth) < 4 * sqrt(truth), (seconds, young, truth)


def test_a_huge_page_is_used_when_any_of_its_pages_is():
    size = 4 << 30
    use = Use(start=0, size=size, rate=0.001)
    look = look_at(Area(size=size, huge=True, uses=(use,)))
    look.world.clear(0, [(BASE, BASE + size)])
    look.clock.sleep_until(look.clock.now_ns() + SECOND)
    used = look.world.read(0, BASE, BASE + size).count(2) // 512
    # 512 pages of 0.001 uses a second: 1 - exp(-0.512) of the huge pages.
    assert abs(used - 0.4007 * 2048) < 4 * sqrt(2048 * 0.4 * 0.6)


def test_a_process_ends_with_its_memory():
    areas = (
        Area(process=0, size=TABLE, until_ns=SECOND),
        Area(process=1, size=TABLE, until_ns=2 * SECOND),
    )
    look = look_at(*areas)
    assert [found.target.id for found in look.targets()] == [0, 1]
    look.clock.sleep_until(SECOND)
    assert [found.target.id for found in look.targets()] == [1]
    # The first target is the second process from here on.
    assert look.world.read(0, BASE, BASE + PAGE) == b"\2"
    look.clock.sleep_until(2 * SECOND)
    assert not look.alive()
    assert look.targets() == []


def test_memory_mapped_again_is_young_again():
    areas = (
        Area(size=TABLE, until_ns=2 * SECOND),
        Area(size=TABLE, from_ns=3 * SECOND),
    )
    look = look_at(*areas)
    look.world.clear(0, [(BASE, BASE + TABLE)])
    assert set(look.world.read(0, BASE, BASE + TABLE)) == {1}
    look.clock.sleep_until(2 * SECOND + SECOND // 2)
    assert set(look.world.read(0, BASE, BASE + TABLE)) == {0}
    assert look.alive()
    look.clock.sleep_until(3 * SECOND)
    assert set(look.world.read(0, BASE, BASE + TABLE)) == {2}


def test_shared_memory_has_one_accessed_bit():
    areas = (
        Area(process=0, size=TABLE, name="/srv/data"),
        Area(process=1, start=BASE + TABLE, size=TABLE, name="/srv/data", shows=0),
    )
    look = look_at(*areas)
    look.world.clear(0, [(BASE, BASE + 16 * PAGE)])
    states = look.world.read(1, BASE + TABLE, BASE + 2 * TABLE)
    assert states == b"\1" * 16 + b"\2" * 496
    assert {m.permissions for found in look.targets() for m in found.mappings} == {"rw-s"}


@pytest.mark.parametrize(
    "text", ["", "warm", "cold,", "cold,wake", "cold,wake=x", "cold,wake=-1", "cold,wake=nan",
             "cold,sleep=1", "cold,clear=1e9"],
)  # fmt: skip
def test_costs_that_make_no_sense_are_refused(text):
    with pytest.raises(BadValueError):
        costs_named(text)


def test_costs_are_a_profile_and_what_differs():
    assert costs_named("bare,wake=30,clear=5") == Costs(clear=5.0, clear_page=0.05, wake=30.0)


@pytest.mark.parametrize(
    "areas",
    [
        (Area(size=PAGE + 1),),
        (Area(size=0),),
        (Area(start=BASE + PAGE, size=TABLE, huge=True),),
        (Area(size=TABLE), Area(start=BASE + PAGE, size=TABLE)),
        (Area(size=TABLE), Area(size=TABLE, from_ns=SECOND)),
        (Area(size=TABLE, uses=(Use(start=0, size=0, rate=1.0),)),),
        (Area(size=TABLE, uses=(Use(start=0, size=PAGE, rate=-1.0),)),),
        (Area(size=TABLE, uses=(Use(start=0, size=PAGE, rate=float("nan")),)),),
        (Area(size=TABLE, uses=(Use(start=0, size=PAGE, rate=1.0, from_ns=5, until_ns=5),)),),
        (Area(size=TABLE, uses=(Use(start=0, size=PAGE, rate=1.0, levels=2),)),),
    ],
)
def test_what_does_not_fit_together_is_refused(areas):
    with pytest.raises(BadValueError):
        Workload("own", areas, 1.0).world(COLD)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("size", [SMALLEST, 3 << 30, LARGEST])
def test_every_workload_can_be_made_of_any_size(name, size):
    workload = workload_named(name, size, seed=5)
    world = workload.world(COLD, seed=5)
    everything = array("Q", [word for p in range(workload.processes) for word in (p, 0, 1 << 55)])
    at = [round(seconds * SECOND) for seconds in (1, 4, 9, 13, 29)]
    hot = [
        sum(world.truth(everything, now - SECOND // 10, now, workload.hot_rate)[::3]) for now in at
    ]
    assert all(part <= workload.size_at(now) for part, now in zip(hot, at, strict=True))
    wanted = {"cold": 0.0, "uniform": 1.0}.get(name)
    if wanted is not None:
        assert hot == [wanted * workload.size_at(now) for now in at]
    elif name != "bursts":
        assert all(part > 0 for part in hot), hot
    assert list(workload.changes_ns) == sorted(workload.changes_ns)
    assert all(area.until_ns <= FOREVER for area in workload.areas)


def test_a_name_or_a_size_that_there_is_not_is_refused():
    with pytest.raises(BadValueError, match="hotspott"):
        workload_named("hotspott", 1 << 30)
    with pytest.raises(BadValueError):
        workload_named("hotspot", SMALLEST - 1)


def test_a_world_is_not_given_two_maps():
    look = idle()
    first = look.page_map(0.01)
    with pytest.raises(ValueError, match="has a map"):
        look.page_map(0.01)
    first.close()
    look.page_map(0.01).close()


def test_numbers_of_a_world_are_checked():
    world = idle().world
    for call in (
        lambda: world.read(0, BASE + 1, BASE + PAGE),
        lambda: world.clear(0, [(BASE, BASE)]),
        lambda: world.peek(0, BASE, 65),
        lambda: world.charge(-1.0),
        lambda: world.truth(array("Q", [0, BASE, BASE + PAGE]), 5, 5, 1.0),
    ):
        with pytest.raises(ValueError):
            call()
    assert world.read(7, BASE, BASE + PAGE) == b"\0"
    assert isinstance(world, _core.SimWorld)


@pytest.mark.parametrize(("size", "begins"), [(8 << 30, True), (256 << 30, False)])
def test_regions_and_a_map_keep_to_their_share_however_large_memory_is(size, begins):
    """A first look that takes seconds has a share of its own; one that takes minutes has none."""
    workload = workload_named("phases", size, seed=3)
    session, _ = Simulation(workload=workload, overhead=0.01, seed=3).start()
    with session:
        # The last one sums up once more what the map knows, whatever that costs.
        *taken, _ = session.snapshots(12.0)
    begin = taken[0].monotonic_ns
    first = [one for one in taken if one.monotonic_ns - begin < 2 * SECOND]
    later = [one for one in taken if one.monotonic_ns - begin > 6 * SECOND]
    assert (share_of(first) > 0.05) == begins
    assert share_of(later) < 0.0125


def share_of(snapshots):
    spent = sum(one.cost.cpu_ns for one in snapshots)
    return spent / sum(one.end_ns - one.start_ns for one in snapshots)
