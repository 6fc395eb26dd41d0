"""Address maps in C: what is read is what the readable parser reads, and ranges are DAMON's."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm import _core
from isotherm.kernel.procfs import parse_maps
from isotherm.model.mappings import Mappings
from isotherm.model.ranges import Range

NAMES = st.sampled_from(
    ["", "[heap]", "[anon:a b]", "/usr/lib/lib c.so", "/a\\012b", "/dev/zero (deleted)"]
) | st.text(st.characters(codec="latin-1", exclude_characters="\n\0"), max_size=8).map(
    lambda text: "/" + text
)


@st.composite
def lines(draw):
    at, found = 1, []
    for gap, size, rights, name in draw(
        st.lists(
            st.tuples(
                st.integers(0, 3),
                st.integers(1, 1 << 30),
                st.sampled_from(["rw-p", "r--p", "---p", "rw-s"]),
                NAMES,
            ),
            max_size=40,
        )
    ):
        start = at + gap
        at = start + size
        device, inode = ("00:00", 0) if not name.startswith("/") else ("fd:01", 4711)
        head = f"{start << 12:08x}-{at << 12:08x} {rights} 00000000 {device} {inode} "
        padded = head.ljust(73) + name if name else head
        found.append(padded.encode("utf-8", "surrogateescape"))
    return found


def text_of(found):
    return b"".join(line + b"\n" for line in found)


def table(address_map):
    """Return what it knows, and the device of each mapping."""
    texts = [
        tuple(part.decode(errors="replace") for part in kind.split(b" ", 2))
        for kind in address_map.kinds(0)
    ]
    bounds, kinds = address_map.columns()
    mappings = Mappings(bounds, kinds, [(rights, name) for rights, _, name in texts])
    return mappings, [texts[kind][1] for kind in kinds]


@given(st.lists(lines(), min_size=1, max_size=5))
def test_a_map_that_changes_is_read_as_the_readable_parser_reads_it(maps):
    address_map, before = _core.AddressMap(), []
    for found in maps:
        text = text_of(found)
        want = list(parse_maps(text))
        assert address_map.parse(text) == (want != before)
        assert not address_map.parse(text)
        mappings, devices = table(address_map)
        assert mappings == tuple(mapping for mapping, _ in want)
        assert list(mappings) == [mapping for mapping, _ in want]
        assert devices == [device for _, device in want]
        before = want


def test_many_names_keep_their_numbers():
    address_map = _core.AddressMap()
    text = "".join(
        f"{i << 12:x}-{(i << 12) + 4096:x} rw-p 00000000 00:00 0   [anon:{i}]\n"
        for i in range(1, 20_001)
    )
    assert address_map.parse(text.encode())
    kinds = address_map.kinds(0)
    assert [kind.split(b" ", 2)[2] for kind in kinds] == [
        b"[anon:%d]" % i for i in range(1, 20_001)
    ]
    assert list(address_map.columns()[1]) == list(range(20_000))
    assert address_map.kinds(19_999) == kinds[-1:]


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\n",
        b"1000-2000\n",
        b"1000-2000 rw-p 0 00:00\n",
        b"2000-1000 rw-p 00000000 00:00 0 \n",
        b"1000-2000 rw-p 00000000 00:00 0 ",  # cut off
        b"1000-2000 rw-p 00000000 00:00 0 " + 70_000 * b"x" + b"\n",
    ],
)
def test_what_is_no_map_changes_nothing(text):
    address_map = _core.AddressMap()
    address_map.parse(b"1000-2000 rw-p 00000000 00:00 0 \n")
    with pytest.raises(OSError, match=r"[Ii]llegal|[Ii]nvalid"):
        address_map.parse(text)
    assert list(address_map.columns()[0]) == [0x1000, 0x2000]


@given(lines())
def test_items_slices_and_equality_are_those_of_a_tuple(found):
    mappings = tuple(mapping for mapping, _ in parse_maps(text_of(found)))
    compact = Mappings.of(mappings)
    assert compact == mappings
    assert Mappings.of(compact) is compact
    assert len(compact) == len(mappings)
    assert compact[1:-1] == mappings[1:-1]
    assert [compact[i] for i in range(-len(mappings), len(mappings))] == [*mappings, *mappings]
    with pytest.raises(IndexError):
        compact[len(mappings)]
    if mappings:
        assert compact != mappings[1:]
        assert Mappings.of(mappings[1:]) != compact
        assert Mappings.of(mappings) == compact  # of other texts


@st.composite
def areas(draw):
    at, found = 0, []
    kinds = st.sampled_from([_core.AREA_VISIBLE, _core.AREA_VISIBLE, _core.AREA_HIDDEN])
    for gap, size, kind in draw(
        st.lists(st.tuples(st.integers(0, 6), st.integers(1, 5), kinds), max_size=40)
    ):
        at += gap
        found.append((at, at + size, kind))
        at += size
    return found


def readable_coalesce(found, most):
    """Sort the gaps between visible areas; the largest stay, those with something hidden first."""
    seen = [area for area in found if area[2] == _core.AREA_VISIBLE]
    gaps = []
    for index, (before, after) in enumerate(itertools.pairwise(seen)):
        hidden = any(
            kind == _core.AREA_HIDDEN and before[1] <= start < after[0] for start, _, kind in found
        )
        if after[0] > before[1]:
            gaps.append((hidden, after[0] - before[1], index))
    gaps.sort(key=lambda gap: gap[:2], reverse=True)  # stable: of equal ones the first
    cuts = sorted(index for _, _, index in gaps[: most - 1])
    firsts, lasts = [0, *(cut + 1 for cut in cuts)], [*cuts, len(seen) - 1]
    return [
        Range(seen[first][0], seen[last][1])
        for first, last in zip(firsts, lasts, strict=True)
        if seen
    ]


@given(areas(), st.integers(1, 20))
def test_few_ranges_are_those_of_the_readable_rule(found, most):
    words = _core.mapping_words(*columns(found))
    ends = _core.coalesce(words, most)
    assert list(map(Range, ends[::2], ends[1::2])) == readable_coalesce(found, most)


def columns(found):
    compact = Mappings.of(())
    kinds = sorted({kind for _, _, kind in found})
    compact.bounds.extend(word for start, end, _ in found for word in (start, end))
    compact.kinds.extend(kinds.index(kind) for _, _, kind in found)
    words = compact.bounds[:0]
    words.extend(kinds)
    return compact.bounds, compact.kinds, words


def test_words_leave_out_and_tell_no_address_twice():
    bounds, kinds, words = columns([(10, 20, 1), (15, 25, 2), (20, 30, 1), (30, 30, 1)])
    assert list(_core.mapping_words(bounds, kinds, words)) == [10, 20, 1, 20, 30, 1]
    words[1] = _core.MAPPING_LEFT_OUT
    assert list(_core.mapping_words(bounds, kinds, words)) == [10, 20, 1, 20, 30, 1]
    assert list(_core.mapping_words(bounds, kinds, words[:0])) == []
    with pytest.raises(ValueError, match="two u64"):
        _core.mapping_words(bounds[:-1], kinds, words)
    with pytest.raises(OSError, match=r"[Ii]nvalid"):
        _core.coalesce(bounds, 0)
