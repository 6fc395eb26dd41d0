"""Whatever happens to a recording's bytes: no crash, and no snapshot that was not written."""

from __future__ import annotations

import tempfile
from array import array
from dataclasses import replace
from functools import cache
from pathlib import Path

import nanoarrow as na
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm.errors import BadValueError, DamagedRecordingError
from isotherm.model.scheme_state import SchemeState, SchemeStats, TriedRegion
from isotherm.model.snapshot import Columns, Cost, Snapshot
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.recording import format as layout
from isotherm.recording import zstd
from isotherm.recording.reader import open_recording
from isotherm.recording.writer import RecordingWriter
from support.page_uses import page_uses
from support.snapshots import phases

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
maybe = st.none() | u64
ns = st.integers(0, 2**62)
name = st.text(max_size=12)  # lone surrogates as well: bytes that are no text


targets = st.builds(Target, u64, name, st.none() | u32, maybe, maybe, maybe, name)
spans = st.tuples(u64, u64).map(sorted)


def named(made):
    """Ranges of some kind: `made` gets a start and an end that is not before it."""
    return spans.flatmap(lambda span: made(*map(st.just, span)))


@st.composite
def apart(draw, nr_targets, max_size=20):
    """(target, start, end): in order and apart, as regions are."""
    found = []
    for target in range(nr_targets):
        edges = sorted(draw(st.sets(u64, max_size=max_size)))
        found += [(target, *pair) for pair in zip(edges[::2], edges[1::2], strict=False)]
    return found


@st.composite
def states(draw, nr_targets):
    rows = draw(apart(nr_targets, 6))
    return SchemeState(
        title=draw(name),
        action=draw(name),
        stats=SchemeStats(*draw(st.tuples(*[u64] * 7)), draw(st.dictionaries(name, u64))),
        effective_bytes=draw(maybe),
        charged_bytes=draw(u64),
        score=draw(st.none() | st.floats(allow_nan=False, allow_infinity=False)),
        active=draw(st.booleans()),
        held=draw(st.booleans()),
        tried=tuple(TriedRegion(*row, *draw(st.tuples(u32, u32, u64, u64))) for row in rows),
    )


@st.composite
def streams(draw):
    """Snapshots one after the other; targets and what cannot be seen often stay as they were."""
    indices = sorted(draw(st.sets(u64, max_size=8)))
    made = []
    for index in indices:
        if not made or draw(st.booleans()):
            one = draw(snapshots(index))
        else:
            one = replace(made[-1], index=index, mappings=None)
        made.append(one)
    return made


@st.composite
def snapshots(draw, index):
    found = draw(st.lists(targets, max_size=3, unique_by=lambda target: target.id))
    rows = [(*row, *draw(st.tuples(u32, u32, u64))) for row in draw(apart(len(found), 12))]
    values = zip(*rows, strict=True) if rows else ((),) * 6
    gaps = named(lambda start, end: st.builds(Unobservable, u64, start, end, name))
    maps = named(lambda start, end: st.builds(Mapping, start, end, name, name))
    return Snapshot(
        index,
        *(draw(strategy) for strategy in (ns, ns, u64, u64)),
        targets=tuple(found),
        columns=Columns(*(array(c, v) for c, v in zip("IQQIIQ", values, strict=True))),
        unobservable=tuple(draw(st.lists(gaps, max_size=2))),
        cost=draw(st.builds(Cost, u64, u64, maybe, u64, maybe, maybe)),
        mappings=draw(
            st.none() | st.dictionaries(u64, st.lists(maps, max_size=2).map(tuple), max_size=2)
        ),
        schemes=tuple(draw(st.lists(states(len(found)), max_size=2))),
        monotonic_ns=draw(maybe),
        running_ns=draw(maybe),
        page_use=draw(st.none() | page_uses(len(found))),
    )


@cache
def directory():
    return tempfile.TemporaryDirectory(prefix="isotherm-test-")


def scratch():
    return Path(directory().name) / "x.isotherm"


