"""The map of pages in C against its readable twin, on histories of memory at random."""

from array import array
from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from isotherm.core.reference.page_map import NEVER, TICK_NS, PageTable, Turn, add_read
from isotherm.model.ranges import PAGE
from support.page_memory import (
    ABSENT,
    BASE,
    OLD,
    SECOND,
    UNSEEN,
    WINDOWS,
    YOUNG,
    PageMemory,
    ages,
    page_map,
)

PAGES = 12
#: The map's clock, one turn away from its beginning.
TURN = 1 << 40


class Followed:
    """A map of one table, and its twin that is told what the map read and cleared."""

    def __init__(self):
        self.memory = PageMemory()
        self.memory.set(0, PAGES, YOUNG)
        self.began = self.memory.now
        self.map = page_map(self.memory, (0, PAGES))
        self.twin = PageTable()
        self.due = self.memory.now
        self.turn, self.turn_number = None, 0
        self.stopped_ns = 0

    def now(self):
        return (TURN + self.running_ns() - self.began) >> 22

    def running_ns(self):
        """The time without that in which the target stood still."""
        return self.memory.now - self.stopped_ns

    def states(self):
        return [self.memory.pages.get((0, BASE // PAGE + page), ABSENT) for page in range(PAGES)]

    def step(self):
        self.memory.trace.clear()
        before, stats = self.states(), self.map.stats()
        self.due = self.map.step(self.memory.now)
        calls = [call[0] for call in self.memory.trace]
        if not calls:
            return
        now = self.now()
        if self.turn is None:
            self.turn = Turn(now)
        self.twin.read(before, now, self.turn)
        reads = dict(self.turn.reads)
        add_read(reads, (now - self.turn.began) * TICK_NS)
        self.turn = Turn(self.turn.began, tuple(reads.items()))
        takes_part = stats["covered"] and stats["turns"] != self.turn_number
        if len(calls) > 1:
            assert not self.twin.epochs or (takes_part and self.twin.due(now)), calls
            self.twin.arm(self.states(), now)
            self.twin.read(self.states(), now)
        else:
            assert not (takes_part and self.twin.due(now)), "what was due was not cleared"
        if takes_part:
            self.turn, self.turn_number = Turn(now), stats["turns"]

    def wait(self, ns):
        until = self.memory.now + ns
        while self.due < until:
            self.memory.now = max(self.memory.now, self.due)
            self.step()
        self.memory.now = until

    def stand_still(self, ns):
        """Let the map work while the target stands still, as looked at ten times a second."""
        until = self.memory.now + ns
        while self.memory.now < until:
            passed = min(SECOND // 10, until - self.memory.now)
            self.memory.now += passed
            self.stopped_ns += passed
            self.map.set_stopped(0, self.stopped_ns, True, self.memory.now)
            if self.due <= self.memory.now:
                self.step()
        self.map.set_stopped(0, self.stopped_ns, False, self.memory.now)

    def said_by_twin(self, number):
        age = self.twin.age(number)
        if age is None:
            return (0xFF,) * 4
        page = self.twin.pages[number]
        if page.unseen:
            return (0xFE,) * 4
        if not self.twin.epochs:
            return (0xFD,) * 4
        places = (
            next((i for i, window in enumerate(WINDOWS) if window >= ns), len(WINDOWS))
            for ns in age[:3]
        )
        return (*places, sum(window <= age.idle for window in WINDOWS))


numbers = st.integers(1, PAGES - 1)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.sets(numbers, max_size=PAGES)),
        st.tuples(st.just("use all"), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 80).map(lambda n: n * SECOND // 8)),
        st.tuples(st.just("wait"), st.integers(1, 60).map(lambda n: n * SECOND)),
        st.tuples(st.just("stand still"), st.integers(1, 30).map(lambda n: n * SECOND // 4)),
        st.tuples(st.just("leave"), numbers),
        st.tuples(st.just("hide"), numbers),
        st.tuples(st.just("clear elsewhere"), numbers),
    ),
    max_size=24,
)


def change(followed, what, detail):
    memory = followed.memory
    if what == "wait":
        followed.wait(detail)
    elif what == "stand still":
        followed.stand_still(detail)
    elif what in ("use", "use all"):
        for page in range(PAGES) if detail is None else detail:
            if memory.pages[0, BASE // PAGE + page] != UNSEEN:
                memory.set(page, 1, YOUNG)
    elif what == "leave":
        memory.set(detail, 1, ABSENT)
    elif what == "hide":
        memory.set(detail, 1, UNSEEN)
    elif memory.pages[0, BASE // PAGE + detail] == YOUNG:
        start = BASE + detail * PAGE
        followed.map.seen(0, start, start + PAGE, memory.now)
        followed.twin.seen(detail, followed.now())
        memory.set(detail, 1, OLD)


@settings(max_examples=40, deadline=None)
@given(changes)
@example([("hide", 1), ("wait", SECOND // 8), ("leave", 1), ("use all", None), ("wait", SECOND)])
def test_the_map_and_its_twin_say_the_same(history):
    followed = Followed()
    followed.wait(2 * SECOND)
    for what, detail in history:
        change(followed, what, detail)
        want = [followed.said_by_twin(page) for page in range(PAGES)]
        assert ages(followed.map, 0, PAGES) == want


@settings(max_examples=40, deadline=None)
@given(changes)
@example([("wait", 12 * SECOND), ("use", {1, 2}), ("wait", SECOND), ("clear elsewhere", 1)])
@example([("wait", 12 * SECOND), ("use", {1, 2}), ("clear elsewhere", 1), ("wait", SECOND)])
def test_what_came_back_after_which_time_is_counted_alike(history):
    followed = Followed()
    followed.wait(2 * SECOND)
    counted = Counter()
    for what, detail in history:
        change(followed, what, detail)
        for row, own, sizes in followed.map.take_returns():
            assert (row, own) == (0, 0)  # anonymous memory of the only area
            counted.update({ages: size for ages, size in enumerate(sizes, 1) if size})
    assert counted == {ages: PAGE * pages for ages, pages in followed.twin.returned.items()}


@settings(max_examples=40, deadline=None)
@given(changes)
@example(
    [
        ("wait", SECOND // 8),
        ("wait", SECOND // 8),
        ("wait", 25 * SECOND // 4),
        ("use all", None),
        ("stand still", 3 * SECOND // 2),
    ]
)
def test_no_page_is_called_idle_for_longer_than_it_was(history):
    """Whoever clears it: a page that was used within T, while it ran, is not idle for T."""
    followed = Followed()
    memory, used = followed.memory, [followed.memory.now] * PAGES
    followed.wait(2 * SECOND)
    for what, detail in history:
        change(followed, what, detail)
        for page in range(PAGES):
            if memory.pages[0, BASE // PAGE + page] == YOUNG and what.startswith("use"):
                touched = detail is None or page in detail
                used[page] = followed.running_ns() if touched else used[page]
        # The map knows what it read: what was used after that it cannot know.
        read = followed.twin.last_read
        for page, (low, _, high, idle) in enumerate(ages(followed.map, 0, PAGES)):
            if low < 0xFD and idle:
                read_ns = followed.running_ns() - (followed.now() - read) * (1 << 22)
                assert used[page] >= read_ns - TICK_NS or WINDOWS[idle - 1] <= read_ns - used[
                    page
                ] + (1 << 23)
            assert low >= high or low == 0xFF or low > len(WINDOWS)


@settings(max_examples=40, deadline=None)
@given(changes)
def test_sums_are_of_the_pages_and_grow_with_the_window(history):
    followed = Followed()
    followed.wait(2 * SECOND)
    for what, detail in history:
        change(followed, what, detail)
    followed.wait(61 * SECOND)
    rows, *_ = followed.map.sum(1, WINDOWS, array("Q"))
    (figures,) = [row[3] for row in rows]
    resident, unseen, uncovered = figures[:3]
    low, best, high, idle, own = (
        list(figures[3 + i * len(WINDOWS) : 3 + (i + 1) * len(WINDOWS)]) for i in range(5)
    )
    said = ages(followed.map, 0, PAGES)
    there = [age for age in said if age != (0xFF,) * 4]
    assert resident == PAGE * len(there)
    assert unseen == PAGE * there.count((0xFE,) * 4)
    assert uncovered == PAGE * there.count((0xFD,) * 4)
    for i in range(len(WINDOWS)):
        assert 0 <= low[i] <= best[i] <= high[i] <= resident
        assert low[i] == PAGE * sum(age[0] <= i for age in there)
        assert idle[i] == own[i] == PAGE * sum(i < age[3] <= len(WINDOWS) for age in there)
        assert idle[i] + low[i] <= resident
    for curve in (low, best, high):
        assert curve == sorted(curve)
    assert idle == sorted(idle, reverse=True)


def test_never_is_longer_than_any_window():
    assert max(WINDOWS) < NEVER
