"""Records of damo and text of tracers become recordings, whoever wrote them; damage is told."""

import gzip
import io
import json
import random
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm import BadValueError, DamagedRecordingError, Snapshot
from isotherm import open as open_recording
from isotherm.cli import main
from isotherm.recording.damo.importer import Imported, import_record

DATA = Path(__file__).parents[1] / "data"
AGGREGATED = gzip.decompress((DATA / "damon_aggregated.txt.gz").read_bytes())
Row = tuple[int, int, int, int]


def imported(
    tmp_path: Path, data: bytes, name: str = "x", **options: object
) -> tuple[Imported, list[Snapshot]]:
    source = tmp_path / f"{name}.data"
    source.write_bytes(data)
    output = tmp_path / f"{name}.isotherm"
    result = import_record(source, output, force=True, **options)
    return result, list(open_recording(output))


def rows(snapshot: Snapshot, target: int = 0) -> list[Row]:
    return [(r.start, r.end, r.nr_accesses, r.age) for r in snapshot.regions if r.target == target]


def region(start: int, end: int, samples: object = 3, windows: object = "7") -> dict[str, object]:
    return {
        "start": f"{start:,}",
        "end": f"{end:,}",
        "nr_accesses": {"samples": samples, "percent": None},
        "age": {"usec": None, "aggr_intervals": windows},
    }


def record(snapshots: list[dict[str, object]], **members: object) -> dict[str, object]:
    intervals = {"sample_us": "5 ms", "aggr_us": "100 ms", "ops_update_us": "1 s"}
    return {
        "kdamond_idx": 0,
        "context_idx": 0,
        "intervals": intervals,
        "scheme_idx": None,
        "target_id": 0,
        "snapshots": snapshots,
        **members,
    }


def window(n: int, regions: list[dict[str, object]], **members: object) -> dict[str, object]:
    return {
        "start_time": str(n * 100_000_000 + 10**18),
        "end_time": str((n + 1) * 100_000_000 + 10**18),
        "regions": regions,
        **members,
    }


numbers = st.integers(0, 2**32 - 2)
layouts = st.sampled_from([{"indent": 4}, {"indent": 1}, {}, {"separators": (",", ":")}])


@given(
    st.lists(st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=9), max_size=9),
    layouts,
    st.booleans(),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_what_json_says_is_read_in_every_layout(
    tmp_path_factory: pytest.TempPathFactory,
    windows: list[list[Row]],
    layout: dict[str, object],
    compress: bool,
    rng: random.Random,
) -> None:
    expected = []
    snapshots = []
    for n, lines in enumerate(windows):
        at, wanted, regions = 0, [], []
        for gap, size, count, age in lines:
            start, end = at + gap, at + gap + size + 1
            at = end
            wanted.append((start, end, count, age))
            one = region(start, end, count, f"{age:,}")
            if rng.random() < 0.3:  # other writers
                one = {"probe_hits": [1, {"}": '\\"]'}], **one, "sz_filter_passed": "143.027 MiB"}
            if rng.random() < 0.3:
                one |= {"start": start, "end": str(end), "age": {"aggr_intervals": age}}
            regions.append(one)
        expected.append(wanted)
        snapshots.append(window(n, regions))
    text = json.dumps([record(snapshots)], **layout).encode()
    folder = tmp_path_factory.mktemp("json")
    if not snapshots:
        with pytest.raises(BadValueError, match="without any snapshot"):
            imported(folder, text)
        return
    result, found = imported(folder, zlib.compress(text) if compress else text)
    assert result.damage is None
    assert [rows(one) for one in found] == expected
    assert [one.end_ns - one.start_ns for one in found] == [100_000_000] * len(found)
    assert {(one.sample_us, one.aggr_us) for one in found} == {(5_000, 100_000)}