@cache
def example():
    with RecordingWriter(scratch(), {}, force=True, flush_every_s=0.5) as writer:
        for one in phases(30):
            writer.write(one)
    return scratch().read_bytes()


@given(streams(), st.sampled_from([0, 0.1, 1e6]))
@settings(deadline=None)
def test_round_trip(sent, flush_every_s):
    """What is written is read, by us and by any other reader of Arrow."""
    with RecordingWriter(scratch(), {}, force=True, flush_every_s=flush_every_s) as writer:
        for one in sent:
            writer.write(one)
    assert list(open_recording(scratch())) == sent
    foreign = foreign_rows(scratch())
    assert [row["index"] for row in foreign] == [one.index for one in sent]
    assert [[region["end"] for region in row["regions"]] for row in foreign] == [
        list(one.columns.end) for one in sent
    ]
    tried = [[len(state["tried"]) for state in row["schemes"]] for row in foreign]
    assert tried == [[len(state.tried) for state in one.schemes] for one in sent]
    assert [row["running_ns"] for row in foreign] == [one.running_ns for one in sent]
    uses = [
        use and (use.watched_ns, list(use.windows_ns), [list(row.used) for row in use.rows])
        for use in (one.page_use for one in sent)
    ]
    assert uses == [
        use and (use["watched_ns"], use["windows_ns"], [one["used"] for one in use["rows"]])
        for use in (row["page_use"] for row in foreign)
    ]


def foreign_rows(path):
    """Rows of a recording, by a reader that knows nothing of us."""
    data, stream = path.read_bytes(), b""
    while data:
        if data.startswith(layout.SKIPPABLE_MAGIC):
            data = data[8 + int.from_bytes(data[4:8], "little") :]
            continue
        inflate = zstd.ZstdDecompressor()
        stream += inflate.decompress(data)
        data = inflate.unused_data
    # Times of any ns have no datetime.
    arrays = na.ArrayStream.from_readable(stream).read_all()
    keep = ("index", "regions", "schemes", "running_ns", "page_use")
    children = {
        name: arrays.child(i).to_pylist()
        for i, name in enumerate(field.name for field in arrays.schema.fields)
        if name in keep
    }
    return [
        dict(zip(keep, row, strict=True)) for row in zip(*(children[k] for k in keep), strict=True)
    ]


def read_damaged(data):
    """Snapshots that are believed, and whether the damage was reported."""
    scratch().write_bytes(data)
    try:
        opened = open_recording(scratch())
        return list(opened.readable()), opened.damage is not None
    except (BadValueError, DamagedRecordingError):
        return [], True


def assert_all_were_written(read):
    written = {one.index: one for one in phases(30)}
    for one in read:
        expected = written[one.index]
        # A lost block may take the address map with it.
        assert (one.columns, one.targets, one.unobservable, one.cost, one.start_ns) == (
            expected.columns,
            expected.targets,
            expected.unobservable,
            expected.cost,
            expected.start_ns,
        )


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_cut_anywhere(data):
    whole = example()
    read, damaged = read_damaged(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert damaged
    assert read == phases(30)[: len(read)]


@given(st.data())
@settings(deadline=None, max_examples=500)
def test_flipped_bits(data):
    broken = bytearray(example())
    places = st.tuples(st.integers(0, len(broken) - 1), st.integers(1, 255))
    for at, mask in data.draw(st.lists(places, min_size=1, max_size=4, unique_by=lambda p: p[0])):
        broken[at] ^= mask
    read, damaged = read_damaged(bytes(broken))
    assert_all_were_written(read)
    # Compressed frames have bits that decide nothing: then nothing is lost, and nothing is wrong.
    assert damaged or read == phases(30)


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_torn_and_patched(data):
    whole = example()
    a, b = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    filler = data.draw(st.binary(max_size=200))
    broken = whole[:a] + filler + whole[b:]
    read, damaged = read_damaged(broken)
    assert_all_were_written(read)
    assert damaged or broken == whole


def test_the_example_is_whole():
    assert read_damaged(example()) == (phases(30), False)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 29, 30, 31])
def test_cut_in_the_header(length):
    assert read_damaged(example()[:length]) == ([], True)
