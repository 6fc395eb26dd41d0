import io
import re
from array import array
from dataclasses import replace

import pytest

from isotherm.analysis.accuracy import HotPhase, Truth
from isotherm.demo.show import closing, demo_spec, watch, why
from isotherm.model.ranges import Range
from isotherm.model.snapshot import Columns, Cost, Snapshot
from isotherm.model.target import Target
from isotherm.terminal.picture import Layout, Picture
from isotherm.terminal.screen import Screen
from isotherm.terminal.style import Style, style_of

MIB = 1 << 20
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def snapshot(regions, *, number=0):
    """Regions are (start, end, nr_accesses of 20); windows of 100 ms one after the other."""
    nothing = [0] * len(regions)
    columns = Columns(
        array("I", nothing),
        array("Q", [start for start, _, _ in regions]),
        array("Q", [end for _, end, _ in regions]),
        array("I", [count for _, _, count in regions]),
        array("I", nothing),
        array("Q", nothing),
    )
    begin = START + number * SECOND // 10
    return Snapshot(
        number,
        begin,
        begin + SECOND // 10,
        5000,
        100_000,
        (Target(0, "w"),),
        columns,
        cost=Cost(cpu_ns=1_000_000, ticks=20, checks=200, missed=20),
    )


def test_layout_puts_areas_end_to_end():
    layout = Layout([Range(1000, 1200), Range(100, 300)], 4)
    assert list(layout.shares(150, 1050)) == [(0, 0.5), (1, 1.0), (2, 0.5)]
    assert list(layout.shares(0, 100)) == []
    assert list(layout.shares(300, 1000)) == []
    assert list(layout.shares(1100, 5000)) == [(3, 1.0)]


def test_layout_heat_is_the_mean_rate_of_a_cell():
    layout = Layout([Range(0, 400)], 4)
    assert layout.heat(snapshot([(0, 50, 20), (100, 200, 10), (250, 300, 4)])) == [
        0.5,
        0.5,
        pytest.approx(0.1),
        0,
    ]


def drawn(style, *, rows=4, columns=10):
    area = (Range(0, 400),)
    picture = Picture(area, START, SECOND, rows=rows, columns=columns, style=style)
    for number in range(5):
        picture.add(snapshot([(0, 100, 20), (100, 400, 0)], number=number))
    return picture.lines([Range(100, 200)])


def test_picture_has_addresses_up_time_right_and_the_truth_beside_it():
    lines = [line[10:] for line in drawn(Style(unicode=True))]
    assert lines == [
        " " * 10 + "   ",
        " " * 10 + "   ",
        " " * 10 + " ██",
        "█████" + " " * 5 + "   ",
        "0s      1s truth",
    ]


def test_picture_in_ascii_has_nothing_else():
    lines = drawn(Style(unicode=False))
    assert lines[3].endswith("#####        ")
    assert all(line.isascii() for line in lines)


