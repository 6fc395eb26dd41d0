"""`isotherm report` of recordings with a map of pages, as people and programs meet it."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from isotherm.cli import main
from isotherm.model.page_use import GroupUse, never_seen
from isotherm.recording.writer import RecordingWriter
from support.snapshots import MIB, S, columns, page_use, phases, use_row

HEAP_ROW = use_row({0.05: 8 * MIB, 0.7: 2 * MIB, 4: 6 * MIB, 25: 40 * MIB})
FILE_ROW = use_row({0.05: MIB, 12: 20 * MIB}, what="/lib/x.so", kind="file")
SHARED_ROW = use_row({}, what="/dev/shm/x", kind="shmem", unseen=10 * MIB, own=False, target=1)
USE = page_use(HEAP_ROW, FILE_ROW)
BLIND = page_use(HEAP_ROW, FILE_ROW, SHARED_ROW)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path


@pytest.fixture
def run(here, capsys):
    def call(use, *args, swap=1 << 40, groups=("", "")):
        made = [
            replace(
                one,
                page_use=use if one.index % 10 == 9 else None,
                targets=tuple(
                    replace(target, group=group)
                    for target, group in zip(one.targets, groups, strict=True)
                ),
            )
            for one in phases(120)
        ]
        info = {"backend": "sim", "swap_free_bytes": swap}
        with RecordingWriter(here / "x.isotherm", info, force=True) as writer:
            for one in made:
                writer.write(one)
        status = main(["report", "x.isotherm", *args])
        out, err = capsys.readouterr()
        assert err == "" or status
        return out if not status else (status, err)

    return call


def lines(out):
    return [line for line in out.splitlines() if not line.startswith(" heat")]


def test_the_report_begins_with_the_curve(run):
    assert lines(run(USE)) == [
        "app 42 and 1 more   12.0s   120 snapshots   5 regions at most",
        " used within   100ms 9.0 MiB   1s 11.0 MiB   10s 17.0 MiB   60s -",
        "               whole 30s 77.0 MiB",
        "               p50 11.0 MiB   p95 11.0 MiB   max 11.0 MiB   of 12 windows of 1s",
        " not used for  under 1s 11.0 MiB   1s..10s 6.0 MiB   10s.. 60.0 MiB",
        "               unknown 0 B",
        " unknown       nothing; looked at 100% of what is resident",
        " could free    60.0 MiB not used for 10s, mapped by nobody else",
        " 100 MiB mapped, 77.0 MiB resident, 85.0 MiB monitored",
        " windows       100ms each, sampled every 5ms",
        " would find    95% of hot spots of 4.0 KiB or more",
        " what       resident   used 1s  used 10s  idle 10s",
        " [heap]     56.0 MiB  10.0 MiB  16.0 MiB  40.0 MiB",
        " /lib/x.so  21.0 MiB   1.0 MiB   1.0 MiB  20.0 MiB",
        " suggestion    [heap]: pageout filter=idle:10s could free 40.0 MiB",
        " monitoring    0.5% of one CPU, 1.0% of samples missed",
    ]


def test_what_cannot_be_seen_is_the_headline(run):
    out = lines(run(BLIND, swap=0))
    assert out[1:7] == [
        " working set   11.0 MiB to 21.0 MiB within 1s: 10.0 MiB shared memory cannot be",
        "               seen here; to see what is shared, record with --shared=clear-refs",
        " used within   100ms 9.0 MiB (to 19.0 MiB)   1s 11.0 MiB (to 21.0 MiB)",
        "               10s 17.0 MiB (to 27.0 MiB)   60s -",
        "               whole 30s 77.0 MiB (to 87.0 MiB)",
        "               p50 11.0 MiB   p95 11.0 MiB   max 11.0 MiB   of 12 windows of 1s",
    ]
    assert " could free    20.0 MiB not used for 10s, mapped by nobody else; 40.0 MiB more" in out
    assert " /dev/shm/x  10.0 MiB         ?         ?         ?  10.0 MiB" in out
    assert " helper 43  10.0 MiB         ?         ?         ?  10.0 MiB" in out
    assert any("could free 40.0 MiB with swap or" in line for line in out)


def test_how_shared_memory_was_seen_and_what_that_cost(run):
    out = run(replace(USE, shared_by="clear_refs", held_ns=13_000_000))
    assert "seen by clear_refs; page faults of a target may have waited" in out
    assert "13ms" in out
    assert "--shared" not in run(replace(BLIND, shared_by="page_idle"))
    damon = replace(USE, shared_by="damon", shared_cpu_ns=USE.watched_ns // 400)
    out = " ".join(run(damon).split())
    assert "seen by damon; the kernel's DAMON took 0.25% of one CPU for it" in out
    assert "waited" not in out


def test_why_damon_does_not_show_shared_memory_is_told_where_that_is_missed(run):
    note = "the kernel's DAMON is in use by somebody else"
    out = " ".join(run(replace(BLIND, shared_note=note)).split())
    assert f"cannot be seen: {note}" in out
    assert note not in run(replace(USE, shared_note=note))
    assert note not in run(replace(BLIND, shared_by="clear-refs", shared_note=note))


def test_that_a_target_stood_still_is_said_before_the_ages(run):
    out = lines(run(replace(USE, stopped_ns=7_000_000_000)))
    assert out[1] == (
        " stood still   a target for 7s of 30s, stopped or frozen: in no age or window"
    )
    assert "stood still" not in run(replace(USE, stopped_ns=0))
    assert "stood still" not in run(replace(USE, stopped_ns=None))


def test_a_coarse_map_says_so_first(run):
    out = lines(run(replace(USE, exact=False)))
    assert out[1] == " coarse        only the used share of each mapping is known, not which pages"
    assert " suggestion    [heap]: pageout access=0% age=10s.. could free 40.0 MiB" in out


def test_nodes_where_there_are_several(run):
    two = page_use(HEAP_ROW, FILE_ROW._replace(node=1))
    out = lines(run(two))
    assert " node 1  21.0 MiB   1.0 MiB   1.0 MiB  20.0 MiB" in out
    assert "node" not in run(USE)


def test_one_title_of_several_kinds(run):
    cow = use_row({12: 3 * MIB}, what="/lib/x.so")
    out = lines(run(page_use(HEAP_ROW, FILE_ROW, cow)))
    assert " /lib/x.so  anon   3.0 MiB         -         -   3.0 MiB" in out


def test_many_mappings_are_summed_up(run):
    rows = [use_row({0.2: MIB, 12: i * MIB}, what=f"/lib/{i}") for i in range(20)]
    out = lines(run(page_use(*rows)))
    assert " 8 others  36.0 MiB  8.0 MiB   8.0 MiB  28.0 MiB" in out


def test_a_recording_too_short_for_an_age(run):
    short = page_use(use_row({0.02: MIB}, watched_ns=S // 20), watched_ns=S // 20)
    out = run(short)
    assert "100ms -   1s -   10s -   60s -   whole 50ms 1.0 MiB" in out
    assert "could free" not in out


def test_a_map_alone_without_regions(run, monkeypatch):
    bare = [replace(one, columns=columns(())) for one in phases(120)]
    monkeypatch.setattr(f"{__name__}.phases", lambda _: bare)
    out = lines(run(USE))
    assert out[0] == "app 42 and 1 more   12.0s   120 snapshots   0 regions at most"
    assert " [heap]     56.0 MiB  10.0 MiB  16.0 MiB  40.0 MiB" in out
    assert "over 12 windows of 1s" in run(USE, "wss")
    assert json.loads(run(USE, "wss", "--format", "json"))["by"] == "pages"


def test_nothing_known_yet(run):
    nothing = replace(USE, rows=(), windows_ns=(), watched_ns=0, exact=False)
    assert "nothing known yet" in run(nothing)
    assert run(nothing, "wss").startswith("working set: whole regions")
    document = json.loads(run(replace(USE, rows=()), "--format", "json"))
    assert document["resident_bytes"] == document["curve"][0]["bytes"] == 0


@pytest.mark.parametrize("view", ["summary", "wss"])
@pytest.mark.parametrize("width", ["60", "80"])
def test_it_fits(run, view, width):
    for use in (USE, BLIND, replace(BLIND, exact=False, shared_by="clear_refs", held_ns=1)):
        assert max(map(len, run(use, view, "--width", width).splitlines())) <= int(width)


def test_it_is_ascii_where_the_terminal_is(run, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    from isotherm.terminal.output import lines_of
    from isotherm.terminal.style import Style

    for view in ("summary", "wss"):
        assert lines_of(run(BLIND, view).splitlines(), Style(unicode=False)).isascii()


def test_names_are_escaped(run):
    evil = page_use(use_row({1: MIB}, what="a\x1b[31m\n"), replace_by(SHARED_ROW, "\x1b]0;x\x07"))
    for form in ("table", "json", "jsonl", "csv"):
        assert "\x1b" not in run(evil, "--format", form)


def replace_by(row, what):
    return row._replace(what=what)


def test_json(run):
    document = json.loads(run(BLIND, "--format", "json", swap=13 * MIB))
    assert document["schema"] == "isotherm.report.summary/2"
    assert document["by"] == "pages"
    curve = {point["window_ns"]: point for point in document["curve"]}
    assert list(curve) == list(BLIND.windows_ns)
    assert curve[S] == {
        "window_ns": S,
        "bytes": 11 * MIB,
        "low_bytes": 11 * MIB,
        "high_bytes": 21 * MIB,
        "covered": 1.0,
    }
    assert document["resident_bytes"] == 87 * MIB
    assert {
        "age_ns": 10 * S,
        "bytes": 60 * MIB,
        "only_bytes": 20 * MIB,
        "low_bytes": 60 * MIB,
        "high_bytes": 60 * MIB,
    } in document["idle"]
    assert document["unknown_bytes"] == document["unseen_bytes"] == 10 * MIB
    assert document["uncovered_bytes"] == 0
    assert document["could_free_bytes"] == 33 * MIB
    assert document["could_free_age_ns"] == 10 * S
    assert (document["needs_swap_bytes"], document["swap_free_bytes"]) == (40 * MIB, 13 * MIB)
    assert document["working_set"]["window_ns"] == S
    assert [part["what"] for part in document["mappings"]] == ["[heap]", "/lib/x.so", "/dev/shm/x"]
    for parts in ("mappings", "kinds", "nodes", "by_target"):
        assert sum(part["resident_bytes"] for part in document[parts]) == 87 * MIB
        assert sum(part["curve"][3]["bytes"] for part in document[parts]) == 11 * MIB
    assert [target["id"] for target in document["by_target"]] == [7, 9]
    assert document["suggestion"]["with_swap"] == 27 * MIB


def test_json_of_regions_says_that_it_is(run):
    document = json.loads(run(None, "--format", "json"))
    assert (document["by"], document["curve"]) == ("regions", [])
    assert document["could_free_bytes"] <= document["resident_bytes"] == 70 * MIB
    assert document["idle"][-1] == {"age_ns": 10 * S, "bytes": 70 * MIB}
    assert document["working_set"]["window_ns"] == S // 10


UNITS = "unit web.service", "unit db.service"


def test_groups_by_pages(run):
    out = run(BLIND, groups=UNITS)
    row = next(line for line in out.splitlines() if "unit web.service (1)" in line)
    assert re.split("  +", row.strip())[1:4] == ["77.0 MiB", "11.0 MiB", "17.0 MiB"]
    assert "unit db.service (1)" in out
    assert "group" not in run(BLIND)
    document = json.loads(run(BLIND, "--format", "json", groups=UNITS))
    assert [
        (one["group"], one["kind"], one["name"], one["targets"], one["resident_bytes"])
        for one in document["groups"]
    ] == [
        ("unit web.service", "unit", "web.service", [7], 77 * MIB),
        ("unit db.service", "unit", "db.service", [9], 10 * MIB),
    ]
    assert document["groups"][0]["curve"][3]["bytes"] == 11 * MIB
    assert document["targets"][0]["group"] == "unit web.service"


def test_what_a_group_shares_counts_once_in_it(run):
    row = use_row({0.05: 60 * MIB, 20: 900 * MIB})
    use = replace(BLIND, groups=(GroupUse(UNITS[0], *row[4:11]),))
    lines = [" ".join(line.split()) for line in run(use, groups=UNITS).splitlines()]
    assert [line.split()[:3] for line in lines if line.startswith("group")] == [
        ["group", "resident", "once"]
    ]
    assert any(line.startswith("unit web.service (1)") and "960 MiB" in line for line in lines)
    first, second = json.loads(run(use, "--format", "json", groups=UNITS))["groups"]
    assert first["once"]["resident_bytes"] == 960 * MIB
    assert first["once"]["curve"][3]["bytes"] == 60 * MIB
    assert first["once"]["idle"][3]["low_bytes"] == 900 * MIB
    assert second["once"] is None


def test_a_group_of_several_targets_and_targets_of_none(run):
    whole = json.loads(run(BLIND, "--format", "json", groups=UNITS[:1] * 2))["groups"]
    assert [(one["targets"], one["resident_bytes"]) for one in whole] == [([7, 9], 87 * MIB)]
    some = json.loads(run(BLIND, "--format", "json", groups=("", UNITS[1])))["groups"]
    assert [one["targets"] for one in some] == [[9]]
    odd = json.loads(run(BLIND, "--format", "json", groups=("odd", " x")))["groups"]
    assert [(one["kind"], one["name"]) for one in odd] == [("group", "odd"), ("group", " x")]


def test_groups_by_regions(run):
    out = run(None, groups=UNITS)
    assert " unit web.service (1)" in out
    document = json.loads(run(None, "--format", "json", groups=UNITS))
    of = {one["name"]: one for one in document["groups"]}
    assert of.keys() == {"web.service", "db.service"}
    assert sum(one["size_bytes"] for one in of.values()) == document["monitored_bytes"]
    assert sum(one["hot_bytes"] for one in of.values()) == sum(
        row["hot_bytes"] for row in document["what"]
    )


def test_rows_are_of_mappings(run):
    rows = list(csv.DictReader(io.StringIO(run(BLIND, "--format", "csv"))))
    assert [row["what"] for row in rows] == ["[heap]", "/lib/x.so", "/dev/shm/x"]
    assert int(rows[0]["used_1000ms_bytes"]) == 10 * MIB
    assert int(rows[0]["idle_10000ms_bytes"]) == 40 * MIB
    first = json.loads(run(BLIND, "--format", "jsonl").splitlines()[0])
    assert first["resident_bytes"] == 56 * MIB


def test_wss(run):
    out = run(BLIND, "wss").splitlines()
    assert out[0] == "working set: bytes used within a time, watched for 30s"
    assert out[1].startswith(" working set   11.0 MiB to 21.0 MiB within 1s:")
    assert any(line.startswith("     1s  11.0 MiB (to 21.0 MiB) ") for line in out)
    assert "over 12 windows of 1s" in out
    document = json.loads(run(BLIND, "wss", "--format", "json", "--window", "10s"))
    assert document["schema"] == "isotherm.report.wss/2"
    assert (document["window_ns"], document["windows"]) == (10 * S, 12)
    assert document["percentiles"][2] == {"percent": 50, "bytes": 17 * MIB}
    assert len(document["curve"]) == len(BLIND.windows_ns)
    assert document["unknown_bytes"] == 10 * MIB


def test_wss_by_regions_where_asked_or_needed(run):
    by_rate = run(USE, "wss", "--min-access", "50%").splitlines()
    assert by_rate[0].startswith("working set: whole regions accessed in 50% of the samples")
    assert run(None, "wss").startswith("working set: whole regions accessed in a window; 120")


@pytest.mark.parametrize(
    ("use", "args", "message"),
    [
        (USE, ["--window", "60s"], "no window of 60s was watched\nhint: they are 100ms to 30s"),
        (None, ["--window", "1s"], "which nobody did here"),
        (USE, ["--window", "1s", "--min-access", "9%"], "not with --min-access"),
    ],
)
def test_windows_that_are_not_known(run, use, args, message):
    status, err = run(use, "wss", *args)
    assert status == 2
    assert message in err


def test_wss_over_time(run):
    out = run(BLIND, "wss", "--over-time").splitlines()
    assert out[0] == "working set over time, windows of 1s, by pages"
    assert len(out) == 13
    assert out[1].startswith("     1.0s  11.0 MiB (to 21.0 MiB) ██")
    assert out[-1].startswith("    12.0s  11.0 MiB")
    known = json.loads(run(BLIND, "wss", "--over-time", "--format", "json"))["over_time"]
    assert known[1] == {
        "start_ns": S, "end_ns": 2 * S,
        "bytes": 11 * MIB, "low_bytes": 11 * MIB, "high_bytes": 21 * MIB,
    }  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(run(BLIND, "wss", "--over-time", "--format", "csv"))))
    assert [int(row["end_ns"]) for row in rows] == [i * S for i in range(1, 13)]
    by_regions = run(None, "wss", "--over-time").splitlines()
    assert by_regions[0].endswith("windows of 100ms, the largest of 5 on a line, by regions")
    assert len(by_regions) == 25


def test_wss_of_several_lengths(run):
    document = json.loads(run(USE, "wss", "--format", "json", "--window", "1s,10s"))
    assert [one["window_ns"] for one in document["by_window"]] == [S, 10 * S]
    assert [one["percentiles"][2]["bytes"] for one in document["by_window"]] == [
        11 * MIB, 17 * MIB,
    ]  # fmt: skip
    assert document["percentiles"] == document["by_window"][0]["percentiles"]
    rows = csv.DictReader(io.StringIO(run(USE, "wss", "--format", "csv", "--window", "1s,10s")))
    assert [row["window_ns"] for row in rows] == [str(S)] * 8 + [str(10 * S)] * 8
    text = run(USE, "wss", "--window", "1s,10s")
    assert "over 12 windows of 1s\n" in text
    assert "over 12 windows of 10s\n" in text


def test_what_was_not_looked_at_is_a_headline_and_adds_up(run):
    missed = never_seen(0, "anon", 9 * MIB, len(USE.windows_ns))
    use = replace(USE, rows=(*USE.rows, missed), missed=2)
    out = " ".join(run(use).split())
    assert "2 processes lived too shortly to be looked at, or began just then" in out
    assert "9.0 MiB in memory nothing is known" in out
    read = json.loads(run(use, "--format", "json"))
    assert (read["missed"], read["missed_bytes"]) == (2, 9 * MIB)
    assert read["unknown_bytes"] == use.unseen + 9 * MIB
    known = read["recent_bytes"] + sum(each["only_bytes"] for each in read["idle"])
    assert known + read["unknown_bytes"] == read["resident_bytes"] == USE.resident + 9 * MIB
    assert all(point["covered"] < 1 for point in read["curve"])
    assert "lived" not in run(USE)
