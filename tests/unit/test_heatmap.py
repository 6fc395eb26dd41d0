"""Heatmaps and their picture in the terminal."""

from __future__ import annotations

import re
from array import array
from dataclasses import replace
from itertools import pairwise

import pytest

from isotherm.analysis.extent import extent
from isotherm.analysis.heatmap import fold, heatmap
from isotherm.errors import BadValueError
from isotherm.model.ranges import Range
from isotherm.model.target import Target, Unobservable
from isotherm.pictures.palette import IDLE, STEPS, UNKNOWN, heat_colours, lightness
from isotherm.pictures.scale import percent, scale_of
from isotherm.terminal import heatmap_across as across
from isotherm.terminal.heatmap import plot_size, render
from isotherm.terminal.style import Style
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


def test_who_is_known_by_unobservable_ranges_alone_is_a_number():
    unseen = (Unobservable(3, 200, 300, "shared"),)
    grid = heatmap([snapshot(0, (), unobservable=unseen)], 1, 1)
    assert (grid.target.title, grid.unobservable) == ("target 3", ((1.0,),))


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


def test_what_is_folded_where_ranges_are_many():
    # Every gap is another one: those that stay are the widest.
    spans, at = [], 0
    for i in range(30_000):
        spans.append(Range(at, at + 4096))
        at += 4096 + (i * 7919 % 30_000 + 1) * 4096
    segments = fold(spans, 100)
    assert len(segments) == 50
    kept = sorted(b.start - a.end for a, b in pairwise(segments))
    assert kept == [(30_000 - n) * 4096 for n in reversed(range(49))]


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
    assert render(grid, 23, 12) == [
        "7fff00000000 ▆▆▆▆▆▆▆▆▆▆",
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
        "· idle or absent  █ 100%  ? unknown",
    ]


def test_many_folds_cost_no_lines():
    rows = [(0, i << 30, (i << 30) + MIB, 20 * (i == 2), 0, 0) for i in range(1, 5)]
    grid = heatmap([snapshot(0, rows)], 10, 8)
    assert render(grid, 23, 10)[:8] == [
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
    (top, *_) = render(heatmap([snapshot(0, [(0, high, high + MIB, 1, 0, 0)])], 10, 8), 23, 5)
    assert top.startswith("ff12…6889000")


def test_plain_picture_of_the_unseen_and_the_unmapped():
    unseen = (Unobservable(0, 200, 300, "shared"),)
    a = snapshot(0, [(0, 0, 100, 0, 0, 0), (0, 100, 200, 5, 0, 100)], unobservable=unseen)
    b = snapshot(1, [(0, 0, 100, 20, 0, 0)], unobservable=unseen)
    grid = heatmap([a, b], 10, 3)
    assert [line[13:] for line in render(grid, 23, 5)[:3]] == [
        "??????????",
        "?????     ",
        "·····█████",
    ]


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("width", "height"), [(80, 20), (23, 5), (1, 1), (200, 60), (80, 4)])
def test_the_picture_fits(width, height, colour):
    for size in (plot_size(width, height, Style(colour=colour)), (7, 5), (300, 200)):
        grid = heatmap(phases(), *size, target_id=HOT_APP)
        lines = render(grid, width, height, Style(colour=colour))
        bare = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
        assert all(len(line) <= max(23, width) for line in bare[:-1])
        assert len(lines) <= max(5, height)
        assert all(line.count("\x1b") == 0 or line.endswith("\x1b[0m") or colour for line in lines)


def test_colours_end_with_their_line():
    grid = heatmap(phases(), 20, 10)
    for line in render(grid, 60, 10, Style(colour=True)):
        inside = line.rfind("\x1b[38"), line.rfind("\x1b[2m")
        assert max(inside) <= line.rfind("\x1b[0m")


