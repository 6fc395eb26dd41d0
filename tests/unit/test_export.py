"""What is exported is read by the programs that it is for, to the same numbers."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from isotherm import Snapshot
from isotherm import open as open_recording
from isotherm.cli import main
from isotherm.export.formats import FORMATS
from isotherm.model.target import Mapping, Target
from isotherm.recording.damo.importer import import_record
from isotherm.recording.writer import RecordingWriter
from support.snapshots import HEAP, MIB, page_use, phases, snapshot, use_row

NASTY = 'a;b"\x1b[31m\n=1+1\udcff'


def recorded(path: Path, snapshots: list[Snapshot], **info: object) -> Path:
    with RecordingWriter(path, {"backend": "sim", **info}) as writer:
        for one in snapshots:
            writer.write(one)
    return path


@pytest.fixture
def by_regions(tmp_path: Path) -> Path:
    return recorded(tmp_path / "regions.isotherm", phases(20))


@pytest.fixture
def by_pages(tmp_path: Path) -> Path:
    rows = (
        use_row({0.2: MIB, 20: 3 * MIB}, what="[heap]"),
        use_row({5: MIB}, target=1, what="/usr/lib/x.so", kind="file"),
        use_row({1: 2 * MIB}, unseen=MIB, target=1, what="/dev/shm/x", kind="shmem"),
    )
    made = phases(4)
    groups = tuple(replace(target, group="/app.slice") for target in made[0].targets)
    made = [replace(one, targets=groups) for one in made]
    made[-1] = replace(made[-1], page_use=page_use(*rows))
    return recorded(tmp_path / "pages.isotherm", made)


def export(source: Path, form: str, *options: str) -> Path:
    output = source.with_suffix(FORMATS[form].suffix)
    assert main(["export", str(source), "--to", form, "-o", str(output), *options]) == 0
    return output


def damo_reads(path: Path) -> list[dict[str, object]]:
    """What damo itself makes of a file: its modules import each other by their bare names."""
    code = """
