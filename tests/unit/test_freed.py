"""Memory that came, was used and went between two looks of a map of pages."""

import os

from isotherm.core.freed import FreedMemory
from isotherm.core.look import TargetRanges
from isotherm.kernel.memory_counts import MemoryCounts, memory_counts
from isotherm.model.target import Target

MIB, SECOND = 1 << 20, 1_000_000_000
#: What the kernel's counts are off by.
OFF = MIB // 4
WINDOWS = (SECOND, 10 * SECOND, 60 * SECOND)


class Counted:
    """What is said to be counted of a process, ten times a second."""

    def __init__(self):
        self.faulted = self.now = 0
        self.anonymous = self.peak = 100 * MIB
        self.freed = FreedMemory(1.0, lambda _: self.counts())
        self.freed.follow([TargetRanges(Target(0, "some", 4321), ())])

    def counts(self):
        return MemoryCounts(self.faulted, self.anonymous, self.peak, self.anonymous)

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
    assert counted.said().high == (80 * MIB,) * 3


def test_memory_that_is_given_back_may_have_been_used_before():
    counted = Counted()
    counted.look(2)
    counted.anonymous -= 50 * MIB
    counted.look(3)
    assert counted.said() == ((0, 0, 0), (50 * MIB,) * 3)
    counted.look(30)
    assert counted.said() == ((0, 0, 0), (0, 50 * MIB, 50 * MIB))


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
