"""Recordings: what is written is read, and nothing that happens to the file is hidden."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import zlib
from array import array
from dataclasses import replace
from pathlib import Path

import nanoarrow as na
import pytest

from isotherm.errors import BadValueError, DamagedRecordingError, OutputError
from isotherm.kernel.pages.pagemap import free_swap_bytes
from isotherm.model.attrs import Attrs
from isotherm.model.page_use import FREED
from isotherm.model.snapshot import Columns
from isotherm.model.target import Mapping, Target
from isotherm.recording import format as layout
from isotherm.recording import zstd
from isotherm.recording.reader import open_recording
from isotherm.recording.writer import RecordingWriter
from support.snapshots import HEAP, MIB, S, page_use, phases, snapshot, use_row


def write(path, snapshots, **options):
    with RecordingWriter(path, {"backend": "sim"}, **options) as writer:
        for one in snapshots:
            writer.write(one)
    return path


@pytest.fixture
def recording(tmp_path):
    return write(tmp_path / "run.isotherm", phases())


def frames(path):
    """(offset, length) of every frame of a recording, found without our reader."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        if data[at : at + 4] == layout.SKIPPABLE_MAGIC:
            length = 8 + struct.unpack_from("<I", data, at + 4)[0]
        else:
            inflate = zstd.ZstdDecompressor()
            inflate.decompress(data[at:])
            length = len(data) - at - len(inflate.unused_data)
        found.append((at, length))
        at += length
    return found


def inflated(path):
    """The Arrow stream of a recording, as `zstd -dc` gives it."""
    data = path.read_bytes()
    parts = []
    for at, length in frames(path):
        if data[at : at + 4] != layout.SKIPPABLE_MAGIC:
            parts.append(zstd.ZstdDecompressor().decompress(data[at : at + length]))
    return b"".join(parts)


def test_what_is_written_is_read(recording):
    assert list(open_recording(recording)) == phases()


def test_it_can_be_read_again_and_again(recording):
    opened = open_recording(recording)
    assert list(opened) == list(opened)


def test_info_says_where_it_comes_from(tmp_path):
    with RecordingWriter(tmp_path / "a.isotherm", {"attrs": Attrs(), "host": "other"}):
        pass
    info = open_recording(tmp_path / "a.isotherm").info
    assert info["version"] == layout.VERSION
    assert info["attrs"]["aggr_us"] == 100_000
    assert info["host"] == "other"
    assert {"isotherm", "kernel", "machine", "command_line", "start_ns"} <= set(info)
    assert info["swap_free_bytes"] == free_swap_bytes()


def test_no_snapshots_and_no_regions(tmp_path):
    assert list(open_recording(write(tmp_path / "none.isotherm", []))) == []
    empty = [snapshot(0), snapshot(1, targets=())]
    assert list(open_recording(write(tmp_path / "empty.isotherm", empty))) == empty


def test_extreme_values(tmp_path):
    top = 2**64 - 1
    one = snapshot(0, [(0, top - 4096, top, 2**32 - 1, 2**32 - 1, top)])
    one = replace(one, targets=(Target(2**40, "naïve \udcff\n", None, None, 2**50),))
    assert list(open_recording(write(tmp_path / "x.isotherm", [one]))) == [one]


def test_changes_of_targets_and_maps_come_back(tmp_path):
    def maps(name):
        return {0: (Mapping(HEAP, HEAP + MIB, "rw-p", name),)}

    a, b = (Target(0, "a", 1),), (Target(0, "b", 1), Target(1, "c"))
    sent = [
        snapshot(0, targets=a, mappings=maps("[heap]")),
        snapshot(1, targets=a),
        snapshot(2, targets=b, mappings=maps("/lib/ü.so")),
        snapshot(30, targets=b),
        snapshot(31, targets=a, mappings={}),
    ]
    assert list(open_recording(write(tmp_path / "c.isotherm", sent))) == sent


