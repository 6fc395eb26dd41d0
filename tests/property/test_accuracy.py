"""Scores against sets of pages, the definition they must agree with."""

from array import array
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from isotherm.analysis.accuracy import CALLED_HOT_SHARE, score
from isotherm.model.ranges import Range
from isotherm.model.snapshot import Columns, Snapshot
from isotherm.model.target import Target

SPAN = 40
addresses = st.integers(0, SPAN)
ranges = st.lists(
    st.tuples(addresses, addresses).map(lambda pair: Range(min(pair), max(pair))), max_size=8
)


def pages(some):
    return {page for start, end in some for page in range(start, end)}


@st.composite
def tables(draw):
    """Adjacent regions over the span, some left out, as a snapshot of 20 samples a window."""
    cuts = sorted({0, SPAN, *draw(st.lists(addresses, max_size=12))})
    kept = [pair for pair in pairwise(cuts) if draw(st.booleans())]
    counts = draw(st.lists(st.integers(0, 20), min_size=len(kept), max_size=len(kept)))
    nothing = [0] * len(kept)
    columns = Columns(
        array("I", nothing),
        array("Q", [start for start, _ in kept]),
        array("Q", [end for _, end in kept]),
        array("I", counts),
        array("I", nothing),
        array("Q", nothing),
    )
    return Snapshot(0, 0, 1, 5000, 100_000, (Target(0, "w"),), columns)


@given(tables(), ranges, ranges)
def test_score_counts_pages(snapshot, hot, areas):
    one = score(snapshot, hot, areas)
    inside = pages(areas)
    truth = pages(hot) & inside
    claimed = {
        page
        for region in snapshot.regions
        if region.nr_accesses >= max(1, CALLED_HOT_SHARE * 20)
        for page in range(region.start, region.end)
    } & inside
    assert one.predicted == len(claimed)
    assert one.hot == len(truth)
    assert one.both == len(claimed & truth)


@given(tables(), ranges, ranges)
def test_top_is_the_mean_over_all_orders_of_ties(snapshot, hot, areas):
    """Each page in the group at the cut is taken with the same chance, those above it surely."""
    truth = pages(hot) & pages(areas)
    rank = {
        page: region.nr_accesses
        for region in snapshot.regions
        if region.nr_accesses
        for page in range(region.start, region.end)
        if page in pages(areas)
    }
    ordered = sorted(rank, key=rank.__getitem__, reverse=True)
    expected = 0.0
    if truth and ordered:
        cut = rank[ordered[min(len(truth), len(ordered)) - 1]]
        above = [page for page in ordered if rank[page] > cut]
        level = [page for page in ordered if rank[page] == cut]
        chance = min(1.0, (len(truth) - len(above)) / len(level))
        expected = len(truth.intersection(above)) + chance * len(truth.intersection(level))
    assert abs(score(snapshot, hot, areas).top - expected) < 1e-6
