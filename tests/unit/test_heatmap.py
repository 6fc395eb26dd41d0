"""Heatmaps and their picture in the terminal."""

from __future__ import annotations

import re

import pytest

from isotherm.analysis.extent import extent
from isotherm.analysis.heatmap import fold, heatmap
from isotherm.errors import BadValueError
from isotherm.model.ranges import Range
from isotherm.model.target import Target, Unobservable
from isotherm.terminal.heatmap import plot_size, render
from support.snapshots import HEAP, MIB, STACK, T0, phases, snapshot

HOT_APP = 7


def test_the_phases_on_a_grid():
    grid = heatmap(phases(), 4, 9, target_id=HOT_APP)
    # 8 MiB a row for the heap, a row for the stack.
    assert [(s.start, s.end, s.rows) for s in grid.segments] == [
        (HEAP, HEAP + 64 * MIB, 8),
        (STACK, STACK + MIB, 1),
    ]
    hot_row, cold = (1.0, 1.0, 0.0, 0.0), (0.0,) * 4
    assert grid.heat[1] == hot_row
    assert grid.heat[5] == hot_row[::-1]
    assert [grid.heat[i] for i in (0, 2, 3, 4, 6, 7)] == [cold] * 6
    assert grid.heat[8] == pytest.approx((0.1,) * 4)
    assert grid.unobservable[8] == pytest.approx((0.25,) * 4)
    assert (grid.start_ns, grid.end_ns) == (T0, T0 + 6_000_000_000)


def test_the_busiest_target_is_drawn():
    assert heatmap(phases(), 2, 4).target.name == "app"
    assert heatmap(phases(), 2, 4, target_id=9).target.name == "helper"


def test_known_unobservable_ranges_have_no_heat():
    grid = heatmap(phases(), 2, 5, target_id=9)
    assert grid.heat == ((0.0, 0.0),) * 4 + ((None, None),)
    assert grid.unobservable[4] == (1.0, 1.0)


def test_cells_without_a_region_are_not_cold():
    rows = [(0, 0, 400, 20, 0, 0)]
    later = [(0, 0, 200, 20, 0, 0)]
    grid = heatmap([snapshot(0, rows), snapshot(1, later)], 2, 2)
    assert grid.heat == ((1.0, 1.0), (1.0, None))
    assert grid.unobservable == ((0.0, 0.0), (0.0, 0.0))


def test_overlaps_weigh_by_bytes_and_time():
    a = snapshot(0, [(0, 0, 100, 20, 0, 0), (0, 100, 400, 0, 0, 0)])
    b = snapshot(1, [(0, 0, 400, 10, 0, 0)])
    assert heatmap([a, b], 1, 1).heat == ((pytest.approx((0.25 + 0.5) / 2),),)


def test_half_blind_regions_weigh_half():
    one = snapshot(0, [(0, 0, 100, 20, 0, 50), (0, 100, 200, 0, 0, 0)])
    grid = heatmap([one], 1, 1)
    assert grid.heat[0][0] == pytest.approx(1 / 3)
    assert grid.unobservable[0][0] == pytest.approx(1 / 4)


def test_targets_are_told_apart_by_id_not_place():
    a, b = Target(1, "a"), Target(2, "b")
    both = snapshot(0, [(0, 0, 100, 0, 0, 0), (1, 0, 100, 20, 0, 0)], targets=(a, b))
    alone = snapshot(1, [(0, 0, 100, 20, 0, 0)], targets=(b,))
    assert heatmap([both, alone], 2, 1, target_id=2).heat == ((1.0, 1.0),)
    assert heatmap([both, alone], 2, 1, target_id=1).heat == ((0.0, None),)


def test_fold_keeps_narrow_gaps_and_small_ranges():
    assert [(s.start, s.end, s.rows) for s in fold([Range(0, 90), Range(100, 200)], 5)] == [
        (0, 200, 5)
    ]
    far = [Range(0, 1), Range(10**6, 10**6 + 1000)]
    assert [s.rows for s in fold(far, 10)] == [1, 9]
    assert len(fold([Range(i * 1000, i * 1000 + 1) for i in range(50)], 10)) <= 5


def test_impossible_grids_are_refused():
    with pytest.raises(BadValueError, match="no regions"):
        heatmap([snapshot(0)], 4, 4)
    with pytest.raises(BadValueError, match="0 x 4"):
        heatmap(phases(), 0, 4)
    with pytest.raises(BadValueError, match="target 5"):
        heatmap(phases(), 4, 4, target_id=5)