import importlib.util, json, os, sys
sys.path.insert(0, os.path.dirname(importlib.util.find_spec("damo").origin))
import _damo_records
records = _damo_records.parse_compressed_json(sys.argv[1])
print(json.dumps([{
    "target": r.target_id,
    "intervals": [r.intervals.sample, r.intervals.aggr],
    "snapshots": [{
        "start": s.start_time, "end": s.end_time, "bytes": s.total_bytes,
        "sample_us": s.sample_interval_us,
        "regions": [[x.start, x.end, x.nr_accesses.samples, x.age.aggr_intervals]
                    for x in s.regions],
    } for s in r.snapshots],
} for r in records]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_damo_reads_the_same_numbers(by_regions: Path) -> None:
    found = damo_reads(export(by_regions, "damo"))
    expected = list(open_recording(by_regions))
    assert [one["target"] for one in found] == [target.id for target in expected[0].targets]
    for index, record in enumerate(found):
        assert record["intervals"] == [5_000, 100_000]
        windows = record["snapshots"]
        assert len(windows) == len(expected)
        for window, snapshot_ in zip(windows, expected, strict=True):
            known = [
                [r.start, r.end, r.nr_accesses, r.age]
                for r in snapshot_.regions
                if r.target == index and r.nr_accesses is not None
            ]
            assert window["regions"] == known
            assert (window["start"], window["end"]) == (snapshot_.start_ns, snapshot_.end_ns)
            assert window["bytes"] == sum(end - start for start, end, *_ in known)
            assert window["sample_us"] == 5_000


def test_what_damo_was_given_comes_back(by_regions: Path, tmp_path: Path) -> None:
    result = import_record(export(by_regions, "damo"), tmp_path / "back.isotherm")
    assert result.damage is None
    back = list(open_recording(tmp_path / "back.isotherm"))
    for before, after in zip(open_recording(by_regions), back, strict=True):
        kept = [r[:5] for r in before.regions if r.nr_accesses is not None]
        assert [r[:5] for r in after.regions] == kept
        assert (before.start_ns, before.end_ns) == (after.start_ns, after.end_ns)


def test_windows_of_tuned_intervals_are_records_of_their_own(tmp_path: Path) -> None:
    one = snapshot(0, [(0, 4096, 8192, 3, 1, 0)])
    two = replace(snapshot(1, [(0, 4096, 8192, 40, 1, 0)]), sample_us=20_000, aggr_us=2_000_000)
    found = damo_reads(export(recorded(tmp_path / "x.isotherm", [one, two]), "damo"))
    assert [record["intervals"] for record in found] == [[5_000, 100_000], [20_000, 2_000_000]]


def test_regions_that_nobody_saw_are_left_out_of_damos_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(0, 4096, 8192, 0, 1, 4096), (0, 8192, 12288, 3, 1, 0)]
    found = damo_reads(export(recorded(tmp_path / "x.isotherm", [snapshot(0, rows)]), "damo"))
    assert found[0]["snapshots"][0]["regions"] == [[8192, 12288, 3, 1]]
    assert "1 regions that could not be observed are left out" in capsys.readouterr().err


def flat(path: Path) -> list[tuple[object, ...]]:
    return [
        (
            one.index, one.start_ns, one.end_ns, one.sample_us, one.aggr_us,
            one.targets[r.target].id, one.targets[r.target].name, one.targets[r.target].pid,
            one.targets[r.target].group, r.start, r.end, r.nr_accesses, one.max_nr_accesses,
            r.age, r.unobservable, r.used, r.rate, r.low, r.high,
        )
        for one in open_recording(path)
        for r in one.regions
    ]  # fmt: skip


def test_duckdb_reads_the_same_rows(by_regions: Path) -> None:
    import duckdb

    found = duckdb.sql(
        'select "window", epoch_ns(start_time), epoch_ns(end_time), * exclude '
        f"(\"window\", start_time, end_time) from '{export(by_regions, 'parquet')}'"
    ).fetchall()
    assert found == flat(by_regions)


def test_csv_has_the_same_rows(by_regions: Path) -> None:
    rows = list(csv.reader(io.StringIO(export(by_regions, "csv").read_text())))
    expected = [["" if v is None else str(v) for v in row] for row in flat(by_regions)]
    assert rows[1:] == expected
    assert rows[0][:3] == ["window", "start_ns", "end_ns"]


def test_unknown_is_null_in_every_table(tmp_path: Path) -> None:
    import duckdb

    rows = [(0, 4096, 8192, 0, 1, 4096), (0, 8192, 12288, 0, 1, 0)]
    path = recorded(tmp_path / "x.isotherm", [snapshot(0, rows)])
    parquet = export(path, "parquet")
    found = duckdb.sql(f"select nr_accesses, used from '{parquet}' order by start").fetchall()
    assert found == [(None, None), (0, None)]


def pprof(*words: str) -> str:
    done = subprocess.run(
        ["go", "tool", "pprof", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PPROF_TMPDIR": os.devnull},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("go") is None, reason="golang-go is not installed")
@pytest.mark.parametrize("kind", ["by_pages", "by_regions"])
def test_go_tool_pprof_reads_the_same_bytes(kind: str, by_pages: Path, by_regions: Path) -> None:
    path = by_pages if kind == "by_pages" else by_regions
    packed = export(path, "pprof")
    summary = open_recording(path).summary()
    raw = pprof("-raw", str(packed))
    first, values = raw.split("Samples:\n")[1].split("Locations")[0].split("\n", 1)
    rows = [line.split(":")[0].split() for line in values.splitlines() if ":" in line]
    sums = [sum(int(row[i]) for row in rows) for i in range(4)]
    if kind == "by_pages":
        assert first.split()[0].startswith("resident/bytes")
        use = summary.use
        assert use is not None
        # used within a second; idle for what a headline speaks of, which is 10 s of 30
        second = use.windows_ns.index(10**9)
        assert sums[0] == use.resident
        assert sums[1] == sum(row.used[second] for row in use.rows)
        assert sums[2] == summary.idle_bytes
        assert sums[3] == use.unseen + use.uncovered
        top = pprof("-top", "-sample_index=working_set", str(packed))
        assert "[heap]" in top
        assert "/app.slice" in top
        assert "shmem" in pprof("-traces", str(packed))
    else:
        assert first.split()[0].startswith("mapped/bytes")
        assert sums[0] == sum(heat.size for heat in summary.what)
        assert sums[1] == sum(heat.hot + heat.warm for heat in summary.what)


def test_folded_lines_are_the_same_bytes(by_pages: Path) -> None:
    use = open_recording(by_pages).summary().use
    assert use is not None
    lines = export(by_pages, "folded").read_text().splitlines()
    assert sum(int(line.rsplit(" ", 1)[1]) for line in lines) == use.resident
    assert any(line.startswith("/app.slice;app ") and ";anon;[heap] " in line for line in lines)
    used = export(by_pages, "folded", "--value", "used", "--force").read_text().splitlines()
    second = use.windows_ns.index(10**9)
    total = sum(row.used[second] for row in use.rows)
    assert sum(int(line.rsplit(" ", 1)[1]) for line in used) == total


def test_speedscope_has_a_profile_for_each_figure(by_pages: Path) -> None:
    document = json.loads(export(by_pages, "speedscope").read_text())
    assert [one["name"] for one in document["profiles"]] == [
        "resident", "working_set", "idle", "unknown"
    ]  # fmt: skip
    # What speedscope's own file-format-schema.json demands.
    assert document["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert all(isinstance(frame["name"], str) for frame in document["shared"]["frames"])
    for profile in document["profiles"]:
        assert (profile["type"], profile["unit"], profile["startValue"]) == ("sampled", "bytes", 0)
        assert len(profile["samples"]) == len(profile["weights"])
    use = open_recording(by_pages).summary().use
    assert use is not None
    for profile, total in zip(
        document["profiles"], (use.resident, None, None, use.unseen), strict=True
    ):
        assert sum(profile["weights"]) == profile["endValue"]
        assert total is None or profile["endValue"] == total
        assert all(i < len(document["shared"]["frames"]) for s in profile["samples"] for i in s)


def trace(path: Path) -> tuple[dict[int, tuple[str, str]], list[tuple[int, int, int]]]:
    """Tracks (their parent's name and their own) and counters (time, track, value)."""
    from google.protobuf.unknown_fields import UnknownFieldSet
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

    parsed = Trace()
    parsed.ParseFromString(path.read_bytes())
    names: dict[int, str] = {}
    tracks: dict[int, tuple[str, str]] = {}
    counters = []
    for packet in parsed.packet:
        assert packet.trusted_packet_sequence_id
        assert not len(UnknownFieldSet(packet))
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            names[track.uuid] = track.name
            if track.HasField("counter"):
                assert track.counter.unit == 3  # bytes
                tracks[track.uuid] = names[track.parent_uuid], track.name
        else:
            event = packet.track_event
            assert event.type == 4
            assert event.track_uuid in tracks  # told before
            counters.append((packet.timestamp, event.track_uuid, event.counter_value))
    return tracks, counters


def test_perfettos_own_parser_reads_the_counters(by_regions: Path, by_pages: Path) -> None:
    tracks, counters = trace(export(by_regions, "perfetto"))
    expected = list(open_recording(by_regions))
    by_time = Counter()
    for at, track, value in counters:
        if tracks[track][1] == "regions accessed in a window":
            by_time[at] += value
    assert dict(by_time) == {one.end_ns: one.working_set_bytes for one in expected}
    tracks, counters = trace(export(by_pages, "perfetto"))
    use = open_recording(by_pages).summary().use
    assert use is not None
    assert not any(name == "regions accessed in a window" for _, name in tracks.values())
    (used,) = [v for _, t, v in counters if tracks[t] == ("all targets", "used within 1s")]
    assert used == sum(row.used[use.windows_ns.index(10**9)] for row in use.rows)


@pytest.mark.parametrize("form", list(FORMATS))
def test_no_name_breaks_out_of_its_place(tmp_path: Path, form: str) -> None:
    target = Target(0, NASTY, 7, group=NASTY)
    maps = {0: (Mapping(HEAP, HEAP + MIB, "rw-p", NASTY),)}
    one = snapshot(0, [(0, HEAP, HEAP + MIB, 3, 1, 0)], targets=(target,), mappings=maps)
    data = export(recorded(tmp_path / "x.isotherm", [one]), form).read_bytes()
    if form in ("parquet", "pprof", "damo"):
        return  # binary: the parsers above say whether it is whole
    if form == "perfetto":
        trace(tmp_path / "x.pftrace")
        return
    assert b"\x1b" not in data
    assert data.count(b"\n") == (2 if form == "csv" else 1)


@pytest.mark.parametrize("form", list(FORMATS))
def test_an_empty_recording_and_a_damaged_one(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path / "x.isotherm", phases(20))
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    output = tmp_path / "out"
    status = main(["export", str(path), "--to", form, "-o", str(output)])
    assert status == 5
    assert "damaged" in capsys.readouterr().err
    assert output.stat().st_mode & 0o777 == 0o600
    status = main(["export", str(path), "--to", form, "-o", str(output)])
    assert status == 2
    assert "exists already" in capsys.readouterr().err
    empty = recorded(tmp_path / "empty.isotherm", [])
    status = main(["export", str(empty), "--to", form, "-o", str(tmp_path / "none")])
    if form in ("csv", "parquet"):
        assert status == 0
    else:
        assert status == 2
        assert not (tmp_path / "none").exists()


def test_the_standard_output(by_pages: Path) -> None:
    words = ["export", str(by_pages), "--to", "folded", "-o", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "isotherm", *words], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"[heap]" in done.stdout
