"""Long recordings: in several files, each whole, and with a snapshot now and then."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import isotherm
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import fixed
from isotherm.cli import main
from isotherm.cli.record import saved
from isotherm.clock import VirtualClock
from isotherm.errors import BadValueError, DamagedRecordingError, OutputError
from isotherm.model.attrs import Attrs
from isotherm.model.scheme_state import SchemeState, SchemeStats, TriedRegion
from isotherm.model.snapshot import Cost
from isotherm.model.target import Target
from isotherm.recording.reader import open_recording
from isotherm.recording.series import Rotation, Series, check_series, part_path, series_files
from isotherm.recording.sink import RecordingSink
from isotherm.recording.thinning import Thinning
from isotherm.recording.writer import RecordingWriter
from support.killed import run_and_kill
from support.snapshots import MIB, S, page_use, phases, snapshot, use_row

KIB = 1 << 10


class Session:
    backend = "sim"
    attrs = Attrs()
    profile = operations = choice = None
    targets = (Target(7, "app", 42),)


def many(count, regions=400):
    """Windows of which no two are alike, so that they take room."""
    base = phases(1)[0]
    made = []
    for i in range(count):
        rows = [
            (
                0,
                (k + 1) << 20,
                ((k + 1) << 20) + 4096 * (1 + (i * k * 7919) % 200),
                (i * k) % 21,
                i,
                0,
            )
            for k in range(regions)
        ]
        one = snapshot(i, rows, targets=base.targets, mappings=base.mappings if i == 0 else None)
        made.append(one)
    return made


def write(path, snapshots, rotation):
    series = Series(path, {"backend": "sim"}, rotation)
    for one in snapshots:
        series.write(one)
    series.close()
    return series


def test_files_together_are_the_recording_and_each_is_whole(tmp_path):
    snapshots = many(200)
    series = write(tmp_path / "r.isotherm", snapshots, Rotation(max_bytes=64 * KIB))
    assert len(series.files) > 2
    assert [path for _, path in series_files(tmp_path / "r.isotherm")] == series.files
    assert series.files[0].name == "r.0001.isotherm"
    read = []
    for part, path in enumerate(series.files, 1):
        assert path.stat().st_size <= 64 * KIB
        recording = open_recording(path)
        found = list(recording)  # raises where anything is missing
        assert [one.index for one in found] == list(range(len(found)))
        assert found[0].mappings == snapshots[0].mappings
        assert recording.info["part"] == part
        read += found
    assert [one.columns for one in read] == [one.columns for one in snapshots]
    assert [one.start_ns for one in read] == [one.start_ns for one in snapshots]
    assert series.bytes_written == sum(path.stat().st_size for path in series.files)


def test_files_of_so_much_time(tmp_path):
    series = write(tmp_path / "r.isotherm", phases(95), Rotation(max_ns=2 * S))
    assert [len(open_recording(path)) for path in series.files] == [20, 20, 20, 20, 15]


def test_maps_of_targets_that_ended_are_not_carried_on(tmp_path):
    snapshots = phases(60)
    for i in range(21, 60):
        one = snapshots[i]
        rows = [region[:6] for region in one.regions if region.target == 0]
        alone = snapshot(i, rows, targets=one.targets[:1])
        snapshots[i] = replace(alone, cost=one.cost)
    series = write(tmp_path / "r.isotherm", snapshots, Rotation(max_ns=2 * S))
    told = [set(open_recording(path).first().mappings) for path in series.files]
    assert told == [{7, 9}, {7, 9}, {7}]


def test_the_newest_are_kept_and_nothing_else_is_touched(tmp_path):
    path = tmp_path / "r.isotherm"
    alien = part_path(path, 1)
    alien.write_text("no recording")
    single = part_path(path, 2)
    with RecordingWriter(single, {}) as writer:  # a recording, but no part of a series
        writer.write(phases(1)[0])
    other = tmp_path / "rr.0001.isotherm"
    other.write_bytes(single.read_bytes())
    series = write(path, phases(95), Rotation(max_ns=2 * S, keep=2))
    assert [file.name for file in series.files] == ["r.0006.isotherm", "r.0007.isotherm"]
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {alien.name, single.name, other.name, *(file.name for file in series.files)}
    # A series that is begun again goes on, and the older files count.
    later = write(path, phases(35), Rotation(max_ns=2 * S, keep=2))
    assert [file.name for file in later.files] == ["r.0008.isotherm", "r.0009.isotherm"]
    assert not series.files[0].exists()


def test_a_kill_leaves_every_file_readable(tmp_path):
    code = """
import sys
sys.path.insert(0, "tests")
from pathlib import Path
from isotherm.recording.series import Rotation, Series
from support.snapshots import phases, S
series = Series(Path(sys.argv[1]), {}, Rotation(max_ns=2 * S))
for one in phases(55):
    series.write(one)
