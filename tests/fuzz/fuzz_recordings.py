"""
Recordings: any bytes, any Arrow messages, any values.

Three ways to make an input: bytes of a real file are changed, or the Arrow messages in its frames
are changed and compressed again, or the numbers and texts of a block are, so that it is whole and
makes no sense. Reading has to end in snapshots that keep the rules of docs/recording-format.md and
a documented error. What was read is reported in every form and written again now and then.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import struct
import sys
from array import array
from dataclasses import fields, replace
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # support/, as pytest has it

from harness import NASTY, Fuzzer, main, mutate

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.cli import main as cli
from isotherm.errors import BadValueError, DamagedRecordingError
from isotherm.live.heads import ReplayHead
from isotherm.live.replay import Replay
from isotherm.live.stage import Stage
from isotherm.model.page_use import UseRow
from isotherm.model.scheme_state import SchemeState, SchemeStats, TriedRegion
from isotherm.model.snapshot import Columns, Cost, Snapshot
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.recording import encode, reader, zstd
from isotherm.recording import format as layout
from isotherm.recording import page_use as page_use_columns
from isotherm.recording.messages import END, schema_message
from isotherm.recording.writer import RecordingWriter
from isotherm.report.output import FORMATS
from isotherm.terminal.text import columns_of
from support.snapshots import HEAP, MIB, page_use, phases, use_row

VIEWS = ("summary", "regions", "heatmap", "wss", "tree", "info")
DATA = Path(__file__).parents[1] / "data" / "recordings"
#: Of inputs that were read, one in so many is reported and written again.
REPORTED = 64
NUMBERS = (
    0,
    1,
    -1,
    2,
    4096,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**53,
    2**63 - 1,
    2**63,
    2**64 - 1,
)


@functools.cache
def snapshots():
    """A few, with everything in them that a recording can hold."""
    tried = (TriedRegion(0, HEAP, HEAP + MIB, 0, 3, 4096, 8192), TriedRegion(1, 1, 2, 0, 1, 0, 0))
    stats = SchemeStats(1, 2, 3, 4, 5, 6, 7, {"busy": 3, "": 1})
    states = (
        SchemeState(
            "out", "pageout", stats, 4 * MIB, 17, 0.5, active=False, held=True, tried=tried
        ),
        SchemeState("\x1b[31m", "stat"),
    )
    made = [
        replace(one, schemes=states[: one.index % 3], monotonic_ns=one.index, page_use=use)
        for one, use in zip(phases(6), (None, *uses()) * 2, strict=True)
    ]
    target = Target(2**40, "naïve \udcff\n", None, None, 5, 6, "/a.slice")
    return [*made, replace(made[-1], index=9, targets=(target, *made[0].targets), mappings={})]


def uses():
    """What a map knows: of nothing yet, and of two targets."""
    rows = (
        use_row({0.2: MIB, 20: 3 * MIB}),
        use_row({5: MIB}, unseen=MIB, own=False, target=1, what="/dev/shm/x", kind="shmem"),
        use_row({}, uncovered=MIB, doubt=4096, what="\x1b[31m", kind="file", node=None),
    )
    return page_use(watched_ns=1), page_use(*rows, shared_by="clear_refs", held_ns=7)


COMPRESSOR = zstd.Compressor()


@functools.lru_cache(256)
def frame(data):
    return COMPRESSOR.frame(data)


def end(count, regions):
    text = b'{"snapshots": %d, "regions": %d}' % (count, regions)
    return frame(END) + layout.note(layout.END_TEXT + text)


@functools.lru_cache(64)
def schema(info='{"version": 2, "start_ns": 7}'):
    return schema_message(layout.COLUMNS, {layout.METADATA_KEY: info})


def message(made):
    block = encode.Block()
    with credulous():
        for one in made:
            block.add(one)
    return b"".join(block.parts())


def recording(*messages, count=0, regions=0):
    frames = b"".join(map(frame, messages))
    return layout.header() + frames + end(count, regions)


@functools.cache
def examples():
    made = snapshots()
    whole = recording(schema(), message(made[:4]), message(made[4:]), count=7, regions=35)
    return [whole, *(path.read_bytes() for path in sorted(DATA.glob("*.isotherm")))]


@functools.cache
def contents(number):
    """The header of an example, and what is in its frames."""
    data, found = examples()[number], []
    at = 8 + struct.unpack_from("<I", data, 4)[0]
    header, data = data[:at], data[at:]
    while not data.startswith(layout.SKIPPABLE_MAGIC):
        inflate = zstd.ZstdDecompressor()
        found.append(inflate.decompress(data))
        data = inflate.unused_data
    return header, found, data


def some_bytes(rng):
    """A file that was damaged, or made by somebody with a hex editor."""
    whole = rng.choice(examples())
    if rng.random() < 0.2:
        magic = rng.choice((layout.ZSTD_MAGIC, layout.SKIPPABLE_MAGIC, whole[:40], b"\0"))
        at = rng.randrange(len(whole))
        return whole[:at] + magic * rng.randint(1, 2000) + whole[at:]
    return mutate(rng, whole, rng.choice(examples()))


def some_messages(rng):
    """Arrow messages that are not as they were, in frames that fit."""
    header, found, rest = contents(rng.randrange(len(examples())))
    found = list(found)
    if rng.random() < 0.3:
        found = found[:3]
    for _ in range(rng.randint(1, 2)):
        at = rng.choice((0, 1, 1, 1, rng.randrange(len(found))))
        found[at] = changed_message(rng, found[at])
    if rng.random() < 0.1:
        found.insert(rng.randrange(len(found) + 1), rng.choice(found))
    return header + b"".join(frame(one) for one in found if one) + rest


def changed_message(rng, data):
    way = rng.randrange(4)
    if way == 0 or len(data) < 16:
        return mutate(rng, data)
    changed = bytearray(data)
    # A word of the metadata, mostly; or of the body, where the offsets are.
    size = struct.unpack_from("<I", changed, 4)[0] + 8
    most = len(changed) if way == 1 else min(size, len(changed))
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        form, width = rng.choice((("B", 1), ("H", 2), ("I", 4), ("Q", 8)))
        at = rng.randrange(max(1, most - width)) // width * width
        if at + width > len(changed):
            continue
        value = struct.unpack_from("<" + form, changed, at)[0]
        delta = rng.choice((1, -1, 4, -4, 8, -8, 16, rng.randrange(1 << 16)))
        value = rng.choice((value + delta, value ^ 1 << rng.randrange(8 * width), *NUMBERS))
        struct.pack_into("<" + form, changed, at, value % (1 << 8 * width))
    return bytes(changed)


def some_values(rng):
    """Whole blocks whose values make no sense, or only just."""
    made = list(snapshots())
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(made))
        made[at] = changed_snapshot(rng, made[at])
    count = len(made) if rng.random() < 0.9 else rng.choice(NUMBERS)
    odd = rng.choice(("a", "\x1b", "é", "\udcff", 2**63, -0.5, None, [["x"]], {"\n": 1}))
    info = json.dumps({"version": 2, "start_ns": 7, rng.choice(("host", "\x1b", "level")): odd})
    if rng.random() < 0.1:
        info = mutate(rng, info.encode()).decode("utf-8", "replace")
    begin = schema(info)
    regions = sum(len(one.columns) for one in made)
    cut = rng.randrange(len(made) + 1)
    blocks = [message(part) for part in (made[:cut], made[cut:]) if part]
    return recording(begin, *blocks, count=count, regions=regions)


def number(rng, bits=64):
    if rng.random() < 0.7:
        return rng.choice(NUMBERS) % (1 << bits)
    return rng.randrange(1 << rng.choice((3, 12, 47, bits))) % (1 << bits)


def text(rng):
    return rng.choice(NASTY).decode("utf-8", "surrogateescape") * rng.choice((1, 1, 1, 400))


def changed_snapshot(rng, one):
    way = rng.randrange(8)
    if way == 0:
        name = rng.choice(("index", "start_ns", "end_ns", "sample_us", "aggr_us", "monotonic_ns"))
        signed = name.endswith("_ns") and name != "monotonic_ns"
        return replace(one, **{name: number(rng) - (1 << 63) * signed})
    if way == 1:
        name = rng.choice([cost.name for cost in fields(Cost)])
        return replace(one, cost=replace(one.cost, **{name: number(rng)}))
    if way in (2, 3):
        columns = {
            name: array(code, getattr(one.columns, name))
            for name, code in layout.REGION_CODES.items()
        }
        name = rng.choice(list(columns))
        items = columns[name]
        if items:
            items[rng.randrange(len(items))] = number(rng, 8 * items.itemsize)
        return replace(one, columns=Columns(**columns))
    if way == 4:
        targets = [
            Target(
                number(rng) if rng.random() < 0.3 else i, text(rng), number(rng, 32), number(rng)
            )
            for i in range(rng.randrange(4))
        ]
        return replace(one, targets=tuple(targets))
    if way == 5:
        maps = tuple(
            Mapping(number(rng), number(rng), "rw-p", text(rng)) for _ in range(rng.randrange(5))
        )
        return replace(one, mappings={rng.choice((7, 9, number(rng))): maps})
    if way == 6:
        gap = Unobservable(number(rng), number(rng), number(rng), text(rng))
        return replace(one, unobservable=(gap,), page_use=changed_use(rng, uses()[-1]))
    tried = TriedRegion(
        rng.choice((0, 1, 2, number(rng, 32))), number(rng), number(rng), 1, 1, 0, 0
    )
    score = rng.choice((0.0, -1.0, 1e308, float("nan"), float("inf"), float("-inf")))
    state = SchemeState(text(rng), text(rng), score=score, tried=(tried,))
    return replace(one, schemes=(state,))


def changed_use(rng, use):
    """The same with something that makes no sense, or only just."""
    if rng.random() < 0.3:
        name = rng.choice(("monotonic_ns", "watched_ns", "held_ns", "windows_ns"))
        value = tuple(number(rng) for _ in use.windows_ns) if name == "windows_ns" else number(rng)
        return replace(use, **{name: value})
    rows = list(use.rows)
    at = rng.randrange(len(rows))
    name = rng.choice(UseRow._fields)
    value = getattr(rows[at], name)
    if isinstance(value, tuple):
        value = tuple(number(rng) for _ in range(rng.choice((len(value), rng.randrange(30)))))
    elif isinstance(value, str):
        value = text(rng)
    else:
        value = number(rng, 32 if name in {"target", "node"} else 64)
    rows[at] = rows[at]._replace(**{name: value})
    return replace(use, rows=tuple(rows))


def generate(rng):
    return rng.choice((some_bytes, some_messages, some_messages, some_values))(rng)


@functools.cache
def scratch(pid, number):
    """A nameless file of this process, by a path."""
    del pid
    fd = os.memfd_create(f"fuzz{number}")
    return fd, Path(f"/proc/self/fd/{fd}")


@functools.lru_cache(64)
def known_schema(content, version):
    return REAL_SCHEMA(bytearray(content), version)


#: The same first frame says the same: most inputs have that of an example, and half of the time
#: would go there.
REAL_SCHEMA = reader._Schema
reader._Schema = lambda content, version: known_schema(bytes(content), version)


@contextlib.contextmanager
def credulous():
    """Write what makes no sense: whether it does is asked when it is read."""
    asked, page_use_columns._problem = page_use_columns._problem, lambda *_: ""
    try:
        yield
    finally:
        page_use_columns._problem = asked


def opened(data):
    fd, path = scratch(os.getpid(), 0)
    os.ftruncate(fd, 0)
    os.pwrite(fd, data, 0)
    return AnalysedRecording(path)


def check(data):
    try:
        found = opened(data)
    except BadValueError:
        return "no recording"
    except DamagedRecordingError:
        return "nothing readable"
    read = list(found.readable())
    before = -1
    for one in read:
        assert before < one.index < 2**64
        before = one.index
        check_snapshot(one)
    check_blocks(found, read)
    if sum(data) % REPORTED == 0:
        check_use(found.path, read)
    if found.damage is None:
        return "whole"
    assert found.damage.exit_code == 5
    return "damaged" if read else "damaged at once"


def check_blocks(found, read):
    """By the block it is the same, damage included."""
    damage = found.damage
    again = []
    for part in found.by_blocks():
        again += [part] if isinstance(part, Snapshot) else part
    assert again == read
    assert str(found.damage) == str(damage)


def check_snapshot(one):
    ends = {}
    for target, start, end, _, age, *_ in one.columns:
        assert target < len(one.targets)
        assert ends.get(target, 0) <= start < end < 2**64
        assert target >= max(ends, default=0)
        assert age < 2**32
        ends[target] = end
    assert len({target.id for target in one.targets}) == len(one.targets)
    assert all(isinstance(target.name, str) for target in one.targets)
    for state in one.schemes:
        assert state.score is None or abs(state.score) < float("inf")
        assert all(tried.start < tried.end for tried in state.tried)
    if one.page_use is not None:
        check_page_use(one.page_use, len(one.targets))
    for mappings in (one.mappings or {}).values():
        assert all(mapping.start <= mapping.end for mapping in mappings)


def check_page_use(use, nr_targets):
    windows = use.windows_ns
    assert list(windows) == sorted(set(windows))
    assert not windows or 0 < windows[0] <= windows[-1] <= use.watched_ns
    for row in use.rows:
        assert row.target < nr_targets
        assert row.unseen + row.uncovered <= row.resident
        assert all(
            len(figures) == len(windows) for figures in (*row[7:12], row.returned or windows)
        )
        assert list(row.returned) == sorted(row.returned, reverse=True)
        for low, used, high, idle, own in zip(*row[7:12], strict=True):
            assert low <= used <= high <= row.resident
            assert own <= idle <= row.resident


def told_by(*words):
    """Run a command; return what it printed. What it complains of must be harmless."""
    shown = io.TextIOWrapper(io.BytesIO(), "utf-8")
    told = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(told):
        assert cli(list(words)) in {0, 2, 5}
    told.flush()
    shown.flush()
    assert b"\x1b" not in told.buffer.getvalue()
    return shown.buffer.getvalue()


def look_at_all(path):
    """Look at it as the live view does: at the list, and at three processes in detail."""
    replay = Replay(AnalysedRecording(path))
    replay.read_all()
    stage = Stage(replay.chronicle, ReplayHead(Path(path), replay.chronicle, "sim"))
    targets = stage.moment.snapshot.targets[:3] if stage.moment else ()
    for stage.detail in (None, *(target.id for target in targets)):
        lines = ["".join(text for text, _ in line) for line in stage.lines(80, 24)]
        assert {columns_of(line) for line in lines} == {80}
        assert "".join(lines).isprintable()


def check_use(path, read):
    """Report it in all forms, and write what was read: it must be read again."""
    for view in VIEWS:
        form = FORMATS[len(read) % len(FORMATS)]
        for args in ([], ["--format", form]):
            shown = told_by("report", str(path), view, *args)
            assert args or b"\x1b" not in shown
    assert b"\x1b" not in told_by("report", str(path), "html", "-o", "-")
    assert b"\x1b" not in told_by("top", "--replay", str(path))
    look_at_all(path)
    fd, path = scratch(os.getpid(), 1)
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(os.dup(fd), "wb", buffering=0) as out, RecordingWriter(out, {}) as writer:
        for one in read:
            writer.write(one)
    assert list(AnalysedRecording(path)) == read


FUZZER = Fuzzer("recordings", generate, check, cpu_s=2.0, grows_mib=512)

if __name__ == "__main__":
    main(FUZZER)
