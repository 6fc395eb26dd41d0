"""Snapshots to Arrow record batches."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, Protocol

from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Cost, Snapshot
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.recording.columns import CODES, Column
from isotherm.recording.format import (
    COLUMNS,
    MAX_MAPPINGS,
    MAX_SCHEMES,
    MAX_TARGETS,
    REGION_CODES,
    STATS,
)
from isotherm.recording.messages import batch_message
from isotherm.recording.texts import encode_text

_NOTHING = b""


class _Filling(Protocol):
    """A column that values are added to."""

    def append(self, value: Any) -> None:
        """Add a value; None is null."""

    def give(self, nodes: list[int], buffers: list[bytes | bytearray]) -> None:
        """Add what a record batch needs of this column and those inside it."""


def _validity(length: int, nulls: list[int]) -> bytes | bytearray:
    if not nulls:
        return _NOTHING
    bits = bytearray(b"\xff") * ((length + 7) // 8)
    for i in nulls:
        bits[i >> 3] &= ~(1 << (i & 7))
    return bits


class _Numbers:
    def __init__(self, code: str) -> None:
        self._values: array[Any] = array(code)
        self._nulls: list[int] = []

    def append(self, value: float | None) -> None:
        if value is None:
            self._nulls.append(len(self._values))
            value = 0
        self._values.append(value)

    def give(self, nodes: list[int], buffers: list[bytes | bytearray]) -> None:
        length = len(self._values)
        nodes += (length, len(self._nulls))
        buffers += (_validity(length, self._nulls), self._values.tobytes())


class _Truths:
    def __init__(self) -> None:
        self._length = 0
        self._false: list[int] = []

    def append(self, value: bool) -> None:
        if not value:
            self._false.append(self._length)
        self._length += 1

    def give(self, nodes: list[int], buffers: list[bytes | bytearray]) -> None:
        bits = bytearray(b"\xff") * ((self._length + 7) // 8)
        for i in self._false:
            bits[i >> 3] &= ~(1 << (i & 7))
        nodes += (self._length, 0)
        buffers += (_NOTHING, bits)


class _Texts:
    def __init__(self) -> None:
        self._offsets = array("i", [0])
        self._data = bytearray()

    def append(self, value: str) -> None:
        self._data += encode_text(value)
        self._offsets.append(len(self._data))

    def give(self, nodes: list[int], buffers: list[bytes | bytearray]) -> None:
        length = len(self._offsets) - 1
        nodes += (length, 0)
        buffers += (_NOTHING, self._offsets.tobytes() if length else _NOTHING, self._data)


class _Lists:
    """A list of structs: each value is an iterable of rows, one item per member."""

    def __init__(self, items: Column) -> None:
        self._offsets = array("i", [0])
        self._nulls: list[int] = []
        self._members = [_filling(member) for member in items.children]

    def append(self, value: Iterable[Iterable[Any]] | None) -> None:
        count = 0
        if value is None:
            self._nulls.append(len(self._offsets) - 1)
        else:
            for row in value:
                count += 1
                for member, item in zip(self._members, row, strict=True):
                    member.append(item)
        self._offsets.append(self._offsets[-1] + count)

    def give(self, nodes: list[int], buffers: list[bytes | bytearray]) -> None:
        length = len(self._offsets) - 1
        nodes += (length, len(self._nulls), self._offsets[-1], 0)
        offsets = self._offsets.tobytes() if length else _NOTHING
        buffers += (_validity(length, self._nulls), offsets, _NOTHING)
        for member in self._members:
            member.give(nodes, buffers)


class _Regions:
    """The list of regions, by whole columns."""

    def __init__(self) -> None:
        self.offsets = array("i", [0])
        self._columns = [(name, code, bytearray()) for name, code in REGION_CODES.items()]

    def append(self, value: Any) -> None:
        """Add `model.snapshot.Columns`; raise ValueError for one of wrong length or type."""
        length = len(value)
        for name, code, gathered in self._columns:
            items = memoryview(getattr(value, name))
            if items.format != code or len(items) != length:
                raise ValueError(f"column {name} is not {length} items of type {code}")
            gathered.extend(items.cast("B") if length else b"")
        self.offsets.append(self.offsets[-1] + length)

    def give(self, nodes: list[int], buffers: list[bytes | bytearray]) -> None:
        length, total = len(self.offsets) - 1, self.offsets[-1]
        nodes += (length, 0, total, 0)
        buffers += (_NOTHING, self.offsets.tobytes(), _NOTHING)
        for _, _, gathered in self._columns:
            nodes += (total, 0)
            buffers += (_NOTHING, gathered)


def _filling(column: Column) -> _Filling:
    if column.kind in CODES:
        return _Numbers(CODES[column.kind])
    if column.kind == "bool":
        return _Truths()
    return _Texts() if column.kind == "utf8" else _Lists(column.children[0])


def _within(rows: Any, limit: int) -> Any:
    if len(rows) > limit:
        raise ValueError(f"more than {limit} targets, mappings or schemes in one snapshot")
    return rows


def _targets(targets: tuple[Target, ...]) -> list[tuple[Any, ...]]:
    return [
        (
            target.id,
            target.name,
            target.pid,
            target.mapped_bytes,
            target.resident_bytes,
            target.proportional_bytes,
            target.group,
        )
        for target in _within(targets, MAX_TARGETS)
    ]


def _unobservable(ranges: tuple[Unobservable, ...]) -> list[tuple[Any, ...]]:
    return [(gap.target_id, gap.start, gap.end, gap.reason) for gap in ranges]


def _mappings(maps: dict[int, tuple[Mapping, ...]]) -> list[tuple[Any, ...]]:
    _within(range(sum(map(len, maps.values()))), MAX_MAPPINGS)
    return [
        (target_id, [(m.start, m.end, m.permissions, m.name) for m in entries])
        for target_id, entries in maps.items()
    ]


def _schemes(states: tuple[SchemeState, ...]) -> list[tuple[Any, ...]]:
    return [
        (
            state.title,
            state.action,
            *(getattr(state.stats, name) for name in STATS),
            state.stats.errors.items(),
            state.effective_bytes,
            state.charged_bytes,
            state.score,
            state.active,
            state.held,
            state.tried,
        )
        for state in _within(states, MAX_SCHEMES)
    ]


_COST = tuple(Cost.__slots__)


class Block:
    """Snapshots gathered until they are written together as one record batch."""

    def __init__(self) -> None:
        self._regions = _Regions()
        self._columns = [
            self._regions if column.name == "regions" else _filling(column) for column in COLUMNS
        ]
        self._targets: tuple[Target, ...] | None = None
        self._unobservable: tuple[Unobservable, ...] | None = None

    def __len__(self) -> int:
        return len(self._regions.offsets) - 1

    @property
    def nr_regions(self) -> int:
        """How many regions its snapshots have together."""
        return self._regions.offsets[-1]

    def add(self, snapshot: Snapshot) -> None:
        """
        Copy one snapshot into the block.

        Raises ValueError, TypeError or OverflowError for a value that has no place in the
        format; the block is of no use then.
        """
        targets = unobservable = None
        if snapshot.targets != self._targets:
            self._targets = snapshot.targets
            targets = _targets(snapshot.targets)
        if snapshot.unobservable != self._unobservable:
            self._unobservable = snapshot.unobservable
            unobservable = _unobservable(snapshot.unobservable)
        cost = snapshot.cost
        row = (
            snapshot.index,
            snapshot.start_ns,
            snapshot.end_ns,
            snapshot.sample_us,
            snapshot.aggr_us,
            *[getattr(cost, name) for name in _COST],
            snapshot.columns,
            targets,
            unobservable,
            None if snapshot.mappings is None else _mappings(snapshot.mappings),
            _schemes(snapshot.schemes),
            snapshot.monotonic_ns,
            snapshot.running_ns,
            snapshot.idle_ages,
        )
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def message(self) -> bytes:
        """Return the block as a record batch message."""
        nodes: list[int] = []
        buffers: list[bytes | bytearray] = []
        for column in self._columns:
            column.give(nodes, buffers)
        return batch_message(len(self), nodes, buffers)
