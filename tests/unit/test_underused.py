"""The filter `underused` over memory of our own, which a survey takes for huge pages."""

import ctypes
import mmap
import os
import struct
from array import array
from contextlib import contextmanager

import pytest

from isotherm._core import Survey
from isotherm.actions.filters import only_huge, rules
from isotherm.errors import BadValueError
from isotherm.kernel.pages.pagemap import Fact
from isotherm.model.ranges import PAGE
from isotherm.model.scheme import Action, Filter, FilterType, Scheme, rejects_rest
from isotherm.schemefile.lines.key_value import parse_line

HUGE, PAGES = 2 << 20, 512
FACTS = [Fact.PRESENT | Fact.HUGE] + [Fact.PRESENT | Fact.HUGE | Fact.JOINED] * (PAGES - 1)
US = os.getpid(), 7


@contextmanager
def blocks(*written, facts=FACTS):
    """Blocks with so many pages that hold something, in a survey; where they are."""
    with mmap.mmap(-1, (len(written) + 1) * HUGE) as memory:
        anchor = ctypes.c_char.from_buffer(memory)
        lead = -ctypes.addressof(anchor) % HUGE
        start = ctypes.addressof(anchor) + lead
        del anchor
        for index, nr in enumerate(written):
            for page in range(nr):
                # In different places: nobody may look at the first bytes only.
                at = lead + index * HUGE + (page * 197 % PAGES) * PAGE
                memory[at + page * 331 % PAGE] = 1
        survey = Survey()
        survey.load(start, array("H", facts * len(written)), bytes(8 * PAGES * len(written)))
        yield survey, start
        survey.close()


def chosen(survey, start, nr, text, *, contents_of=US, need=Fact.PRESENT):
    """Indices of the blocks that pass a list of filters, and how many bytes passed."""
    filters = parse_line(f"stat filter={text}").filters
    runs, passed = survey.pick(
        start,
        start + nr * HUGE,
        need,
        0,
        rules=rules(filters),
        reject_rest=rejects_rest(filters),
        max_run=1,
        contents_of=contents_of,
    )
    return [(at - start) // HUGE for at, _ in struct.iter_unpack("=QQ", runs)], passed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # 80 % of 512 are 409.6: at most 102 pages may hold something.
        ("underused:80%..", [0, 1, 2]),
        ("!underused:80%..", [3, 4, 5]),
        ("underused:80.1%..", [0, 1]),
        ("underused:100%..", [0]),
        ("underused:..0%", [5]),
        ("underused:0.1%..99.9%", [1, 2, 3, 4]),
        ("underused:0%..", [0, 1, 2, 3, 4, 5]),
        ("+underused:100%..,+underused:..0.2%", [0, 4, 5]),
        ("!underused:100%..,!underused:..0.2%", [1, 2, 3]),
    ],
)
def test_bounds_are_of_small_pages_of_zeros(text, expected):
    written = (0, 101, 102, 103, 511, 512)
    with blocks(*written) as (survey, start):
        found, passed = chosen(survey, start, len(written), text)
    assert (found, passed) == (expected, len(expected) * HUGE)


def test_small_pages_are_never_underused():
    with blocks(0, facts=[Fact.PRESENT] * PAGES) as (survey, start):
        assert chosen(survey, start, 1, "underused:0%..") == ([], 0)
        assert chosen(survey, start, 1, "!underused:0%..")[1] == HUGE
        assert survey.contents_read() == (0, 0)


def test_what_a_huge_page_holds_is_not_known_to_who_may_not_look():
    with blocks(0) as (survey, start):
        assert chosen(survey, start, 1, "underused:80%..", contents_of=(0, 0)) == ([], 0)
        assert survey.contents_read() == (0, 0)


