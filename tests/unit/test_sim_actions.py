"""Actions on a simulated world: what goes stays away until it is touched."""

from array import array

import pytest

from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import BASE
from isotherm.backends.sim.world import HUGE_PAGE, Area, HotArea, Space, World
from isotherm.clock import VirtualClock
from isotherm.core.act import Done
from isotherm.core.look import Check, Samples
from isotherm.model.ranges import PAGE
from isotherm.model.scheme import Action, Filter, FilterType, Scheme

MS = 1_000_000
PAGES = 97
PAGEOUT, WILLNEED = Scheme(Action.PAGEOUT), Scheme(Action.WILLNEED)


def world(*hot, page_bytes=PAGE, pages=PAGES, **changes):
    area = Area(BASE, BASE + pages * page_bytes, page_bytes=page_bytes)
    return Space("one", **({"areas": (area,), "hot": hot} | changes))


@pytest.fixture
def opened():
    def make(space):
        clock = VirtualClock(1000 * MS)
        ops = SimOps(World((space,)), clock)
        ops.targets()
        clock.sleep_until(2000 * MS)
        return ops, clock

    return make


def act(ops, scheme, first=0, last=PAGES):
    return ops.act(scheme, 0, BASE + first * PAGE, BASE + last * PAGE, filtered=True)


def test_cold_memory_goes_once_and_hot_memory_stays(opened):
    ops, _ = opened(world(HotArea(BASE + 5 * PAGE, BASE + 12 * PAGE, 7 * MS)))
    assert act(ops, PAGEOUT) == Done((PAGES - 7) * PAGE)
    assert ops.resident_bytes(0) == 7 * PAGE
    assert act(ops, PAGEOUT) == Done()
    assert ops.targets()[0].target.resident_bytes == 7 * PAGE
    assert ops.refaulted_bytes(0) == 0


def test_a_touch_brings_back_and_counts(opened):
    late = HotArea(BASE + 5 * PAGE, BASE + 12 * PAGE, 7 * MS, from_ns=2500 * MS)
    ops, clock = opened(world(late))
    assert act(ops, PAGEOUT) == Done(PAGES * PAGE)
    samples = Samples(
        array("Q", [BASE + 6 * PAGE, BASE + 40 * PAGE]), array("I", [0, 0]), array("I", [0, 0])
    )
    ops.prepare(samples)
    clock.sleep_until(2400 * MS)
    assert list(ops.check()) == [Check.IDLE, Check.IDLE]
    ops.prepare(samples)
    clock.sleep_until(2600 * MS)
    assert list(ops.check()) == [Check.ACCESSED, Check.IDLE]
    assert ops.resident_bytes(0) == 7 * PAGE == ops.refaulted_bytes(0)


def test_willneed_brings_in(opened):
    ops, _ = opened(world())
    act(ops, PAGEOUT)
    assert act(ops, WILLNEED, 11, 42) == Done(31 * PAGE)
    assert ops.resident_bytes(0) == 31 * PAGE
    assert ops.refaulted_bytes(0) == 0


def test_huge_pages_go_by_their_middle_and_come_back_whole(opened):
    late = HotArea(BASE + HUGE_PAGE, BASE + HUGE_PAGE + PAGE, 7 * MS, from_ns=2500 * MS)
    ops, clock = opened(world(late, page_bytes=HUGE_PAGE, pages=5))
    assert act(ops, PAGEOUT, 256, 512 + 257) == Done(2 * HUGE_PAGE)
    assert act(ops, PAGEOUT, 512, 512 + 256) == Done()
    clock.sleep_until(2600 * MS)
    assert ops.resident_bytes(0) == 4 * HUGE_PAGE
    assert ops.refaulted_bytes(0) == HUGE_PAGE


def test_what_ends_is_forgotten(opened):
    ops, clock = opened(
        world(areas=(Area(BASE, BASE + PAGES * PAGE), Area(0, 23 * PAGE, until_ns=2500 * MS)))
    )
    assert ops.act(PAGEOUT, 0, 0, 23 * PAGE, filtered=True) == Done(23 * PAGE)
    clock.sleep_until(2600 * MS)
    assert ops.resident_bytes(0) == PAGES * PAGE
    assert ops.refaulted_bytes(0) == 0


def test_what_cannot_be_simulated_is_said(opened):
    ops, _ = opened(world())
    assert ops.why_not(PAGEOUT) == ops.why_not(Scheme(Action.STAT)) == ""
    assert "cold" in ops.why_not(Scheme(Action.COLD))
    assert "anon" in ops.why_not(Scheme(Action.PAGEOUT, filters=(Filter(FilterType.ANON),)))
    own = Scheme(Action.STAT, own=lambda target, start, end: target + end - start)
    assert ops.why_not(own) == ""
    assert act(ops, own, 3, 10) == Done(7 * PAGE)
