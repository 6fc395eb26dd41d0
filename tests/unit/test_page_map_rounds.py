"""The map of pages where memory is cleared all at once: of files, shared, or frame by frame."""

from array import array

from isotherm.model.ranges import PAGE
from support.page_memory import (
    CHUNK,
    MS,
    SECOND,
    WINDOWS,
    YOUNG,
    Frames,
    SharedMemory,
    ages,
    page_map,
    run,
    words,
)

FILE = 1


def cleared(memory, what):
    return [call for call in memory.trace if call[0] == what]


def test_files_are_cleared_in_rounds():
    memory = SharedMemory()
    memory.set(0, 512, YOUNG)
    made = page_map(memory, (0, 512), kind=FILE)
    run(made, memory, 30 * SECOND)
    assert cleared(memory, "clear all")
    assert not cleared(memory, "clear")
    assert made.stats()["by_rounds"]
    assert ages(made, 0)[0][3] >= 5


def test_what_cannot_be_cleared_at_once_is_cleared_by_ranges_and_not_tried_again():
    memory = SharedMemory(refused={1})
    for target in range(2):
        memory.set(0, 512, YOUNG, target)
    made = page_map(memory, (0, 512), targets=2, kind=FILE)
    run(made, memory, 60 * SECOND)
    tried = [target for _, _, target, _ in cleared(memory, "clear all")]
    assert tried.count(0) > 1
    assert tried.count(1) == 1
    assert {target for _, _, target, _ in cleared(memory, "clear")} == {1}
    assert made.covered()
    assert [ages(made, 0, target=target)[0][3] >= 6 for target in range(2)] == [True, True]


def test_where_nothing_can_be_cleared_at_once_no_rounds_are_told_of():
    memory = SharedMemory(refused={0})
    memory.set(0, 512, YOUNG)
    made = page_map(memory, (0, 512), kind=FILE)
    run(made, memory, 10 * SECOND)
    assert len(cleared(memory, "clear all")) == 1
    assert not made.stats()["by_rounds"]


def test_a_use_while_another_process_is_cleared_is_not_lost():
    memory = SharedMemory(all_ns=50 * MS)
    for target in range(2):
        memory.set(0, 512, YOUNG, target)

    def meanwhile(target):
        if target == 0:
            memory.set(7, 1, YOUNG, 1)

    memory.meanwhile = meanwhile
    made = page_map(memory, (0, 512), targets=2, kind=FILE)
    idle = []
    run(made, memory, 120 * SECOND, lambda: idle.append(ages(made, 7, target=1)[0][3]))
    # Used once in each round, of which there is one in 16 s at the least.
    rounds = len([call for call in cleared(memory, "clear all") if call[2] == 1])
    assert rounds >= 6
    assert max(place for place in idle if place <= len(WINDOWS)) <= WINDOWS.index(20 * SECOND)
    assert ages(made, 8, target=1)[0][3] == len(WINDOWS)


def test_a_round_clears_all_young_pages_however_many_ranges_they_are():
    memory = Frames()
    parts = [(2 * page, 1) for page in range(5 * 256)]
    for first, _ in parts:
        memory.set(first, 1, YOUNG)
    made = page_map(memory, *parts, targets=2)
    while not made.stats()["rounds"]:
        run(made, memory, SECOND // 10)
    assert YOUNG not in memory.pages.values()
    run(made, memory, 60 * SECOND)
    idle = [ages(made, first)[0][3] for first, _ in parts]
    assert min(idle) == max(idle) >= WINDOWS.index(30 * SECOND)


def test_frames_of_all_are_looked_at_before_any_is_cleared():
    memory = Frames()
    memory.set(0, 512, YOUNG)
    made = page_map(memory, (0, 512), targets=2)
    for _ in range(20):
        run(made, memory, SECOND)
        memory.set(3, 1, YOUNG)
    for target in range(2):
        assert ages(made, 3, target=target)[0][3] <= WINDOWS.index(2 * SECOND)
        assert ages(made, 4, target=target)[0][3] >= WINDOWS.index(10 * SECOND)


class DearToClear(SharedMemory):
    """Whose clears take more CPU time than there is for them."""

    def clear(self, target, ranges):
        total = 0
        for number in range(400_000):
            total += number
        return super().clear(target, ranges)


def test_who_comes_late_is_looked_at_before_all_others_took_their_turn():
    memory, chunk = DearToClear(), CHUNK // PAGE
    places = [(at * chunk, 512) for at in range(12)]
    made = page_map(memory, *places, share_ns=20_000_000)

    def use():
        for place in places:
            memory.set(*place, YOUNG)

    use()
    while not made.stats()["turns"]:
        run(made, memory, SECOND, use)
    memory.set(0, 512, YOUNG, 1)
    made.set_targets(array("I", [0, 1]))
    made.set_areas(0, words(*places))
    made.set_areas(1, words((0, 512)))
    turn = made.stats()["turns"]
    while ages(made, 0, target=1)[0] in ((0xFD,) * 4, (0xFF,) * 4):
        run(made, memory, SECOND // 10, use)
    assert made.stats()["turns"] == turn
