"""`isotherm report`, as people and programs meet it."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace

import pytest

from isotherm.cli import main
from isotherm.model.snapshot import Cost
from isotherm.model.target import Target
from isotherm.recording.writer import RecordingWriter
from support.snapshots import HEAP, MIB, phases, snapshot


def write(path, snapshots, swap=1 << 40):
    with RecordingWriter(path, {"backend": "sim", "swap_free_bytes": swap}) as writer:
        for one in snapshots:
            writer.write(one)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path


@pytest.fixture
def recording(here):
    return write(here / "run.isotherm", phases(120))


@pytest.fixture
def run(capsys):
    def call(*args):
        status = main(["report", *args])
        out, err = capsys.readouterr()
        return status, out, err

    return call


def test_summary(recording, run):
    # 60 cells for the 64 MiB of heap: its hot parts begin in the middle of cells 7 and 37.
    hot, idle = "▃" + "▅" * 7, "▁"
    heat = idle * 7 + hot + idle * 22 + hot + idle * 15 + "▂▂"
    status, out, err = run()
    assert status == 0
    assert err == "reading run.isotherm\n"
    assert out.splitlines() == [
        "app 42 and 1 more   12.0s   120 snapshots   5 regions at most",
        " 100 MiB mapped, 70.0 MiB resident, 85.0 MiB monitored",
        " 4.2 MiB not observable (shared)",
        " windows       100ms each, sampled every 5ms",
        " working set   p50 8.8 MiB   p95 8.8 MiB   max 8.8 MiB   in 100ms, whole regions",
        " idle > 10s    70.0 MiB, by whole regions",
        f" heat          {heat}",
        " would find    95% of hot spots of 16.2 MiB or more",
        " what           size      hot     warm      idle  not seen",
        " [heap]     64.0 MiB  8.0 MiB        -  56.0 MiB         -",
        " anonymous  20.0 MiB        -        -  16.0 MiB   4.0 MiB",
        " [stack]     1.0 MiB        -  768 KiB         -   256 KiB",
        " suggestion    [heap]: pageout access=0% age=10s.. could free 56.0 MiB",
        " monitoring    0.5% of one CPU, 1.0% of samples missed",
    ]


def test_summary_of_sixty_columns(here, run, monkeypatch):
    """Names are shortened, columns left out, and the name of the library stays readable."""
    monkeypatch.setenv("COLUMNS", "60")
    first, *others = phases(120)
    library = "/usr/lib/x86_64-linux-gnu/libcrypto.so.3"
    names = {7: replace(first.mappings[7][0], name=library)}
    maps = first.mappings | {7: (names[7], *first.mappings[7][1:])}
    write(here / "x.isotherm", [replace(first, mappings=maps), *others])
    out = [line for line in run()[1].splitlines() if not line.startswith(" heat")]
    assert out == [
        "app 42 and 1 more",
        " 12.0s   120 snapshots   5 regions at most",
        " 100 MiB mapped, 70.0 MiB resident, 85.0 MiB monitored",
        " 4.2 MiB not observable (shared)",
        " windows       100ms each, sampled every 5ms",
        " working set   p50 8.8 MiB   p95 8.8 MiB   max 8.8 MiB   in",
        "               100ms, whole regions",
        " idle > 10s    70.0 MiB, by whole regions",
        " would find    95% of hot spots of 16.2 MiB or more",
        " what                       size      hot     warm      idle",
        " /usr/…/libcrypto.so.3  64.0 MiB  8.0 MiB        -  56.0 MiB",
        " anonymous              20.0 MiB        -        -  16.0 MiB",
        " [stack]                 1.0 MiB        -  768 KiB         -",
        " suggestion    /u…/libcrypto.so.3: pageout access=0%",
        "               age=10s.. could free 56.0 MiB",
        " monitoring    0.5% of one CPU, 1.0% of samples missed",
    ]


@pytest.mark.parametrize("view", ["summary", "regions", "heatmap", "wss", "tree", "info"])
@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv"])
def test_every_view_in_every_form(recording, run, view, form):
    status, out, err = run("run.isotherm", view, "--format", form)
    assert (status, err) == (0, "")
    schema = f"isotherm.report.{view}/{2 if view in ('summary', 'wss') else 1}"
    if form == "json":
        document = json.loads(out)
        assert document["schema"] == schema
    elif form == "jsonl":
        rows = [json.loads(line) for line in out.splitlines()]
        assert {row["schema"] for row in rows} == ({schema} if view != "tree" else set())
    elif form == "csv":
        # A tree is of pages, and nobody kept a map of them here.
        assert bool(list(csv.DictReader(io.StringIO(out)))) == (view != "tree")
    else:
        assert "\x1b" not in out
        assert all(len(line) <= 80 for line in out.splitlines() if "command_line" not in line)


def test_idle_is_doubted_where_nobody_looked(here, run):
    write(here / "x.isotherm", [replace(s, cost=Cost(checks=100, missed=60)) for s in phases()])
    out = run()[1]
    assert "60.0% of the samples were missed" in out
    assert "could free" not in out
    assert json.loads(run("--format", "json")[1])["suggestion"] is None


def test_what_the_monitor_does_not_tell_is_not_told(here, run):
    unknown = Cost(cpu_ns=1, ticks=20, checks=None, cleared=None, late_ns=None)
    first, *others = phases()
    write(here / "x.isotherm", [first, *(replace(one, cost=unknown) for one in others)])
    cost = json.loads(run("--format", "json")[1])["cost"]
    assert cost["checks"] is None
    assert "missed" not in run()[1].splitlines()[-1]


def test_file_and_view_in_any_order(recording, run):
    assert run("wss", "run.isotherm") == run("run.isotherm", "wss")


def test_the_newest_recording_is_taken(recording, run):
    newer = write(recording.with_name("b.isotherm"), phases(10))
    os.utime(recording, ns=(1, 1))
    assert run("info")[2] == f"reading {newer.name}\n"


def test_wss_numbers(recording, run):
    wss = json.loads(run("wss", "--format", "json")[1])
    assert wss["percentiles"][2] == {"percent": 50, "bytes": 8 * MIB + MIB * 3 // 4}
    wss = json.loads(run("wss", "--format", "json", "--min-access", "50%")[1])
    assert wss["percentiles"][2] == {"percent": 50, "bytes": 8 * MIB}
    assert wss["max_unobservable_bytes"] == 4 * MIB + MIB // 4


@pytest.mark.parametrize(("at", "index", "hot"), [("0s", 0, 8), ("2s", 20, 8), ("12s", 119, 40)])
def test_regions_at_a_time(recording, run, at, index, hot):
    regions = json.loads(run("regions", "--at", at, "--format", "json")[1])
    assert regions["index"] == index
    assert regions["regions"][1]["start"] == HEAP + hot * MIB
    assert regions["regions"][1]["what"] == "[heap]"


def test_regions_of_one_target(recording, run):
    rows = list(csv.DictReader(io.StringIO(run("regions", "--target", "9", "--format", "csv")[1])))
    assert [row["what"] for row in rows] == ["anonymous"]


def test_unobservable_regions_have_no_rate(here, run):
    write(here / "x.isotherm", [snapshot(0, [(0, 0, 4096, 0, 500, 4096)])])
    region = json.loads(run("regions", "--format", "json")[1])["regions"][0]
    assert region["access_percent"] is None
    assert region["idle_ns"] == 0
    assert " ? " in run("regions")[1]
    assert "????" in run("heatmap")[1]
    assert "idle >" not in run()[1]
    assert "could free" not in run()[1]


def test_a_damaged_recording_is_told_and_read(recording, run):
    recording.write_bytes(recording.read_bytes()[:-100])
    status, out, err = run("run.isotherm")
    assert status == 5
    assert "110 snapshots" in out
    assert err.startswith("isotherm: recording run.isotherm is damaged:")
    assert json.loads(run("info", "--format", "json")[1])["complete"] is False


def test_a_damaged_recording_without_regions_is_damaged_first(recording, run):
    recording.write_bytes(recording.read_bytes()[:900])
    status, out, err = run("wss", "run.isotherm")
    assert (status, out) == (5, "")
    assert "damaged" in err


def test_an_empty_recording(here, run):
    write(here / "x.isotherm", [])
    assert "no region" in run()[1]
    assert run("wss")[0] == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["heatmp"], "Did you mean 'heatmap'?"),
        (["nope.isotherm"], "there is no recording 'nope.isotherm'"),
        (["run.isotherm", "other", "wss"], "what is 'other'?"),
        (["regions", "--at", "soon"], "'soon' is not a duration"),
        (["wss", "--min-access", "200%"], "impossible"),
        (["heatmap", "--target", "3"], "there is no target 3 in the recording"),
        (["regions", "--target", "3"], "hint: its targets are 7 (app 42), 9 (helper 43)"),
        (["regions", "--target", "x"], "'x' is not a whole number"),
        (["regions", "--target", "9" * 5000], "is not a whole number"),
        (["regions", "--target", "-1"], "'-1' is not a whole number"),
        (["regions", "--at", "12001ms"], "the recording ends before 12s: it is 12s long"),
        (["regions", "--at", "-1s"], "'-1s' is not a duration"),
        (["regions", "--at", "\0"], "is not a duration"),
        (["heatmap", "--height", "3"], "3 is not possible\nhint: from 4 to 1000"),
        (["heatmap", "--width", "9" * 5000], "is not a whole number"),
        (["wss", "--width", "5"], "5 is not possible"),
        (["wss", "--at", "1s"], "the view wss has no option --at\nhint: it has --min-access"),
        (["--target", "7"], "the view summary has no option --target"),
        (["info", "--height", "9"], "the view info has no option --height"),
        (["x" * 300], "file name too long"),
        (["."], "directory"),
        ([""], "directory"),
        (["/dev/null"], "/dev/null is not a recording"),
    ],
)
def test_mistakes_are_explained(recording, run, args, message):
    status, out, err = run(*args)
    assert (status, out) == (2, "")
    assert message in err


def test_no_recording_at_all(here, run):
    status, _, err = run()
    assert status == 2
    assert "hint: make one: isotherm record" in err


def test_names_cannot_speak_to_the_terminal(here, run):
    evil = Target(0, "a\x1b[2Jb\n", 1)
    write(here / "x.isotherm", [snapshot(0, [(0, 0, 4096, 1, 1, 0)], targets=(evil,))])
    for view in ("summary", "heatmap"):
        assert run(view)[1].startswith("a\\x1b[2Jb\\n 1   ")


def test_help_ends_with_examples(run):
    status, out, _ = run("--help")
    assert status == 0
    assert "Examples:" in out
    assert "isotherm report" in out.splitlines()[-1]
