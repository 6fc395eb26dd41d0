"""Heatmaps lose no bytes and invent no heat."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm.analysis.heatmap import fold, heatmap
from isotherm.model.ranges import Range
from isotherm.terminal.heatmap import render
from isotherm.terminal.style import Style
from support.snapshots import snapshot

ranges = st.lists(
    st.tuples(st.integers(0, 2**47), st.integers(1, 2**34)).map(
        lambda pair: Range(pair[0], pair[0] + pair[1])
    ),
    min_size=1,
    max_size=12,
)


@given(ranges, st.integers(1, 60))
def test_fold_covers_everything_once(given_ranges, rows):
    segments = fold(given_ranges, rows)
    assert sum(segment.rows for segment in segments) == rows
    assert all(segment.rows >= 1 for segment in segments)
    assert [s.first_row for s in segments] == [
        sum(s.rows for s in segments[:i]) for i in range(len(segments))
    ]
    assert all(a.end < b.start for a, b in pairwise(segments))
    for one in given_ranges:
        assert any(s.start <= one.start and one.end <= s.end for s in segments)


@st.composite
def windows(draw):
    """Snapshots whose regions tile one range in varying ways; some of them blind."""
    made = []
    for index in range(draw(st.integers(1, 5))):
        cuts = sorted(draw(st.sets(st.integers(1, 999), max_size=8)))
        rows = [
            (0, a * 4096, b * 4096, draw(st.integers(0, 20)), 0, draw(st.sampled_from([0, 1])))
            for a, b in zip([0, *cuts], [*cuts, 1000], strict=True)
        ]
        rows = [(*row[:5], row[5] * (row[2] - row[1])) for row in rows]
        made.append(snapshot(index, rows))
    return made


@given(windows(), st.integers(1, 7), st.integers(1, 9))
@settings(deadline=None)
def test_heat_is_conserved(made, columns, rows):
    grid = heatmap(made, columns, rows)
    column_share = 1 / columns
    total = seen = 0.0
    for row, addresses in enumerate(grid.row_ranges):
        for column in range(columns):
            heat, blind = grid.heat[row][column], grid.unobservable[row][column]
            assert (heat is None) == (blind > 0.999999)
            weight = addresses.size * column_share * (1 - blind)
            seen += weight
            total += weight * (heat or 0.0)
    share = 1 / len(made)
    expected_seen = sum(share * (r.size - r.unobservable) for s in made for r in s.columns)
    expected = sum(
        share * (r.size - r.unobservable) * (r.nr_accesses or 0) / 20
        for s in made
        for r in s.columns
    )
    assert seen == pytest.approx(expected_seen, rel=1e-6, abs=1)
    assert total == pytest.approx(expected, rel=1e-6, abs=1)


@given(windows(), st.integers(23, 90), st.integers(4, 30), st.booleans())
@settings(deadline=None, max_examples=50)
def test_blind_memory_never_looks_cold(made, width, height, colour):
    blind = [
        snapshot(s.index, [(r.target, r.start, r.end, 0, 0, r.size) for r in s.columns])
        for s in made
    ]
    picture = "".join(render(heatmap(blind, 9, 9), width, height, Style(colour=colour))[:-2])
    assert ("·" not in picture) if not colour else (";5;236" not in picture)
