"""Memory whose every page is told what it is: a `core.look.Bulk` for maps of pages."""

from array import array

from isotherm import _core
from isotherm.core.look import HUGE, PageState
from isotherm.model.ranges import PAGE

ABSENT, OLD, YOUNG, UNSEEN = map(int, PageState)
BLOCK = 512 * PAGE
CHUNK = 64 * BLOCK
BASE = 0x7F00_0000_0000
MS, SECOND = 1_000_000, 1_000_000_000
WINDOWS = array("Q", [100 * MS, 200 * MS, 500 * MS, *(n * SECOND for n in (1, 2, 5, 10, 20, 30))])


class PageMemory:
    """
    Pages of targets: state by (target, page number). A clear leaves what is present old, in
    `clear_ns` of time; `trace` lists the calls; `gone`: targets that do not exist for now.
    """

    def __init__(self, now_ns=100 * SECOND, clear_ns=0):
        self.now = now_ns
        self.clear_ns = clear_ns
        self.pages = {}
        self.trace = []
        self.gone = set()

    def now_ns(self):
        return self.now

    def set(self, first, count, state, target=0):
        """Give `count` pages from the `first` one after BASE a state."""
        for page in range(first, first + count):
            self.pages[target, BASE // PAGE + page] = state

    def read(self, target, start, end):
        if target in self.gone:
            raise ProcessLookupError
        self.trace.append(("read", self.now, target, start))
        first, count = start // PAGE, (end - start) // PAGE
        if len(self.pages) > count:
            return bytes(self.pages.get((target, first + i), ABSENT) for i in range(count))
        found = bytearray(count)
        for (whose, page), state in self.pages.items():
            if whose == target and 0 <= page - first < count:
                found[page - first] = state
        return bytes(found)

    def set_huge(self, block, state, target=0):
        """Make a block one page, or the pages of a table."""
        self.set(512 * block, 512, state & ~HUGE, target)
        self.pages[target, BASE // PAGE + 512 * block] = state

    def clear(self, target, ranges):
        self.trace.append(("clear", self.now, target, tuple(ranges)))
        for start, end in ranges:
            for page in range(start // PAGE, end // PAGE):
                self._clear(target, page)
        self.now += self.clear_ns
        return 0

    def _clear(self, target, page):
        state = self.pages.get((target, page), ABSENT)
        if state & ~HUGE == YOUNG:
            self.pages[target, page] = OLD | state & HUGE


class SharedMemory(PageMemory):
    """Memory that can be cleared all at once, which `all_ns` says how long it takes; `refused`."""

    def __init__(self, all_ns=0, refused=()):
        super().__init__()
        self.all_ns, self.refused = all_ns, refused
        self.meanwhile = lambda target: None

    def clear_all(self, target, kind):
        self.trace.append(("clear all", self.now, target, kind))
        if target in self.refused:
            raise NotImplementedError
        for whose, page in self.pages:
            if whose == target:
                self._clear(target, page)
        self.now += self.all_ns
        self.meanwhile(target)
        return self.all_ns


class Frames(PageMemory):
    """Memory of which all targets have the same pages: what one clears is clear for all."""

    frames_cleared = True

    def read(self, target, start, end):
        return super().read(0, start, end)

    def clear(self, target, ranges):
        return super().clear(0, ranges)


def words(*areas, kind=0, rows=False):
    """
    Areas as `_core.PageMap` takes them: (first page after BASE, pages) each, anonymous or, as
    kind 1, of files; in row 0, or in a row each.
    """
    found = array("Q")
    for row, (first, count) in enumerate(areas):
        what = row * rows | kind << 32
        found.extend((BASE + first * PAGE, BASE + (first + count) * PAGE, what))
    return found


def page_map(memory, *areas, targets=1, share_ns=10**12, kind=0, rows=False):
    """A map of the areas of each of some targets, with CPU time in plenty."""
    made = _core.PageMap(memory, now_ns=memory.now, share_ns=share_ns, stall_ns=SECOND)
    made.set_targets(array("I", range(targets)))
    for target in range(targets):
        made.set_areas(target, words(*areas, kind=kind, rows=rows))
    return made


def run(made, memory, ns, each=lambda: None):
    """Step when the map asks for it until `ns` are over."""
    until = memory.now + ns
    while memory.now < until:
        memory.now = max(memory.now + MS, min(until, made.step(memory.now)))
        each()


def ages(made, first, count=1, target=0):
    """What the map says of pages: (low, best, high, idle) each, as places in WINDOWS."""
    start = BASE + first * PAGE
    found = made.ages(target, start, start + count * PAGE, WINDOWS)
    return [tuple(found[i : i + 4]) for i in range(0, len(found), 4)]
