"""damo's records, old and new, and what tracers print, into streams of windows."""

from __future__ import annotations

import json
import re
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from isotherm import _core
from isotherm.errors import BadValueError, DamagedRecordingError, quoted
from isotherm.recording.damo.streams import (
    UNKNOWN,
    Intervals,
    Key,
    Regions,
    Stream,
    Streams,
    in_order,
)
from isotherm.recording.damo.text import Source
from isotherm.schemefile.damo import numbers
from isotherm.schemefile.source import Node, Word
from isotherm.units import U64_MAX

#: Members of a record whose text is kept: others may be long.
_KEPT: Final = ("kdamond_idx", "context_idx", "scheme_idx", "target_id", "intervals")
_MAX_MEMBER: Final = 1 << 14
_VERSION_MAGIC: Final = b"damon_recfmt_ver"
_MAX_REGIONS: Final = 1 << 20
#: Bytes without anything of a window after which there is none to come: one of a million regions
#: takes less. What is read and tells of no window is taken for so many bytes, as it takes time.
_MAX_BARREN: Final = 1 << 30
_EMPTY_BYTES: Final = 1 << 13
_REGION: Final = struct.Struct("<QQI")


@dataclass(slots=True)
class Found:
    """
    What was left out while a record was read, and what is wrong with it.

    nr_read: windows, or parts of them, that were read so far; nr_empty: what else was, since
    the last piece of the text.
    """

    nr_read: int = 0
    nr_empty: int = 0
    left_out: int = 0
    damage: str = ""
    notes: list[str] = field(default_factory=list)

    def broken(self, what: str) -> None:
        """Take down what is wrong; only the first counts."""
        self.damage = self.damage or what


def read(source: Source, streams: Streams) -> Found:
    """
    Read all that can be read into `streams`.

    Raises `BadValueError` for what goes on and on without a window.
    """
    found = Found()
    readers = {"json": _read_json, "perf script": _read_script, "binary": _read_binary}
    try:
        readers[source.kind](source, streams, found)
    except DamagedRecordingError as err:
        found.broken(err.message)
    return found


def _pieces(source: Source, found: Found) -> Iterator[bytes]:
    """Yield the text, as long as something comes of it."""
    nr_read = barren = 0
    for piece in source.pieces():
        if found.nr_read != nr_read:
            nr_read, barren = found.nr_read, 0
        barren += len(piece) + _EMPTY_BYTES * found.nr_empty
        found.nr_empty = 0
        if barren > _MAX_BARREN:
            if nr_read:
                raise DamagedRecordingError("it goes on and on without a window")
            raise BadValueError(
                f"{quoted(source.name)} goes on and on without a window of a record",
                hint="files of damo record, perf script and trace-cmd report are imported",
            )
        yield piece


# JSON


def _read_json(source: Source, streams: Streams, found: Found) -> None:
    parser = _core.DamoJson()
    members: dict[str, Any] = {}
    waiting: list[tuple[int, int, int, Regions]] = []
    stream: Stream | None = None
    for event in _events(_pieces(source, found), parser):
        found.nr_empty += event[0] != "snapshot"
        match event:
            case ("member", key, value):
                name = key.decode("utf-8", "replace")
                if name in _KEPT:
                    members[name] = _member(name, value)
            case ("snapshot", start_ns, end_ns, sample_us, columns):
                found.nr_read += 1
                regions = _checked(Regions(*columns), found)
                if regions is None:
                    continue
                if end_ns < start_ns:
                    found.broken("a snapshot ends before it begins")
                    found.left_out += 1
                    continue
                if "target_id" in members or "intervals" in members:
                    # Writers tell of whom it is first.
                    stream = stream or streams.stream(*_stream_of(members))
                    streams.add(stream, start_ns, end_ns, regions, sample_us)
                else:
                    waiting.append((start_ns, end_ns, sample_us, regions))
            case ("record",):
                stream = streams.stream(*_stream_of(members))
                for start_ns, end_ns, sample_us, regions in waiting:
                    streams.add(stream, start_ns, end_ns, regions, sample_us)
                members, waiting, stream = {}, [], None
            case _:
                pass


