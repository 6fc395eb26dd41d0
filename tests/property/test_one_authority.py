"""Sampler, map of pages and action on one world: nobody sees a page idle as another cleared it."""

from array import array
from random import Random

import pytest

from isotherm._core import Survey
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import BASE, MS
from isotherm.backends.sim.world import Area, HotArea, Space, World
from isotherm.clock import VirtualClock
from isotherm.core.look import PageState, Samples
from isotherm.core.native_map import NativePageMap
from isotherm.kernel.pages.pagemap import Fact
from isotherm.model.ranges import PAGE

PAGES = 31
END = BASE + PAGES * PAGE
#: Of the map's clock, at both ends of a time.
TICK_NS = 1 << 22

FACTS = {
    PageState.ABSENT: Fact(0),
    PageState.OLD: Fact.PRESENT,
    PageState.YOUNG: Fact.PRESENT | Fact.YOUNG,
}


def page(number):
    return BASE + number * PAGE


def hot_area(random):
    first = random.randrange(PAGES - 5)
    return HotArea(
        page(first),
        page(first + 1 + random.randrange(5)),
        random.choice([3, 20, 150, 1000, 7000]) * MS,
        random.choice(["together", "random", "sequential"]),
        random.randrange(1000) * MS,
        until_ns=random.choice([3000, 9000, 1000000]) * MS,
    )


class Near:
    """The bulk of a look, quick about what is not mapped."""

    def __init__(self, bulk):
        self.bulk, self.clear = bulk, bulk.clear

    def read(self, target, start, end):
        first, last = max(start, BASE), min(end, END)
        if first >= last:
            return bytes((end - start) // PAGE)
        states = self.bulk.read(target, first, last)
        return bytes((first - start) // PAGE) + states + bytes((end - last) // PAGE)


class Bench:
    """One world, and the three who look at it."""

    def __init__(self, hot):
        self.clock = VirtualClock(1000 * MS)
        self.space = Space("s", (Area(BASE, END),), tuple(hot))
        self.look = SimOps(World((self.space,)), self.clock)
        self.bulk = Near(self.look.bulk())
        # A share of CPU that never is an obstacle.
        self.map = NativePageMap(self.bulk, self.clock, share=1000.0)
        self.map.update(self.look.targets())
        self.survey = Survey(None, self.map.core)

    def wait(self, ms):
        self.clock.sleep_until(self.clock.now_ns() + ms * MS)

    def young(self, numbers):
        states = self.bulk.read(0, BASE, END)
        return [number for number in numbers if states[number] == PageState.YOUNG]

    def tell(self, numbers):
        for number in self.young(numbers):
            self.map.seen(0, page(number), page(number + 1))

    def sample(self, numbers):
        self.tell(numbers)
        zeros = array("I", [0] * len(numbers))
        self.look.prepare(Samples(array("Q", map(page, numbers)), zeros, zeros))

    def clear(self, numbers):
        """What an action does that advises: the map is told first."""
        self.tell(numbers)
        self.bulk.clear(0, [(page(number), page(number + 1)) for number in numbers])

    def idle(self, ms):
        """The pages that an action would take for idle for so long."""
        facts = array("H", [FACTS[PageState(state)] for state in self.bulk.read(0, BASE, END)])
        self.survey.load(BASE, facts, bytes(8 * PAGES))
        self.survey.ask(ms * MS)
        self.survey.recall(0, self.clock.now_ns())
        found = array("H", self.survey.facts())
        return [
            number
            for number, fact in enumerate(found)
            if fact & Fact.PRESENT and not fact & (Fact.USED | Fact.EARLY)
        ]

    def was_used(self, number, ms):
        now = self.clock.now_ns()
        since = now - ms * MS + 2 * TICK_NS
        return since < now and self.space.touched(page(number), page(number + 1), since, now)


@pytest.mark.parametrize("seed", range(60))
def test_what_an_action_takes_for_idle_was_idle(seed):
    random = Random(seed)
    bench = Bench([hot_area(random) for _ in range(4)])
    watched = ["map", "wait"] * 5  # there is something to be wrong about
    found = 0
    for what in [*watched, *random.choices(["map", "wait", "sample", "clear"], k=30)]:
        if what == "map":
            bench.map.step()
        elif what == "wait":
            bench.wait(random.choice([1, 5, 40, 300, 1100, 2500]))
        else:
            getattr(bench, what)(random.sample(range(PAGES), 12))
        for ms in (20, 300, 2000):
            idle = bench.idle(ms)
            found += len(idle)
            assert [one for one in idle if bench.was_used(one, ms)] == []
    assert found


def test_idle_pages_are_found_between_used_ones_whoever_clears():
    """The other half: with a map that is never late, all that is idle is called so."""
    bench = Bench([HotArea(page(3), page(7), 20 * MS, "together")])
    for turn in range(200):
        bench.map.step()
        bench.sample([turn % PAGES, (turn * 7 + 3) % PAGES])
        bench.wait(40)
    assert bench.idle(2000) == [number for number in range(PAGES) if not 3 <= number < 7]
