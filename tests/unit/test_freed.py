"""Memory that came, was used and went between two looks of a map of pages."""

import mmap
import os

from isotherm.core.freed import FreedMemory
from isotherm.core.look import TargetRanges
from isotherm.kernel.huge_faults import HugeFaults
from isotherm.kernel.memory_counts import MemoryCounts, memory_counts
from isotherm.model.page_use import WINDOWS_NS, UseRow
from isotherm.model.ranges import PAGE
from isotherm.model.target import Target

MIB, SECOND = 1 << 20, 1_000_000_000
#: What the kernel's counts are off by.
OFF = MIB // 4
WINDOWS = (SECOND, 10 * SECOND, 60 * SECOND)


class Counted:
    """What is said to be counted of a process, ten times a second."""

    def __init__(self):
        self.faulted = self.now = self.file = self.huge = self.of_children = 0
        self.anonymous = self.peak = 100 * MIB
        self.freed = FreedMemory(1.0, lambda _: self.counts(), lambda: self.huge)
        self.follow(4321)

    def follow(self, *pids):
        """Be the first of these processes."""
        self.freed.follow(
            [TargetRanges(Target(i, "some", pid), ()) for i, pid in enumerate(pids)], self.now
        )

    def counts(self):
        resident = self.anonymous + self.file
        return MemoryCounts(
            self.faulted, resident, self.peak, self.anonymous, self.file, self.of_children
        )

    def look(self, times=1):
        for _ in range(times):
            self.now += SECOND // 10
            self.freed.look(self.now)

    def said(self):
        return self.freed.of(0, self.now, WINDOWS)


def test_nothing_is_freed_of_what_stays():
    counted = Counted()
    counted.look(300)
    assert counted.said() == ((0, 0, 0), (0, 0, 0))


def test_what_was_seen_and_is_gone_was_used_within_the_time_since():
    counted = Counted()
    counted.look(2)
    counted.faulted += 16 * MIB
    counted.anonymous += 16 * MIB
    counted.peak += 16 * MIB
    counted.look()
    counted.anonymous -= 16 * MIB
    counted.look(5)
    assert counted.said().used == (16 * MIB, 16 * MIB, 16 * MIB)
    counted.look(30)
    used, high = counted.said()
    assert used == high == (0, 16 * MIB, 16 * MIB)
    counted.look(1200)
    assert counted.said() == ((0, 0, 0), (0, 0, 0))


def test_what_came_and_went_between_two_looks_may_have_been_as_much_as_there_ever_was():
    counted = Counted()
    counted.look(2)
    counted.peak += 16 * MIB
    for _ in range(5):
        counted.faulted += 16 * MIB
        counted.look()
    assert counted.said() == ((0, 0, 0), (16 * MIB + OFF,) * 3)
    counted.peak += 1000 * MIB
    assert counted.freed.of(0, counted.now, WINDOWS).high == (16 * MIB + OFF,) * 3
    counted.look()
    # More that there was at the most since then is none of what went before.
    assert counted.said().high == (16 * MIB + OFF,) * 3


def test_memory_that_is_given_back_may_have_been_used_before():
    counted = Counted()
    counted.look(2)
    counted.anonymous -= 50 * MIB
    counted.look(3)
    assert counted.said() == ((0, 0, 0), (50 * MIB,) * 3)
    counted.look(30)
    assert counted.said() == ((0, 0, 0), (0, 50 * MIB, 50 * MIB))


def test_large_pages_that_come_and_go_between_two_looks_are_more_than_their_faults():
    counted = Counted()
    counted.look(2)
    counted.peak += 64 * MIB
    # Eight faults of 2 MiB each, as the machine counts them.
    for _ in range(5):
        counted.faulted += 8 * PAGE
        counted.huge += 16 * MIB
        counted.look()
    assert counted.said() == ((0, 0, 0), (16 * MIB,) * 3)
    counted.look(30)
    assert counted.said().high == (0, 16 * MIB, 16 * MIB)


def test_large_pages_of_others_are_no_more_than_the_faults_let_be():
    counted = Counted()
    counted.look(2)
    counted.peak += 1000 * MIB
    counted.faulted += 2 * PAGE
    counted.huge += 500 * MIB
    counted.look()
    assert counted.said().high == (4 * MIB,) * 3