def test_extent_reads_once():
    where = extent(phases())
    grid = heatmap(iter(phases()), 3, 3, where=where)
    assert grid == heatmap(phases(), 3, 3)


def test_data_outside_the_wanted_extent_are_left_out():
    made = phases()
    where = extent(made[10:20])
    assert heatmap(made, 3, 3, where=where) == heatmap(made[10:20], 3, 3)
    narrow = extent([snapshot(0, [(0, 100, 200, 0, 0, 0)])])
    wide = [snapshot(0, [(0, 0, 150, 20, 0, 0), (0, 150, 900, 0, 0, 0)])]
    assert heatmap(wide, 1, 2, where=narrow).heat == ((1.0,), (0.0,))


def test_plain_picture():
    grid = heatmap(phases(), 10, 9, target_id=HOT_APP)
    assert render(grid, 23, 12, colour=False) == [
        "7fff00000000 ░░░░░░░░░░",
        "             ┄┄ 42.7 Ti",
        "555504000000 ··········",
        "             ··········",
        "             ·····█████",
        "             ··········",
        "             ··········",
        "             ··········",
        "             █████·····",
        "555500000000 ··········",
        "             0s      6s",
        "             · idle  ░▒▓█ ..100%  ? not observable",
    ]


def test_many_folds_cost_no_lines():
    rows = [(0, i << 30, (i << 30) + MIB, 20 * (i == 2), 0, 0) for i in range(1, 5)]
    grid = heatmap([snapshot(0, rows)], 10, 8)
    assert render(grid, 23, 10, colour=False)[:8] == [
        "   100100000 ··········",
        "   100000000┄··········",
        "    c0100000 ··········",
        "    c0000000┄··········",
        "    80100000 ██████████",
        "    80000000┄██████████",
        "    40100000 ··········",
        "    40000000 ··········",
    ]


def test_addresses_of_57_bits_are_not_passed_off_as_others():
    high = 0xFF_1234_5678_9000
    (top, *_) = render(
        heatmap([snapshot(0, [(0, high, high + MIB, 1, 0, 0)])], 10, 8), 23, 5, colour=False
    )
    assert top.startswith("ff12…6889000")


def test_plain_picture_of_the_unseen_and_the_unmapped():
    unseen = (Unobservable(0, 200, 300, "shared"),)
    a = snapshot(0, [(0, 0, 100, 0, 0, 0), (0, 100, 200, 5, 0, 100)], unobservable=unseen)
    b = snapshot(1, [(0, 0, 100, 20, 0, 0)], unobservable=unseen)
    grid = heatmap([a, b], 10, 3)
    assert [line[13:] for line in render(grid, 23, 5, colour=False)[:3]] == [
        "??????????",
        "?????     ",
        "·····█████",
    ]


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("width", "height"), [(80, 20), (23, 5), (1, 1), (200, 60), (80, 4)])
def test_the_picture_fits(width, height, colour):
    for size in (plot_size(width, height, colour=colour), (7, 5), (300, 200)):
        grid = heatmap(phases(), *size, target_id=HOT_APP)
        lines = render(grid, width, height, colour=colour)
        bare = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
        assert all(len(line) <= max(23, width) for line in bare[:-1])
        assert len(lines) <= max(5, height)
        assert all(line.count("\x1b") == 0 or line.endswith("\x1b[0m") or colour for line in lines)


def test_colours_end_with_their_line():
    grid = heatmap(phases(), 20, 10)
    for line in render(grid, 60, 10, colour=True):
        inside = line.rfind("\x1b[38"), line.rfind("\x1b[2m")
        assert max(inside) <= line.rfind("\x1b[0m")


def test_colours_differ_by_kind():
    unseen = (Unobservable(0, 200, 300, "shared"),)
    a = snapshot(0, [(0, 0, 100, 0, 0, 0), (0, 100, 200, 20, 0, 0)], unobservable=unseen)
    picture = "".join(render(heatmap([a], 10, 6), 23, 5, colour=True)[:-2])
    assert "38;5;31;48;5;31m" in picture
    assert "38;5;231;48;5;231m" in picture
    assert "38;5;236;48;5;236m" in picture
