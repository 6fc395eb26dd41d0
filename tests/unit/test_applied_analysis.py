"""What schemes did, by mapping: each byte once, and nothing that no scheme did."""

from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given

from isotherm.analysis.applied import Outcomes, RangeSet, overlaps, title
from isotherm.core.act import Done
from isotherm.core.look import TargetRanges
from isotherm.model.scheme_state import TriedRegion
from isotherm.model.target import Mapping, Range, Target
from isotherm.schemes.engine import Event

A = Mapping(100, 200, "rw-p", "/a")
B = Mapping(200, 240, "rw-p", "")
C = Mapping(300, 400, "rw-p", "/c")
WORLD = TargetRanges(Target(7, "x", 4242), (Range(100, 400),), mappings=(A, B, C))


def event(start, end, applied, *, target=0, kind="done"):
    tried = TriedRegion(target, start, end, 0, 0, 0, applied)
    return Event(kind, 3, 1, tried, Done(applied))


def test_a_region_is_divided_between_the_mappings_it_lies_in():
    assert overlaps((A, B, C), 150, 310) == [
        (A, Range(150, 200)),
        (B, Range(200, 240)),
        (C, Range(300, 310)),
    ]


def test_touching_is_not_lying_in():
    assert overlaps((A, B, C), 240, 300) == []
    assert overlaps((A, B, C), 0, 100) == []
    assert overlaps((A, B, C), 400, 900) == []
    assert overlaps((), 0, 900) == []


@st.composite
def layouts(draw):
    at = sorted(draw(st.lists(st.integers(0, 200), max_size=12, unique=True)))
    pairs = zip(at[::2], at[1::2], strict=False)
    return [Mapping(start, end, "rw-p", str(start)) for start, end in pairs]


@given(layouts(), st.integers(0, 200), st.integers(0, 200))
def test_overlaps_are_what_addresses_say(mappings, one, other):
    start, end = sorted((one, other))
    found = overlaps(mappings, start, end)
    said = {(m.name, at) for m, part in found for at in range(part.start, part.end)}
    true = {(m.name, at) for m in mappings for at in range(m.start, m.end) if start <= at < end}
    assert said == true
    assert all(part.start < part.end for _, part in found)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=40))
def test_a_range_set_has_each_address_once(parts):
    found, true = RangeSet(), set()
    for start, size in parts:
        found.add(start, start + size)
        true |= set(range(start, start + size))
        assert found.size == len(true)
    assert all(one.end < other.start for one, other in pairwise(found._ranges))


def test_sums_by_scheme_and_mapping():
    outcomes = Outcomes()
    outcomes.take(event(150, 240, 45), [WORLD])
    outcomes.take(event(150, 200, 0), [WORLD])
    outcomes.take(event(160, 200, 20), [WORLD])
    one = outcomes.by_scheme[3]
    assert dict(one.asked) == {"/a": 50 + 50 + 40, "anonymous": 40}
    assert dict(one.done) == {"/a": 25 + 20, "anonymous": 20}
    assert {name: found.size for name, found in one.different.items()} == {
        "/a": 50,
        "anonymous": 40,
    }


def test_what_says_nothing_is_passed_over():
    outcomes = Outcomes()
    outcomes.take(event(150, 240, 45, kind="apply"), [WORLD])
    outcomes.take(Event("quota", 0, 1, effective_bytes=3), [WORLD])
    outcomes.take(event(150, 240, 45, target=1), [WORLD])  # it ended meanwhile
    assert not outcomes.by_scheme
    outcomes.take(event(240, 300, 0), [WORLD])  # was unmapped meanwhile
    assert not outcomes.by_scheme[3].asked


def test_a_mapping_without_a_name_is_anonymous():
    assert [title(one) for one in (A, B)] == ["/a", "anonymous"]
