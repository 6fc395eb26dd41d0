"""The map of pages and memory that is used once, of late: it was used then."""

from array import array

import pytest

from isotherm.model.ranges import PAGE
from support.page_memory import (
    MS,
    SECOND,
    WINDOWS,
    YOUNG,
    PageMemory,
    SharedMemory,
    page_map,
)

PRIVATE, FILE = 0, 1
PAGES, HOT, ONCE = 1500, 600, 250


def watched(kind, settle_ns, after_ns, once=ONCE):
    """
    Watch pages in use every 50 ms, and others that are used once, `after_ns` before the end.

    Returns bytes used within each window, in pages: (at least, by best estimate, at most, truly),
    and which were idle, surely and truly.
    """
    memory = SharedMemory() if kind == FILE else PageMemory()
    memory.set(0, PAGES, YOUNG)
    made = page_map(memory, (0, PAGES), kind=kind)
    at = memory.now + settle_ns
    end, due, hot = at + after_ns, memory.now, memory.now
    done = False
    while memory.now < end:
        memory.now = max(memory.now, min(due, hot, end if done else at))
        if memory.now >= hot:
            memory.set(0, HOT, YOUNG)
            hot += 50 * MS
        if memory.now >= at and not done:
            memory.set(HOT, once, YOUNG)
            done = True
        if due <= memory.now < end:
            due = max(memory.now + MS, made.step(memory.now))
    ((*_, figures),) = made.sum(1, WINDOWS, array("Q"))[0]
    n = len(WINDOWS)
    low, best, high, idle = ([w // PAGE for w in figures[3 + i * n :][:n]] for i in range(4))
    true = [HOT + once * (after_ns <= window) for window in WINDOWS]
    return low, best, high, true, idle


PHASES_NS = [13 * SECOND + phase * 700 * MS for phase in range(0, 24, 3)]


@pytest.mark.parametrize("kind", [PRIVATE, FILE])
@pytest.mark.parametrize("once", [ONCE, 20])
@pytest.mark.parametrize("settle_ns", PHASES_NS)
def test_bounds_hold_what_was_used_once(kind, once, settle_ns):
    after_ns = 300 * MS + settle_ns % (3 * SECOND)
    low, _, high, true, idle = watched(kind, settle_ns, after_ns, once)
    for place, window in enumerate(WINDOWS):
        if window > 10 * SECOND:
            break
        # A read and what it shows may be a tick of the map's clock apart.
        if abs(window - after_ns) > 10 * MS:
            assert low[place] <= true[place] <= high[place], (window, after_ns)
        assert idle[place] <= PAGES - true[place] + once * (abs(window - after_ns) <= 10 * MS)


@pytest.mark.parametrize("kind", [PRIVATE, FILE])
@pytest.mark.parametrize("settle_ns", PHASES_NS)
def test_what_was_used_once_is_in_the_windows_in_which_it_was(kind, settle_ns):
    low, best, _, true, _ = watched(kind, settle_ns, 3300 * MS)
    for seconds in (1, 10):
        place = WINDOWS.index(seconds * SECOND)
        assert best[place] == pytest.approx(true[place], rel=0.03), seconds
    assert low[WINDOWS.index(10 * SECOND)] == HOT + ONCE
