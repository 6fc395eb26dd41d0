"""The map of pages over memory whose pages are told what they are: what it must never say."""

import time
from array import array

import pytest

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
    rows, _ = made.sum(1, WINDOWS, array("Q"))
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
