"""What regions are told of a map of pages: what is absent, shared, or not looked at yet."""

import sys
from array import array

import pytest

from isotherm.analysis.idleness import idle_ns
from isotherm.core.known_regions import KnownRegions, within
from isotherm.core.page_map import Part
from support.snapshots import MIB, columns

MOST = 20


def told(rows, *parts, known=None, soon_ns=100_000_000):
    words = array("Q", [word for part in parts for word in part])
    return list((known or KnownRegions()).columns(columns(rows), words, MOST, soon_ns))


def part(start, end, *, present=None, unread=0, unknown=0, soon=0, used=0):
    there = (end - start - unread) if present is None else present
    return Part(
        0, start * MIB, end * MIB, *(n * MIB for n in (there, unread, unknown, soon, used))
    )


def test_what_is_not_in_memory_is_in_no_region():
    rows = [(0, 0, 100 * MIB, 0, 7, 0)]
    found = told(rows, part(0, 10), part(10, 90, present=0), part(90, 100))
    assert [(one.start // MIB, one.end // MIB, one.age) for one in found] == [
        (0, 10, 7), (90, 100, 7),
    ]  # fmt: skip


def test_a_rate_is_of_the_pages_that_are_there():
    (one,) = told([(0, 0, 100 * MIB, 5, 0, 0)], part(0, 100, present=50))
    assert one.share == pytest.approx(0.5)
    assert one.nr_accesses == 5


def test_what_samples_cannot_see_has_the_rate_that_the_map_knows():
    rows = [(0, 0, 100 * MIB, 0, 30, 40 * MIB)]
    (one,) = told(rows, part(0, 100, unknown=20, soon=2, used=30))
    assert one.share == pytest.approx(2 / 80)
    assert one.nr_accesses == 1  # a whole sample, never none: it was used
    assert (one.unobservable, one.used, one.age) == (20 * MIB, 30 * MIB, 0)


def test_what_nobody_can_see_is_unknown_and_not_idle():
    rows = [(0, 0, 100 * MIB, 0, 30, 40 * MIB)]
    (one,) = told(rows, part(0, 100, present=45, unknown=40))
    assert one.nr_accesses is None
    (one,) = told(rows, part(0, 100, unread=100))
    assert one.nr_accesses is None or one.unobservable >= 40 * MIB


def test_where_nobody_looked_yet_what_samples_found_stands_and_the_rest_is_unknown():
    rows = [(0, 0, 8 * MIB, 0, 3, 0), (0, 8 * MIB, 16 * MIB, 20, 3, 0)]
    idle, hot = told(rows, part(0, 8, unread=8), part(8, 16, unread=8))
    assert idle.nr_accesses is None
    assert (hot.nr_accesses, hot.share) == (20, 1.0)


def test_what_samples_saw_of_late_is_there_whatever_the_map_knew():
    (one,) = told([(0, 0, 100 * MIB, 10, 0, 0)], part(0, 2), part(2, 100, present=0))
    assert (one.size, one.share) == (100 * MIB, 0.5)


def test_a_rate_that_stays_grows_old_and_what_is_idle_is_of_another_age():
    known = KnownRegions()
    rows = [(0, 0, 100 * MIB, 0, 30, 90 * MIB)]
    ages = []
    for used in (10, 10, 10, 0, 0):
        (one,) = told(rows, part(0, 100, soon=used, used=used), known=known)
        ages.append((one.nr_accesses, one.age))
    assert ages == [(2, 0), (2, 1), (2, 2), (0, 0), (0, 1)]


def test_what_was_known_of_other_regions_is_told_in_proportion():
    rows = [(0, 0, 30 * MIB, 0, 0, 10 * MIB), (0, 30 * MIB, 120 * MIB, 0, 0, 40 * MIB)]
    first, second, rest = told(rows, part(0, 40, soon=4, used=8), part(40, 60, present=0))[:3]
    assert (first.end, first.used) == (30 * MIB, 6 * MIB)
    assert (second.start, second.end, second.used) == (30 * MIB, 40 * MIB, 2 * MIB)
    assert rest.start == 60 * MIB
    assert rest.unobservable > 0  # where nobody asked


def test_shares_of_times_shorter_than_a_map_can_tell():
    assert within(0.19, 50_000_000) == pytest.approx(0.1)
    assert within(1.0, 1) == 1.0
    assert within(0.3, 200_000_000) == 0.3


def test_what_the_map_saw_used_a_little_is_not_idle_though_no_sample_found_it():
    rows = [(0, 0, 8 * MIB, 0, 9, 0), (0, 8 * MIB, 16 * MIB, 0, 9, 0)]
    little, idle = told(rows, part(0, 8, soon=1, used=2), part(8, 16))
    assert (little.nr_accesses, little.share, idle_ns(little, 100_000)) == (0, 1 / 8, 0)
    assert (idle.share, idle_ns(idle, 100_000)) == (0.0, 900_000_000)


def calls_of(act):
    """Count what `act` calls of functions in Python."""
    calls = 0

    def note(frame, event, what):
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(before)
    return calls


def test_regions_that_nobody_looked_at_are_told_in_few_steps_each():
    nr = 200
    rows = [(0, n * MIB, (n + 1) * MIB, 0, 3, 0) for n in range(nr)]
    parts = [part(n, n + 1, unread=1) for n in range(nr)]
    assert calls_of(lambda: told(rows, *parts)) < calls_of(lambda: told([], *parts)) + 20 * nr
    assert len(told(rows, *parts)) == nr
