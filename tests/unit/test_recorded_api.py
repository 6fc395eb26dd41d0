"""A recording in Python: its length, its snapshots by number, and as an Arrow table."""

import asyncio
import base64
import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

import isotherm
from isotherm import BadValueError, DamagedRecordingError
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import fixed
from isotherm.clock import VirtualClock
from isotherm.model.target import Target
from isotherm.recording.writer import RecordingWriter
from support.snapshots import HEAP, MIB, page_use, phases, snapshot, use_row

V1 = sorted((Path(__file__).parents[1] / "data" / "recordings").glob("version1-*.isotherm"))
MADE = phases(40)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # Blocks of several snapshots, and more than one of them.
    with RecordingWriter(tmp_path / "run.isotherm", {}, flush_every_s=0.7) as writer:
        for one in MADE:
            writer.write(one)
    return tmp_path / "run.isotherm"


def test_its_length_and_its_snapshots_by_number(path: Path) -> None:
    recording = isotherm.open(path)
    assert len(recording) == 40
    assert [recording[i] for i in (0, 7, 39, -1, -40)] == [MADE[i] for i in (0, 7, 39, -1, -40)]
    for part in (slice(3, 9), slice(None, None, -7), slice(5, 5), slice(-3, None), slice(100)):
        assert recording[part] == MADE[part]
    for wrong in (40, -41):
        with pytest.raises(IndexError, match=f"no snapshot {wrong} among 40"):
            recording[wrong]
    assert list(recording) == MADE


@pytest.mark.parametrize("name", V1, ids=lambda path: path.name)
def test_of_version_1_as_well(name: Path) -> None:
    recording = isotherm.open(name)
    every = list(recording)
    assert len(recording) == len(every)
    assert [recording[i] for i in range(len(every))] == every


def test_of_a_damaged_one_what_is_readable_counts(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-60])
    recording = isotherm.open(path)
    readable = list(recording.readable())
    assert len(recording) == len(readable) > 5
    assert recording[-1] == readable[-1]
    assert bool(recording)


