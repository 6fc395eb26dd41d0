"""Memory that is used no more, or moved to other addresses: what is sure of it."""

from array import array

import pytest

from support.page_memory import (
    BASE,
    MS,
    OLD,
    SECOND,
    WINDOWS,
    YOUNG,
    PageMemory,
    ages,
    page_map,
    run,
    words,
)

PAGES = 512
NEVER = len(WINDOWS)
NOW = WINDOWS.index(SECOND)


def used(made, figure):
    """Pages used at least (0), likely (1), at most (2) within each window; idle (3)."""
    rows, *_ = made.sum(1, WINDOWS, array("Q"))
    at = 3 + figure * len(WINDOWS)
    return [sum(row[3][at + i] for row in rows) // 4096 for i in range(len(WINDOWS))]


@pytest.mark.parametrize("stopped_ms", range(300, 6001, 300))
def test_what_stopped_being_used_surely_was_used_only_within_windows_in_which_it_was(stopped_ms):
    memory = PageMemory()
    made = page_map(memory, (0, PAGES))
    for _ in range(500):
        memory.set(0, PAGES, YOUNG)
        run(made, memory, 20 * MS)
    run(made, memory, stopped_ms * MS)
    low, high = used(made, 0), used(made, 2)
    for window, least, most in zip(WINDOWS, low, high, strict=True):
        if window < stopped_ms * MS:
            assert least == 0, window
        elif window > (stopped_ms + 20) * MS:
            assert most == PAGES, window


def moved(state, elsewhere=3 * PAGES):
    """A map of memory that is idle for long, as it comes to another place with its bits."""
    memory = PageMemory()
    memory.set(0, PAGES, YOUNG)
    memory.set(2 * PAGES, PAGES, YOUNG)
    made = page_map(memory, (0, PAGES), (2 * PAGES, PAGES))
    run(made, memory, 20 * SECOND)
    memory.set(0, PAGES, 0)
    memory.set(elsewhere, PAGES, state)
    made.set_areas(0, words((2 * PAGES, PAGES), (elsewhere, PAGES)))
    run(made, memory, 100 * MS)
    made.look(0, BASE, BASE + (elsewhere + PAGES) * 4096)
    return made, memory


def test_memory_that_is_moved_is_not_used_by_that():
    made, memory = moved(OLD)
    assert set(ages(made, 3 * PAGES, PAGES)) == {(NEVER, NEVER, 0, 0)}
    assert used(made, 0)[NOW] == 0
    run(made, memory, 10 * SECOND)
    assert min(age[3] for age in ages(made, 3 * PAGES, PAGES)) > NOW


def test_what_is_found_used_at_new_addresses_may_have_been_used_at_others():
    made, memory = moved(YOUNG)
    for low, best, high, idle in ages(made, 3 * PAGES, PAGES):
        assert (low, high, idle) == (NEVER, 0, 0)
        assert best <= NOW
    # Once it is cleared it is seen as all is.
    run(made, memory, 3 * SECOND)
    memory.set(3 * PAGES, PAGES, YOUNG)
    run(made, memory, 200 * MS)
    assert {age[0] <= NOW + 2 for age in ages(made, 3 * PAGES, PAGES)} == {True}


def test_what_comes_to_known_addresses_is_used_there():
    memory = PageMemory()
    memory.set(0, PAGES, YOUNG)
    made = page_map(memory, (0, 2 * PAGES))
    run(made, memory, 20 * SECOND)
    memory.set(PAGES, PAGES, YOUNG)
    made.look(0, BASE, BASE + 2 * PAGES * 4096)
    assert max(age[0] for age in ages(made, PAGES, PAGES)) < NEVER


@pytest.mark.parametrize("parts", [1, 5, 300])
def test_many_areas_that_come_at_once_are_all_new(parts):
    memory = PageMemory()
    memory.set(0, 1, YOUNG)
    made = page_map(memory, (0, 1))
    run(made, memory, 20 * SECOND)
    places = [10 + 4 * i for i in range(parts)]
    for place in places:
        memory.set(place, 2, YOUNG)
    made.set_areas(0, words((0, 1), *((place, 2) for place in places)))
    run(made, memory, 10 * MS)
    made.look(0, BASE, BASE + 4096)
    assert {age[0] for place in places for age in ages(made, place, 2)} == {NEVER}


@pytest.mark.parametrize("far", [3 * PAGES, 200 * PAGES])
@pytest.mark.parametrize("known", [False, True])
def test_what_is_mapped_while_it_is_watched_was_used_since(far, known):
    memory = PageMemory()
    memory.set(0, PAGES, YOUNG)
    made = page_map(memory, (0, PAGES))
    run(made, memory, 20 * SECOND)
    read_ns = memory.now
    run(made, memory, SECOND)
    memory.set(far, PAGES, YOUNG)
    made.set_areas(0, words((0, PAGES), (far, PAGES)), read_ns if known else 0)
    run(made, memory, 100 * MS)
    made.look(0, BASE, BASE + (far + PAGES) * 4096)
    in_reach = far < 64 * PAGES  # of what was read before
    for low, best, high, idle in ages(made, far, PAGES):
        # It may have been moved there, with its bits.
        assert low == NEVER
        assert max(high, idle) <= 1
        if known or in_reach:
            assert WINDOWS[best] <= 2 * SECOND
        else:
            assert best == NEVER
    # Nothing is known of it before it was looked at.
    run(made, memory, 20 * SECOND)
    assert used(made, 2)[NOW] == 0


def test_of_memory_that_nobody_looked_at_yet_nothing_is_known():
    memory = PageMemory()
    memory.set(0, 1, YOUNG)
    made = page_map(memory, (0, 1))
    run(made, memory, 2 * SECOND)
    memory.set(200 * PAGES, PAGES, YOUNG)
    made.set_areas(0, words((0, 1), (200 * PAGES, PAGES)), memory.now)
    assert set(ages(made, 200 * PAGES, PAGES)) <= {(0xFD,) * 4, (0xFF,) * 4}


@pytest.mark.parametrize("seconds", range(1, 20, 3))
def test_what_came_while_it_was_watched_is_used_since_however_long_ago(seconds):
    memory = PageMemory()
    memory.set(0, 64, YOUNG)
    began = memory.now
    made = page_map(memory, (0, 64))

    def use():
        memory.set(0, 64, YOUNG)

    run(made, memory, 5 * SECOND, use)
    memory.set(64, 400, YOUNG)
    made.set_areas(0, words((0, 500)))
    run(made, memory, seconds * SECOND, use)
    windows = array("Q", [memory.now - began])
    rows, *_ = made.sum(1, windows, array("Q"))
    low, best = (sum(row[3][at] for row in rows) // 4096 for at in (3, 4))
    # What was moved here from elsewhere may have been idle there.
    assert (low, best) == (64, 464)
