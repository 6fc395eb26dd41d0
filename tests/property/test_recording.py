"""Whatever happens to a recording's bytes: no crash, and no snapshot that was not written."""

from __future__ import annotations

import tempfile
from array import array
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm.errors import BadValueError, DamagedRecordingError
from isotherm.model.snapshot import Columns, Cost, Snapshot
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.recording.reader import open_recording
from isotherm.recording.writer import RecordingWriter
from support.snapshots import phases

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
maybe = st.none() | u64
ns = st.integers(0, 2**62)
name = st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def snapshots(draw):
    targets = draw(
        st.lists(st.builds(Target, u32, name, st.none() | u32, st.none() | u64), max_size=3)
    )
    rows = draw(st.lists(st.tuples(u32, u64, u64, u32, u32, u64), max_size=20))
    values = zip(*rows, strict=True) if rows else ((),) * 6
    return Snapshot(
        *(draw(strategy) for strategy in (u64, ns, ns, u64, u64)),
        targets=tuple(targets),
        columns=Columns(*(array(c, v) for c, v in zip("IQQIIQ", values, strict=True))),
        unobservable=tuple(
            draw(st.lists(st.builds(Unobservable, u32, u64, u64, name), max_size=2))
        ),
        cost=draw(st.builds(Cost, u64, u64, maybe, u64, maybe, maybe)),
        mappings=draw(
            st.none()
            | st.dictionaries(
                u32,
                st.lists(st.builds(Mapping, u64, u64, name, name), max_size=2).map(tuple),
                max_size=2,
            )
        ),
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


@given(st.lists(snapshots(), max_size=8), st.sampled_from([0, 0.1, 1e6]))
@settings(deadline=None)
def test_round_trip(sent, flush_every_s):
    with RecordingWriter(scratch(), {}, force=True, flush_every_s=flush_every_s) as writer:
        for one in sent:
            writer.write(one)
    assert list(open_recording(scratch())) == sent


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
