"""
What was read of a record, until all of it is known: a stream of windows for each target.

Regions wait in a nameless file, so that memory depends on the number of windows alone: damo's
files tell one target after the other, a snapshot holds all of them.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

from isotherm.errors import DamagedRecordingError
from isotherm.recording.format import MAX_TARGETS

#: A count or an age that is not told.
UNKNOWN: Final = 2**32 - 1
#: Bytes of a region in the file: start, end, nr_accesses and an age of 4 bytes.
_REGION_BYTES: Final = 24
_BUFFER_BYTES: Final = 1 << 18
_PERCENT, _US = 1, 2


class Key(NamedTuple):
    """What a stream is of; `thread`: who printed it, where that is all that tells them apart."""

    kdamond: int
    context: int
    scheme: int | None
    target: int | None
    thread: str = ""


class Intervals(NamedTuple):
    """Sampling and aggregation interval in microseconds."""

    sample_us: int
    aggr_us: int


class Regions(NamedTuple):
    """
    Regions of a window as they were written: little-endian columns.

    counts_percent: nr_accesses are thousandths of a percent; age_is_us: ages are microseconds, of
    8 bytes; ordered: ascending, apart and none empty.
    """

    counts_percent: bool
    age_is_us: bool
    ordered: bool
    start: bytes
    end: bytes
    nr_accesses: bytes
    age: bytes


@dataclass(slots=True)
class Stream:
    """
    The windows of a target, one item of each column for a window.

    intervals: None where the file does not tell; at: where its regions are in the file; counts:
    how many; starts, ends: times in ns, a start of 0 is not known; sample_us: 0 where it is that
    of `intervals`; units: `_PERCENT`, `_US`.
    """

    key: Key
    intervals: Intervals | None = None
    at: array[int] = field(default_factory=lambda: array("Q"))
    counts: array[int] = field(default_factory=lambda: array("I"))
    starts: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    sample_us: array[int] = field(default_factory=lambda: array("Q"))
    units: bytearray = field(default_factory=bytearray)
    most_accesses: int = 0

    def __len__(self) -> int:
        return len(self.ends)


class Streams:
    """All streams of a record, with their regions in a nameless file; close it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by `close`
        self._pending = bytearray()
        self._written = 0
        self.by_key: dict[tuple[Key, Intervals | None], Stream] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def stream(self, key: Key, intervals: Intervals | None) -> Stream:
        """Return the stream of a target; raise `DamagedRecordingError` if there are too many."""
        found = self.by_key.get((key, intervals))
        if found is None:
            if len(self.by_key) >= MAX_TARGETS:
                raise DamagedRecordingError(f"more than {MAX_TARGETS} targets")
            found = self.by_key[key, intervals] = Stream(key, intervals)
        return found

    def add(
        self, stream: Stream, start_ns: int, end_ns: int, regions: Regions, sample_us: int = 0
    ) -> None:
        """
        Add a window to a stream.

        start_ns: 0 where it is not known; sample_us: 0 where it is that of all of the stream.
        """
        count = len(regions.nr_accesses) // 4
        stream.at.append(self._written + len(self._pending))
        stream.counts.append(count)
        stream.starts.append(start_ns)
        stream.ends.append(end_ns)
        stream.sample_us.append(sample_us)
        stream.units.append(_PERCENT * regions.counts_percent | _US * regions.age_is_us)
        if stream.intervals is None and count:
            stream.most_accesses = max(stream.most_accesses, _most(regions.nr_accesses))
        for column in regions[3:]:
            self._pending += column
        if len(self._pending) >= _BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        left = memoryview(self._pending)
        while left:
            left = left[self._file.write(left) or 0 :]
        self._written += len(self._pending)
        self._pending = bytearray()

    def read(self, stream: Stream, i: int) -> Regions:
        """Return the regions of window `i`."""
        if self._pending:
            self._flush()
        count, units = stream.counts[i], stream.units[i]
        width = 8 if units & _US else 4
        size = (_REGION_BYTES - 4 + width) * count
        data = os.pread(self._file.fileno(), size, stream.at[i])
        return Regions(
            bool(units & _PERCENT),
            bool(units & _US),
            ordered=True,
            start=data[: 8 * count],
            end=data[8 * count : 16 * count],
            nr_accesses=data[16 * count : 20 * count],
            age=data[20 * count :],
        )


def _most(data: bytes) -> int:
    counts = array("I", data)
    most = max(counts)
    return most if most != UNKNOWN else max((n for n in counts if n != UNKNOWN), default=0)


def in_order(regions: Regions) -> Regions | None:
    """Return the regions in the order of addresses; None where some overlap, or are empty."""
    start, end = array("Q", regions.start), array("Q", regions.end)
    rows = sorted(
        zip(
            start,
            end,
            array("I", regions.nr_accesses),
            array("Q" if regions.age_is_us else "I", regions.age),
            strict=True,
        )
    )
    before = 0
    for low, high, *_ in rows:
        if not before <= low < high:
            return None
        before = high
    if not rows:
        return regions
    columns = [array("Q"), array("Q"), array("I"), array("Q" if regions.age_is_us else "I")]
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        column.extend(values)
    return Regions(
        regions.counts_percent, regions.age_is_us, True, *(column.tobytes() for column in columns)
    )