def test_a_piece_at_a_time_is_as_all_at_once() -> None:
    from isotherm import _core

    text = json.dumps([record([window(0, [region(1, 4096 * i) for i in (1, 2)])] * 3)], indent=4)
    events = []
    for size in (1, 7, 100_000):
        parser = _core.DamoJson()
        found = []
        for at in range(0, len(text), size):
            parser.feed(text[at : at + size].encode())
            while (event := parser.next()) is not None and event != ("end",):
                found.append(event)
        events.append(found)
    assert events[0] == events[1] == events[2]
    assert len(events[0]) == 3 + 6  # snapshots, members and the end of the record


def test_units_of_old_and_new_writers(tmp_path: Path) -> None:
    old = {
        "start": "4 KiB",
        "end": "1.5M",
        "nr_accesses": {"samples": None, "percent": "25 %"},
        "age": {"usec": "3 s 400 ms", "aggr_intervals": None},
    }
    unknown = {
        "start": "2 MiB",
        "end": "3,145,728",
        "nr_accesses": {"samples": None, "percent": "0 %"},
        "age": {"usec": "1 m 0.5 s"},
    }
    _, found = imported(tmp_path, json.dumps([record([window(0, [old, unknown])])]).encode())
    assert rows(found[0]) == [(4096, 1572864, 5, 34), (2 << 20, 3 << 20, 0, 605)]


def test_accesses_that_are_not_told_are_unknown_not_none(tmp_path: Path) -> None:
    one = region(4096, 8192)
    del one["nr_accesses"]
    _, found = imported(tmp_path, json.dumps([record([window(0, [one])])]).encode())
    assert found[0].regions[0].nr_accesses is None
    assert found[0].unobservable_bytes == 4096


def test_targets_that_are_told_one_after_the_other_share_windows(tmp_path: Path) -> None:
    # The times of targets differ by what printing them took.
    both = [
        record(
            [window(n, [region(4096 * (t + 1), 8192 * (t + 1))]) for n in range(3)], target_id=t
        )
        for t in (0, 1)
    ]
    both[1]["snapshots"] = [
        {**one, "end_time": int(one["end_time"]) + 1000} for one in both[1]["snapshots"]
    ]
    result, found = imported(tmp_path, json.dumps(both).encode())
    assert [target.name for target in result.targets] == ["target 0", "target 1"]
    assert len(found) == 3
    for one in found:
        assert rows(one, 0) == [(4096, 8192, 3, 7)]
        assert rows(one, 1) == [(8192, 16384, 3, 7)]


def test_tuned_intervals_are_those_of_their_windows(tmp_path: Path) -> None:
    windows = [window(0, [region(1, 2)]), window(1, [region(1, 2)], sample_interval_us="80 ms")]
    _, found = imported(tmp_path, json.dumps([record(windows)]).encode())
    assert [(one.sample_us, one.aggr_us) for one in found] == [(5000, 100000), (80000, 1600000)]


def test_what_is_beside_the_record_names_the_targets(tmp_path: Path) -> None:
    def beside(suffix: str, value: object) -> None:
        (tmp_path / f"x.data{suffix}").write_text(json.dumps(value))

    beside(".kdamonds", [{"contexts": [{"ops": "vaddr", "targets": [{"pid": 4242}]}]}])
    beside(".proc_stats", [{"time": 1e9, "proc_stats": [{"fields": ["4242", "(my server)"]}]}])
    vmas = [{"start": 4096, "end": 1 << 20, "name": "[heap]"}]
    beside(".vmas", [{"time": 1e9, "procvmas": [{"pid": "4242", "vmas": vmas}]}])
    beside(
        ".mem_footprint",
        [{"time": 1e9, "footprints": [{"pid": 4242, "footprint": {"resident": 10}}]}],
    )
    _, found = imported(tmp_path, json.dumps([record([window(0, [region(4096, 8192)])])]).encode())
    (target,) = found[0].targets
    assert (target.title, target.resident_bytes) == ("my server 4242", 40960)
    assert found[0].mappings is not None
    assert found[0].mappings[target.id][0].name == "[heap]"
    beside(".vmas", {"time": []})
    result, found = imported(tmp_path, json.dumps([record([window(0, [region(1, 2)])])]).encode())
    assert any(".vmas" in note for note in result.notes)
    assert found[0].mappings is None


