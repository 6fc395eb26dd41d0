"""The map of pages over memory whose pages are told what they are: what it must never say."""

import time
from array import array

import pytest

from isotherm.core.look import HUGE
from isotherm.model.ranges import PAGE
from support.page_memory import (
    BASE,
    CHUNK,
    MS,
    OLD,
    SECOND,
    UNSEEN,
    WINDOWS,
    YOUNG,
    PageMemory,
    ages,
    page_map,
    run,
    words,
)

PAGES = CHUNK // PAGE
NO_PAGE = (0xFF,) * 4


def known(made, memory):
    """Resident, unseen and uncovered bytes of all."""
    rows, *_ = made.sum(1, WINDOWS, array("Q"))
    return [sum(row[3][i] for row in rows) for i in range(3)]


def test_what_is_told_of_the_time_before_a_clear_is_not_of_long_ago():
    memory = PageMemory(clear_ns=40 * MS)
    memory.set(0, 512, YOUNG)
    made = page_map(memory, (0, 512))
    began = memory.now
    run(made, memory, 3 * SECOND)
    made.seen(0, BASE, BASE + PAGE, began)
    assert ages(made, 0)[0][0] < len(WINDOWS)


def test_what_is_not_mapped_any_more_is_not_counted():
    memory = PageMemory()
    memory.set(0, 512, YOUNG)
    memory.set(0, 100, UNSEEN)
    made = page_map(memory, (0, 512))
    run(made, memory, SECOND)
    made.set_areas(0, words((10 * CHUNK // PAGE, 512)))
    run(made, memory, SECOND)
    stats = made.stats()
    assert [stats[what] for what in ("tables", "present_pages", "used_pages")] == [0, 0, 0]
    assert known(made, memory) == [0, 0, 0]


def test_a_process_that_executes_another_program_is_followed_on():
    memory = PageMemory()
    memory.set(0, 512, YOUNG)
    made = page_map(memory, (0, 512))
    run(made, memory, SECOND)
    memory.gone.add(0)
    run(made, memory, SECOND)
    memory.gone.clear()
    memory.set(0, 512, YOUNG)
    made.set_targets(array("I", [0]))
    made.set_areas(0, words((0, 512)))
    memory.trace.clear()
    run(made, memory, 40 * SECOND)
    assert memory.trace


@pytest.mark.parametrize("end", [1 << 63, (1 << 64) - PAGE])
def test_areas_beyond_what_any_process_has_are_refused(end):
    made = page_map(PageMemory())
    with pytest.raises(OSError, match="Invalid argument"):
        made.set_areas(0, array("Q", [BASE, end, 0]))


def test_the_last_memory_is_cleared_as_often_as_the_first_where_clears_do_not_keep_up():
    class DearToClear(PageMemory):
        def clear(self, target, ranges):
            until = time.thread_time() + 0.05
            while time.thread_time() < until:
                pass
            return super().clear(target, ranges)

    memory, chunks = DearToClear(), 4
    memory.set(0, chunks * PAGES, YOUNG)
    made = page_map(memory, (0, chunks * PAGES), share_ns=80_000_000)
    cleared = [0] * chunks
    for _ in range(40):
        run(made, memory, SECOND)
        memory.set(0, chunks * PAGES, YOUNG)
        for what, _, _, ranges in memory.trace:
            if what == "clear":
                cleared[(ranges[0][0] - BASE) // CHUNK] += 1
        memory.trace.clear()
    # Few in all: what is read takes its part of the share, the more the slower this machine is.
    assert min(cleared) >= max(cleared) // 3 > 0, cleared


def test_what_others_clear_is_used_and_does_not_upset_what_changes():
    memory = PageMemory()
    memory.set(0, 512, YOUNG)
    made = page_map(memory, (0, 512))
    run(made, memory, 3 * SECOND)
    memory.set(7, 1, YOUNG)
    made.seen(0, BASE + 7 * PAGE, BASE + 8 * PAGE, memory.now)
    memory.set(7, 1, OLD)
    assert ages(made, 7)[0][3] == 0
    assert ages(made, 8)[0][3] > 0
    memory.set(0, 512, 0)
    run(made, memory, 40 * SECOND)
    assert made.stats()["used_pages"] == 0


def test_a_source_that_fails_while_it_tells_the_time_raises_what_it_raised():
    class Failing(PageMemory):
        def clear(self, target, ranges):
            raise LookupError("not today")

    memory = Failing()
    memory.set(0, 512, YOUNG)
    made = page_map(memory, (0, 512))
    with pytest.raises(LookupError, match="not today"):
        run(made, memory, SECOND)


def test_a_page_outside_of_an_area_that_shrinks_is_forgotten():
    memory = PageMemory()
    memory.set(0, 512, YOUNG)
    made = page_map(memory, (0, 512))
    run(made, memory, 2 * SECOND)
    made.set_areas(0, words((0, 100)))
    run(made, memory, 40 * SECOND)
    assert ages(made, 100) == [NO_PAGE]
    assert known(made, memory)[0] == 100 * PAGE


def test_pages_that_come_and_go_are_no_pages_in_between():
    memory = PageMemory()
    memory.set(0, 512, YOUNG)
    made = page_map(memory, (0, 512))
    run(made, memory, 10 * SECOND)
    memory.set(5, 1, 0)
    run(made, memory, 20 * SECOND)
    assert ages(made, 5) == [NO_PAGE]
    memory.set(5, 1, YOUNG)
    run(made, memory, 30 * SECOND)
    assert ages(made, 5)[0][3] < ages(made, 6)[0][3]


def test_time_in_which_a_target_stood_still_is_in_no_age():
    memory = PageMemory()
    memory.set(0, 512, YOUNG)
    made = page_map(memory, (0, 512))
    run(made, memory, 3 * SECOND)
    memory.set(0, 1, YOUNG)
    run(made, memory, SECOND)
    made.look(0, BASE, BASE + PAGE)
    before = ages(made, 0, 2)
    for stood in range(1, 21):
        memory.now += SECOND
        made.set_stopped(0, stood * SECOND, True, memory.now)
        made.step(memory.now)
    made.look(0, BASE, BASE + PAGE)
    assert ages(made, 0, 2) == before
    made.set_stopped(0, 20 * SECOND, False, memory.now)
    run(made, memory, 10 * SECOND)
    assert [WINDOWS[age[3] - 1] for age in ages(made, 0, 2)] == [10 * SECOND] * 2


def test_a_map_of_what_stands_still_has_nothing_to_do():
    memory = PageMemory()
    memory.set(0, 512, YOUNG)
    made = page_map(memory, (0, 512))
    run(made, memory, 3 * SECOND)
    made.set_stopped(0, 0, True, memory.now)
    memory.trace.clear()
    steps = 0
    until = memory.now + 10 * SECOND
    while memory.now < until:
        memory.now, steps = made.step(memory.now), steps + 1
    assert steps <= 25
    assert len(memory.trace) <= 25


def test_a_huge_page_in_two_areas_counts_once():
    memory = PageMemory()
    memory.set_huge(0, YOUNG | HUGE)
    made = page_map(memory, (0, 100), (100, 50), (300, 212), rows=True)
    run(made, memory, 2 * SECOND)
    rows, *_ = made.sum(3, WINDOWS, array("Q"))
    assert [(row[0], row[3][0] // PAGE) for row in rows] == [(0, 100), (1, 50), (2, 212)]
    runs = made.runs(0, SECOND, SECOND, 9)
    assert sum(runs[2::6]) == 362 * PAGE


def test_pages_that_become_one_are_as_what_was_used_last():
    memory = PageMemory()
    memory.set_huge(0, YOUNG)
    made = page_map(memory, (0, 512))
    run(made, memory, 10 * SECOND)
    memory.set(3, 1, YOUNG)
    run(made, memory, SECOND)
    made.look(0, BASE, BASE + PAGE)
    before = ages(made, 3)
    memory.set_huge(0, OLD | HUGE)
    made.look(0, BASE, BASE + PAGE)
    assert ages(made, 3) == before == ages(made, 4)


@pytest.mark.parametrize("state", [OLD, YOUNG])
def test_one_page_made_of_some_that_nobody_saw_is_not_idle(state):
    memory = PageMemory()
    memory.set_huge(0, YOUNG)
    memory.set(7, 1, UNSEEN)
    made = page_map(memory, (0, 512))
    run(made, memory, 10 * SECOND)
    assert ages(made, 8)[0][3] >= WINDOWS.index(5 * SECOND)
    memory.set_huge(0, state | HUGE)
    made.look(0, BASE, BASE + PAGE)
    low, _, high, idle = ages(made, 0)[0]
    assert (high, idle) == (0, 0)
    assert low == (len(WINDOWS) if state == OLD else low)
    run(made, memory, 20 * SECOND)
    assert ages(made, 0)[0][3] >= WINDOWS.index(5 * SECOND)


@pytest.mark.parametrize("every_ms", [5, 130, 230])
def test_windows_are_as_long_as_they_say_however_late_the_reads_come(every_ms):
    """Pages used one after the other, and a reader who is kept from coming on time."""
    memory = PageMemory()
    memory.set(0, 2000, OLD)
    made = page_map(memory, (0, 2000))
    said, page_ns = [], 4 * MS
    began, done, due = memory.now, 0, memory.now
    while memory.now < began + 30 * SECOND:
        memory.now += 5 * MS
        while began + (done + 1) * page_ns <= memory.now:
            memory.set(done % 2000, 1, YOUNG)
            done += 1
        if (memory.now - began) % (every_ms * MS) == 0 and memory.now >= due:
            due = made.step(memory.now)
        if memory.now > began + 20 * SECOND and (memory.now - began) % SECOND == 0:
            ((*_, figures),) = made.sum(1, WINDOWS, array("Q"))[0]
            said.append([figures[3 + i * len(WINDOWS) + 3] / PAGE for i in range(3)])
    assert len(said) == 10
    for low, used, high in said:
        assert low <= 1.02 * 250
        assert high >= 0.98 * 250
        assert used == pytest.approx(250, rel=0.03)