@pytest.mark.parametrize("text", ["underused:80%..,anon", "anon,underused:80%..", "anon"])
def test_what_other_filters_or_facts_refuse_is_not_read(text):
    with blocks(0) as (survey, start):
        assert chosen(survey, start, 1, text) == ([], 0)
        assert chosen(survey, start, 1, "underused:80%..", need=Fact.YOUNG) == ([], 0)
        assert survey.contents_read() == (0, 0)


def test_what_was_found_is_not_read_again_and_stands_for_other_bounds():
    with blocks(0, 512) as (survey, start):
        for _ in range(3):
            assert chosen(survey, start, 2, "underused:80%..")[0] == [0]
        assert survey.contents_read() == (2, 0)
        # A page of which a part was read is read again where other bounds depend on more.
        assert chosen(survey, start, 2, "underused:10%..")[0] == [0]
        assert survey.contents_read() == (3, 0)
        # Another address space is another memory.
        assert chosen(survey, start, 2, "underused:80%..", contents_of=(US[0], 8))[0] == [0]
        assert survey.contents_read() == (5, 0)


def test_reading_is_bounded_whatever_there_is_to_read():
    """100 ms of CPU time at once, then 2 %: a block in full takes 60 µs at the very least."""
    nr = 3000
    with blocks(0) as (survey, start):
        for space in range(1, nr + 1):
            chosen(survey, start, 1, "underused:80%..", contents_of=(US[0], space))
        read, error = survey.contents_read()
    assert not error
    assert 1 <= read < nr


def test_memory_that_cannot_be_read_is_left_alone():
    with blocks(0) as (survey, start):
        survey.load(start + (1 << 46), array("H", FACTS), bytes(8 * PAGES))
        assert chosen(survey, start + (1 << 46), 1, "underused:0.1%..") == ([], 0)
        assert survey.contents_read()[1] == 0


def test_what_was_split_is_left_small_for_a_while():
    pages = [Fact.PRESENT] * PAGES
    with blocks(512, 512, facts=pages) as (survey, start):
        survey.was_split(US[1], struct.pack("=QQ", start, HUGE))
        wish = (start, start + 2 * HUGE, Fact.PRESENT, 0)
        assert survey.blocks(*wish, contents_of=US)[0] == struct.pack("=QQ", start + HUGE, HUGE)
        assert len(survey.blocks(*wish, contents_of=(US[0], 8))[0]) == 2 * 16


@pytest.mark.parametrize(("here", "taken"), [(460, False), (461, True), (511, True)])
def test_a_block_with_pages_of_zeros_is_made_huge_only_if_it_is_dense(here, taken):
    pages = [Fact.PRESENT] * here + [Fact.PRESENT | Fact.ZERO] * (PAGES - here)
    with blocks(512, facts=pages) as (survey, start):
        wish = (start, start + HUGE, Fact.PRESENT, 0)
        assert bool(survey.blocks(*wish, min_present=256, min_dense=461)[0]) is taken
        assert survey.blocks(*wish, min_present=256)[0]


@pytest.mark.parametrize(
    ("text", "kept_out"),
    [
        ("underused:80%..", True),
        ("anon,underused:80%..", True),
        ("!underused:80%..", False),
        ("+anon,underused:80%..", False),
        ("anon", False),
    ],
)
def test_whether_small_pages_are_kept_out_is_known_beforehand(text, kept_out):
    assert only_huge(parse_line(f"stat filter={text}").filters) is kept_out


@pytest.mark.parametrize("bounds", [None, (900, 800), (0, 1001), (-1, 5)])
def test_shares_are_permils(bounds):
    with pytest.raises(BadValueError):
        Filter(FilterType.UNDERUSED, bounds=bounds)


def test_a_try_leaves_the_age_of_a_region_to_others():
    underused = Filter(FilterType.UNDERUSED, matching=False, bounds=(800, 1000))
    assert Scheme(Action.NOHUGEPAGE, filters=(underused,)).judges_pages
    assert not Scheme(Action.NOHUGEPAGE).judges_pages