def test_where_large_pages_are_not_counted_each_fault_may_be_one():
    counted = Counted()
    counted.huge = None
    counted.look(2)
    counted.peak += 1000 * MIB
    counted.faulted += 8 * PAGE
    counted.look()
    assert counted.said() == ((0, 0, 0), (16 * MIB,) * 3)


def test_files_that_are_mapped_and_unmapped_between_two_looks_come_16_pages_a_fault():
    counted = Counted()
    counted.look(2)
    counted.peak += 1000 * MIB
    for _ in range(3):
        counted.faulted += 512 * PAGE
        counted.look()
    assert counted.said() == ((0, 0, 0), (32 * MIB,) * 3)
    # Memory of no file that stays is a fault for each page.
    more = Counted()
    more.look(2)
    more.peak += 1000 * MIB
    more.faulted += 512 * PAGE
    more.anonymous += 2 * MIB
    more.look()
    assert more.said() == ((0, 0, 0), (0, 0, 0))


def test_files_that_are_unmapped_were_in_memory():
    counted = Counted()
    counted.file = 40 * MIB
    counted.peak += 40 * MIB
    counted.look(2)
    counted.file = 0
    counted.look(3)
    assert counted.said() == ((0, 0, 0), (40 * MIB,) * 3)


def test_a_steady_program_that_faults_a_little_has_freed_nothing():
    counted = Counted()
    counted.peak += 1000 * MIB
    for _ in range(100):
        counted.faulted += 10 * PAGE
        counted.look()
    assert counted.said() == ((0, 0, 0), (0, 0, 0))


def sizes(**by_window):
    return [by_window.get(f"ns{ns}", 0) for ns in WINDOWS_NS]


def test_what_was_used_before_the_window_of_its_faults_and_is_missed_was_used():
    counted = Counted()
    counted.look(200)
    counted.freed.miss(counted.now, [])
    counted.anonymous -= 48 * MIB
    counted.look()
    # Of 50 MiB that are missed 48 are not in memory any more; 8 were used 5 s before, not sooner.
    counted.freed.miss(counted.now, [(0, sizes(ns100000000=40 * MIB, ns5000000000=10 * MIB))])
    assert counted.said().used == (40 * MIB, 48 * MIB, 48 * MIB)
    counted.look(30)
    assert counted.said() == ((0, 48 * MIB, 48 * MIB), (0, 48 * MIB, 48 * MIB))
    counted.look(70)
    assert counted.said().used == (0, 0, 48 * MIB)


def test_what_is_missed_of_one_place_and_is_in_memory_at_another_was_not_freed():
    counted = Counted()
    counted.look(20)
    counted.freed.miss(counted.now, [(0, sizes(ns100000000=40 * MIB))])
    assert counted.said() == ((0, 0, 0), (0, 0, 0))


def test_what_came_in_the_place_of_what_was_missed_counts_once():
    counted = Counted()
    counted.anonymous = 200 * MIB
    counted.look(2)
    counted.freed.miss(counted.now, [])
    for _ in range(4):
        counted.anonymous -= 30 * MIB
        counted.look(3)
        counted.freed.miss(counted.now, [(0, sizes(ns100000000=30 * MIB))])
        counted.anonymous += 30 * MIB
        counted.look(3)
    assert counted.said().used == (0, 0, 0)
    counted.anonymous -= 100 * MIB
    counted.look(1)
    counted.freed.miss(counted.now, [(0, sizes(ns100000000=30 * MIB))])
    assert counted.said().used == (30 * MIB,) * 3


def row(target, kind, *used):
    none = (0,) * len(used)
    return UseRow(target, "some", kind, None, 90 * MIB, 0, 0, none, used, used, none, none)


def test_what_was_used_by_who_ended_is_told_as_long_as_windows_reach_there():
    counted = Counted()
    counted.faulted = 100 * MIB
    counted.follow(4321, 4322)
    counted.look(10)
    rows = [row(0, "anon", 1, 1), row(1, "anon", 20 * MIB, 30 * MIB), row(1, "file", 9, 9)]
    counted.freed.tell(counted.now, (SECOND, 10 * SECOND), rows)
    counted.look(5)
    counted.follow(4321)
    used, high = counted.freed.ended(counted.now, WINDOWS, {0})
    # Of its last second it is not known: within half a second, which was not told, it used some.
    assert used == (0, 20 * MIB, 30 * MIB)
    assert high == (100 * MIB + OFF,) * 3
    counted.look(20)
    used, high = counted.freed.ended(counted.now, WINDOWS, {0})
    assert used == (0, 20 * MIB, 30 * MIB)
    assert high == (0, 100 * MIB + OFF, 100 * MIB + OFF)
    counted.look(100)
    assert counted.freed.ended(counted.now, WINDOWS, {0}).used == (0, 0, 30 * MIB)