def test_colours_differ_by_kind():
    unseen = (Unobservable(0, 200, 300, "shared"),)
    a = snapshot(0, [(0, 0, 100, 0, 0, 0), (0, 100, 200, 20, 0, 0)], unobservable=unseen)
    picture = "".join(render(heatmap([a], 10, 6), 23, 5, Style(colour=True))[:-2])
    assert "38;5;31;48;5;31m" in picture
    assert "38;5;231;48;5;231m" in picture
    assert "38;5;236;48;5;236m" in picture


def test_the_peak_is_what_a_mean_hides():
    rows = [(0, 0, 1000, 0, 0, 0), (0, 1000, 1010, 20, 0, 0), (0, 1010, 4000, 0, 0, 0)]
    grid = heatmap([snapshot(0, rows), snapshot(1, [(0, 0, 4000, 1, 0, 0)])], 2, 2)
    assert grid.peak == ((1.0, 0.05), (0.0, 0.05))
    assert grid.heat[0][0] == pytest.approx(10 / 2000)
    unseen = heatmap([snapshot(0, [(0, 0, 100, 20, 0, 100)])], 1, 1)
    assert (unseen.heat, unseen.peak) == (((None,),), ((0.0,),))


def test_steps_of_a_quantile_scale_hold_as_many_cells_each():
    heats = [i / 1000 for i in range(800)]
    scale = scale_of([*heats, None], 8, "quantile")
    found = [scale.step(heat) for heat in heats if heat]
    assert all(95 <= found.count(step) <= 105 for step in range(8))
    assert scale.step(scale.most) == 7
    assert [scale.place(heat) for heat in heats] == sorted(scale.place(heat) for heat in heats)
    for heat in heats:
        assert scale.heat_at(scale.place(heat)) == pytest.approx(heat, abs=1e-9)


def test_steps_of_a_logarithmic_scale_are_multiples():
    heats = [0.0009, 0.004, 0.02, 0.05, 0.2, 0.5, 1.0]
    scale = scale_of(heats, 6)
    assert [scale.step(heat) for heat in heats] == [0, 1, 2, 3, 4, 5, 5]
    # The legend tells the least heat that is drawn with a step.
    assert scale.bounds == (0.0, 0.004, 0.02, 0.05, 0.2, 0.5)
    # What chance does to rates of next to nothing takes no more of it than its share.
    noise = [0.0013 + i / 1e6 for i in range(600)]
    assert len({scale_of([*noise, 1.0], 8).step(heat) for heat in noise}) == 1
    assert len({scale_of([*noise, 1.0], 8, "quantile").step(heat) for heat in noise}) >= 7
    # Heats that differ by little look alike, and so does all that is next to nothing.
    assert {scale_of([0.8, 0.9, 1.0], 8).step(heat) for heat in (0.8, 0.9, 1.0)} == {7}
    assert scale_of([1e-9, 0.0009, 1.0], 4).step(0.0009) == 0


@pytest.mark.parametrize("kind", ["log", "quantile"])
def test_few_rates_are_still_told_apart(kind):
    scale = scale_of([0.1] * 10 + [1.0] * 20, 8, kind)
    assert scale.step(0.01) <= scale.step(0.1) < scale.step(1.0) == 7
    assert scale_of([0.05], 8).step(0.05) == 7
    assert [scale_of([], 4).step(heat) for heat in (0.01, 0.3, 0.6, 1.0)] == [0, 1, 2, 3]
    linear = scale_of([0.1, 0.2], 4, "linear")
    assert [linear.step(heat) for heat in (0.1, 0.2, 0.5, 1.0)] == [0, 0, 2, 3]


def test_colours_rise_evenly_and_leave_room_for_what_is_no_heat():
    light = [lightness(colour) for colour in heat_colours()]
    steps = [after - before for before, after in pairwise(light)]
    assert len(light) == STEPS
    assert min(steps) > 0
    assert max(steps) < 3 * sum(steps) / len(steps)
    assert lightness(IDLE) < light[0] - 0.1
    assert all(blue > red for red, _, blue in UNKNOWN)


