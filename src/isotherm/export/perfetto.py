"""
Counters over time for Perfetto: of each target what is resident, used and idle.

Field numbers are those of perfetto's protos/perfetto/trace. Times are ns of the day, as recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from isotherm.analysis.page_use import by_target, curve, idle_ages
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.errors import BadValueError, escaped
from isotherm.export import protobuf as pb
from isotherm.export.formats import Wishes
from isotherm.model.page_use import PageUse
from isotherm.model.snapshot import Snapshot, is_blind
from isotherm.model.target import Target
from isotherm.units import format_duration

_BYTES = 3  # CounterDescriptor.Unit.UNIT_SIZE_BYTES
_COUNTER = 4  # TrackEvent.Type.TYPE_COUNTER
_SEQUENCE = 1
_NEW_SEQUENCE = 1  # TracePacket.SequenceFlags.SEQ_INCREMENTAL_STATE_CLEARED
_I64 = (1 << 63) - 1
#: Lengths of time whose working sets are counters, where pages tell.
_TOLD_NS = (100_000_000, 1_000_000_000, 10_000_000_000, 60_000_000_000)


def write(recording: AnalysedRecording, out: BinaryIO, wishes: Wishes) -> list[str]:
    """Write a trace."""
    del wishes
    by_pages = recording.summary().use is not None
    trace = _Trace(out)
    for snapshot in recording.readable():
        for target, name, value in _values(snapshot, by_pages=by_pages):
            trace.count(snapshot.end_ns, target, name, value)
    if not trace.tracks:
        raise BadValueError("the recording holds no regions, so there is nothing to export")
    return []


def _values(snapshot: Snapshot, *, by_pages: bool) -> Iterator[tuple[Target | None, str, int]]:
    """Yield counters: the target (None: all together), the name and the value."""
    for target in snapshot.targets:
        if target.resident_bytes is not None:
            yield target, "resident", target.resident_bytes
    if snapshot.page_use is not None:
        yield from _by_pages(snapshot, snapshot.page_use)
    elif not by_pages:
        yield from _by_regions(snapshot)


def _by_pages(snapshot: Snapshot, use: PageUse) -> Iterator[tuple[Target | None, str, int]]:
    for point in curve(use):
        if point.window_ns in _TOLD_NS:
            yield None, f"used within {format_duration(point.window_ns)}", point.bytes
    for idle in idle_ages(use).ages:
        if idle.age_ns in _TOLD_NS:
            yield None, f"idle for {format_duration(idle.age_ns)}", idle.bytes
    for index, part in by_target(use):
        target = snapshot.targets[index]
        for ns, size in zip(use.windows_ns, part.row.used, strict=True):
            if ns in _TOLD_NS:
                yield target, f"used within {format_duration(ns)}", size


def _by_regions(snapshot: Snapshot) -> Iterator[tuple[Target | None, str, int]]:
    used = [0] * len(snapshot.targets)
    columns = snapshot.columns
    for target, start, end, count, unseen in zip(
        columns.target,
        columns.start,
        columns.end,
        columns.nr_accesses,
        columns.unobservable,
        strict=True,
    ):
        size = end - start
        if count and not is_blind(size, unseen):
            used[target] += snapshot.used_bytes(size - unseen, count)
    if not columns:
        return
    for target_, size in zip(snapshot.targets, used, strict=True):
        yield target_, "regions accessed in a window", size


class _Trace:
    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.tracks: dict[tuple[int | None, str], int] = {}
        self._parents: dict[int | None, int] = {}
        self._next = 1

    def _packet(self, *fields: bytes) -> None:
        self._out.write(pb.data(1, b"".join((*fields, pb.number(10, _SEQUENCE)))))

    def _uuid(self) -> int:
        self._next += 1
        return self._next

    def count(self, at_ns: int, target: Target | None, name: str, value: int) -> None:
        """Say the value of a counter at a time."""
        key = None if target is None else target.id, name
        if key not in self.tracks:
            self.tracks[key] = self._track(target, name)
        event = (
            pb.number(9, _COUNTER) + pb.number(11, self.tracks[key]) + _value(30, min(value, _I64))
        )
        self._packet(pb.number(8, at_ns), pb.data(11, event))

    def _track(self, target: Target | None, name: str) -> int:
        id_ = None if target is None else target.id
        if id_ not in self._parents:
            self._parents[id_] = self._parent(target)
        uuid = self._uuid()
        descriptor = (
            pb.number(1, uuid)
            + pb.text(2, name)
            + pb.number(5, self._parents[id_])
            + pb.data(8, pb.number(3, _BYTES))
        )
        self._packet(pb.data(60, descriptor))
        return uuid

    def _parent(self, target: Target | None) -> int:
        uuid = self._uuid()
        process = b""
        title = "all targets" if target is None else escaped(target.title)
        if target is not None and target.pid is not None and target.pid < 1 << 31:
            process = pb.data(3, pb.number(1, target.pid) + pb.text(6, escaped(target.name)))
        first = pb.number(13, _NEW_SEQUENCE) if uuid == 2 else b""  # the first packet of all
        self._packet(pb.data(60, pb.number(1, uuid) + pb.text(2, title) + process), first)
        return uuid


def _value(field: int, value: int) -> bytes:
    """Return a field of a number that is one of several: 0 is written as well."""
    return pb.varint(field << 3) + pb.varint(value)
