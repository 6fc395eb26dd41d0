"""The panel of sentinels over a small world whose pages are used at known rates."""

import math
from array import array
from itertools import pairwise

import pytest

from isotherm import _core
from isotherm.core.look import PageState
from isotherm.core.reference.sentinels import READ, Evidence, Learner, Sentinel
from isotherm.errors import TargetGoneError
from isotherm.model.ranges import PAGE

MS, SECOND = 1_000_000, 1_000_000_000
BASE = 0x7F00_0000_0000
MIB = 1 << 20
BLOCK = 2 * MIB


class Rates:
    """
    Pages used at random at the rate of their part: parts (offset, bytes, uses of a page a second).

    All are young at the start. A page's next use is drawn when it is cleared.
    """

    def __init__(self, total, parts, *, now_ns=100 * SECOND, seed=1):
        self.total, self.parts = total, parts
        self.now = now_ns
        self.seed = seed
        self.young_at = {}
        self.states = {}
        self.clears = []
        self.gone = False

    def now_ns(self):
        return self.now

    def rate(self, offset):
        for start, size, rate in reversed(self.parts):
            if start <= offset < start + size:
                return rate
        return 0.0

    def state(self, page):
        offset = page * PAGE - BASE
        if not 0 <= offset < self.total:
            return PageState.ABSENT
        if page in self.states:
            return self.states[page]
        young = self.now >= self.young_at.get(page, 0)
        return PageState.YOUNG if young else PageState.OLD

    def read(self, target, start, end):
        if self.gone:
            raise ProcessLookupError
        first = max(start, BASE) // PAGE
        last = min(end, BASE + self.total) // PAGE
        found = bytearray((end - start) // PAGE)
        for page in range(first, last):
            found[page - start // PAGE] = self.state(page)
        return bytes(found)

    def clear(self, target, ranges):
        for start, end in ranges:
            self.clears.append((self.now, start, end))
            for page in range(start // PAGE, end // PAGE):
                self.use(page)
        return 0

    def use(self, page):
        rate = self.rate(page * PAGE - BASE)
        # A draw of the page and the moment, the same in every run.
        bits = hash((page * 7919, self.now, self.seed)) * 0x9E3779B97F4A7C15 & (2**64 - 1)
        bits = (bits ^ bits >> 29) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        share = ((bits >> 11) + 1) / (1 << 53)
        self.young_at[page] = self.now - int(math.log(share) / rate * 1e9) if rate else 1 << 62

    def change(self, parts):
        """Other parts are used from now on: all that is not young draws anew."""
        self.parts = parts
        for page, at in list(self.young_at.items()):
            if at > self.now:
                self.use(page)


def panel(world, *, share=0.01, seed=1, **options):
    made = _core.Sentinels(
        world, now_ns=world.now, share_ns=int(share * SECOND), seed=seed, **options
    )
    made.set_space(array("I", [0]), array("Q", [0, BASE, BASE + world.total]))
    return made


def run(made, world, seconds):
    until = world.now + int(seconds * SECOND)
    while world.now < until:
        world.now = max(world.now, min(until, made.step(world.now)))


def regions(made, *, sample_us=5000, samples=20, used_us=SECOND // 1000, least=1, most=1000):
    columns = made.cut(sample_us, samples, used_us, least, most)
    return list(zip(*columns, strict=True))


def hot_bytes(found, start, end, rate):
    """How many bytes of [start, end) are said to be hotter than a rate."""
    return sum(
        max(0, min(region[2], end) - max(region[1], start)) for region in found if region[7] > rate
    )


HOT = (24 * MIB, 8 * MIB, 50.0)


def test_hot_memory_is_found_where_it_is():
    world = Rates(128 * MIB, [HOT])
    made = panel(world)
    run(made, world, 3)
    found = regions(made)
    start, end = BASE + HOT[0], BASE + HOT[0] + HOT[1]
    assert hot_bytes(found, start, end, 5) > 0.9 * HOT[1]
    outside = hot_bytes(found, BASE, start, 5) + hot_bytes(found, end, BASE + world.total, 5)
    assert outside < 0.1 * HOT[1]
    assert (found[0][1], found[-1][2]) == (BASE, BASE + world.total)
    assert all(a[2] == b[1] for a, b in pairwise(found))


def test_what_was_freed_since_the_last_look_is_not_called_untouched():
    highs = {}
    for freed in (False, True):
        world = Rates(16 * MIB, [])
        made = panel(world, share=0.001)
        run(made, world, 2)
        if freed:
            pages = range(BASE // PAGE, (BASE + world.total) // PAGE)
            world.states = dict.fromkeys(pages, PageState.ABSENT)
        run(made, world, 0.5)
        [whole] = regions(made)
        highs[freed] = whole[9]
    # It may have been used before it was freed: less is known of it, not as much.
    assert highs[True] > 1.1 * highs[False] > 0


def test_the_interval_holds_the_rate():
    inside = 0
    for seed in range(20):
        world = Rates(64 * MIB, [(0, 64 * MIB, 3.0)], seed=seed)
        made = panel(world, seed=seed)
        run(made, world, 1.5)
        most = max(regions(made), key=lambda region: region[2] - region[1])
        inside += most[8] <= 3.0 <= most[9]
        assert 2.5 < most[7] < 3.5
    # Of 95 % of them; a few more segments than there are make it fewer.
    assert inside >= 15


def test_the_same_seed_gives_the_same_regions():
    def once():
        world = Rates(64 * MIB, [HOT])
        made = panel(world, seed=7)
        run(made, world, 2)
        return regions(made), world.clears

    assert once() == once()


def test_a_jump_is_seen_at_once_as_the_new_place_is_armed():
    world = Rates(128 * MIB, [HOT])
    made = panel(world)
    run(made, world, 3)
    regions(made)
    there = (96 * MIB, 8 * MIB, 50.0)
    world.change([there])
    run(made, world, 0.6)
    found = regions(made)
    start, end = BASE + there[0], BASE + there[0] + there[1]
    assert hot_bytes(found, start, end, 1) > 0.8 * there[1]
    run(made, world, 2)
    found = regions(made)
    assert hot_bytes(found, start, end, 5) > 0.9 * there[1]
    old = BASE + HOT[0]
    assert hot_bytes(found, old, old + HOT[1], 5) < 0.1 * HOT[1]
    # What has changed is young in years.
    ages = [age for _, s, e, _, age, *_ in found if s <= (start + end) // 2 < e]
    assert ages[0] <= 1


def test_what_stays_cold_is_watched_for_nothing():
    world = Rates(64 * MIB, [])
    made = panel(world)
    run(made, world, 3)
    before = len(world.clears)
    armed = made.stats()["armed"]
    assert armed == made.stats()["sentinels"] > 100
    run(made, world, 3)
    # Only what was never looked at before is cleared, or twice in the same moment.
    spans = [(start, end) for _, start, end in world.clears]
    assert len(spans) < 1.05 * len(set(spans))
    assert len(world.clears) - before <= made.stats()["sentinels"]


def test_the_budget_of_counted_costs_is_kept():
    for share in (0.001, 0.003, 0.01):
        world = Rates(128 * MIB, [(0, 64 * MIB, 20.0)])
        made = panel(world, share=share)
        run(made, world, 1)
        begin = made.stats()["cpu_ns"]
        run(made, world, 4)
        assert made.stats()["cpu_ns"] - begin < 1.05 * share * 4 * SECOND


def test_wakes_are_few():
    world = Rates(64 * MIB, [HOT])
    made = panel(world)
    run(made, world, 4)
    assert made.stats()["wakes"] <= 50 * 4


def test_what_cannot_be_cleared_is_neither_hot_nor_cold():
    world = Rates(64 * MIB, [])
    for page in range(16 * MIB // PAGE):
        world.states[BASE // PAGE + page] = PageState.UNOBSERVABLE
    for page in range(16 * MIB // PAGE, 32 * MIB // PAGE):
        world.states[BASE // PAGE + page] = PageState.YOUNG  # whatever is done to it
    made = panel(world)
    run(made, world, 4)
    found = regions(made)
    for _, start, end, accesses, _, blind, _, rate, *_ in found:
        unseen = min(end, BASE + 32 * MIB) - start
        assert blind == pytest.approx(max(0, unseen), abs=0.1 * (end - start))
        assert (accesses, rate < 1) == (0, True)
    assert sum(region[5] for region in found) == pytest.approx(32 * MIB, rel=0.1)


def test_counts_are_right_in_the_long_run():
    # 0.6 uses a second: one window in sixteen has an access, as sampling would have it.
    world = Rates(32 * MIB, [(0, 32 * MIB, 0.6)])
    made = panel(world)
    run(made, world, 2)
    counts = []
    for _ in range(200):
        run(made, world, 0.1)
        found = regions(made)
        size = sum(end - start for _, start, end, *_ in found)
        counts.append(sum(r[3] * (r[2] - r[1]) for r in found) / size)
    expected = 20 * (1 - math.exp(-0.6 * 0.005))
    assert sum(counts) / len(counts) == pytest.approx(expected, rel=0.15)


def test_ages_count_windows_without_a_change():
    world = Rates(64 * MIB, [HOT])
    made = panel(world)
    run(made, world, 3)
    regions(made)
    for _ in range(10):
        run(made, world, 0.1)
        found = regions(made)
    middle = BASE + HOT[0] + HOT[1] // 2
    ages = [age for _, start, end, _, age, *_ in found if start <= middle < end]
    assert 8 <= ages[0] <= 10


@pytest.mark.parametrize(("least", "most"), [(50, 1000), (1, 3)])
def test_bounds_of_the_number_hold(least, most):
    world = Rates(128 * MIB, [HOT, (64 * MIB, 4 * MIB, 5.0)])
    made = panel(world)
    run(made, world, 3)
    found = regions(made, least=least, most=most)
    assert least <= len(found) <= most
    assert sum(region[2] - region[1] for region in found) == world.total


def test_memory_that_goes_is_dropped_and_new_memory_is_explored():
    world = Rates(128 * MIB, [(64 * MIB, 64 * MIB, 20.0)])
    made = panel(world)
    half = BASE + 64 * MIB
    made.set_space(array("I", [0]), array("Q", [0, BASE, half]))
    run(made, world, 2)
    assert regions(made)[-1][2] == half
    made.set_space(array("I", [0]), array("Q", [0, BASE, half, 0, half, BASE + world.total]))
    run(made, world, 0.5)
    found = regions(made)
    assert hot_bytes(found, half, BASE + world.total, 2) > 0.9 * 64 * MIB
    made.set_space(array("I", [0]), array("Q", [0, half, BASE + world.total]))
    assert {region[1] >= half for region in regions(made)} == {True}


def test_a_target_that_went_is_forgotten():
    world = Rates(32 * MIB, [(0, 32 * MIB, 20.0)])
    made = panel(world)
    run(made, world, 1)
    world.gone = True
    with pytest.raises(TargetGoneError):
        run(made, world, 1)
    world.gone = False
    # The same process with other memory, after an exec.
    made.set_space(array("I", [0]), array("Q", [0, BASE, BASE + world.total]))
    assert made.stats()["sentinels"] == 0


def test_what_others_clear_is_told_before():
    world = Rates(32 * MIB, [(0, 32 * MIB, 2.0)])
    made = panel(world)
    for _ in range(40):
        run(made, world, 0.1)
        # Another instrument clears everything all the time, and tells what it finds.
        for page in range(BASE // PAGE, (BASE + world.total) // PAGE):
            if world.state(page) == PageState.YOUNG:
                made.seen(0, page * PAGE, (page + 1) * PAGE, world.now)
                world.use(page)
    most = max(regions(made), key=lambda region: region[2] - region[1])
    assert 1.6 < most[7] < 2.4


def test_who_clears_without_a_look_says_so_before():
    world = Rates(32 * MIB, [(0, 32 * MIB, 2.0)])
    made = panel(world)
    for _ in range(40):
        run(made, world, 0.1)
        made.before_clear(0, array("Q", [BASE, world.total]))
        for page in range(BASE // PAGE, (BASE + world.total) // PAGE):
            if world.state(page) == PageState.YOUNG:
                world.use(page)
    most = max(regions(made), key=lambda region: region[2] - region[1])
    assert 1.6 < most[7] < 2.4


# The traps of the learn pass.


def pages(place, *, known=(0, 0.0), fresh=(0, 0.0), **others):
    made = Sentinel(place, flags=READ, **others)
    made.known = Evidence([known[0], 0, 0], [known[1], 0, 0])
    made.fresh = Evidence([fresh[0], 0, 0], [fresh[1], 0, 0])
    return made


def test_a_find_without_history_is_no_change():
    # A hot spot in a segment that is known to be cold must not be forgotten whenever it is seen.
    learner = Learner()
    cold = [pages(100 * i, known=(0, 200.0), fresh=(0, 1.6)) for i in range(40)]
    learner.learn(cold, 0.6, 1.0)
    cold.insert(20, pages(1950, fresh=(16, 0.1)))
    for s in cold:
        s.flags |= READ
    learner.learn(cold, 0.6, 1.0)
    assert learner.changes == []
    assert [(s.first, s.end) for s in learner.segments] == [(0, 20), (20, 21), (21, 41)]


def test_fresh_exposure_from_before_a_jump_goes_with_the_belief():
    learner = Learner()
    # Twenty seconds of nothing, of them a second is still fresh; then all are touched at once.
    found = [
        pages(100 * i, known=(0, 320.0), fresh=(16, 16.0 + 0.4), touched=16, waited_s=20.0)
        for i in range(20)
    ]
    learner.learn(found, 0.6, 1.0)
    assert len(learner.changes) == 1
    assert all(s.fresh.all_risk == 0 for s in found)
    # One access each is all that is proven.
    assert learner.segments[0].rate == pytest.approx(1 / 0.3, rel=0.01)


def test_a_program_that_is_held_up_for_a_moment_has_not_changed():
    # Busy memory that was armed again 20 ms ago, and nothing happened since.
    def busy(risk):
        return [pages(100 * i, known=(400, 2.0), fresh=(0, 16 * risk)) for i in range(20)]

    learner = Learner()
    learner.learn(busy(0.02), 0.6, 1.0)
    assert (learner.changes, learner.segments[0].rate > 100) == ([], True)
    learner.learn(busy(0.2), 0.6, 1.0)
    assert (len(learner.changes), learner.segments[0].rate) == (1, 0)
