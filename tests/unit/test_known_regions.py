"""What regions are told of a map of pages: what is absent, shared, or not looked at yet."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.analysis.idleness import idle_ns
from isotherm.core.known_regions import KnownRegions
from isotherm.core.page_map import Part
from isotherm.core.reference import known_regions as reference
from isotherm.core.reference.known_regions import within
from support.snapshots import MIB, columns

MOST = 20


class Both:
    """The twins: what they tell is the same."""

    def __init__(self):
        self.fast, self.reference = KnownRegions(), reference.KnownRegions()

    def columns(self, *asked):
        fast = self.fast.columns(*asked)
        assert list(fast) == list(self.reference.columns(*asked))
        return fast


def told(rows, *parts, known=None, soon_ns=100_000_000):
    words = array("Q", [word for part in parts for word in part])
    return list((known or Both()).columns(columns(rows), words, MOST, soon_ns))


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
    known = Both()
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


@st.composite
def pieces(draw):
    """Ranges of pages side by side or apart, of one to three targets, in order."""
    found = []
    for target in range(draw(st.integers(1, 3))):
        at = 0
        for _ in range(draw(st.integers(0, 6))):
            at += draw(st.sampled_from([0, 0, 1, 5]))
            size = draw(st.integers(1, 9))
            found.append((target, at * 4096, (at + size) * 4096))
            at += size
    return found


@st.composite
def sampled(draw, ranges):
    return [
        (
            *one,
            draw(st.sampled_from([0, 0, 1, 7, MOST])),
            draw(st.integers(0, 50)),
            draw(st.sampled_from([0, 0, 4096, one[2] - one[1], 2 * (one[2] - one[1])])),
        )
        for one in ranges
    ]


@st.composite
def known_of(draw, ranges):
    found = []
    for target, start, end in ranges:
        pages = (end - start) // 4096
        present = draw(st.integers(0, pages))
        unread = draw(st.sampled_from([0, 0, pages - present]))
        unknown = draw(st.integers(0, present))
        used = draw(st.integers(0, present - unknown))
        soon = draw(st.integers(0, used))
        sizes = (4096 * n for n in (present, unread, unknown, soon, used))
        found.append(Part(target, start, end, *sizes))
    return found


@given(st.data())
def test_the_twins_tell_the_same_of_any_regions_and_parts(data):
    known = Both()
    regions = data.draw(pieces())
    for _ in range(data.draw(st.integers(1, 3))):
        others = data.draw(st.sampled_from([regions, data.draw(pieces())]))
        parts = data.draw(known_of(others))
        soon_ns = data.draw(st.sampled_from([5_000_000, 100_000_000]))
        told(data.draw(sampled(regions)), *parts, known=known, soon_ns=soon_ns)


def test_columns_of_other_lengths_and_words_that_are_no_parts_are_refused():
    known = KnownRegions()
    short = columns([(0, 0, MIB, 0, 0, 0)])
    short.age.append(1)
    with pytest.raises(ValueError, match="one length"):
        known.columns(short, array("Q"), MOST, 1)
    with pytest.raises(ValueError, match="eight words"):
        known.columns(columns([]), array("Q", [1, 2]), MOST, 1)
    with pytest.raises(ValueError, match="eight words"):
        known.columns(columns([]), array("Q"), 0, 1)
