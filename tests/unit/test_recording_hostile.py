"""Files that were made to do harm: damage, in bounded memory and time; never more than that."""

from __future__ import annotations

import contextlib
import os
import resource
import struct
import subprocess
import sys
import threading
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from isotherm.cli import main
from isotherm.errors import BadValueError, DamagedRecordingError
from isotherm.model.page_use import GroupUse
from isotherm.model.scheme_state import SchemeState, SchemeStats, TriedRegion
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.recording import encode, frames
from isotherm.recording import format as layout
from isotherm.recording import page_use as page_use_columns
from isotherm.recording.batch import Layout
from isotherm.recording.messages import schema_message
from isotherm.recording.reader import open_recording
from isotherm.recording.writer import RecordingWriter
from support.recordings import block, ending, frame, recording, schema
from support.snapshots import HEAP, MIB, page_use, phases, snapshot, use_row

CRAFTED = Path(__file__).parents[1] / "fuzz" / "seeds" / "recordings" / "offset-out-of-body"
MEMORY = 400 << 20
CPU_S = 60


def limits():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))


def report(path, **options):
    """`isotherm report` in a process that has little memory and not for ever."""
    command = [sys.executable, "-m", "isotherm", "report", str(path)]
    return subprocess.run(
        command, capture_output=True, check=False, preexec_fn=limits, text=True, **options
    )


def assert_damage(done):
    assert done.returncode == 5, done
    assert "is damaged" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.isotherm"
    with RecordingWriter(path, {}) as writer:
        for one in phases(20):
            writer.write(one)
    return path


def test_an_offset_that_leads_out_of_a_message(capsys):
    """Arrow's C decoder reads what is there and dies by SIGSEGV."""
    assert main(["report", str(CRAFTED)]) == 5
    said = capsys.readouterr()
    assert "14 snapshots of it could be read" in said.err
    assert "app 42" in said.out