def test_reading_needs_memory_for_a_block_only(tmp_path):
    path = write(tmp_path / "run.isotherm", phases(40))
    reader = iter(open_recording(path))
    assert next(reader).index == 0
    reader.close()


def test_a_column_of_wrong_length_is_refused(tmp_path):
    one = snapshot(0, [(0, 0, 4096, 1, 1, 0)])
    one.columns.age.append(7)
    with (
        RecordingWriter(tmp_path / "x.isotherm", {}) as writer,
        pytest.raises(ValueError, match="age"),
    ):
        writer.write(one)


def test_zstd_gives_an_arrow_stream(recording):
    # Any Arrow reader will do; the schema is spelled here independently of the writer.
    stream = na.ArrayStream.from_readable(inflated(recording))
    assert stream.schema.type == na.Type.STRUCT
    rows = stream.read_all().to_pylist()
    assert len(rows) == 60
    assert rows[3]["regions"][1] == {
        "target": 0,
        "start": HEAP + 8 * MIB,
        "end": HEAP + 16 * MIB,
        "nr_accesses": 20,
        "age": 3,
        "unobservable": 0,
    }
    assert rows[0]["targets"][0]["name"] == "app"
    assert rows[0]["mappings"][0]["mappings"][1]["name"] == "[stack]"
    assert rows[1]["targets"] is None
    assert rows[0]["start"].year == 2023


def test_the_header_is_readable_by_eye(recording):
    assert recording.read_bytes()[8:].startswith(b"isotherm recording 2\n")


