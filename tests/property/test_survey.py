"""Choosing what to act on: the C core against a readable twin, over made-up memory."""

import struct
from array import array

from hypothesis import given
from hypothesis import strategies as st

from isotherm._core import Survey
from isotherm.actions.filters import rules
from isotherm.kernel.pages.pagemap import Fact
from isotherm.model.scheme import Filter, FilterType, rejects_rest

PAGE, BLOCK = 4096, 512
PLAIN = [fact for fact in Fact if fact is not Fact.JOINED]

page_facts = st.lists(st.sampled_from(PLAIN), max_size=4).map(lambda some: sum(set(some), Fact(0)))
#: Folios as (facts of the first page, number of pages).
folios = st.lists(st.tuples(page_facts, st.sampled_from([1, 1, 2, 4, 16])), max_size=40)
masks = st.lists(st.sampled_from(PLAIN), max_size=2).map(lambda some: sum(set(some), Fact(0)))
#: A page is young for filters whoever cleared its accessed bit since it was used.
FACTS = {
    FilterType.ANON: Fact.ANON,
    FilterType.ACTIVE: Fact.ACTIVE,
    FilterType.YOUNG: Fact.USED,
}
kinds = st.sampled_from([*FACTS, FilterType.UNMAPPED])
filters = st.lists(
    st.one_of(
        st.builds(Filter, kinds, st.booleans(), st.booleans()),
        st.builds(
            lambda low, more, matching, allow: Filter(
                FilterType.HUGEPAGE_SIZE, matching, allow, (low, low + more)
            ),
            st.integers(0, 17 * PAGE),
            st.integers(0, 17 * PAGE),
            st.booleans(),
            st.booleans(),
        ),
    ),
    max_size=3,
)


def laid_out(some, start=0):
    """(address, pages, facts) of each folio, and the facts of each page."""
    units, pages = [], []
    for facts, nr in some:
        units.append((start + len(pages) * PAGE, nr, facts))
        pages += [facts] + [facts | Fact.JOINED] * (nr - 1)
    return units, pages


def loaded(pages, start):
    survey = Survey()
    survey.load(start, array("H", pages), bytes(8 * len(pages)))
    return survey


def lets_through(some, facts, size):
    for one in some:
        if one.type is FilterType.HUGEPAGE_SIZE:
            found = one.bounds[0] <= size <= one.bounds[1]
        elif one.type is FilterType.UNMAPPED:
            found = not facts & (Fact.PRESENT | Fact.SWAPPED)
        else:
            found = bool(facts & FACTS[one.type])
        if found == one.matching:
            return one.allow
    return not rejects_rest(some)


def twin(units, region, need, avoid, some, *, strict, max_run):
    runs, passed = [], 0
    for at, nr, facts in units:
        size = nr * PAGE
        chosen = facts & need == need and not facts & avoid
        if strict:
            inside = region[0] <= at and at + size <= region[1]
        else:
            inside = region[0] <= at + size // 2 < region[1]
        if not inside or not (chosen or facts & Fact.PRESENT):
            continue
        if not lets_through(some, facts, size):
            continue
        passed += size if some else 0
        if chosen and runs and sum(runs[-1]) == at and (
            not max_run or runs[-1][1] + size <= max_run
        ):  # fmt: skip
            runs[-1] = (runs[-1][0], runs[-1][1] + size)
        elif chosen:
            runs.append((at, size))
    return runs, passed


@given(
    folios,
    masks,
    masks,
    filters,
    st.integers(0, 90),
    st.integers(0, 90),
    st.booleans(),
    st.sampled_from([0, 1, 3 * PAGE, 64 * PAGE]),
)
def test_picks_as_the_twin_does(some, need, avoid, wish, first, nr, strict, max_run):
    start = 0x7F0000000000
    units, pages = laid_out(some, start)
    region = start + first * PAGE, start + (first + nr) * PAGE
    survey = loaded(pages, start)
    runs, passed = survey.pick(
        *region,
        need,
        avoid,
        rules=rules(wish),
        reject_rest=rejects_rest(wish),
        strict=strict,
        max_run=max_run,
    )
    found = list(struct.iter_unpack("=QQ", runs))
    assert (found, passed) == twin(
        units, region, need, avoid, wish, strict=strict, max_run=max_run
    )
    # Whatever is chosen: whole folios, and none of what was to be avoided.
    assert survey.count(runs, need, avoid) == sum(size for _, size in found)
    assert all(start <= at and at + size <= start + len(pages) * PAGE for at, size in found)


@given(
    st.lists(st.tuples(page_facts, st.integers(1, 600)), max_size=9),
    masks,
    masks,
    st.integers(0, 512),
    st.integers(0, 511),
)
def test_blocks_as_the_twin_does(stretches, need, avoid, min_present, lead):
    start = 0x7F0000000000 + lead * PAGE
    pages = [facts for facts, nr in stretches for _ in range(nr)]
    survey = loaded(pages, start)
    runs, _ = survey.blocks(0, 1 << 63, need, avoid, min_present=min_present)
    first = -(start // PAGE) % BLOCK
    expected = []
    for at in range(first, len(pages) - BLOCK + 1, BLOCK):
        block = pages[at : at + BLOCK]
        there = [facts for facts in block if facts & Fact.PRESENT and not facts & Fact.ZERO]
        if (
            len(there) >= min_present
            and (not need or any(facts & need == need for facts in block))
            and not any(facts & avoid for facts in block)
        ):
            expected.append((start + at * PAGE, BLOCK * PAGE))
    assert list(struct.iter_unpack("=QQ", runs)) == expected


def test_a_cgroup_is_told_by_its_inode():
    survey = Survey()
    survey.load(0, array("H", [Fact.PRESENT] * 5), array("Q", [7, 8, 7, 0, 7]))
    allow_seven = array("Q", [2, 7, 0, 1, 1])
    runs, passed = survey.pick(0, 5 * PAGE, 1, 0, rules=allow_seven, reject_rest=True)
    assert [at // PAGE for at, _ in struct.iter_unpack("=QQ", runs)] == [0, 2, 4]
    assert passed == 3 * PAGE


def test_a_folio_across_the_border_of_blocks_keeps_both_from_being_chosen():
    pages = [Fact.PRESENT] * 1536
    pages[513:515] = [Fact.PRESENT | Fact.JOINED] * 2
    assert len(loaded(pages, 0).blocks(0, 1 << 40, 1, 0)[0]) == 3 * 16
    pages[512] = Fact.PRESENT | Fact.JOINED
    runs = loaded(pages, 0).blocks(0, 1 << 40, 1, 0)[0]
    assert list(struct.iter_unpack("=QQ", runs)) == [(1024 * PAGE, BLOCK * PAGE)]
