"""`isotherm report heatmap`: which part is drawn, and of what."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import isotherm
from isotherm.analysis.wanted import Wanted
from isotherm.cli import main
from isotherm.model.ranges import Range
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping
from isotherm.recording.writer import RecordingWriter
from support.snapshots import HEAP, MIB, STACK, phases, snapshot

Run = Callable[..., tuple[int, str, str]]


def write(path: Path, made: list[Snapshot]) -> Path:
    with RecordingWriter(path, {"backend": "sim"}) as writer:
        for one in made:
            writer.write(one)
    return path


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    path = write(tmp_path / "run.isotherm", phases())

    def run(*words: str, file: Path = path) -> tuple[int, str, str]:
        status = main(["report", str(file), "heatmap", *words])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def test_names_and_peaks_are_in_the_data(run: Run) -> None:
    found = json.loads(run("--format", "json", "--target", "7")[1])
    assert {row["what"] for row in found["rows"]} == {"[heap]", "[stack]"}
    assert max(max(row) for row in found["peak"]) == 1.0
    rows = [json.loads(line) for line in run("--format", "jsonl")[1].splitlines()]
    assert {row["what"] for row in rows if row["start"] >= STACK} == {"[stack]"}
    assert all(row["peak"] >= (row["heat"] or 0) - 1e-9 for row in rows)


def test_a_time_is_counted_from_the_beginning(run: Run) -> None:
    found = json.loads(run("--time", "1s..2.5s", "--format", "json", "--target", "7")[1])
    whole = json.loads(run("--format", "json", "--target", "7")[1])
    begin = whole["times_ns"][0]
    assert [found["times_ns"][0], found["times_ns"][-1]] == [begin + 10**9, begin + 25 * 10**8]
    # The second hot area is not yet: its 8 MiB begin at HEAP + 40 MiB.
    hot = [
        row["start"] - HEAP
        for row, heat in zip(found["rows"], found["heat"], strict=True)
        if max(value or 0 for value in heat) > 0.5
    ]
    assert hot
    assert all(8 * MIB - 2 * MIB < at < 16 * MIB for at in hot)
    later = json.loads(run("--time", "5s..", "--format", "json")[1])
    assert later["times_ns"][-1] == whole["times_ns"][-1]


def test_addresses(run: Run) -> None:
    part = f"{HEAP + 40 * MIB:x}..0x{HEAP + 48 * MIB:X}"
    found = json.loads(run("--address", part, "--format", "json")[1])
    assert found["rows"][0]["start"] == HEAP + 40 * MIB
    assert found["rows"][-1]["end"] == HEAP + 48 * MIB
    assert {row[0] for row in found["heat"]} == {0.0}
    assert {row[-1] for row in found["heat"]} == {1.0}


@pytest.mark.parametrize(("size", "low", "high"), [("8M", 7, 17), ("16M", 0, 24)])
def test_the_hottest_stretch(tmp_path: Path, run: Run, size: str, low: int, high: int) -> None:
    path = write(tmp_path / "x.isotherm", phases(40)[:20])  # one hot area: 8..16 MiB
    found = json.loads(run("--hottest", size, "--format", "json", file=path)[1])
    first, last = found["rows"][0]["start"] - HEAP, found["rows"][-1]["end"] - HEAP
    assert low * MIB <= first <= 8 * MIB
    assert 16 * MIB <= last <= high * MIB
    assert last - first <= int(size[:-1]) * MIB * 1.1


def test_the_hottest_stretch_of_much_more_memory(tmp_path: Path) -> None:
    big = 1 << 44
    rows = [(0, 0, big, 0, 0, 0), (0, big, big + MIB, 15, 0, 0), (0, big + MIB, 4 * big, 0, 0, 0)]
    recording = isotherm.open(write(tmp_path / "x.isotherm", [snapshot(0, rows)]))
    grid = recording.heatmap(3, 64, wanted=Wanted(hottest_bytes=2 * MIB))
    assert grid.row_ranges[0].start <= big < big + MIB <= grid.row_ranges[-1].end
    assert sum(row.size for row in grid.row_ranges) < 3 * MIB
    assert max(max(row) for row in grid.peak) == 0.75


def test_who_is_there_no_more_keeps_its_name(tmp_path: Path) -> None:
    one = snapshot(
        0, [(0, 0, 100, 5, 0, 0), (0, 900, 1000, 5, 0, 0)],
        mappings={0: (Mapping(0, 100, "rw-p", "early"), Mapping(900, 1000, "rw-p", "old"))},
    )  # fmt: skip
    two = snapshot(
        1, [(0, 900, 1000, 5, 0, 0)], mappings={0: (Mapping(900, 1000, "rw-p", "late"),)}
    )
    recording = isotherm.open(write(tmp_path / "x.isotherm", [one, two]))
    assert recording.named_heatmap(2, 2)[1] == ("early", "late")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--time", "7s.."], "nothing was recorded after 7s\nhint: the recording is 6s long"),
        (["--time", "5"], "'5' is not a range"),
        (["--time", ".."], "'..' is not a range"),
        (["--time", "5s..2s"], "ends before it begins"),
        (["--address", "1..2"], "nothing was monitored at 0x1..0x2\nhint: it was at 0x5555"),
        (["--address", "heap..2"], "'heap' is not an address"),
        (["--address", "9..2"], "ends before it begins"),
        (["--hottest", "0"], "hottest 0 bytes"),
        (["--scale", "cubic"], "'cubic' is not possible\nhint: one of log, quantile, linear"),
        (["--addresses", "left"], "one of up, across"),
    ],
)
def test_what_cannot_be_drawn_is_told(run: Run, words: list[str], told: str) -> None:
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert told in err


def test_ways_and_scales(run: Run) -> None:
    assert "address → and time ↓" in run()[1].splitlines()[0]
    up = run("--addresses", "up")[1]
    assert "address ↑ and time →" in up.splitlines()[0]
    assert " [stack] " in up
    assert "address ↑" in run("--height", "200", "--width", "60")[1]
    assert "█ 88%" in run("--scale", "linear")[1]
    assert Wanted().is_all
    assert not Wanted(addresses=Range(0, 1)).is_all