def test_a_killed_writer_loses_one_block(tmp_path):
    path = tmp_path / "run.isotherm"
    program = f"""
import os, signal, sys
sys.path[:0] = {[p for p in sys.path if p]!r}
from support.snapshots import phases
from isotherm.recording.writer import RecordingWriter
writer = RecordingWriter({str(path)!r}, {{}})
for one in phases(57):
    writer.write(one)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(DamagedRecordingError, match="cut short") as caught:
        list(open_recording(path))
    assert caught.value.exit_code == 5
    # 10 windows of 100 ms make a block.
    assert list(open_recording(path).readable()) == phases(57)[:50]


def test_a_break_in_the_middle_costs_one_block(recording):
    blocks = frames(recording)[2:-2]
    assert len(blocks) == 6
    data = bytearray(recording.read_bytes())
    at, length = blocks[2]
    data[at + length // 2] ^= 0x10
    recording.write_bytes(data)
    opened = open_recording(recording)
    assert [s.index for s in opened.readable()] == [*range(20), *range(30, 60)]
    assert "checksum" in str(opened.damage) or "frame" in str(opened.damage)
    assert list(opened.readable())[20].targets == phases()[30].targets


def test_a_missing_block_is_noticed(recording):
    at, length = frames(recording)[4]
    data = recording.read_bytes()
    recording.write_bytes(data[:at] + data[at + length :])
    with pytest.raises(DamagedRecordingError, match="60"):
        list(open_recording(recording))


def test_more_after_the_end_is_noticed(recording):
    recording.write_bytes(recording.read_bytes() * 2)
    opened = open_recording(recording)
    assert list(opened.readable()) == phases()
    assert "follow its end" in str(opened.damage)


def test_a_foreign_frame_is_not_believed(recording):
    blocks = frames(recording)
    data = recording.read_bytes()
    alien = zstd.Compressor().frame(b"not arrow at all" * 9)
    at = blocks[4][0]
    recording.write_bytes(data[:at] + alien + data[at:])
    opened = open_recording(recording)
    assert list(opened.readable()) == phases()[:20]
    assert opened.damage is not None


def test_a_frame_that_would_fill_memory_is_not_unpacked(recording):
    at = frames(recording)[3][0]
    data = recording.read_bytes()
    # Content size 2^40 in 8 bytes, checksum, a window of 1 MiB; a block of as many zeros.
    head = layout.ZSTD_MAGIC + bytes([0b11000100, 10 << 3]) + (1 << 40).to_bytes(8, "little")
    start = head + bytes([2, 0, 16, 0])
    recording.write_bytes(data[:at] + start + data[at:])
    opened = open_recording(recording)
    assert list(opened.readable()) == phases()
    assert "impossible frame" in str(opened.damage)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a recording"),
        (b"P*M\x18", "not a recording"),
        (b"#!/bin/sh\necho hello\n", "not a recording"),
        (layout.note(b"isotherm recording x\n"), "not a recording"),
        (layout.note(b"isotherm recording 0\n"), "version 0"),
        (layout.note(b"isotherm recording 3\n"), "version 3"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "x.isotherm"
    path.write_bytes(content)
    with pytest.raises(BadValueError, match=message) as caught:
        open_recording(path)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["missing.isotherm", "."])
def test_unreadable_paths_are_refused(tmp_path, name):
    with pytest.raises(BadValueError, match="cannot read"):
        open_recording(tmp_path / name)


def test_a_header_alone_holds_nothing(tmp_path):
    path = tmp_path / "x.isotherm"
    path.write_bytes(layout.header())
    with pytest.raises(DamagedRecordingError):
        open_recording(path)


def test_an_existing_file_is_kept_unless_forced(recording):
    before = zlib.crc32(recording.read_bytes())
    with pytest.raises(OutputError, match="exists already") as caught:
        RecordingWriter(recording, {})
    assert "--force" in caught.value.hint
    assert zlib.crc32(recording.read_bytes()) == before
    write(recording, phases(5), force=True)
    assert list(open_recording(recording)) == phases(5)


def test_a_missing_directory_is_said(tmp_path):
    with pytest.raises(OutputError, match="No such file") as caught:
        RecordingWriter(tmp_path / "no" / "x.isotherm", {})
    assert "directory" in caught.value.hint


@pytest.mark.parametrize("room", [0, 700, 2_000])
def test_a_full_disk_leaves_whole_blocks(tmp_path, monkeypatch, room):
    path = tmp_path / "run.isotherm"
    writer = RecordingWriter(path, {})
    left = room
    real_write = os.write

    def full(fd, data):
        nonlocal left
        if not left:
            raise OSError(28, "No space left on device")
        done = real_write(fd, data[:left])
        left -= done
        return done

    monkeypatch.setattr(os, "write", full)

    def write_all():
        for one in phases(400):
            writer.write(one)

    with pytest.raises(OutputError, match="No space left") as caught:
        write_all()
    assert "free some space" in caught.value.hint
    monkeypatch.undo()
    writer.close()
    with pytest.raises(OutputError, match="closed"):
        writer.write(phases(1)[0])
    opened = open_recording(path)
    read = list(opened.readable())
    assert read == phases(400)[: len(read)]
    assert len(read) % 10 == 0
    assert "cut short" in str(opened.damage)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_the_kernel_refuses_at_once():
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(OutputError, match="No space left"),
    ):
        RecordingWriter(full, {})


def test_many_regions_make_a_block_before_its_time(tmp_path):
    rows = [(0, i << 12, (i + 1) << 12, i % 21, i, 0) for i in range(10_000)]
    path = tmp_path / "x.isotherm"
    with RecordingWriter(path, {}, flush_every_s=3600) as writer:
        small = path.stat().st_size
        writer.write(snapshot(0, rows))
        assert path.stat().st_size == small
        writer.write(snapshot(1, rows))
        assert path.stat().st_size > small


def test_it_is_small(tmp_path):
    """1000 regions of which a few change from window to window: 3 bytes a row at most."""
    rows = [[0, i << 20, (i + 1) << 20, 0, 0, 0] for i in range(1000)]
    snapshots = []
    for index in range(30):
        for i, row in enumerate(rows):
            hot = (i * 7919 + index * 104_729) % 10 == 0
            row[3:5] = (hot * ((i * index) % 20 + 1), 0 if hot else row[4] + 1)
        snapshots.append(snapshot(index, [tuple(row) for row in rows]))
    path = write(tmp_path / "x.isotherm", snapshots)
    assert path.stat().st_size / 30_000 < 3
    assert list(open_recording(path)) == snapshots


def test_writing_and_reading_import_nothing_heavy(tmp_path):
    program = (
        "import sys, isotherm.recording.writer, isotherm.recording.reader;"
        "print([m for m in ('numpy', 'pyarrow', 'click') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert out.stdout.strip() == b"[]"


def test_columns_are_taken_not_iterated(tmp_path):
    """The write path is by buffers: its Python calls do not grow with the regions."""

    def calls(count):
        made = snapshot(0, [(0, i << 12, (i + 1) << 12, 0, 0, 0) for i in range(count)])
        seen = 0

        def trace(frame, event, arg):
            nonlocal seen
            seen += 1

        with RecordingWriter(tmp_path / f"{count}.isotherm", {}) as writer:
            sys.setprofile(trace)
            try:
                writer.write(made)
                writer.flush()
            finally:
                sys.setprofile(None)
        return seen

    assert isinstance(snapshot(0).columns, Columns)
    assert calls(5000) == calls(50)


def process(second):
    """40 mappings of which one in ten changes within a second, after so many seconds."""
    watched = second * S
    rows = []
    for i in range(40):
        changed = max(0, second - i) // 10 * 4096 * i
        ages = {0.05: MIB + changed, 0.7: 40_960 * i, second - 0.5: 20 * MIB - changed}
        shared = {"unseen": 4096 * i, "own": False} if i % 8 == 0 else {}
        rows.append(use_row(ages, watched_ns=watched, what=f"/usr/lib/lib{i}.so", **shared))
    why = (
        {"shared_by": "damon", "shared_cpu_ns": second}
        if second % 2
        else {"shared_note": "in use"}
    )
    return page_use(*rows, watched_ns=watched, **why)


def test_what_pages_were_used_is_small(tmp_path):
    """A figure a second; 9 to 12 lengths of time in five figures, 40 mappings."""
    plain = phases(300)
    uses = {one.index: process(one.index // 10) for one in plain if one.index % 10 == 9}
    made = [replace(one, page_use=uses.get(one.index)) for one in plain[20:]]
    path = write(tmp_path / "x.isotherm", made)
    without = write(tmp_path / "y.isotherm", plain[20:])
    assert list(open_recording(path)) == made
    assert (path.stat().st_size - without.stat().st_size) / 28 < 2500


def test_much_use_of_pages_makes_a_block_before_its_time(tmp_path):
    """As many regions would: memory is bounded, and what a reader inflates."""
    use = page_use(*[use_row({0.5: 4096})] * (layout.BLOCK_REGIONS // layout.USE_ROW_REGIONS - 1))
    with RecordingWriter(tmp_path / "x.isotherm", {}, flush_every_s=3600) as writer:
        begun = writer.bytes_written
        writer.write(replace(snapshot(0), page_use=use))
        assert writer.bytes_written == begun
        writer.write(replace(snapshot(1), page_use=use))
        assert writer.bytes_written > begun


def test_use_by_targets_that_ended_is_left_out(tmp_path):
    here, gone = use_row({1: MIB}), use_row({1: 2 * MIB}, target=1)
    path = write(tmp_path / "x.isotherm", [replace(snapshot(0), page_use=page_use(gone, here))])
    assert [one.page_use for one in open_recording(path)] == [page_use(here)]


def test_of_too_many_mappings_there_is_a_sum(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "MAX_USE_ROWS", 2)
    rows = [
        use_row({0.2: MIB, 9: 2 * MIB}, what="a", unseen=MIB),
        use_row({5: MIB}, what="b", uncovered=MIB),
        use_row({5: MIB}, what="c", kind="file"),
    ]
    path = write(tmp_path / "x.isotherm", [replace(snapshot(0), page_use=page_use(*rows))])
    [read] = open_recording(path)
    many = "(many mappings)"
    both = use_row({0.2: MIB, 5: MIB, 9: 2 * MIB}, what=many, unseen=MIB, uncovered=MIB)
    assert read.page_use == page_use(both, rows[2]._replace(what=many))


def test_what_was_freed_since_is_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "MAX_USE_ROWS", 2)
    there = use_row({0.2: MIB}, what="a")
    freed = use_row({}, what=FREED)._replace(used=(2 * MIB,) * 9, used_high=(9 * MIB,) * 9)
    made = page_use(there, freed, there)
    path = write(tmp_path / "x.isotherm", [replace(snapshot(0), page_use=made)])
    [read] = open_recording(path)
    assert read.page_use.rows[1] == freed
    assert read.page_use.resident == 2 * MIB


def test_what_was_used_of_regions_is_kept(tmp_path):
    plain = phases(6)
    made = [
        replace(one, columns=replace(one.columns, used=array("Q", [4096] * len(one.columns))))
        if one.index % 2
        else one
        for one in plain
    ]
    path = write(tmp_path / "x.isotherm", made)
    assert [one.columns for one in open_recording(path)] == [one.columns for one in made]
    wrong = replace(plain[0], columns=replace(plain[0].columns, used=array("Q", [1])))
    with pytest.raises(ValueError, match="column used"):
        write(tmp_path / "y.isotherm", [wrong])


def rated(one, *, rate=2.5, low=1.0, high=4.0):
    """The snapshot with rates of its regions."""
    nr = len(one.columns)
    columns = {"rate": rate, "low": low, "high": high}
    told = {name: array("d", [value] * nr) for name, value in columns.items()}
    return replace(one, columns=replace(one.columns, **told))


def test_rates_of_regions_are_kept(tmp_path):
    made = [rated(one) if one.index % 2 else one for one in phases(6)]
    path = write(tmp_path / "x.isotherm", made)
    assert [one.columns for one in open_recording(path)] == [one.columns for one in made]
    assert made[1].regions[0][-3:] == (2.5, 1.0, 4.0)


@pytest.mark.parametrize(
    "told",
    [{"rate": array("d", [1.0])}, {"rate": None, "low": array("d", [1.0] * 9)}],
    ids=["too few", "alone"],
)
def test_rates_are_told_of_all_regions_or_none(tmp_path, told):
    one = rated(phases(1)[0])
    wrong = replace(one, columns=replace(one.columns, **told))
    with pytest.raises(ValueError, match="rates of regions"):
        write(tmp_path / "x.isotherm", [wrong])


@pytest.mark.parametrize("size", [0, 100, 1 << 15, 3 << 20])
def test_a_frame_of_parts_is_one_frame(size):
    """States the size of its content, and inflates within the window that readers allow."""
    data = bytes(range(251)) * (size // 251 + 1)
    parts = memoryview(data)[:size], b"", bytearray(b"end")
    frame = zstd.Compressor().frame(*parts)
    assert zstd.content_size(frame[: zstd.HEADER_BYTES]) == size + 3

    def read(at, length):
        return frame[at : at + length]

    content, end = zstd.inflate(read, 0, size + 3, layout.MAX_BLOCK_BYTES)
    assert content == b"".join(parts)
    assert end == len(frame)


def test_a_large_block_is_written_in_parts(tmp_path):
    rows = [use_row({0.5: 4096 * i, 20: MIB}, what=f"[anon:{i}]") for i in range(5000)]
    made = [replace(snapshot(0), page_use=page_use(*rows)), snapshot(1)]
    assert list(open_recording(write(tmp_path / "x.isotherm", made))) == made
