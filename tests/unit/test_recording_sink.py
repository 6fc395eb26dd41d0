"""The sink of recordings: what a session says of itself, and nothing left behind for nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

import isotherm
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import MIB, fixed
from isotherm.clock import VirtualClock
from isotherm.errors import OutputError
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Access, Action, Pattern, Quota, Scheme
from isotherm.model.scheme_state import SchemeState, TriedRegion
from isotherm.model.snapshot import Columns
from isotherm.model.target import Target
from isotherm.recording.reader import open_recording
from isotherm.recording.sink import RecordingSink
from isotherm.recording.writer import RecordingWriter
from support.snapshots import phases


@dataclass
class Choice:
    reason: str = "asked for"
    whole_mappings: bool = False


@dataclass
class Session:
    backend: str = "sim"
    attrs: Attrs = field(default_factory=Attrs)
    profile: str | None = "7.3"
    operations: str | None = "vaddr"
    targets: tuple = (Target(7, "app", 42, group="/app.slice"),)
    choice: Choice | None = None


def test_what_is_taken_is_read(tmp_path):
    path = tmp_path / "r.isotherm"
    sink = RecordingSink(path)
    sink.open(Session(choice=Choice()))
    for one in phases(15):
        sink.take(one)
    sink.close()
    sink.close()
    opened = open_recording(path)
    assert list(opened) == phases(15)
    assert opened.info["backend"] == "sim"
    assert opened.info["backend_reason"] == "asked for"
    assert opened.info["attrs"]["aggr_us"] == 100_000
    assert opened.info["targets"][0]["group"] == "/app.slice"
    assert (opened.info["level"], opened.info["weight"]) == (0, 1)
    assert opened.info["start_monotonic_ns"] > 0
    assert (sink.nr_snapshots, sink.bytes_written) == (15, path.stat().st_size)


def test_regions_of_whole_mappings_are_told_as_such(tmp_path):
    path = tmp_path / "r.isotherm"
    sink = RecordingSink(path)
    sink.open(Session(choice=Choice(whole_mappings=True)))
    taken = [replace(one, shares=True) for one in phases(3)]
    for one in taken:
        sink.take(one)
    sink.close()
    assert list(open_recording(path)) == taken


def test_without_a_snapshot_no_file_is_left_behind(tmp_path):
    sink = RecordingSink(tmp_path / "r.isotherm")
    sink.open(Session())
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_without_a_snapshot_what_was_there_stays(tmp_path):
    path = tmp_path / "r.isotherm"
    path.write_text("an older one")
    sink = RecordingSink(path, force=True)
    sink.open(Session())
    sink.close()
    assert path.read_text() == "an older one"


def test_nothing_is_taken_before_it_is_open(tmp_path):
    sink = RecordingSink(tmp_path / "r.isotherm")
    with pytest.raises(OutputError):
        sink.take(phases(1)[0])
    sink.close()


def test_a_session_with_schemes_comes_back_whole(tmp_path):
    """Statistics, quotas and tried regions of a simulated session."""
    clock = VirtualClock()
    schemes = (
        Scheme(Action.STAT, Pattern(access=Access(0, 0)), name="idle"),
        Scheme(Action.PAGEOUT, Pattern(access=Access(0, 0)), quota=Quota(size_bytes=4 * MIB)),
    )
    path, sink, sent = tmp_path / "r.isotherm", RecordingSink(tmp_path / "r.isotherm"), []
    ops = SimOps(fixed(64 * MIB, hot=((0, 8 * MIB),)), clock)
    with isotherm.monitor(ops=ops, clock=clock, seed=3, aggr="100ms", schemes=schemes) as session:
        sink.open(session)
        for one in session.snapshots("3s"):
            sink.take(one)
            sent.append(one)
    sink.close()
    read = list(open_recording(path))
    assert read == sent
    idle, out = read[-1].schemes
    assert idle.stats.nr_tried > 100
    assert any(one.schemes[0].tried for one in read)
    assert out.effective_bytes == 4 * MIB
    assert out.stats.sz_applied >= 4 * MIB


def test_what_was_tried_on_a_target_that_ended_is_left_out(tmp_path):
    """Its number is of no target any more, and would be damage to a reader."""
    kept, gone = (TriedRegion(target, 0, 4096, 0, 0, 0, 0) for target in (0, 1))
    one = replace(phases(1)[0], targets=(Target(7, "app", 42),), columns=Columns())
    state = SchemeState("out", "pageout", tried=(kept, gone))
    with RecordingWriter(tmp_path / "r", {}) as writer:
        writer.write(replace(one, schemes=(state,)))
    [read] = open_recording(tmp_path / "r")
    assert read.schemes == (replace(state, tried=(kept,)),)
