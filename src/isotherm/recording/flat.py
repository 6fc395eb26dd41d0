"""
A recording as one flat table in Arrow's stream format: a row for each region of each window.

Other programs read this without knowing us. What is written was checked when it was read.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, Final

from isotherm.model.snapshot import Columns, Snapshot
from isotherm.recording.columns import CODES, Column
from isotherm.recording.messages import END, batch_message, schema_message
from isotherm.recording.texts import encode_text

#: Rows of a record batch, about: whole windows are in one.
_BATCH_ROWS: Final = 1 << 16

COLUMNS: Final = (
    Column("window", "uint64"),
    Column("start_time", "timestamp"),
    Column("end_time", "timestamp"),
    Column("sample_us", "uint64"),
    Column("aggr_us", "uint64"),
    Column("target", "uint64"),
    Column("name", "utf8"),
    Column("pid", "uint32", nullable=True),
    Column("group", "utf8"),
    Column("start", "uint64"),
    Column("end", "uint64"),
    Column("nr_accesses", "uint32", nullable=True),
    Column("max_nr_accesses", "uint64"),
    Column("age", "uint32"),
    Column("unobservable", "uint64"),
    Column("used", "uint64", nullable=True),
    Column("rate", "float64", nullable=True),
    Column("low", "float64", nullable=True),
    Column("high", "float64", nullable=True),
    Column("share", "float64", nullable=True),
)
#: What not every monitor tells of regions.
_TOLD: Final = ("used", "rate", "low", "high", "share")


class _Numbers:
    def __init__(self, code: str) -> None:
        self.values: array[Any] = array(code)
        self.nulls: list[int] = []

    def repeat(self, value: int, count: int) -> None:
        self.values.extend(array(self.values.typecode, [value]) * count)

    def nothing(self, count: int) -> None:
        """Add so many nulls."""
        at = len(self.values)
        self.nulls.extend(range(at, at + count))
        self.repeat(0, count)

    def give(self, nodes: list[int], buffers: list[bytes | bytearray]) -> None:
        length = len(self.values)
        valid = bytearray()
        if self.nulls:
            valid = bytearray(b"\xff") * ((length + 7) // 8)
            for i in self.nulls:
                valid[i >> 3] &= ~(1 << (i & 7))
        nodes += (length, len(self.nulls))
        buffers += (valid, self.values.tobytes())


class _Texts:
    def __init__(self) -> None:
        self.offsets = array("i", [0])
        self.data = bytearray()

    def repeat(self, text: str, count: int) -> None:
        piece = encode_text(text).replace(b"\0", b"\\")  # NUL stands for what is no text
        at = self.offsets[-1]
        self.data += piece * count
        self.offsets.extend(range(at + len(piece), at + len(piece) * count + 1, len(piece))
                            if piece else array("i", [at]) * count)  # fmt: skip

    def give(self, nodes: list[int], buffers: list[bytes | bytearray]) -> None:
        nodes += (len(self.offsets) - 1, 0)
        buffers += (b"", self.offsets.tobytes(), self.data)


class _Batch:
    def __init__(self) -> None:
        self._columns: dict[str, Any] = {
            column.name: _Texts() if column.kind == "utf8" else _Numbers(CODES[column.kind])
            for column in COLUMNS
        }
        self.length = 0

    def add(self, snapshot: Snapshot) -> None:
        """Add the regions of a window."""
        columns, of = snapshot.columns, self._columns
        count = len(columns)
        if not count:
            return
        for name, value in (
            ("window", snapshot.index),
            ("start_time", snapshot.start_ns),
            ("end_time", snapshot.end_ns),
            ("sample_us", snapshot.sample_us),
            ("aggr_us", snapshot.aggr_us),
            ("max_nr_accesses", snapshot.max_nr_accesses),
        ):
            of[name].repeat(value, count)
        self._add_targets(snapshot)
        self._add_regions(columns)
        self.length += count

    def _add_targets(self, snapshot: Snapshot) -> None:
        of = self._columns
        for index, count in _runs(snapshot.columns.target):
            target = snapshot.targets[index]
            of["target"].repeat(target.id, count)
            of["name"].repeat(target.name, count)
            of["group"].repeat(target.group, count)
            if target.pid is None:
                of["pid"].nothing(count)
            else:
                of["pid"].repeat(target.pid, count)

    def _add_regions(self, columns: Columns) -> None:
        of = self._columns
        counts = of["nr_accesses"]
        if any(columns.unobservable):
            at = len(counts.values)
            counts.nulls += [
                at + i for i, region in enumerate(columns) if region.nr_accesses is None
            ]
        for name in ("start", "end", "nr_accesses", "age", "unobservable"):
            of[name].values.extend(getattr(columns, name))
        for name in _TOLD:
            if (told := getattr(columns, name)) is None:
                of[name].nothing(len(columns))
            else:
                of[name].values.extend(told)

    def message(self) -> bytes:
        """Return the batch as a message."""
        nodes: list[int] = []
        buffers: list[bytes | bytearray] = []
        for column in self._columns.values():
            column.give(nodes, buffers)
        return batch_message(self.length, nodes, buffers)


def _runs(target: array[int]) -> Iterator[tuple[int, int]]:
    """Yield each index and how often it stands there: they rise."""
    low = 0
    from bisect import bisect_right

    while low < len(target):
        high = bisect_right(target, target[low], low)
        yield target[low], high - low
        low = high


def flat_stream(snapshots: Iterable[Snapshot]) -> Iterator[bytes]:
    """Yield the messages of a stream: schema, record batches, end."""
    yield schema_message(COLUMNS, {})
    batch = _Batch()
    for snapshot in snapshots:
        batch.add(snapshot)
        if batch.length >= _BATCH_ROWS:
            yield batch.message()
            batch = _Batch()
    if batch.length:
        yield batch.message()
    yield END


class Readable(io.RawIOBase):
    """Pieces of bytes as a file to read from."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._pieces = iter(pieces)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill as much as one piece gives; 0 at the end."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        out = memoryview(buffer).cast("B")
        count = min(len(out), len(self._left))
        out[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