def _events(pieces: Iterator[bytes], parser: _core.DamoJson) -> Iterator[tuple[Any, ...]]:
    ended = False
    for piece in pieces:
        parser.feed(piece)
        try:
            while (event := parser.next()) is not None:
                ended = event == ("end",)
                if ended:
                    break
                yield event
        except ValueError as err:
            raise DamagedRecordingError(f"{err}, at byte {parser.position}") from None
    if not ended:
        raise DamagedRecordingError("it has no end: it was cut short")


def _member(name: str, value: bytes) -> Any:
    if len(value) > _MAX_MEMBER:
        raise DamagedRecordingError(f"its {name} is too long")
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise DamagedRecordingError(f"its {name} is no JSON") from None


def _stream_of(members: dict[str, Any]) -> tuple[Key, Intervals | None]:
    key = Key(
        _index(members, "kdamond_idx") or 0,
        _index(members, "context_idx") or 0,
        _index(members, "scheme_idx"),
        _index(members, "target_id"),
    )
    return key, _intervals(members.get("intervals"))


def _index(members: dict[str, Any], name: str) -> int | None:
    value = members.get(name)
    if isinstance(value, str) and re.fullmatch(r"[0-9,]{1,26}", value, re.ASCII):
        value = int(value.replace(",", "") or -1)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= U64_MAX:
        raise DamagedRecordingError(f"its {name} is no number")
    return value


def _intervals(value: Any) -> Intervals | None:
    if value is None:
        return None
    found = []
    for name in ("sample_us", "aggr_us"):
        inner = value.get(name) if isinstance(value, dict) else None
        if not isinstance(inner, str | int | float) or isinstance(inner, bool):
            raise DamagedRecordingError(f"its intervals have no {name}")
        text = str(inner)
        try:
            found.append(numbers.us(Node(Word(text, ""), text), name))
        except ValueError:
            raise DamagedRecordingError(f"its {name} {quoted(text)} is no time") from None
    if not 0 < found[0] <= found[1] < 1 << 62:
        raise DamagedRecordingError("its intervals cannot be")
    return Intervals(*found)


def _checked(regions: Regions, found: Found) -> Regions | None:
    """Return the regions in order; None if they overlap, and then that is damage."""
    ordered = regions if regions.ordered else in_order(regions)
    if ordered is None:
        found.broken("regions of a snapshot overlap, or are empty")
        found.left_out += 1
    return ordered


# The text of tracers


@dataclass(slots=True)
class _Open:
    """A snapshot of which a part was read."""

    time_ns: int
    last_ns: int
    nr_regions: int
    parts: list[Regions]
    count: int


#: As `DAMO_MAX_GAP_NS`.
_MAX_GAP_NS: Final = 50_000_000
#: Snapshots that may be open at once: of so many threads and targets.
_MAX_OPEN: Final = 1 << 12


class _Script:
    def __init__(self, streams: Streams, found: Found) -> None:
        self._streams = streams
        self._found = found
        self._sample_us: dict[str, int] = {}
        self._open: dict[Key, _Open] = {}
        self.nr_windows = 0

    def tune(self, thread: bytes, sample_us: int) -> None:
        self._found.nr_empty += 1
        if len(self._sample_us) < _MAX_OPEN:
            self._sample_us[_thread(thread)] = sample_us

    def run(self, event: tuple[Any, ...]) -> None:
        thread, target, time_ns, last_ns, nr_regions, columns = event
        self._found.nr_read += 1
        regions = Regions(*columns)
        count = len(regions.nr_accesses) // 4
        key = Key(0, 0, None, target, _thread(thread))
        before = self._open.get(key)
        if before is not None:
            if (
                before.nr_regions == nr_regions
                and before.count + count <= nr_regions
                and 0 <= time_ns - before.last_ns <= _MAX_GAP_NS
            ):
                before.parts.append(regions)
                before.count += count
                before.last_ns = last_ns
            else:
                self._close(key)
                before = None
        if before is None:
            self._open[key] = before = _Open(time_ns, last_ns, nr_regions, [regions], count)
        if before.count == nr_regions:
            self._close(key)
        elif len(self._open) > _MAX_OPEN:
            self._close(next(iter(self._open)))

    def _close(self, key: Key) -> None:
        one = self._open.pop(key)
        regions = one.parts[0]
        if len(one.parts) > 1:
            regions = Regions(
                False,
                False,
                False,
                b"".join(part.start for part in one.parts),
                b"".join(part.end for part in one.parts),
                b"".join(part.nr_accesses for part in one.parts),
                b"".join(part.age for part in one.parts),
            )
        ordered = regions if regions.ordered else in_order(regions)
        if one.count != one.nr_regions or ordered is None:
            self._found.left_out += 1
            return
        self.nr_windows += 1
        sample_us = self._sample_us.get(key.thread, 0)
        stream = self._streams.stream(key, None)
        self._streams.add(stream, 0, one.time_ns, ordered, sample_us)

    def end(self) -> None:
        while self._open:
            self._close(next(iter(self._open)))