LINE = re.compile(
    rb"([0-9.]+): damon_aggregated: target_id=\d+ nr_regions=(\d+) (\d+)-(\d+): (\d+) (\d+)"
)


def reference(text: bytes) -> list[list[Row]]:
    found: list[list[Row]] = []
    left = 0
    for line in text.splitlines():
        if (match := LINE.search(line)) is None:
            continue
        if not left:
            found.append([])
            left = int(match[2])
        found[-1].append(tuple(map(int, match.groups()[2:])))  # type: ignore[arg-type]
        left -= 1
    return found


def test_what_a_real_kernel_printed(tmp_path: Path) -> None:
    result, found = imported(tmp_path, AGGREGATED)
    assert [rows(one) for one in found] == reference(AGGREGATED)
    assert {(one.sample_us, one.aggr_us) for one in found} == {(5_000, 100_000)}
    assert any("intervals are not in the file" in note for note in result.notes)
    times = [float(match[1]) for match in LINE.finditer(AGGREGATED)]
    assert abs(found[0].end_ns - times[0] * 1e9) < 1000


def script(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def line(at: float, text: str, *, thread: str = "kdamond.0  4452", cpu: str = " [000]") -> str:
    return f"{thread}{cpu} {at:.6f}: damon:damon_aggregated: {text}"


def test_a_lost_line_costs_its_window_alone(tmp_path: Path) -> None:
    lines = AGGREGATED.splitlines(keepends=True)
    wanted = reference(AGGREGATED)
    first = next(i for i, one in enumerate(lines) if LINE.search(one))
    result, found = imported(tmp_path, b"".join(lines[: first + 30] + lines[first + 31 :]))
    kept = [rows(one) for one in found]
    assert len(kept) == len(wanted) - 1
    assert all(one in wanted for one in kept)
    assert result.damage is None
    assert any("1 windows are left out" in note for note in result.notes)


def test_threads_that_print_at_the_same_time_are_told_apart(tmp_path: Path) -> None:
    lines = []
    for n in (1, 2, 3):
        for part in range(2):
            for thread in (0, 1):
                start = 4096 * (1 + part)
                text = f"target_id=0 nr_regions=2 {start}-{start + 4096}: {thread} {n}"
                lines.append(line(n + part / 1e5, text, thread=f"kdamond.{thread}  {thread}"))
    result, found = imported(tmp_path, script(*lines))
    assert len(result.targets) == 2
    assert len(found) == 3
    assert [r.nr_accesses for r in found[0].regions] == [0, 0, 1, 1]
    assert [len(one.columns) for one in found] == [4, 4, 4]


def test_text_of_old_kernels_and_of_damo_itself(tmp_path: Path) -> None:
    old = [
        line(n, f"target_id=7 nr_regions=1 4096-8192: {c}") for n, c in ((1, 2), (2, 2), (3, 9))
    ]
    result, found = imported(tmp_path, script(*old))
    assert [one.regions[0].age for one in found] == [0, 1, 0]
    assert any("ages are not in the file" in note for note in result.notes)
    damo = [
        line(
            1, "target_id=0 nr_regions=1 4096-8192: 1 None", thread="kdamond.x xxxx xxxx", cpu=""
        ),
        line(2, "target_id=0 nr_regions=1 0-0: -1 -1", thread="kdamond.x xxxx xxxx", cpu=""),
    ]
    result, found = imported(tmp_path, script(*damo))
    assert [rows(one) for one in found] == [[(4096, 8192, 1, 0)]]
    assert result.damage is None


def test_the_interval_that_was_tuned_is_that_of_the_lines_that_follow(tmp_path: Path) -> None:
    text = script(
        line(1, "target_id=0 nr_regions=1 4096-8192: 1 0"),
        "kdamond.0  4452 [000] 1.1: damon:damon_monitor_intervals_tune: sample_us=80000",
        line(3, "target_id=0 nr_regions=1 4096-8192: 1 0"),
        line(5, "target_id=0 nr_regions=1 4096-8192: 1 0 probe_hits=14 00"),
    )
    _, found = imported(tmp_path, text, intervals=(5_000, 100_000))
    assert [one.sample_us for one in found] == [5_000, 80_000, 80_000]
    assert [one.aggr_us for one in found] == [100_000, 1_600_000, 1_600_000]


@pytest.mark.parametrize("version", [0, 1, 2])
def test_the_binary_records_of_2020(tmp_path: Path, version: int) -> None:
    data = b"" if not version else b"damon_recfmt_ver" + struct.pack("<i", version)
    for n in (1, 2, 3):
        data += struct.pack("<qqI", n, 500, 1)
        data += struct.pack("<iI" if version == 1 else "<QI", 77, 2)
        data += struct.pack("<QQI", 4096, 8192, n) + struct.pack("<QQI", 8192, 12288, 0)
    result, found = imported(tmp_path, data)
    assert result.targets[0].name == "target 77"
    assert [rows(one)[0][:3] for one in found] == [(4096, 8192, n) for n in (1, 2, 3)]
    assert found[-1].regions[1].age == 2
    result, found = imported(tmp_path, data[:-5])
    assert len(found) == 2
    assert result.damage is not None


# Damage and harm


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    status = main(["import", *args])
    return status, capsys.readouterr().err


def test_every_cut_is_damage_or_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = json.dumps([record([window(n, [region(1, 4096)]) for n in range(2)])]).encode()
    for whole in (text, zlib.compress(text)):
        for length in range(0, len(whole), 3):
            Path("cut").write_bytes(whole[:length])
            status, said = run(capsys, "cut", "--force")
            assert status == (5 if length > 1 else 2), (length, said)
            assert said.count("isotherm:") == 1
            assert said.count("hint:") == 1
            if status == 5 and Path("cut.isotherm").exists():
                assert len(list(open_recording("cut.isotherm"))) in (1, 2)
                Path("cut.isotherm").unlink()


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"", 2, "is empty"),
        (b"hello\n", 2, "text without a line of the tracepoint"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 2, "no record of damo"),
        (b"PERFILE2" + bytes(100), 2, "perf script -i"),
        (b"[]", 2, "without any snapshot"),
        (b'{"kdamonds": []}', 5, "not of a record"),
        (b"[{}}", 5, "comma"),
        (b"[{},]", 5, "comma"),
        (b"[" * 10_000, 5, "not of a record"),
        (b'[{"x": ' + b"[" * 10_000, 5, "nested too deeply"),
        (b'[{"x": "' + b"a" * (2 << 20), 5, "too long"),
        (b'[{"target_id": {}, "snapshots": []}]', 5, "target_id"),
        (b'[{"intervals": {"sample_us": "1 parsec", "aggr_us": 1}}]', 5, "is no time"),
        (b'[{"intervals": {"sample_us": 0, "aggr_us": 1}}]', 5, "intervals cannot be"),
        (b'[{"snapshots": [{"end_time": "soon", "regions": []}]}]', 5, "a number of it is none"),
        (b'[{"snapshots": [{"regions": []}]}]', 5, "no end_time"),
        (b"x 1.0: damon:damon_aggregated: target_id=0 nr_regions=2 1-2: 3 4\n", 5, "complete"),
        (b"x 1.0: damon:damon_aggregated: target_id=0 nr_reg\n", 5, "cannot be read"),
    ],
)
def test_what_is_no_record_is_told_in_a_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    data: bytes,
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f\x1b[31m").write_bytes(data)
    found = run(capsys, "f\x1b[31m")
    assert found[0] == status, found
    assert said in found[1]
    assert "\x1b" not in found[1]
    assert "Traceback" not in found[1]
    assert not list(tmp_path.glob("*.isotherm"))


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom", "/dev/null"])
def test_a_device_is_no_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    output = str(tmp_path / "x.isotherm")
    status, said = run(capsys, device, "-o", output)
    assert status == 2
    assert said.splitlines() == [
        f"isotherm: '{device}' is a device, no record of damo",
        "hint: name a file, or - for the standard input",
    ]
    with pytest.raises(BadValueError, match="the input' is"), Path(device).open("rb") as file:
        import_record(file, tmp_path / "x.isotherm")
    assert not list(tmp_path.iterdir())


class Endless(io.RawIOBase):
    """A head, and then the same again and again."""

    def __init__(self, head: bytes, again: bytes) -> None:
        self.rest, self.again = head, again * (1 + (1 << 18) // len(again))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        part, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :] or self.again
        buffer[: len(part)] = part
        return len(part)


WINDOW = json.dumps(record([window(0, [region(4096, 8192)])])).encode()
EMPTY = b'{"target_id": 0, "snapshots": []},'
NO_TARGET = struct.pack("<qqI", 1, 2, 0)
LINE_OF_OTHERS = b"x 1.1: sched:sched_switch: prev_comm=swapper/0 prev_pid=0 ==> next_pid=1\n"
TUNE = b"x 1.1: damon:damon_monitor_intervals_tune: sample_us=80000\n"


@pytest.mark.parametrize(
    ("head", "again"),
    [
        pytest.param(b"y", b"y", id="a line"),
        pytest.param(b"", LINE_OF_OTHERS, id="other lines"),
        pytest.param(b"", TUNE, id="tuning"),
        pytest.param(b"[", b" ", id="blanks"),
        pytest.param(b"[", EMPTY, id="empty records"),
        pytest.param(b"", NO_TARGET, id="windows of nobody"),
    ],
)
def test_what_never_ends_and_tells_of_no_window_is_refused(
    tmp_path: Path, head: bytes, again: bytes
) -> None:
    with pytest.raises(BadValueError, match="on and on without a window"):
        import_record(io.BufferedReader(Endless(head, again)), tmp_path / "x.isotherm")
    assert not list(tmp_path.iterdir())


def test_windows_before_what_never_ends_are_imported(tmp_path: Path) -> None:
    endless = io.BufferedReader(Endless(b"[" + WINDOW + b",", EMPTY))
    result = import_record(endless, tmp_path / "x.isotherm")
    assert result.snapshots == 1
    assert result.damage is not None
    assert "on and on" in result.damage.message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"end": str(1 << 80)}, "an address of it cannot be"),
        ({"end": f"{(1 << 64) + 1:,}"}, "an address of it cannot be"),
        ({"end": "1e30"}, "an address of it cannot be"),
        ({"end": "17 EiB"}, "an address of it cannot be"),
        ({"start": 0.5}, "an address of it cannot be"),
        ({"start": "0.5"}, "an address of it cannot be"),
        ({"start": "4,095.5 B"}, "an address of it cannot be"),
        ({"nr_accesses": {"samples": 1 << 70}}, "a number of accesses of it cannot be"),
        ({"nr_accesses": {"samples": f"{1 << 32:,}"}}, "a number of accesses of it cannot be"),
    ],
)
def test_numbers_that_no_kernel_has_are_damage_after_what_came_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], said: str
) -> None:
    wrong = region(4096, 8192) | change
    windows = [window(0, [region(4096, 8192)]), window(1, [region(1, 2), wrong])]
    source, output = tmp_path / "x.data", tmp_path / "x.isotherm"
    source.write_text(json.dumps([record(windows)]))
    status, told = run(capsys, str(source), "-o", str(output))
    assert status == 5
    assert said in told
    assert [rows(one) for one in open_recording(output)] == [[(4096, 8192, 3, 7)]]


