"""How small a hot spot a recording would have found."""

import pytest

from isotherm.analysis.smallest import Smallest, smallest_hot
from isotherm.backends.opening import Wish
from isotherm.backends.sim.judge import judge
from isotherm.backends.sim.workload import Area, Use, Workload
from isotherm.session.simulated import Simulation
from support.snapshots import MIB, page_use, snapshot, use_row

HALVES = [(0, 0, 32 * MIB, 0, 1, 0), (0, 32 * MIB, 64 * MIB, 3, 1, 0)]


def test_a_map_that_looked_at_all_pages_finds_one():
    use = page_use(use_row({0.2: MIB, 20: MIB}))
    assert smallest_hot(snapshot(0, HALVES), use) == Smallest(4096, "pages")
    blind = page_use(use_row({0.2: MIB}, uncovered=MIB))
    assert smallest_hot(snapshot(0, HALVES), blind) == Smallest(32 * MIB, "regions")


def test_places_are_so_far_apart_and_regions_so_large():
    assert smallest_hot(snapshot(0, HALVES), None) == Smallest(32 * MIB, "regions")
    drawn = snapshot(0, HALVES, explored=300)
    assert smallest_hot(drawn, None) == Smallest(round(3 * 64 * MIB / 300), "places")
    # Nothing smaller than a page, nothing larger than all.
    assert smallest_hot(snapshot(0, HALVES, explored=10**9), None) == Smallest(4096, "places")
    assert smallest_hot(snapshot(0, HALVES, explored=1), None) == Smallest(64 * MIB, "places")


def test_of_what_nobody_looked_at_nothing_is_said():
    assert smallest_hot(None, None) is None
    assert smallest_hot(snapshot(0, []), None) is None
    assert smallest_hot(snapshot(0, HALVES, explored=0), None) is None
    assert smallest_hot(snapshot(0, HALVES, shares=True), None) is None


def snapshots_of(size, start, length, seed):
    uses = (Use(start=0, size=size, rate=0.01), Use(start=start, size=length, rate=100.0))
    machine = Workload("spot", (Area(size=size, uses=uses),), 20.0)
    session, look = Simulation(
        workload=machine, wish=Wish(policy="sentinels"), overhead=0.003, seed=seed, beside=False
    ).start()
    with session:
        [*_, last] = session.snapshots("4s")
        return last, judge(look, last).found_share


@pytest.mark.parametrize("size", [256 * MIB, 4096 * MIB])
def test_sentinels_find_what_they_would_find(size):
    last, _ = snapshots_of(size, 0, MIB, 0)
    smallest = smallest_hot(last, None)
    assert smallest.by == "places"
    length = -(-smallest.bytes // MIB) * MIB
    places = [size * (2 * n + 1) // 17 // MIB * MIB for n in range(8)]
    found = [snapshots_of(size, start, length, n)[1] > 0.5 for n, start in enumerate(places)]
    # Of eight at 95 % more than one is missed in 1 of 20 sets; this one is the same every time.
    assert sum(found) >= 7
