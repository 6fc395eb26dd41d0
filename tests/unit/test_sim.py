from array import array

import pytest

from isotherm.backends.sim import workloads
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.world import HUGE_PAGE, Area, HotArea, Space, World
from isotherm.clock import VirtualClock
from isotherm.core.look import WAS_YOUNG, Check, Samples
from isotherm.errors import BadValueError
from isotherm.model.ranges import PAGE, Range

MS = 1_000_000
BASE = workloads.BASE


def samples(*addresses, targets=None, checked=None):
    return Samples(
        array("Q", addresses),
        array("I", targets or [0] * len(addresses)),
        array("I", checked or [0] * len(addresses)),
    )


def tick(ops, clock, batch, length_ns=5 * MS):
    ops.prepare(batch)
    clock.sleep_until(clock.now_ns() + length_ns)
    return list(ops.check())


def small(**changes):
    """Eight pages, of which pages 2 and 3 are in use."""
    options = {"areas": (Area(BASE, BASE + 8 * PAGE),)}
    hot = (HotArea(BASE + 2 * PAGE, BASE + 4 * PAGE, 2 * MS),)
    return Space("small", **(options | {"hot": hot} | changes))


def opened(*spaces, **options):
    clock = VirtualClock(1000 * MS)
    ops = SimOps(World(spaces), clock, **options)
    ops.targets()
    return ops, clock


def test_hot_pages_are_accessed_and_holes_are_not():
    ops, clock = opened(small())
    batch = samples(*(BASE + page * PAGE + 123 for page in range(10)))
    assert tick(ops, clock, batch) == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert ops.cleared() == 8  # every page was young from its creation
    assert tick(ops, clock, batch) == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert ops.cleared() == 2
    assert ops.cleared() == 0


def test_a_huge_page_has_one_bit():
    area = Area(BASE, BASE + 2 * HUGE_PAGE, page_bytes=HUGE_PAGE)
    ops, clock = opened(small(areas=(area,)))
    assert tick(ops, clock, samples(BASE + HUGE_PAGE - 1, BASE + HUGE_PAGE)) == [1, 0]


def test_hidden_memory_is_not_observable():
    areas = (Area(BASE, BASE + 4 * PAGE), Area(BASE + 4 * PAGE, BASE + 8 * PAGE, hidden="device"))
    ops, clock = opened(small(areas=areas))
    (target,) = ops.targets()
    assert target.ranges == (Range(BASE, BASE + 4 * PAGE),)
    assert [(u.start, u.reason) for u in target.unobservable] == [(BASE + 4 * PAGE, "device")]
    assert tick(ops, clock, samples(BASE + 2 * PAGE, BASE + 5 * PAGE)) == [
        Check.ACCESSED,
        Check.UNOBSERVABLE,
    ]


def test_beyond_the_budget_young_pages_are_missed_and_the_least_checked_come_first():
    ops, clock = opened(small(), clears_per_tick=1)
    batch = samples(BASE + 2 * PAGE, BASE + 3 * PAGE, BASE + 6 * PAGE, checked=[5, 4, 7])
    assert tick(ops, clock, batch) == [Check.MISSED, Check.ACCESSED | WAS_YOUNG, Check.MISSED]
    batch = samples(BASE + 2 * PAGE, BASE + 3 * PAGE, BASE + 6 * PAGE, checked=[5, 5, 4])
    assert tick(ops, clock, batch) == [Check.MISSED, Check.MISSED, Check.IDLE | WAS_YOUNG]
    # An old page needs no clearing, and costs no budget.
    batch = samples(BASE + 2 * PAGE, BASE + 6 * PAGE)
    assert tick(ops, clock, batch) == [Check.ACCESSED | WAS_YOUNG, Check.IDLE]
    assert ops.cleared() == 3


def test_areas_and_spaces_come_and_go():
    begin = 1000 * MS
    areas = (
        Area(BASE, BASE + 8 * PAGE, until_ns=begin + 7 * MS),
        Area(BASE + 16 * PAGE, BASE + 17 * PAGE, from_ns=begin + 7 * MS),
    )
    ops, clock = opened(small(areas=areas), small(until_ns=begin + 13 * MS))
    batch = samples(BASE + 2 * PAGE, BASE + 2 * PAGE, targets=[0, 1])
    assert tick(ops, clock, batch) == [1, 1]
    assert tick(ops, clock, batch) == [1, 1]
    assert tick(ops, clock, batch) == [0, 1]  # space 1 lived for 3 ms of it, touched after 2
    assert [t.target.id for t in ops.targets()] == [0]
    assert ops.targets()[0].ranges == (Range(BASE + 16 * PAGE, BASE + 17 * PAGE),)
    assert ops.alive()


def test_a_world_ends():
    ops, clock = opened(small(until_ns=1005 * MS))
    assert ops.alive()
    clock.sleep_until(1005 * MS)
    assert not ops.alive()
    assert ops.targets() == []


def test_nonsense_is_refused():
    with pytest.raises(BadValueError, match="not made of pages"):
        HotArea(BASE, BASE + 1, MS)
    with pytest.raises(BadValueError, match="overlap"):
        Space("s", (Area(0, 2 * PAGE), Area(PAGE, 3 * PAGE)))
    with pytest.raises(BadValueError, match="whole pages"):
        Area(0, PAGE, page_bytes=HUGE_PAGE)


def test_workloads_are_the_same_for_a_seed_and_have_the_size_asked_for():
    world = workloads.scattered(4 << 30, 16, 4 << 20, seed=3)
    assert world == workloads.scattered(4 << 30, 16, 4 << 20, seed=3)
    assert world != workloads.scattered(4 << 30, 16, 4 << 20, seed=4)
    truth = world.spaces[0].truth(0, 10 * MS)
    assert sum(r.size for r in truth) == 64 << 20

    world = workloads.moving(1 << 30, 64 << 20, 1000 * MS, 5, seed=1)
    places = [world.spaces[0].truth(t * 1000 * MS, t * 1000 * MS + 900 * MS) for t in range(5)]
    assert all(sum(r.size for r in place) == 64 << 20 for place in places)
    assert len({tuple(place) for place in places}) == 5