def test_numbers_that_are_the_highest_are_read_exactly(tmp_path: Path) -> None:
    regions = [
        region(0, 4096) | {"start": "0.0", "end": 4096.0},
        region(4096, 8192) | {"end": "1.0014 M"},  # rounded by its writer
        region((1 << 64) - 4097, (1 << 64) - 2, (1 << 32) - 2),
        region((1 << 64) - 2, 0) | {"end": "16 EiB"},
    ]
    _, found = imported(tmp_path, json.dumps([record([window(0, regions)])]).encode())
    assert rows(found[0]) == [
        (0, 4096, 3, 7),
        (4096, 1050044, 3, 7),
        ((1 << 64) - 4097, (1 << 64) - 2, (1 << 32) - 2, 7),
        ((1 << 64) - 2, (1 << 64) - 1, 3, 7),
    ]


def test_regions_that_overlap_cost_their_window_alone(tmp_path: Path) -> None:
    windows = [
        window(0, [region(8192, 12288), region(4096, 8192)]),
        window(1, [region(4096, 12288), region(4096, 8192)]),
        window(2, [region(1, 2)]),
    ]
    result, found = imported(tmp_path, json.dumps([record(windows)]).encode())
    assert [rows(one)[0][:2] for one in found] == [(4096, 8192), (1, 2)]
    assert result.damage is not None
    assert "overlap" in result.damage.message


