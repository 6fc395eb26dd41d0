"""What terminals and files get: width, colour, ASCII, and never a name's own escapes."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys

import pytest

from isotherm.report.output import Report
from isotherm.terminal.output import Painted, for_stream, in_ascii, joined, paint, tell
from isotherm.terminal.progress import Progress
from isotherm.terminal.screen import Screen
from isotherm.terminal.style import Style, height_of, style_of, width_of
from isotherm.terminal.table import Column, names, table
from isotherm.terminal.text import bar, columns_of, elide, labelled

COLOUR = Style(colour=True)
EVIL = "a\x1b[31mX/y\n\x9b2J\x7f\u202e\udcff\0é"
SHOWN = "a\\x1b[31mX/y\\n\\x9b2J\\x7f\\u202e\\udcff\\x00é"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def xterm(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


COLUMNS = (names("what"), Column("size", rank=1), Column("hot"), Column("not seen", rank=2))
ROWS = (
    ("/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "4.5 MiB", "-", "2.1 MiB"),
    ("[heap]", "64.0 MiB", "8.0 MiB", "-"),
)


def test_a_table_is_aligned():
    assert table(COLUMNS, ROWS, 80) == [
        " what                                          size      hot  not seen",
        " /usr/lib/x86_64-linux-gnu/libcrypto.so.3   4.5 MiB        -   2.1 MiB",
        " [heap]                                    64.0 MiB  8.0 MiB         -",
    ]


def test_names_give_way_first_and_keep_the_name_of_their_file():
    assert table(COLUMNS, ROWS, 50) == [
        " what                      size      hot  not seen",
        " /usr…/libcrypto.so.3   4.5 MiB        -   2.1 MiB",
        " [heap]                64.0 MiB  8.0 MiB         -",
    ]


def test_the_least_important_columns_are_left_out_where_names_are_short_enough():
    assert table(COLUMNS, ROWS, 44)[1].split()[0] == "/usr…ypto.so.3"
    assert table(COLUMNS, ROWS, 34)[0].split() == ["what", "size", "hot"]
    assert table(COLUMNS, ROWS, 24)[0].split() == ["what", "hot"]
    for width in range(24, 90):
        assert all(len(line) <= width for line in table(COLUMNS, ROWS, width))


def test_wide_letters_take_two_columns():
    lines = table((names("what"), Column("n")), [("日本語", "1"), ("abc", "22")], 60)
    assert [columns_of(line) for line in lines] == [11, 11, 11]
    assert columns_of(elide("日本語日本語", 7)) <= 7


@pytest.mark.parametrize("width", range(1, 45))
def test_an_elided_name_fits(width):
    for text in ("/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "a" * 50, "/" + "b" * 50, "日" * 30):
        assert columns_of(elide(text, width)) <= width


def test_bars_are_cut_in_eighths():
    assert [bar(share, 2) for share in (0, 0.25, 0.5, 0.53, 1, 2)] == [
        "", "▌", "█", "█", "██", "██",
    ]  # fmt: skip


def test_a_labelled_text_wraps_beside_its_label():
    assert labelled("cost", "aaa bbb cccc", 18, 8) == [" cost   aaa bbb", "        cccc"]
    assert labelled("a long label", "text", 30, 8) == [" a long label", "        text"]
    (line,) = labelled("x", "y", 30, 4, "36", style=COLOUR)
    assert line == "\x1b[36m x\x1b[0m  y"


def test_plain_text_is_escaped_at_the_edge_and_paint_is_not():
    assert for_stream(EVIL, COLOUR) == SHOWN
    assert for_stream(paint(EVIL, "1", COLOUR), COLOUR) == f"\x1b[1m{SHOWN}\x1b[0m"
    assert paint(EVIL, "1", Style()) == SHOWN
    line = joined(paint("a", "1", COLOUR), EVIL)
    assert isinstance(line, Painted)
    assert for_stream(line, COLOUR) == f"\x1b[1ma\x1b[0m{SHOWN}"
    # What Python's own operations make of it is plain again: nothing slips through by accident.
    assert "\x1b" not in for_stream(line + "", COLOUR)


def test_tell_keeps_a_text_on_its_line():
    out = io.StringIO()
    tell(EVIL, "second", stream=out)
    assert out.getvalue() == f"{SHOWN}\nsecond\n"


def test_tell_wraps_words_on_a_terminal_alone(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    text = "warning: aa bb cc dd /a/long/path/that/stays/whole"
    for out, told in (
        (Terminal(), "warning: aa bb cc dd\n  /a/long/path/that/stays/whole\n"),
        (io.StringIO(), f"{text}\n"),
    ):
        tell(text, stream=out)
        assert out.getvalue() == told


def test_what_a_stream_cannot_show_is_ascii():
    assert in_ascii("▁▂▃▄▅▆▇█ ·░▒▓█ a…b é") == ".:-=+*%# .:+*# a*b \\xe9"
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    tell("▁█ …", stream=out)
    assert out.buffer.getvalue() == b".# *\n"


@pytest.mark.parametrize(
    ("environment", "unicode"),
    [
        ({"LANG": "C"}, False),
        ({"LC_ALL": "C", "LANG": "C.UTF-8"}, False),
        ({"LC_ALL": "POSIX"}, False),
        ({"LANG": "C.UTF-8"}, True),
        ({}, True),
        ({"LANG": "C", "PYTHONIOENCODING": "utf-8"}, True),
        ({"LANG": "C.UTF-8", "PYTHONIOENCODING": "ascii"}, False),
        ({"LANG": "C.UTF-8", "PYTHONIOENCODING": "latin-1"}, False),
    ],
)
def test_the_locale_says_what_can_be_shown(environment, unicode):
    kept = {k: v for k, v in os.environ.items() if k not in ("LANG", "LC_ALL", "LC_CTYPE")}
    kept.pop("PYTHONIOENCODING", None)
    code = (
        "import sys; from isotherm.terminal.style import style_of\n"
        "sys.exit(style_of(sys.stdout).unicode)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=kept | environment, check=False)
    assert bool(done.returncode) is unicode


def test_width_and_height(monkeypatch):
    assert (width_of(io.StringIO()), height_of(io.StringIO())) == (80, 24)
    for given, width in (("60", 60), ("200", 80), ("5", 20), ("x", 80), ("9" * 5000, 80)):
        monkeypatch.setenv("COLUMNS", given)
        assert width_of(io.StringIO()) == width
    monkeypatch.setenv("LINES", "7")
    assert height_of(io.StringIO()) == 7


def test_colour_is_only_for_terminals(monkeypatch):
    assert style_of(Terminal()).colour
    assert not style_of(io.StringIO()).colour
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert not style_of(Terminal()).colour


def test_progress_is_one_line_within_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    out = Terminal()
    progress = Progress(out, 10**9)
    progress.show("working set 1.0 GiB " + EVIL)
    progress.end()
    lines = re.split(r"\r\x1b\[K", out.getvalue())
    assert len(lines) == 3
    assert lines[2].endswith("\n")
    for line in lines:
        assert len(line.rstrip("\n")) < 40
        assert line.rstrip("\n").isprintable()
    assert "working set" in lines[1]


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (100, " " + " " * 16 + " 0s/1s  12 regions  working set 1.0 GiB  cost 1%"),
        (60, " " + " " * 10 + " 0s/1s  12 regions  working set 1.0 GiB  cost 1%"),
        (50, " 0s/1s  12 regions  working set 1.0 GiB  cost 1%"),
        (40, " 0s/1s  12 regions  working set 1.0 GiB"),
        (20, " 0s/1s  12 regions"),
    ],
)
def test_progress_leaves_out_whole_parts(monkeypatch, width, line):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(Progress, "elapsed_s", 0.0)
    progress = Progress(Terminal(), 10**9)
    progress.show("12 regions  working set 1.0 GiB  cost 1%")
    assert progress.line() == line


def test_progress_without_a_terminal_is_silent():
    out = io.StringIO()
    progress = Progress(out, None)
    progress.show("nobody")
    progress.end()
    assert out.getvalue() == ""


def test_a_screen_never_draws_more_lines_than_the_terminal_has(monkeypatch):
    monkeypatch.setenv("LINES", "6")
    out = Terminal()
    with Screen(out, live=True) as screen:
        screen.draw([f"line {i}" for i in range(30)])
    assert out.getvalue().count("\n") == 5
    assert "26 lines more" in out.getvalue()
    assert "line 29" in out.getvalue()


def test_data_are_data_whatever_stands_in_them():
    row = {"name": EVIL, "share": float("nan"), "list": [EVIL]}
    report = Report("x/1", {"rows": [row]}, [row], [EVIL])
    for style in (Style(), Style(unicode=False)):
        for form in ("table", "json", "jsonl", "csv"):
            text = report.render(form, style)
            assert all(line.isprintable() for line in text.split("\n")), form
            assert style.unicode or text.isascii()
        found = json.loads(report.render("json", style))
        assert found["rows"] == [{"name": EVIL, "share": None, "list": [EVIL]}]
    assert report.render("csv").count("\n") == 2