def test_a_lie_about_the_length_is_found_out(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(re.sub(rb'"snapshots": 40', b'"snapshots": 41', whole))
    recording = isotherm.open(path)
    assert len(recording) == 41  # as it says
    with pytest.raises(DamagedRecordingError):
        list(recording)
    with pytest.raises(IndexError):
        recording[40]
    huge = b'{"snapshots": 999999999999999, "regions": 200}'
    at = whole.index(b"isotherm end ")
    end = b"isotherm end " + huge
    path.write_bytes(whole[: at - 4] + struct.pack("<I", len(end)) + end)
    assert len(isotherm.open(path)) == 40  # counted, as nothing can be so long


def test_an_empty_one(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "x.isotherm", {}):
        pass
    recording = isotherm.open(tmp_path / "x.isotherm")
    assert len(recording) == 0
    assert recording[:] == []
    assert "of nobody, 0 snapshots" in repr(recording)
    assert "no regions" in recording._repr_html_()
    assert recording.ages().ages == ()


def test_it_says_whose_memory_it_is(path: Path, tmp_path: Path) -> None:
    assert repr(isotherm.open(path)).startswith("<isotherm recording ")
    assert "app 42, helper 43, 40 snapshots" in repr(isotherm.open(path))
    nasty = replace(
        MADE[0], targets=(Target(0, "\x1b[31m<b>", 1), Target(1, "b", 2)), mappings=None
    )
    with RecordingWriter(tmp_path / "y.isotherm", {}) as writer:
        writer.write(replace(nasty, unobservable=()))
    recording = isotherm.open(tmp_path / "y.isotherm")
    assert "\x1b" not in repr(recording)
    assert "<b>" not in recording._repr_html_().replace("<b>y.isotherm</b>", "")


def test_the_picture_in_a_notebook_is_the_heat_map(path: Path) -> None:
    said = isotherm.open(path)._repr_html_()
    assert "http" not in said.replace("&lt;meta http-equiv=", "")
    assert "<script" not in said
    match = re.search('base64,([^"]+)', said)
    assert match is not None
    data = base64.b64decode(match[1])
    width, height = struct.unpack(">II", data[16:24])
    at = data.index(b"IDAT")
    (size,) = struct.unpack(">I", data[at - 4 : at])
    pixels = zlib.decompress(data[at + 4 : at + 4 + size])
    assert len(pixels) == height * (1 + 3 * width)
    grid = isotherm.open(path).heatmap(width, height)
    hot = (252, 255, 164)
    for row in range(height):
        for column in range(width):
            start = (height - 1 - row) * (1 + 3 * width) + 1 + 3 * column
            assert (tuple(pixels[start : start + 3]) == hot) == (grid.heat[row][column] == 1.0)


def test_working_sets_of_windows_that_pages_tell(tmp_path: Path, path: Path) -> None:
    uses = [page_use(use_row({0.2: n * MIB, 20: MIB})) for n in (1, 2, 3)]
    with RecordingWriter(tmp_path / "p.isotherm", {}) as writer:
        for i, use in enumerate(uses):
            writer.write(snapshot(2 * i, [(0, HEAP, HEAP + MIB, 1, 1, 0)]))
            writer.write(replace(snapshot(2 * i + 1), page_use=use))
    recording = isotherm.open(tmp_path / "p.isotherm")
    assert recording.wss(window="1s").percentiles(0, 50, 100) == (MIB, 2 * MIB, 3 * MIB)
    assert recording.wss(window=1).window_ns == 10**9
    ages = recording.ages()
    assert ages.recent_bytes + ages.unknown_bytes + sum(a.only_bytes for a in ages.ages) == 4 * MIB
    with pytest.raises(BadValueError, match="no window of 1s is known"):
        isotherm.open(path).wss(window="1s")
    with pytest.raises(BadValueError, match="no access rate"):
        recording.wss(window="1s", min_access_percent=5)


def test_ages_by_regions(path: Path) -> None:
    ages = isotherm.open(path).ages()
    last = MADE[-1]
    assert ages.unknown_bytes == last.unobservable_bytes
    assert ages.recent_bytes + ages.ages[0].bytes == last.monitored_bytes - MIB // 4
    assert ages.ages[0].bytes == sum(
        r.size for r in last.regions if r.nr_accesses == 0 and r.age >= 10
    )


def test_arrow_has_the_same_rows(path: Path) -> None:
    import arro3.core

    table = arro3.core.Table.from_arrow(isotherm.open(path))
    expected = [
        (s.index, s.targets[r.target].name, r.start, r.end, r.nr_accesses, r.age, r.unobservable)
        for s in MADE
        for r in s.regions
    ]
    names = ("window", "name", "start", "end", "nr_accesses", "age", "unobservable")
    columns = [table.column(name).to_pylist() for name in names]
    assert list(zip(*columns, strict=True)) == expected
    stream = isotherm.open(path).to_arrow()
    assert sum(len(batch) for batch in stream) == len(expected)


def test_snapshots_come_to_an_event_loop() -> None:
    async def gather() -> list[int]:
        clock = VirtualClock()
        memory = SimOps(fixed(4 * MIB, hot=((0, MIB),)), clock)
        with isotherm.monitor(ops=memory, clock=clock) as session:
            return [s.index async for s in session.snapshots(duration="1s")]

    assert asyncio.run(gather()) == list(range(10))


def test_members_that_older_recordings_do_not_have_are_null(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isotherm.recording import encode, writer
    from isotherm.recording import format as layout
    from isotherm.recording import page_use as columns_of_use

    def older(column: layout.Column) -> layout.Column:
        kept = [child for child in column.children if child.name != "stopped_ns"]
        return replace(column, children=tuple(older(child) for child in kept))

    columns = tuple(older(column) for column in layout.COLUMNS)
    assert columns != layout.COLUMNS
    use = page_use(use_row({0.2: MIB}))
    values = columns_of_use.use_values
    told = next(column for column in layout.COLUMNS if column.name == "page_use")
    names = [child.name for child in told.children]
    at = names.index("stopped_ns")
    with monkeypatch.context() as patched:
        patched.setattr(encode, "COLUMNS", columns)
        patched.setattr(writer.layout, "COLUMNS", columns)
        patched.setattr(
            encode,
            "use_values",
            lambda *args: (*values(*args)[:at], *values(*args)[at + 1 :]),
        )
        with RecordingWriter(tmp_path / "old.isotherm", {}) as out:
            out.write(replace(MADE[0], page_use=use))
            out.write(MADE[1])
    found = list(isotherm.open(tmp_path / "old.isotherm"))
    assert found == [replace(MADE[0], page_use=replace(use, stopped_ns=None)), MADE[1]]
    assert list(isotherm.open(path)) == MADE
