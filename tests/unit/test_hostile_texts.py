"""Every text of somebody else's recording, through every view and format, and schemes' names."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from dataclasses import replace

import pytest

from isotherm.analysis.applied import Outcomes
from isotherm.cli import main
from isotherm.live.heads import ReplayHead
from isotherm.live.replay import Replay
from isotherm.live.stage import Stage
from isotherm.model.scheme import Action, Scheme
from isotherm.model.scheme_state import SchemeState, SchemeStats
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.recording.reader import open_recording
from isotherm.recording.writer import RecordingWriter
from isotherm.report.applied import live_lines, report_applied
from isotherm.report.output import FORMATS
from isotherm.report.view import PairView
from isotherm.report.views import views
from isotherm.session.applying import Result
from isotherm.terminal.output import Guarded
from isotherm.terminal.progress import Progress
from isotherm.terminal.screen import Screen
from isotherm.terminal.text import columns_of
from support.snapshots import MIB, page_use, snapshot, use_row

#: Clears the screen, writes a title, makes a line of its own, turns text around, looks for room.
EVIL = (
    "\x1b[2J\x1b]0;owned\x07",
    "a\nisotherm: all is well\r\x0b\x0c\x85\u2028\u2029",
    "\x9b31m\x90\x9d\x7f\0\b\b\b",
    "\u202etxt.exe\u2066\u200f\u200b\ufeff",
    "/" + "x" * 3000 + "/\x1b[5m" + "y" * 300,
    '"},{"quote": `$(id)` \t',
    "日本語\x1b[0m" * 40,
    "no UTF-8: \udcff\udc1b",
)
SGR = re.compile(r"\x1b\[[0-9;]*m")


def clean(text, *, colour=False):
    """Nothing but lines of what prints, and colour where it may be."""
    bare = SGR.sub("", text) if colour else text
    return all(line.isprintable() for line in bare.split("\n"))


@pytest.fixture(params=["by pages", "by regions"])
def recording(tmp_path, request):
    targets = tuple(Target(i, text, i + 1, MIB, MIB) for i, text in enumerate(EVIL))
    maps = {
        i: (Mapping(MIB, 2 * MIB, EVIL[i - 1][:4], text), Mapping(2 * MIB, 3 * MIB, "rw-p", ""))
        for i, text in enumerate(EVIL)
    }
    blind = tuple(Unobservable(i, 8 * MIB, 9 * MIB, text) for i, text in enumerate(EVIL))
    info = {text: {EVIL[i - 1]: [text]} for i, text in enumerate(EVIL)}
    info |= {
        "backend": EVIL[0],
        "profile": [EVIL[1]],
        "command_line": list(EVIL),
        "attrs": EVIL[2],
    }
    path = tmp_path / "\x1b[31m\n.isotherm"
    with RecordingWriter(path, info) as writer:
        for index in range(3):
            rows = [(i, MIB, 3 * MIB, 10 * (i % 3), index, 0) for i in range(len(EVIL))]
            one = snapshot(index, rows, targets=targets, unobservable=blind, mappings=maps)
            parts = [use_row({1: MIB}, what=text, target=i) for i, text in enumerate(EVIL)]
            known = page_use(*parts, shared_by=EVIL[3]) if request.param == "by pages" else None
            writer.write(replace(one, page_use=known))
    return path


#: Views that are printed; a page is a file.
PRINTED = [name for name, view in views().items() if not view.only_file]


def test_a_page_has_no_control_character_and_no_element_of_theirs(recording, tmp_path, capfd):
    page = tmp_path / "page.html"
    assert main(["report", str(recording), "html", "-o", str(page)]) == 0
    out, err = capfd.readouterr()
    assert (out, clean(err)) == ("", True)
    assert clean(page.read_text().replace("\n", " "))
    assert page.read_text().count("<script") == 2


def files(recording, view):
    """What a view is asked about: one that compares, about the same recording twice."""
    return [str(recording)] * (2 if isinstance(views()[view], PairView) else 1)


@pytest.mark.parametrize("view", PRINTED)
@pytest.mark.parametrize("form", FORMATS)
def test_no_view_lets_a_text_speak_to_the_terminal(recording, request, capfd, view, form):
    assert main(["report", *files(recording, view), view, "--format", form]) == 0
    out, err = capfd.readouterr()
    # These are of what a map of pages knows.
    assert len(out) > 50 or (view in ("tree", "cold") and "by regions" in request.node.callspec.id)
    assert clean(out)
    assert err == ""
    if form == "json":
        assert json.loads(out)["schema"] == views()[view].schema
    elif form == "jsonl":
        assert all(json.loads(line) for line in out.splitlines())
    elif form == "csv":
        rows = list(csv.reader(io.StringIO(out)))
        assert len({len(row) for row in rows}) <= 1
    else:
        assert all(len(line) <= 80 for line in out.split("\n"))


@pytest.mark.parametrize("view", PRINTED)
@pytest.mark.parametrize("width", [60, 200])
def test_nor_in_colour(recording, monkeypatch, view, width):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["report", *files(recording, view), view, "--width", str(width)]) == 0
    out = sys.stdout.getvalue()
    assert clean(out, colour=True)
    assert ("\x1b[" in out) == (view == "heatmap")
    assert all(len(line) <= width for line in SGR.sub("", out).split("\n"))


@pytest.mark.parametrize("width", [60, 200])
def test_nor_in_the_live_view(recording, capfd, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["top", "--replay", str(recording), "--rows", "0"]) == 0
    out, err = capfd.readouterr()
    assert clean(out)
    assert err == ""
    replay = Replay(open_recording(recording))
    replay.read_all()
    shown = Stage(replay.chronicle, ReplayHead(recording, replay.chronicle, EVIL[0]))
    shown.notes += EVIL
    shown.filter(EVIL[0][:1])
    for detail in (None, *range(len(EVIL))):
        for shown.helping in (False, True):
            shown.detail = detail
            lines = ["".join(text for text, _ in line) for line in shown.lines(width, 40)]
            assert all(clean(line) and "\n" not in line for line in lines)
            assert {columns_of(line) for line in lines} == {width}


def test_messages_name_the_file_and_the_targets_escaped(recording, capfd):
    assert main(["report", str(recording), "regions", "--target", "99"]) == 2
    assert main(["report", str(recording) + "\x1b[2J"]) == 2
    recording.write_bytes(recording.read_bytes()[:-20])
    assert main(["report", str(recording)]) == 5
    assert main(["report", "--\x1b[2J"]) == 2
    assert main(["report", str(recording), "--format", "\x1b[2J"]) == 2
    assert main(["\x1b[2J"]) == 2
    out, err = capfd.readouterr()
    assert clean(err)
    assert clean(out)
    assert err.count("\\x1b") >= 5


def test_the_newest_recording_is_named_escaped(recording, capfd, monkeypatch):
    monkeypatch.chdir(recording.parent)
    assert main(["report"]) == 0
    assert capfd.readouterr().err == "reading \\x1b[31m\\n.isotherm\n"


@pytest.mark.parametrize("form", FORMATS)
def test_what_came_of_schemes_is_told_escaped(form):
    stats = SchemeStats(nr_tried=1, sz_tried=MIB, errors=dict.fromkeys(EVIL, 3))
    schemes = tuple(Scheme(Action.STAT) for _ in EVIL)
    states = tuple(SchemeState(text, text, stats) for text in EVIL)
    outcomes = Outcomes()
    for index, text in enumerate(EVIL):
        outcomes.by_scheme[index].asked[text] += MIB
    result = Result(schemes, states, outcomes, MIB, MIB, 3, 1.0)
    text = report_applied(result, dry_run=False, width=60).render(form)
    assert clean(text)
    assert form != "table" or all(len(line) <= 60 for line in text.split("\n"))
    out = io.StringIO()
    with Screen(out, live=False) as screen:
        screen.last(live_lines(schemes, states, EVIL[0], 60))
    assert clean(out.getvalue())


def test_progress_is_told_escaped():
    progress = Progress(io.StringIO(), None)
    for text in EVIL:
        progress.show(text)
        assert clean(progress.line())


def test_what_is_only_printed_is_escaped_too(capfd):
    guarded = Guarded(sys.stderr)
    print(f"warning: {EVIL[0]}", EVIL[2], file=guarded)
    guarded.writelines([EVIL[3], "\n"])
    guarded.flush()
    err = capfd.readouterr().err
    assert clean(err)
    assert err.startswith("warning: \\x1b[2J\\x1b]0;owned\\x07 \\x9b31m")
    assert main(["scheme", "check", "stat name=\x1b[2J"]) in (0, 2)
    assert clean(capfd.readouterr().err)


def test_errors_do_not_make_lines_of_their_own(tmp_path, capfd, monkeypatch):
    here = tmp_path / "a\nhint: rm -r\x1b[8m"
    here.mkdir()
    monkeypatch.chdir(here)
    assert main(["report"]) == 2
    err = capfd.readouterr().err
    assert clean(err)
    assert err.count("\n") == 2