@pytest.mark.parametrize("style", [Style(), Style(unicode=False), Style(colour=True),
                                   Style(colour=True, deep=True)])  # fmt: skip
@pytest.mark.parametrize(("width", "height"), [(80, 20), (23, 6), (1, 1), (200, 60)])
def test_the_picture_with_addresses_to_the_right_fits(width, height, style):
    for size in (across.plot_size(width, height, style), (7, 5), (300, 200)):
        grid = heatmap(phases(), *size, target_id=HOT_APP)
        names = ["[heap]"] * grid.rows
        lines = across.render(grid, width, height, style, names=names)
        bare = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
        assert all(len(line) <= max(23, width) for line in bare[:-1])
        assert len(lines) <= max(6, height)


def test_addresses_to_the_right_names_and_the_maximum():
    rows = [(0, 0, 1000, 0, 0, 0), (0, 1000, 1010, 20, 0, 0), (0, 1010, 4000, 0, 0, 0)]
    made = [snapshot(0, rows), snapshot(1, [(0, 0, 4000, 0, 0, 0)])]
    grid = heatmap(made, 2, 20)
    names = ["[heap]"] * 12 + [""] * 8
    assert across.render(grid, 28, 7, names=names) == [
        "        |[heap]     |       ",
        "        |0          |960    ",
        "   mean ·····▂··············",
        "maximum ·····█··············",
        "     0s ·····█··············",
        "        ····················",
        "· idle or absent  █ 5%  ? unknown",
    ]


def test_names_rates_and_addresses_stand_beside_lines():
    grid = heatmap(phases(), 20, 9, target_id=HOT_APP)
    names = ["[heap]"] * 8 + ["\x1b[2J[stack]"]
    lines = render(grid, 60, 13, names=names)
    assert lines[0].split() == ["mean", "max"]
    assert lines[1].startswith("7fff00000000 \\x1b[2J[stack]   10%  10% ▆▆▆")
    assert lines[5].startswith("             [heap]           50% 100% ····")


def test_rates_are_short():
    told = [percent(heat) for heat in (0, 0.000001, 0.0002, 0.0123, 0.0994, 0.0996, 0.5, 1)]
    assert told == ["0%", "0.01%", "0.02%", "1.2%", "9.9%", "10%", "50%", "100%"]


def test_where_residency_is_known_idle_is_idle_and_absent_has_its_own_sign():
    rows = [(0, 0, 1000, 0, 0, 0), (0, 3000, 4000, 20, 0, 0)]
    made = [snapshot(0, rows), snapshot(1, [*rows[:1], (0, 1000, 3000, 0, 0, 0), *rows[1:]])]
    shares = [array("d", [0.0, 0.02]), array("d", [0.0, 0.0, 0.02])]
    told = [
        replace(one, columns=replace(one.columns, share=share))
        for one, share in zip(made, shares, strict=True)
    ]
    grid = heatmap(told, 2, 4)
    assert grid.idle_is_there
    assert [row[0] for row in grid.heat] == [0.0, None, None, 0.02]
    assert render(grid, 60, 8)[-1] == "· idle  ▁ >0%  █ 2%  ? unknown  blank: not in memory"
    assert not heatmap([told[0], made[1]], 2, 4).idle_is_there


def test_of_many_gaps_the_narrow_ones_are_drawn_as_what_is_not_in_memory():
    heap = [Range(i * 2048, i * 2048 + 1024) for i in range(64)]
    assert len(fold([*heap, Range(1 << 40, (1 << 40) + 9000)], 450)) == 65
    heap = [Range(i * 2048, i * 2048 + 1664) for i in range(64)]
    first, second = fold([*heap, Range(1 << 40, (1 << 40) + 9000)], 450)
    assert (first.start, first.end) == (0, heap[-1].end)
    assert second.start == 1 << 40
