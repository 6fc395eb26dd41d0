"""Range arithmetic against sets of addresses, the definition it must agree with."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from isotherm.model.ranges import (
    Range,
    RangeSet,
    aligned,
    intersect,
    join_adjacent,
    meets,
    parts,
    subtract,
    total,
    union,
)
from isotherm.model.target import Mapping

SPAN = 40
addresses = st.integers(0, SPAN)
range_of = st.tuples(addresses, addresses).map(lambda pair: Range(min(pair), max(pair)))
ranges = st.lists(range_of, max_size=8)


def inside(some):
    return {address for start, end in some for address in range(start, end)}


def in_order_and_apart(some):
    return all(left.end < right.start for left, right in pairwise(some))


@st.composite
def mappings(draw):
    at = sorted(draw(st.lists(addresses, max_size=12, unique=True)))
    return [Mapping(a, b, "rw-p", str(a)) for a, b in zip(at[::2], at[1::2], strict=False)]


@given(ranges)
def test_a_union_is_the_same_addresses_in_order_and_apart(some):
    joined = union(some)
    assert inside(joined) == inside(some)
    assert total(joined) == len(inside(some))
    assert in_order_and_apart(joined)


@given(ranges, st.integers(0, SPAN))
def test_a_union_fills_gaps_up_to_a_size(some, most):
    joined = union(some, most)
    assert inside(joined) >= inside(some)
    assert all(right.start - left.end > most for left, right in pairwise(joined))
    gaps = [Range(left.end, right.start) for left, right in pairwise(union(some))]
    assert inside(joined) - inside(some) == inside(gap for gap in gaps if gap.size <= most)


@given(ranges, ranges)
def test_an_intersection_is_what_is_in_both(left, right):
    common = intersect(union(left), union(right))
    assert inside(common) == inside(left) & inside(right)
    assert total(common) == len(inside(common))


@given(ranges, ranges)
def test_a_difference_is_what_no_hole_has(some, holes):
    left = list(subtract(some, holes))
    assert inside(left) == inside(some) - inside(holes)
    assert all(piece.size for piece in left)
    assert left == [piece for one in some for piece in subtract([one], holes)]


def test_holes_at_the_borders_leave_nothing_of_no_size():
    holes = [Range(0, 3), Range(5, 6), Range(6, 8), Range(9, 20)]
    assert list(subtract([Range(2, 12)], holes)) == [(3, 5), (8, 9)]
    assert list(subtract([Range(0, 3)], holes)) == []
    assert list(subtract([Range(20, 30)], holes)) == [(20, 30)]
    assert list(subtract([Range(0, 4)], [])) == [(0, 4)]


@given(mappings(), range_of)
def test_parts_are_what_addresses_say(some, asked):
    found = list(parts(some, *asked))
    said = {(mapping.name, at) for mapping, part in found for at in range(*part)}
    true = {(m.name, at) for m in some for at in range(m.start, m.end) if at in range(*asked)}
    assert said == true
    assert all(part.size > 0 for _, part in found)


not_empty = range_of.filter(lambda one: one.size)


@given(not_empty, not_empty)
def test_spans_meet_if_they_share_an_address(left, right):
    assert meets(left, *right) == bool(inside([left]) & inside([right]))


@given(st.integers(0, 500), st.integers(1, 90), st.integers(1, 64))
def test_aligned_outwards_is_the_least_of_whole_units(start, size, unit):
    found = aligned(start, start + size, unit)
    assert not found.start % unit
    assert not found.end % unit
    assert start - unit < found.start <= start
    assert start + size <= found.end < start + size + unit


@given(st.lists(addresses, max_size=12, unique=True).map(sorted), st.sets(addresses))
def test_adjacent_ranges_become_one_and_no_others(cuts, left_out):
    pieces = [pair for pair in pairwise(cuts) if pair[0] not in left_out]
    joined = join_adjacent(pieces)
    assert inside(joined) == inside(pieces)
    assert in_order_and_apart(joined)


def test_joining_adjacent_ranges_keeps_overlaps_for_others_to_refuse():
    assert join_adjacent([(0, 2), (2, 3), (1, 5)]) == [(0, 3), (1, 5)]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=40))
def test_a_range_set_has_each_address_once(added):
    found, true = RangeSet(), set()
    for start, size in added:
        found.add(start, start + size)
        true |= set(range(start, start + size))
        assert found.size == len(true)
    assert in_order_and_apart(found._ranges)