def test_picture_in_colour_has_the_same_size_and_resets():
    lines = drawn(Style(colour=True))
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert [len(line) for line in plain[:-1]] == [10 + 10 + 1 + 2] * 4
    assert all(line.endswith("\x1b[0m") for line in lines[:-1])


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_screen_restores_the_terminal_whatever_happens():
    out = Terminal()

    def interrupted():
        with Screen(out, live=True) as screen:
            screen.draw(["one", "two"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    text = out.getvalue()
    assert text.startswith("\x1b[?25l\x1b[?7l")
    assert text.endswith("\x1b[?7h\x1b[?25h")


def test_screen_redraws_in_place():
    out = Terminal()
    with Screen(out, live=True) as screen:
        screen.draw(["one", "two"])
        assert not screen.due()
        screen.last(["three"])
    assert "\x1b[2A\rthree\x1b[K\n" in out.getvalue()


def test_without_a_terminal_only_the_end_is_written():
    out = io.StringIO()
    with Screen(out, live=False) as screen:
        assert not screen.due()
        screen.last(["one", "two"])
    assert out.getvalue() == "one\ntwo\n"


def test_style(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert style_of(Terminal()) == Style(colour=True, unicode=True)
    assert style_of(Terminal(), plain=True) == Style(colour=False, unicode=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not style_of(Terminal()).colour
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not style_of(Terminal()).colour
    assert style_of(io.TextIOWrapper(io.BytesIO(), "ascii")) == Style(unicode=False)


@pytest.mark.parametrize("separate", [False, True])
def test_demo_is_512_mib_with_three_hot_places_of_which_one_moves(separate):
    spec = demo_spec(10, separate=separate)
    assert spec.nbytes == 512 * MIB
    first, then = (phase.hot for phase in spec.phases)
    assert len(first) == len(then) == 3
    assert len(set(first) & set(then)) == 2
    assert sum(hot.nbytes for hot in first) == sum(hot.nbytes for hot in then) == 128 * MIB
    assert len(spec.areas) == (9 if separate else 1)


def demo_truth():
    area = (Range(0, 512 * MIB),)
    first = (Range(64 * MIB, 96 * MIB), Range(256 * MIB, 288 * MIB))
    then = (Range(64 * MIB, 96 * MIB), Range(384 * MIB, 416 * MIB))
    half = SECOND // 2
    return Truth(
        (HotPhase(START, START + half, first), HotPhase(START + half, START + SECOND, then)), area
    )


def estimates(truth, count=10):
    for number in range(count):
        hot = truth.phases[number // 5].hot
        yield snapshot([(one.start, one.end, 20) for one in hot], number=number)


def show(snapshots, truth):
    out = io.StringIO()
    style = Style(unicode=False)
    with Screen(out, live=False) as screen:
        result = watch(snapshots, truth, screen=screen, style=style, space=(40, 8))
    return out.getvalue(), result, style


def test_closing_puts_the_truth_beside_the_estimate():
    truth = demo_truth()
    picture, result, style = show(estimates(truth), truth)
    assert picture.count("\n") == 9
    text = "\n".join(closing(result, style))
    strips = re.findall(r"^ (?:truth|estimate) +([ .:+*#]{64})$", text, re.MULTILINE)
    assert len(strips) == 2
    assert strips[0] == strips[1]
    assert strips[0].strip() == "####" + " " * 36 + "####"
    assert "found 32.0 MiB of 32.0 MiB hot" in text
    assert "F1 1.000, R@k 1.000, working set 1.00" in text
    assert "cost      1.0% of one CPU; 10 windows of 100ms, sampled every 5ms, 10%" in text


def test_what_lies_before_the_first_phase_or_after_the_last_is_left_out():
    truth = demo_truth()
    early = snapshot([(0, 512 * MIB, 20)], number=-1)
    late = snapshot([(0, 512 * MIB, 20)], number=10)
    _, result, _ = show([early, *estimates(truth), late], truth)
    assert [one.index for one in result.snapshots] == list(range(10))


def test_what_is_not_known_of_checks_is_left_out():
    truth = demo_truth()
    cost = Cost(cpu_ns=1_000_000, ticks=20, checks=None)
    _, result, style = show([replace(one, cost=cost) for one in estimates(truth)], truth)
    text = "\n".join(closing(result, style))
    assert "1.0% of one CPU; 10 windows of 100ms, sampled every 5ms" in text
    assert "imputed" not in text


def test_no_snapshot_is_no_result():
    out, result, _ = show([], demo_truth())
    assert (out, result) == ("", None)


def test_every_backend_gets_its_reason_within_the_width():
    lines = why("bpf", "it sees the most " * 9, [("kdamond", "absent"), ("idle", "old")], 60)
    assert max(len(line) for line in lines) <= 60
    assert lines[0].startswith(" backend   bpf: it sees")
    assert [line.strip() for line in lines[-2:]] == ["not kdamond: absent", "not idle: old"]