def test_who_ended_since_targets_were_looked_for_used_what_it_did():
    counted = Counted()
    counted.faulted = 100 * MIB
    counted.follow(4321, 4322)
    counted.look(10)
    counted.freed.tell(counted.now, (SECOND // 2,), [row(1, "anon", 20 * MIB)])
    assert counted.freed.ended(counted.now, WINDOWS, {0, 1}) == ((0,) * 3, (0,) * 3)
    counted.now += SECOND // 2
    used, high = counted.freed.ended(counted.now, WINDOWS, {0})
    assert (used, high) == ((20 * MIB,) * 3, (100 * MIB + OFF,) * 3)
    # By the time that it is no target any more nothing is told of its memory.
    counted.freed.tell(counted.now, (SECOND // 2,), [])
    counted.follow(4321)
    used, high = counted.freed.ended(counted.now, WINDOWS, {0})
    assert (used, high) == ((20 * MIB,) * 3, (100 * MIB + OFF,) * 3)


def test_children_that_nobody_knew_had_no_more_than_they_faulted_in():
    counted = Counted()
    counted.look(2)
    counted.of_children += 30 * MIB
    counted.look()
    assert counted.freed.ended(counted.now, WINDOWS, {0}) == ((0,) * 3, (30 * MIB,) * 3)
    counted.look(20)
    assert counted.freed.ended(counted.now, WINDOWS, {0}).high == (0, 30 * MIB, 30 * MIB)


def test_memory_of_others_that_a_forked_one_has_is_not_its_own():
    counted = Counted()
    counted.follow(4321, 4322)
    counted.look(2)
    counted.faulted += 4 * MIB
    counted.look()
    counted.freed.tell(counted.now, (SECOND // 2,), [row(1, "anon", 50 * MIB)])
    counted.follow(4321)
    assert counted.freed.ended(counted.now, WINDOWS, {0}).used == (4 * MIB,) * 3


def test_of_many_that_ended_the_first_are_told_as_one():
    counted = Counted()
    counted.faulted = 100 * MIB
    for pid in range(1000):
        counted.follow(4321, 10_000 + pid)
        counted.look(1)
        counted.freed.tell(counted.now, (SECOND // 20,), [row(1, "anon", 8 * MIB)])
    counted.follow(4321)
    assert len(counted.freed._ended) <= 64
    used, high = counted.freed.ended(counted.now, (3600 * SECOND,), {0})
    assert used == (8 * MIB,)
    assert high == (1000 * (100 * MIB + OFF),)


def test_memory_that_the_kernel_counts_and_no_map_knows_is_unknown():
    counted = Counted()
    counted.look(2)
    known = counted.freed
    assert known.unknown(0, counted.now, 40 * MIB) == 60 * MIB
    assert known.unknown(0, counted.now, 100 * MIB) == 0
    assert known.unknown(0, counted.now, 200 * MIB) == 0
    assert known.unknown(0, counted.now + 1, 40 * MIB) == 0


def test_long_times_take_few_spans():
    counted = Counted()
    counted.look(36_000)
    (known,) = counted.freed._known
    assert len(known.spans) <= 80
    assert known.spans[0].begin_ns == SECOND // 10
    assert all(a.end_ns == b.begin_ns for a, b in zip(known.spans, known.spans[1:], strict=False))


def test_the_kernel_counts_what_this_process_faults_in():
    before = memory_counts(os.getpid())
    held = bytearray(os.urandom(8 * MIB))
    after = memory_counts(os.getpid())
    assert after.peak >= after.resident >= len(held)
    assert after.faulted > before.faulted
    assert after.anonymous >= before.anonymous
    assert memory_counts(2**22 + 1) is None


def test_the_kernel_counts_large_pages_of_this_process(monkeypatch):
    counts = HugeFaults()
    before = counts()
    assert before >= 0
    with mmap.mmap(-1, 8 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        area.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, len(area), PAGE):
            area[at] = 1
        faults = counts() - before
    # Whatever the machine has of them, it is whole ones.
    assert faults >= 0
    assert faults % PAGE == 0
    monkeypatch.setattr("isotherm.kernel.huge_faults._VMSTAT", "/proc/nothing")
    assert counts() is None