def test_it_comes_through_a_pipe(good, tmp_path):
    with CRAFTED.open("rb") as crafted:
        assert_damage(report("/dev/stdin", stdin=crafted))
    with subprocess.Popen(["cat", str(CRAFTED)], stdout=subprocess.PIPE) as cat:
        assert_damage(report("/dev/stdin", stdin=cat.stdout))
    with subprocess.Popen(["cat", str(good)], stdout=subprocess.PIPE) as cat:
        done = report("/dev/stdin", stdin=cat.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert "20 snapshots" in done.stdout


def test_a_named_pipe_is_read_once_and_can_be_asked_again_and_again(good, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeding = threading.Thread(target=lambda: pipe.write_bytes(good.read_bytes()))
    feeding.start()
    opened = open_recording(pipe)
    feeding.join()
    assert list(opened) == list(opened) == phases(20)
    assert opened.nbytes == good.stat().st_size


def test_a_pipe_that_was_cut_short(good, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeding = threading.Thread(target=lambda: pipe.write_bytes(good.read_bytes()[:-60]))
    feeding.start()
    opened = open_recording(pipe)
    feeding.join()
    assert list(opened.readable()) == phases(20)
    assert opened.damage is not None


def test_no_more_is_taken_from_a_pipe_than_there_is_room_for(good, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "MAX_PIPE_BYTES", good.stat().st_size - 10)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeding = threading.Thread(target=lambda: pipe.write_bytes(good.read_bytes()))
    feeding.start()
    opened = open_recording(pipe)
    feeding.join()
    with pytest.raises(DamagedRecordingError):
        list(opened)
    assert opened.nbytes == layout.MAX_PIPE_BYTES


@pytest.mark.parametrize("source", ["/dev/zero", "/dev/null"])
def test_devices_are_no_recordings(source):
    with pytest.raises(BadValueError, match="not a recording"):
        open_recording(source)


def bomb_head(content, window_exponent=13):
    """A frame header: checksum, 4 bytes of content size, a window of 2^(10 + exponent)."""
    return (
        layout.ZSTD_MAGIC + bytes([0b10000100, window_exponent << 3]) + struct.pack("<I", content)
    )


#: A block of 128 KiB of zeros in 4 bytes; not the last one.
ZEROS = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"\0"


@pytest.mark.parametrize("content", [256 << 20, layout.MAX_BLOCK_BYTES, 4096])
def test_a_frame_that_inflates_without_end(tmp_path, content):
    """260 KB that would be 8.5 GB."""
    bomb = bomb_head(content) + ZEROS * 65_000
    path = recording(tmp_path / "x.isotherm", block(*phases(3)), rest=bomb)
    assert_damage(report(path))


def test_a_window_larger_than_any_frame(tmp_path):
    bomb = bomb_head(4096, window_exponent=21) + ZEROS * 100
    path = recording(tmp_path / "x.isotherm", block(*phases(3)), rest=bomb)
    assert_damage(report(path))


@pytest.mark.parametrize(
    "junk",
    [
        layout.ZSTD_MAGIC,
        layout.SKIPPABLE_MAGIC,
        layout.ZSTD_MAGIC + bytes([0b00100100, 0]),  # nothing in it
        frame(b""),
        layout.note(b"isotherm end {}"),
        layout.note(b""),
    ],
)
def test_junk_does_not_keep_the_reader_busy(tmp_path, junk, monkeypatch):
    """800 KB of it; each piece may be the begin of a frame."""
    path = recording(
        tmp_path / "x.isotherm", block(*phases(3)), rest=junk * (800_000 // len(junk))
    )
    tries = []
    real = frames.Frames._frame
    monkeypatch.setattr(frames.Frames, "_frame", lambda *args: tries.append(1) or real(*args))
    opened = open_recording(path)
    tries.clear()
    assert list(opened.readable()) == phases(3)
    assert opened.damage is not None
    assert len(tries) < layout.MAX_BROKEN_FRAMES + 10


def test_more_than_a_hundred_broken_places_are_the_end(tmp_path):
    path = recording(tmp_path / "x.isotherm", rest=(b"x" + frame(b"\0" * 8)[:-1]) * 200)
    opened = open_recording(path)
    assert list(opened.readable()) == []
    assert opened.damage is not None


def test_all_of_it_inflates_to_no_more_than_a_recording_can(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "FREE_INFLATION_BYTES", 1 << 20)
    maps = {7: (Mapping(0, 4096, "rw-p", "x" * 10_000),) * 400}
    blocks = [block(replace(snapshot(i), mappings=maps)) for i in range(9)]
    assert 9 * len(blocks[0]) > layout.MAX_INFLATION * 9 * len(frame(blocks[0])) + (1 << 20)
    opened = open_recording(recording(tmp_path / "x.isotherm", *blocks))
    assert len(list(opened.readable())) < 9
    assert "inflates to more" in str(opened.damage)


def test_blocks_without_snapshots_are_damage(tmp_path):
    opened = open_recording(recording(tmp_path / "x.isotherm", *[block()] * 1000))
    assert list(opened.readable()) == []
    assert "number of snapshots" in str(opened.damage)


# What is whole, and makes no sense.

TARGETS = (Target(7, "a", 1), Target(9, "b", 2))
ROWS = ((0, 4096, 8192, 1, 1, 0), (0, 8192, 12288, 1, 1, 0), (1, 0, 4096, 1, 1, 0))


def plain(index=1, rows=ROWS, **changes):
    return replace(snapshot(index, rows, targets=TARGETS), **changes)


def region(row, **changes):
    """`ROWS` with one of them changed."""
    rows = [list(one) for one in ROWS]
    names = list(layout.REGION_CODES)
    for name, value in changes.items():
        rows[row][names.index(name)] = value
    return plain(rows=[tuple(one) for one in rows])


def scheme(**changes):
    return plain(schemes=(SchemeState("t", "stat", **changes),))


def tried(target, start, end):
    return scheme(tried=(TriedRegion(target, start, end, 0, 0, 0, 0),))


NONSENSE = {
    "a region of no bytes": region(0, end=4096),
    "a region that ends first": region(1, end=1),
    "regions that overlap": region(0, end=8193),
    "regions out of order": plain(rows=(ROWS[1], ROWS[0])),
    "the same region twice": plain(rows=(ROWS[0], ROWS[0])),
    "targets out of order": plain(rows=(ROWS[2], ROWS[0])),
    "a target that comes again": plain(rows=(ROWS[0], ROWS[2], (0, 1 << 20, 2 << 20, 0, 0, 0))),
    "a region of no target": region(2, target=2),
    "a region of a far target": region(2, target=2**32 - 1),
    "targets of one id": plain(targets=(TARGETS[0], TARGETS[0])),
    "an index that was there": plain(index=0),
    "a score that is no number": scheme(score=float("nan")),
    "a score without end": scheme(score=float("-inf")),
    "a tried region of no target": tried(2, 0, 1),
    "a tried region of no bytes": tried(0, 5, 5),
    "a tried region that ends first": tried(0, 5, 4),
    "a gap that ends first": plain(unobservable=(Unobservable(7, 2, 1, ""),)),
    "a mapping that ends first": plain(mappings={7: (Mapping(2, 1, "", ""),)}),
}

USE = page_use(use_row({0.2: MIB, 20: 3 * MIB}, unseen=MIB, uncovered=MIB))
#: What would be wrong with it, and how it would be wrong.
WRONG_USE = {
    "a target that is not there": {"target": 2},
    "a far target": {"target": 2**32 - 1},
    "no such kind": {"kind": "swap"},
    "more unseen than resident": {"unseen": 5 * MIB + 1},
    "more uncovered than the rest": {"uncovered": 5 * MIB + 1},
    "unknown figures that overflow": {"unseen": 2**64 - 1, "uncovered": 2**64 - 1},
    "less resident than used": {"resident": 2 * MIB + 1},
    "less used than at least": {"used": (0,) * 9},
    "less at most than used": {"used_high": (0,) * 9},
    "more at most than resident": {"used_high": (7 * MIB,) * 9},
    "more idle than resident": {"idle": (7 * MIB,) * 9},
    "more idle of its own than idle": {"idle_own": (4 * MIB,) * 9},
    "a figure too few": {"used": USE.rows[0].used[:-1]},
    "a figure too many": {"idle": (*USE.rows[0].idle, 0)},
    "figures that do not end": {"idle_own": (0,) * 1000},
}
WRONG_WINDOWS = {
    "no time at all": (0, *USE.windows_ns[1:]),
    "times that do not rise": (*USE.windows_ns[:-2], *USE.windows_ns[:-3:-1]),
    "the same time twice": (USE.windows_ns[1], *USE.windows_ns[1:]),
    "longer than watched": (*USE.windows_ns[:-1], USE.watched_ns + 1),
    "too many times": tuple(range(1, layout.MAX_USE_WINDOWS + 2)),
}


def used(use):
    return plain(targets=TARGETS, page_use=use)


GROUP = GroupUse("unit db.service", *USE.rows[0][4:11])
WRONG_GROUPS = {
    "a group without a name": (GROUP._replace(group=""),),
    "a group told twice": (GROUP, GROUP),
    "more unknown of a group than there is": (GROUP._replace(unseen=2**64 - 1),),
    "more used of a group than there is": (GROUP._replace(used_high=(7 * MIB,) * 9),),
    "less used of a group than at least": (GROUP._replace(used=(0,) * 9),),
    "more idle of a group than there is": (GROUP._replace(idle=(7 * MIB,) * 9),),
    "a figure of a group too few": (GROUP._replace(used=GROUP.used[:-1]),),
}


NONSENSE_OF_USE = {
    **{name: used(replace(USE, groups=groups)) for name, groups in WRONG_GROUPS.items()},
    **{
        name: used(replace(USE, rows=(USE.rows[0]._replace(**changes),)))
        for name, changes in WRONG_USE.items()
    },
    **{name: used(replace(USE, windows_ns=times)) for name, times in WRONG_WINDOWS.items()},
    "windows of rows that have none": used(replace(USE, windows_ns=())),
    "too many rows": used(replace(USE, rows=USE.rows * (layout.MAX_USE_ROWS + 1))),
}


@pytest.mark.parametrize("made", NONSENSE_OF_USE.values(), ids=NONSENSE_OF_USE.keys())
def test_use_that_makes_no_sense_is_neither_written_nor_read(tmp_path, monkeypatch, made):
    with pytest.raises(ValueError, match="makes no sense"):
        block(made)
    before = plain(index=0, page_use=USE)
    monkeypatch.setattr(page_use_columns, "_problem", lambda *_: "")
    message = block(before, made)
    monkeypatch.undo()
    opened = open_recording(recording(tmp_path / "x.isotherm", message))
    assert list(opened.readable()) == [before]
    assert "makes no sense" in str(opened.damage)


def test_a_member_that_is_missing_in_nested_columns_is_damage(tmp_path):
    """A struct has all of its members but those that came later, which may be null."""

    def without_a_member(column):
        gone = next(child for child in column.children if not child.nullable)
        return replace(column, children=tuple(c for c in column.children if c is not gone))

    columns = [
        without_a_member(column) if column.name == "page_use" else column
        for column in layout.COLUMNS
    ]
    with pytest.raises(DamagedRecordingError, match="columns"):
        open_recording(recording(tmp_path / "x.isotherm", begin=schema(columns=tuple(columns))))


@pytest.mark.parametrize("made", NONSENSE.values(), ids=NONSENSE.keys())
def test_what_makes_no_sense_is_damage(tmp_path, made):
    before = plain(index=0)
    path = recording(tmp_path / "x.isotherm", block(before, made), block(plain(index=2)))
    opened = open_recording(path)
    assert list(opened.readable()) == [before]
    assert "makes no sense" in str(opened.damage)
    assert opened.damage.exit_code == 5


@pytest.mark.parametrize("at", [0, 16_383, 16_384, 39_998])
@pytest.mark.parametrize("by", [1, -20])
def test_one_wrong_region_of_many(tmp_path, at, by):
    """They are looked at in parts: an end that is one too far, or before its start."""
    rows = [(0, 10 * i, 10 * i + 10, 0, 0, 0) for i in range(40_000)]
    whole = recording(tmp_path / "x.isotherm", block(snapshot(0, rows)), rest=ending(1, 40_000))
    assert len(list(open_recording(whole))) == 1
    rows[at] = (0, 10 * at, max(0, 10 * at + 10 + by), 0, 0, 0)
    opened = open_recording(recording(whole, block(snapshot(0, rows))))
    assert list(opened.readable()) == []
    assert opened.damage is not None


def test_what_is_odd_but_can_be_is_no_damage(tmp_path):
    odd = [
        plain(index=0, rows=((0, 0, 2**64 - 1, 2**32 - 1, 2**32 - 1, 2**64 - 1),)),
        plain(index=5, start_ns=2**63 - 1, end_ns=-(2**63)),  # the time of day was set back
        replace(plain(index=6, sample_us=0, aggr_us=0, rows=()), index=2**64 - 1),
    ]
    path = tmp_path / "x.isotherm"
    recording(path, block(*odd), rest=ending(3, 4))
    assert list(open_recording(path)) == odd


def patched(message, old, new, count=1):
    """A message with some bytes of it replaced; they must be there `count` times."""
    assert message.count(old) == count
    return message.replace(old, new)


def test_text_that_is_no_utf8(tmp_path):
    message = patched(
        block(plain(targets=(Target(7, "naïve"),), rows=())), "naïve".encode(), b"na\xffxxe"
    )
    opened = open_recording(recording(tmp_path / "x.isotherm", message))
    assert list(opened.readable()) == []
    assert "UTF-8" in str(opened.damage)


@pytest.mark.parametrize("escape", [b"\0", b"\0dcf", b"\0zzzz", b"\0 fff", b"\0+123", b"\0abcd"])
def test_escapes_that_nobody_writes(tmp_path, escape):
    name = "~" * len(escape)
    message = patched(block(plain(targets=(Target(7, name),), rows=())), name.encode(), escape)
    opened = open_recording(recording(tmp_path / "x.isotherm", message))
    assert list(opened.readable()) == []
    assert opened.damage is not None


def test_a_text_without_end(tmp_path, monkeypatch):
    message = block(plain(targets=(Target(7, "n" * 9000),), rows=()))
    monkeypatch.setattr("isotherm.recording.texts.MAX_TEXT_BYTES", 8999)
    opened = open_recording(recording(tmp_path / "x.isotherm", message))
    assert list(opened.readable()) == []
    assert "longer than" in str(opened.damage)


INFOS = [
    "",
    "no json",
    "[]",
    '"x"',
    '{"start_ns": "x"}',
    '{"start_ns": -1}',
    '{"start_ns": 9223372036854775808}',
    '{"level": null}',
    '{"weight": 1.5}',
    '{"swap_free_bytes": -1}',
    '{"x": NaN}',
    '{"x": -Infinity}',
    '{"x": 1e999}',
    '{"x": 18446744073709551616}',
    '{"x": 1' + "0" * 5000 + "}",
    '{"x": ' + "[" * 17 + "]" * 17 + "}",
    "[" * 100_000,
    '{"x": "' + "y" * layout.MAX_INFO_BYTES + '"}',
]


@pytest.mark.parametrize("info", INFOS, ids=[info[:20] for info in INFOS])
def test_what_it_says_of_itself_is_not_believed_either(tmp_path, info):
    path = recording(tmp_path / "x.isotherm", block(plain()), begin=schema(info))
    with pytest.raises(DamagedRecordingError):
        open_recording(path)


def test_control_characters_are_kept_and_escaped_where_shown(tmp_path, capsys):
    name = "\x1b[31mX/y\n"
    state = SchemeState(name, name, SchemeStats(errors={name: 1}))
    one = plain(
        targets=(Target(7, name, 1, 4096, 4096, None, name),),
        rows=((0, HEAP, HEAP + MIB, 1, 1, 0),),
        mappings={7: (Mapping(HEAP, HEAP + MIB, "rw-p", name),)},
        unobservable=(Unobservable(7, 0, 1, name),),
        schemes=(state,),
    )
    info = '{"host": "\\u001b[31m", "\\u001b[32m": {"\\u001b": "\\u001b"}}'
    path = recording(tmp_path / "x.isotherm", block(one), begin=schema(info), rest=ending(1, 1))
    assert list(open_recording(path)) == [one]
    for view in ("summary", "regions", "heatmap", "wss", "tree", "info"):
        assert main(["report", str(path), view]) == 0
        shown = capsys.readouterr()
        assert "\x1b" not in shown.out + shown.err


# Arrow messages.


def test_columns_that_nobody_knows_are_passed_over(tmp_path):
    """Further columns, and further members of nested ones, in any order."""
    from isotherm.recording.columns import Column, list_of

    more = [
        Column("first", "float64"),
        list_of("second", Column("a", "utf8"), Column("b", "bool")),
    ]
    made = block(*phases(3))
    begin = schema(columns=(*layout.COLUMNS, *more))
    grown = with_columns(
        made,
        3,
        nodes=[3, 0, 3, 0, 2, 0, 2, 0, 2, 0],
        buffers=[
            b"",
            array("d", [1, 2, 3]).tobytes(),
            b"",
            array("i", [0, 1, 1, 2]).tobytes(),
            b"",
            b"",
            array("i", [0, 1, 2]).tobytes(),
            b"xy",
            b"",
            b"\3",
        ],
    )
    path = recording(tmp_path / "x.isotherm", grown, begin=begin, rest=ending(3, 15))
    assert list(open_recording(path)) == phases(3)


def with_columns(message, rows, nodes, buffers):
    """The message of a block with further columns after its own."""
    from isotherm.recording.messages import batch_message, messages

    [known] = messages(memoryview(message))
    own_nodes = [n for node in known.header.structs(1, "qq", 16) for n in node]
    own = [bytes(known.body[at : at + n]) for at, n in known.header.structs(2, "qq", 16)]
    return batch_message(rows, [*own_nodes, *nodes], [*own, *buffers])


def test_columns_that_may_be_null_may_be_missing(tmp_path):
    """As in a recording from before they were thought of."""
    one = plain(index=0, monotonic_ns=7, page_use=USE)
    first = [column.name for column in layout.COLUMNS].index("monotonic_ns")
    known, later = layout.COLUMNS[:first], Layout(layout.COLUMNS[first:], ())
    message = without_columns(block(one), later.nodes, later.buffers)
    older = schema(columns=known)
    path = recording(tmp_path / "x.isotherm", message, begin=older, rest=ending(1, 3))
    assert list(open_recording(path)) == [replace(one, monotonic_ns=None, page_use=None)]


def without_columns(message, nodes, buffers):
    """The message of a block without the last columns, which have so many of these."""
    from isotherm.recording.messages import batch_message, messages

    [known] = messages(memoryview(message))
    own = [n for node in known.header.structs(1, "qq", 16)[:-nodes] for n in node]
    places = known.header.structs(2, "qq", 16)[:-buffers]
    return batch_message(1, own, [bytes(known.body[at : at + n]) for at, n in places])


@pytest.mark.parametrize(
    "columns",
    [
        layout.COLUMNS[1:],
        (layout.COLUMNS[0], *layout.COLUMNS),
        layout.COLUMNS_1,
        (),
        (replace(layout.COLUMNS[0], kind="uint32"), *layout.COLUMNS[1:]),
    ],
    ids=["one is missing", "one comes twice", "of version 1", "none", "of another type"],
)
def test_columns_that_are_not_those_of_a_recording(tmp_path, columns):
    path = recording(tmp_path / "x.isotherm", begin=schema(columns=columns))
    with pytest.raises(DamagedRecordingError, match="columns"):
        open_recording(path)


def test_a_schema_that_is_nested_without_end(tmp_path):
    from isotherm.recording.columns import Column, list_of

    deep = Column("x", "uint64")
    for _ in range(20):
        deep = list_of("x", deep)
    path = recording(tmp_path / "x.isotherm", begin=schema(columns=(*layout.COLUMNS, deep)))
    with pytest.raises(DamagedRecordingError, match="too large"):
        open_recording(path)


def test_a_schema_with_more_columns_than_anybody_has(tmp_path):
    from isotherm.recording.columns import Column

    many = tuple(Column(f"c{i}", "uint64") for i in range(1000))
    path = recording(tmp_path / "x.isotherm", begin=schema(columns=(*layout.COLUMNS, *many)))
    with pytest.raises(DamagedRecordingError, match="too large"):
        open_recording(path)


def test_null_stands_only_where_it_may(tmp_path):
    """The schema of a file may say anything about that; ours counts."""
    columns = tuple(replace(column, nullable=True) for column in layout.COLUMNS)
    message = bytearray(block(plain()))
    [known] = __import__("isotherm.recording.messages", fromlist=["x"]).messages(
        memoryview(message)
    )
    nodes = known.header.structs(1, "qq", 16)
    at = message.index(struct.pack("<4q", *nodes[0], *nodes[1]))
    struct.pack_into("<q", message, at + 8, 1)
    path = recording(tmp_path / "x.isotherm", bytes(message), begin=schema(columns=columns))
    opened = open_recording(path)
    assert list(opened.readable()) == []
    assert opened.damage is not None


def test_any_bit_of_a_message_may_be_wrong(tmp_path):
    """Bits all over the metadata of a block, one after the other: no more than damage."""
    made = plain(index=0)
    message = block(made)
    size = struct.unpack_from("<I", message, 4)[0]
    path = tmp_path / "x.isotherm"
    for at in range(8, 8 + size, 11):
        changed = bytearray(message)
        changed[at] ^= 1 << at % 8
        opened = open_recording(recording(path, bytes(changed), rest=ending(1, 3)))
        for one in opened.readable():
            assert one.index >= 0
        assert opened.damage is None or opened.damage.exit_code == 5


def test_any_bit_of_a_schema_may_be_wrong(tmp_path):
    begin = schema_message(layout.COLUMNS, {layout.METADATA_KEY: "{}"})
    path = tmp_path / "x.isotherm"
    for at in range(0, len(begin), 29):
        changed = bytearray(begin)
        changed[at] ^= 1 << at % 8
        with contextlib.suppress(DamagedRecordingError):
            assert open_recording(recording(path, begin=bytes(changed))).nbytes


@pytest.mark.parametrize(
    ("used", "phrase"),
    [([], "not told of each"), ([MIB + 1], "more was used of a region than there is")],
)
def test_what_was_used_of_regions_makes_sense(tmp_path, monkeypatch, used, phrase):
    one = snapshot(0, [(0, HEAP, HEAP + MIB, 1, 1, 0)])
    monkeypatch.setattr(encode, "_region_used", lambda _: array("Q", used))
    path = tmp_path / "x.isotherm"
    with RecordingWriter(path, {}) as writer:
        writer.write(one)
    opened = open_recording(path)
    assert list(opened.readable()) == []
    assert phrase in str(opened.damage)


@pytest.mark.parametrize(
    ("rates", "phrase"),
    [
        ([[1.0], [], [2.0]], "not told of each"),
        ([[1.0], [1.0], None], "not told of each"),
        ([[1.0], [2.0], [3.0]], "not within their bounds"),
        ([[1.0], [-1.0], [3.0]], "not within their bounds"),
        ([[1.0], [0.0], [float("inf")]], "not within their bounds"),
        ([[float("nan")], [0.0], [3.0]], "not within their bounds"),
    ],
)
def test_rates_of_regions_make_sense(tmp_path, monkeypatch, rates, phrase):
    one = snapshot(0, [(0, HEAP, HEAP + MIB, 1, 1, 0)])
    told = [None if values is None else array("d", values) for values in rates]
    monkeypatch.setattr(encode, "_region_rates", lambda _: told)
    path = tmp_path / "x.isotherm"
    with RecordingWriter(path, {}) as writer:
        writer.write(one)
    opened = open_recording(path)
    assert list(opened.readable()) == []
    assert phrase in str(opened.damage)
