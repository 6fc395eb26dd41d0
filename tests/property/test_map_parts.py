"""Parts of regions as the map of pages knows them: all addresses, and each page where it is."""

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm.core.page_map import Part
from isotherm.model.ranges import PAGE
from support.page_memory import ABSENT, BASE, OLD, SECOND, UNSEEN, YOUNG, PageMemory, page_map, run

PAGES = 1600  # of three tables and a bit
WIDTH = len(Part._fields)

runs = st.tuples(
    st.integers(0, PAGES - 1),
    st.sampled_from([1, 3, 15, 16, 17, 100, 512, 700]),
    st.sampled_from([ABSENT, OLD, YOUNG, UNSEEN]),
)
ranges = st.lists(
    st.tuples(st.integers(0, PAGES), st.integers(0, 900)).filter(lambda pair: pair[1]), max_size=4
)


def parts_of(made, asked, least):
    flat = array("Q", [word for first, count in asked for word in (
        0, BASE + first * PAGE, BASE + (first + count) * PAGE)])  # fmt: skip
    found = made.parts(flat, 100_000_000, SECOND, least)
    return [Part(*found[at : at + WIDTH]) for at in range(0, len(found), WIDTH)]


@given(st.lists(runs, max_size=8), ranges, st.sampled_from([1, 16, 64]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_parts_are_all_of_a_range_and_cut_where_no_page_is(what, asked, least, looked):
    memory = PageMemory()
    for first, count, state in what:
        memory.set(first, min(count, PAGES - first), state)
    made = page_map(memory, (0, PAGES))
    if looked:
        run(made, memory, 3 * SECOND)
    found = parts_of(made, asked, least * PAGE)
    joined = []
    whole = {(BASE + first * PAGE, BASE + (first + count) * PAGE) for first, count in asked}
    for part in found:
        if (
            joined
            and joined[-1][1] == part.start
            and (part.start - BASE) // PAGE not in {first for first, _ in asked}
        ):
            joined[-1][1] = part.end
        else:
            joined.append([part.start, part.end])
        there = [
            page
            for page in range((part.start - BASE) // PAGE, (part.end - BASE) // PAGE)
            if memory.pages.get((0, BASE // PAGE + page), ABSENT) != ABSENT
        ]
        unseen = [page for page in there if memory.pages[0, BASE // PAGE + page] == UNSEEN]
        assert part.soon <= part.used <= part.present - part.unknown
        if looked:
            assert (part.present, part.unread) == (len(there) * PAGE, 0)
            assert part.unknown == len(unseen) * PAGE
            small = part.end - part.start < least * PAGE
            assert there or not small or (part.start, part.end) in whole
        else:
            assert part.present == 0
    covered = sum(part.end - part.start for part in found)
    assert covered == sum(count for _, count in asked) * PAGE


def test_where_nobody_looked_yet_nothing_is_absent():
    made = page_map(PageMemory(), (0, PAGES))
    (part,) = parts_of(made, [(10, 900)], PAGE)
    assert (part.present, part.unread) == (0, 900 * PAGE)