@pytest.mark.parametrize("filling", [b" ", b"\0", b'{"start": 1},'])
def test_a_bomb_is_damage(tmp_path: Path, filling: bytes) -> None:
    head = b'[{"target_id": 0, "snapshots": [{"end_time": 1, "regions": ['
    packer = zlib.compressobj(9)
    data = packer.compress(head)
    for _ in range(400):
        data += packer.compress(filling * ((1 << 20) // len(filling)))
    data += packer.flush()
    assert len(data) < 1 << 20
    with pytest.raises(DamagedRecordingError):
        imported(tmp_path, data)


def test_memory_does_not_depend_on_the_length(tmp_path: Path) -> None:
    # A process of its own: 200,000 regions of 80 MB of text, whose columns are 5 MB.
    regions = [region(4096 * n, 4096 * n + 4096, n % 20, n % 50) for n in range(1000)]
    body = json.dumps(regions, indent=4)[1:-1]
    packer = zlib.compressobj(1)
    data = packer.compress(b'[{"target_id": 0, "snapshots": [')
    for n in range(200):
        tail = f'{{"start_time": {n + 1}, "end_time": {n + 2}, "regions": [{body}]}}'
        data += packer.compress((tail + ("," if n < 199 else "]}]")).encode())
    (tmp_path / "x").write_bytes(data + packer.flush())
    code = (
        "import resource, sys; from isotherm.cli import main; from pathlib import Path\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "import isotherm.cli.import_record, isotherm._core\n"
        "before = peak(); status = main(['import', 'x']); print(status, peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    status, grown_kib = map(int, done.stdout.split())
    assert status == 0, done.stderr
    assert grown_kib < 16 << 10


def test_the_standard_input_and_the_standard_output(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "isotherm", "import", "-", "-o", "-"],
        input=AGGREGATED,
        capture_output=True,
        check=True,
    )
    (tmp_path / "x.isotherm").write_bytes(done.stdout)
    assert len(list(open_recording(tmp_path / "x.isotherm"))) == 240
    output = io.BytesIO()
    import_record(io.BytesIO(AGGREGATED), output)
    assert len(output.getvalue()) > 1000


def test_a_record_says_nothing_of_this_machine(tmp_path: Path) -> None:
    imported(tmp_path, AGGREGATED)
    info = open_recording(tmp_path / "x.isotherm").info
    assert not {"host", "kernel", "swap_free_bytes", "start_monotonic_ns"} & info.keys()
    assert (info["backend"], info["imported_format"]) == ("damo", "perf script")