print("ready", flush=True)
sys.stdin.read()
"""
    run_and_kill(code, tmp_path / "r.isotherm")
    files = [path for _, path in series_files(tmp_path / "r.isotherm")]
    assert len(files) == 3
    for path in files[:-1]:
        assert len(list(open_recording(path))) == 20
    last = open_recording(files[-1])
    found = list(last.readable())
    assert len(found) >= 10
    assert found[0].mappings
    assert isinstance(last.damage, DamagedRecordingError)


def test_a_disk_that_is_full_leaves_what_was_written(tmp_path):
    """From the third file on nothing finds room any more."""
    code = """
import resource, signal, sys
sys.path.insert(0, "tests"), sys.path.insert(0, "tests/unit")
from pathlib import Path
from isotherm.errors import OutputError
from isotherm.recording.sink import RecordingSink
from isotherm.recording.series import Rotation
from test_recording_series import Session, many
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sink = RecordingSink(Path(sys.argv[1]), rotation=Rotation(max_ns=2 * 10**9))
sink.open(Session())
try:
    for i, one in enumerate(many(200)):
        if i == 45:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 10, resource.RLIM_INFINITY))
        sink.take(one)
except OutputError as err:
    sink.close()
    print(err.message, flush=True)
"""
    assert "File too large" in run_and_kill(code, tmp_path / "r.isotherm")
    files = [path for _, path in series_files(tmp_path / "r.isotherm")]
    assert [len(list(open_recording(path))) for path in files[:2]] == [20, 20]
    assert len(files) == 3
    assert files[2].stat().st_size  # its beginning: of what follows, nothing fitted


def test_files_that_cannot_find_room_are_refused_beforehand(tmp_path):
    check_series(tmp_path / "r.isotherm", Rotation(max_bytes=64 * KIB, keep=2))
    with pytest.raises(OutputError, match="do not fit"):
        check_series(tmp_path / "r.isotherm", Rotation(max_bytes=1 << 50, keep=1000))


def test_rotations_as_they_are_written():
    assert Rotation.of("100M", 10) == Rotation(100 * MIB, None, 10)
    assert Rotation.of("1h") == Rotation(None, 3600 * S, None)
    assert Rotation.of("1G, 1d", 3) == Rotation(1 << 30, 86_400 * S, 3)
    for text, keep in (("5m", 1), ("10", 1), ("1ms", 1), ("100M", 0), ("many", 1), ("", 1)):
        with pytest.raises(BadValueError):
            Rotation.of(text, keep)


def test_thinning_keeps_what_adds_up_and_what_is_told_once():
    use = page_use(use_row({0: MIB}))
    tried = TriedRegion(0, 0, 4096, 0, 0, 0, 4096)
    snapshots = []
    for i, one in enumerate(phases(25)):
        state = SchemeState("idle", "stat", SchemeStats(nr_tried=i), tried=(tried,))
        known = use if i == 7 else None
        snapshots.append(replace(one, schemes=(state,), page_use=known))
    snapshots[13] = replace(snapshots[13], mappings=snapshots[0].mappings)
    thinning = Thinning(S)
    kept = [one for one in map(thinning.take, snapshots) if one is not None]
    kept.append(thinning.rest())
    assert thinning.rest() is None
    assert [one.index for one in kept] == [0, 1, 2]
    assert [one.end_ns for one in kept] == [snapshots[i].end_ns for i in (9, 19, 24)]
    assert [one.columns for one in kept] == [snapshots[i].columns for i in (9, 19, 24)]
    assert sum(one.cost.checks for one in kept) == sum(one.cost.checks for one in snapshots)
    assert sum(one.cost.cpu_ns for one in kept) == sum(one.cost.cpu_ns for one in snapshots)
    assert [one.page_use for one in kept] == [use, None, None]
    assert [one.mappings is None for one in kept] == [False, False, True]
    assert [len(one.schemes[0].tried) for one in kept] == [10, 10, 5]
    assert [one.schemes[0].stats.nr_tried for one in kept] == [9, 19, 24]


def test_what_speaks_of_targets_by_place_ends_with_them():
    first, second = phases(2)
    use = page_use(use_row({0: MIB}, target=1))
    thinning = Thinning(S)
    thinning.take(replace(first, page_use=use))
    thinning.take(replace(second, targets=second.targets[::-1]))
    assert thinning.rest().page_use is None


def test_costs_that_nobody_tells_stay_unknown():
    first, second = phases(2)
    thinning = Thinning(S)
    thinning.take(replace(first, cost=Cost(cpu_ns=5, checks=None, cleared=None, late_ns=None)))
    thinning.take(second)
    cost = thinning.rest().cost
    assert (cost.cpu_ns, cost.checks, cost.cleared) == (500_005, None, None)


def test_a_clock_that_is_set_back_stops_nothing():
    thinning = Thinning(10 * S)
    late, early = phases(2)
    thinning.take(late)
    before = replace(early, start_ns=early.start_ns - 3600 * S, end_ns=early.end_ns - 3600 * S)
    assert thinning.take(before) is not None


@given(st.lists(st.integers(1, 3 * S), min_size=1, max_size=30), st.integers(1, 5 * S))
def test_every_cost_is_told_once(lengths, every_ns):
    thinning, at, kept = Thinning(every_ns), 10**18, []
    for i, length in enumerate(lengths):
        one = replace(snapshot(i), start_ns=at, end_ns=at + length, cost=Cost(cpu_ns=length))
        kept.append(thinning.take(one))
        at += length
    kept = [one for one in (*kept, thinning.rest()) if one is not None]
    assert sum(one.cost.cpu_ns for one in kept) == sum(lengths)
    assert [one.index for one in kept] == list(range(len(kept)))
    assert kept[-1].end_ns == at


def test_a_session_is_recorded_every_second_in_files_of_three(tmp_path):
    clock = VirtualClock()
    ops = SimOps(fixed(64 * MIB, hot=((0, 8 * MIB),)), clock)
    kept = isotherm.record(
        tmp_path / "r.isotherm", ops=ops, clock=clock, aggr="100ms", seed=1, duration="8s",
        every="1s", rotate="3s", keep=2,
    )  # fmt: skip
    files = [path for _, path in series_files(tmp_path / "r.isotherm")]
    assert kept == 8
    assert [path.name for path in files] == ["r.0002.isotherm", "r.0003.isotherm"]
    opened = isotherm.open(files[-1])
    assert opened.info["every_ns"] == S
    assert opened.is_thinned
    summary = opened.summary()
    assert summary.lost_snapshots == 0
    assert summary.cpu_ns > 0
    assert summary.watched_ns == summary.duration_ns


def test_a_coarser_level_goes_further_back(tmp_path):
    clock = VirtualClock()
    ops = SimOps(fixed(64 * MIB, hot=((0, 8 * MIB),)), clock)
    isotherm.record(
        tmp_path / "r.isotherm", ops=ops, clock=clock, aggr="100ms", seed=1, duration="30s",
        rotate="3s", keep=2, coarse="2s",
    )  # fmt: skip
    levels = [
        [isotherm.open(path) for _, path in series_files(tmp_path / name)]
        for name in ("r.isotherm", "r.coarse.isotherm")
    ]
    assert [len(files) for files in levels] == [2, 2]
    fine, coarse = ([one.summary() for one in files] for files in levels)
    assert fine[-1].end_ns == coarse[-1].end_ns
    assert fine[-1].end_ns - fine[0].start_ns <= 6.2 * S
    assert 7 * S < coarse[-1].end_ns - coarse[0].start_ns <= 12.2 * S
    assert sum(one.snapshots for one in coarse) <= 7
    assert all(one.lost_snapshots == 0 for one in (*fine, *coarse))


def test_what_cannot_be_recorded_so_is_refused(tmp_path):
    ops = SimOps(fixed(MIB, hot=()), VirtualClock())
    for asked in (
        {"keep": 3}, {"every": 0}, {"rotate": "5m"}, {"rotate": "1M", "keep": 0},
        {"rotate": "1M", "coarse": "1m"}, {"coarse": "1m"},
        {"rotate": "1M", "keep": 2, "every": "1m", "coarse": "1m"},
    ):  # fmt: skip
        with pytest.raises(BadValueError):
            isotherm.record(tmp_path / "r.isotherm", ops=ops, **asked)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--rotate", "1M", "-o", "-"], "cannot rotate"),
        (["--keep", "3"], "files are kept of those that rotate"),
        (["--rotate", "1P", "--keep", "99"], "do not fit"),
        (["--every", "0s"], "is all of them"),
        (["--coarse", "1m"], "what files that rotate no longer hold"),
    ],
)
def test_the_command_says_so_before_anything_is_started(tmp_path, monkeypatch, capsys, args, said):
    monkeypatch.chdir(tmp_path)
    assert main(["record", "-p", "1", *args]) in (1, 2)
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_nothing(tmp_path):
    sink = RecordingSink(tmp_path / "r.isotherm", rotation=Rotation(max_ns=S), every_ns=S)
    sink.open(Session())
    sink.close()
    assert not list(tmp_path.iterdir())


def test_files_that_were_taken_away_meanwhile_are_no_failure(tmp_path):
    sink = RecordingSink(tmp_path / "r.isotherm", rotation=Rotation(max_ns=S))
    sink.open(Session())
    for one in many(30):
        sink.take(one)
    sink.close()
    first, *_, last = sink.files
    first.unlink()
    assert f"{len(sink.files) - 1} files, {last} the last" in saved(sink)
    last.unlink()
    assert "moved or deleted" in saved(sink)