def _thread(thread: bytes) -> str:
    return thread.decode("utf-8", "surrogateescape")


def _read_script(source: Source, streams: Streams, found: Found) -> None:
    parser = _core.DamoScript()
    script = _Script(streams, found)
    try:
        for piece in _pieces(source, found):
            parser.feed(piece)
            _take(parser, script)
        parser.end()
        _take(parser, script)
    finally:
        script.end()
        nr_bad, first = parser.bad
        if nr_bad:
            found.broken(f"{nr_bad} of its lines cannot be read, the first is line {first}")


def _take(parser: _core.DamoScript, script: _Script) -> None:
    while (event := parser.next()) is not None:
        if event[0] == "run":
            script.run(event[1:])
        else:
            script.tune(*event[1:])


# The binary records of 2020 and 2021


class _Bytes:
    """Takes bytes one piece after the other."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._data = b""

    def take(self, size: int) -> bytes:
        """Return `size` bytes, or fewer at the end."""
        parts, left = [], size
        while left:
            if not self._data:
                self._data = next(self._pieces, b"")
                if not self._data:
                    break
            part, self._data = self._data[:left], self._data[left:]
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def numbers(self, form: str) -> tuple[int, ...]:
        data = self.take(struct.calcsize(form))
        if len(data) < struct.calcsize(form):
            raise DamagedRecordingError("it has no end: it was cut short")
        return struct.unpack(form, data)


def _read_binary(source: Source, streams: Streams, found: Found) -> None:
    data = _Bytes(_pieces(source, found))
    head = data.take(len(_VERSION_MAGIC))
    version = 0
    if head == _VERSION_MAGIC:
        (version,) = data.numbers("<i")
        if version not in (1, 2):
            raise DamagedRecordingError(f"it is of version {version}, which nobody knows")
        head = b""
    while head := head or data.take(16):
        if len(head) < 16:
            raise DamagedRecordingError("it has no end: it was cut short")
        sec, nsec = struct.unpack("<qq", head)
        head = b""
        (nr_targets,) = data.numbers("<I")
        if (
            not 0 <= sec < 1 << 33
            or not 0 <= nsec < 10**9
            or nr_targets > _MAX_REGIONS
            or not (sec or nsec or nr_targets)
        ):
            raise DamagedRecordingError("a time of it cannot be, or it is no record of damo")
        found.nr_empty += not nr_targets
        for _ in range(nr_targets):
            (target,) = data.numbers("<i" if version == 1 else "<Q")
            (count,) = data.numbers("<I")
            regions = _checked(_binary_regions(data, count), found)
            found.nr_read += 1
            if regions is not None:
                key = Key(0, 0, None, target & U64_MAX)
                streams.add(streams.stream(key, None), 0, sec * 10**9 + nsec, regions)


def _binary_regions(data: _Bytes, count: int) -> Regions:
    if count > _MAX_REGIONS:
        raise DamagedRecordingError("a snapshot has more than a million regions")
    rows = data.take(_REGION.size * count)
    if len(rows) < _REGION.size * count:
        raise DamagedRecordingError("it has no end: it was cut short")
    start, end, counts = array("Q"), array("Q"), array("I")
    for low, high, accesses in _REGION.iter_unpack(rows):
        start.append(low)
        end.append(high)
        counts.append(accesses)
    ages = array("I", [UNKNOWN]) * count
    return Regions(
        False, False, False, *(column.tobytes() for column in (start, end, counts, ages))
    )
