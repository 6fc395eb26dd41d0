"""The bulk face of the simulator: whole stretches, on the same accessed bits as samples."""

from array import array

import pytest

from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import BASE, MS
from isotherm.backends.sim.world import HUGE_PAGE, Area, HotArea, Space, World
from isotherm.clock import VirtualClock
from isotherm.core.look import Check, PageState, Samples
from isotherm.core.ops import Ops
from isotherm.model.ranges import PAGE
from isotherm.model.scheme import Action, Scheme

ABSENT, OLD, YOUNG, UNOBSERVABLE = map(bytes, ([0], [1], [2], [3]))
PAGES, HOT = 97, (30, 23)
END = BASE + PAGES * PAGE


def page(number):
    return BASE + number * PAGE


@pytest.fixture
def world():
    """97 pages of which 23 from the 30th on are in use; a gap of 3, and 7 hidden pages."""
    hot = HotArea(page(HOT[0]), page(sum(HOT)), 10 * MS, "together")
    areas = (Area(BASE, END), Area(page(100), page(107), hidden="hugetlb pages"))
    clock = VirtualClock(1000 * MS)
    look = SimOps(World((Space("s", areas, (hot,)),)), clock)
    look.targets()
    return look, look.bulk(), clock


def after(clock, ms):
    clock.sleep_until(clock.now_ns() + ms * MS)


def hot_and(rest):
    return rest * HOT[0] + YOUNG * HOT[1] + rest * (PAGES - sum(HOT))


def test_fresh_memory_is_young_and_gaps_and_hidden_memory_are_told_apart(world):
    _, bulk, _ = world
    assert bulk.read(0, BASE, page(110)) == (
        YOUNG * PAGES + ABSENT * 3 + UNOBSERVABLE * 7 + ABSENT * 3
    )


def test_what_is_used_after_a_clear_is_young_and_reading_clears_nothing(world):
    look, bulk, clock = world
    assert bulk.clear(0, [(BASE, page(110))]) == PAGES
    assert look.cleared() == PAGES
    assert bulk.read(0, BASE, END) == OLD * PAGES
    after(clock, 20)
    assert [bulk.read(0, BASE, END) for _ in range(2)] == [hot_and(OLD)] * 2
    assert bulk.read(0, page(29), page(32)) == OLD + YOUNG * 2


def test_only_what_is_inside_is_cleared(world):
    _, bulk, _ = world
    assert bulk.clear(0, [(page(5), page(7)), (page(6), page(11)), (page(90), END)]) == 13
    assert bulk.read(0, BASE, END) == (YOUNG * 5 + OLD * 6 + YOUNG * 79 + OLD * 7)
    assert bulk.clear(0, [(page(5), page(11))]) == 0


def sample(look, *numbers):
    zeros = array("I", [0] * len(numbers))
    look.prepare(Samples(array("Q", map(page, numbers)), zeros, zeros))


def test_samples_and_bulk_share_the_accessed_bits(world):
    """What one clears the other finds old; neither takes a use for none."""
    look, bulk, clock = world
    bulk.clear(0, [(BASE, END)])
    after(clock, 20)
    sample(look, 3, 31)  # clears page 31
    assert bulk.read(0, BASE, END)[3] == bulk.read(0, BASE, END)[31] == PageState.OLD
    bulk.clear(0, [(BASE, END)])
    after(clock, 20)
    assert bulk.read(0, BASE, END) == hot_and(OLD)
    assert bytes(look.check()) == bytes([Check.IDLE, Check.ACCESSED])


def test_what_is_paged_out_is_absent_until_it_is_used(world):
    look, bulk, clock = world
    after(clock, 20)
    out = Scheme(Action.PAGEOUT)
    look.act(out, 0, BASE, END, filtered=True)
    after(clock, 5)
    look.act(out, 0, BASE, END, filtered=True)  # pages not used between the rounds
    after(clock, 20)
    assert bulk.read(0, BASE, END) == hot_and(ABSENT)
    assert bulk.clear(0, [(BASE, END)]) == HOT[1]


def test_pages_of_a_huge_page_share_their_state():
    nr = HUGE_PAGE // PAGE
    hot = HotArea(BASE + 5 * PAGE, BASE + 6 * PAGE, 10 * MS)
    area = Area(BASE, BASE + 3 * HUGE_PAGE, page_bytes=HUGE_PAGE)
    clock = VirtualClock(1000 * MS)
    look = SimOps(World((Space("s", (area,), (hot,)),)), clock)
    look.targets()
    bulk = look.bulk()
    # The first is not wholly inside.
    assert bulk.clear(0, [(BASE + PAGE, area.end)]) == 2
    assert bulk.read(0, BASE, area.end) == YOUNG * nr + OLD * 2 * nr
    assert bulk.clear(0, [(BASE, area.end)]) == 1
    after(clock, 20)
    assert bulk.read(0, BASE + PAGE, BASE + HUGE_PAGE + PAGE) == YOUNG * (nr - 1) + OLD


def test_a_look_without_it_says_so():
    class Sampled(Ops):
        def prepare(self, addresses):
            """Nothing."""

        def check(self):
            return b""

    assert Sampled().bulk() is None


def test_a_sample_clears_the_page_of_its_own_space_after_another_one_ended():
    spaces = (
        Space("ends", (Area(BASE, page(8)),), (), until_ns=1001 * MS),
        Space("stays", (Area(BASE, page(8)),), ()),
    )
    clock = VirtualClock(1000 * MS)
    look = SimOps(World(spaces), clock)
    look.targets()
    after(clock, 10)
    assert len(look.targets()) == 1
    look.prepare(Samples(array("Q", [page(3)]), array("I", [0]), array("I", [0])))
    assert look.bulk().read(0, BASE, page(8)) == YOUNG * 3 + OLD + YOUNG * 4


def test_a_map_is_told_what_samples_clear():
    clock = VirtualClock(1000 * MS)
    used = HotArea(page(3), page(4), 10_000 * MS, "together", phase_ns=1500 * MS)
    look = SimOps(World((Space("s", (Area(BASE, page(8)),), (used,)),)), clock)
    made = look.page_map()
    made.update(look.targets())
    for ms in (10, 10, 10, 370):
        after(clock, ms)
        made.step()
    after(clock, 200)
    look.prepare(Samples(array("Q", [page(3)]), array("I", [0]), array("I", [0])))
    idle = made.ages(0, BASE, page(8))[3::4]
    assert idle[3] == 0
    assert min(idle[:3]) > 0
    made.close()
