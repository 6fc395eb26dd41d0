"""Snapshots to Arrow record batches."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import Any, Final, Protocol

from isotherm.model.mappings import Mappings
from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Columns, Cost, Snapshot
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.recording.columns import CODES, Column, Kind
from isotherm.recording.format import (
    BLOCK_REGIONS,
    BLOCK_ROWS,
    COLUMNS,
    MAX_MAPPINGS,
    MAX_SCHEMES,
    MAX_TARGETS,
    REGION_CODES,
    STATS,
    USE_ROW_REGIONS,
)
from isotherm.recording.messages import Data, batch_parts
from isotherm.recording.page_use import use_values
from isotherm.recording.texts import encode_text

_NOTHING = b""
#: Rows of structs that are turned into columns at a time.
_BATCH = 1024
#: What stands, unread, in the members of a struct that is null.
_UNREAD: Final[dict[Kind, Any]] = {
    "uint32": 0, "uint64": 0, "float64": 0, "timestamp": 0, "bool": False, "utf8": "", "list": (),
}  # fmt: skip


class _Filling(Protocol):
    """A column that values are added to."""

    def append(self, value: Any) -> None:
        """Add a value; None is null."""

    def extend(self, values: Iterable[Any]) -> None:
        """Add values, none of which is null."""

    def give(self, nodes: list[int], buffers: list[Data]) -> None:
        """Add what a record batch needs of this column and those inside it."""


def _validity(length: int, nulls: list[int]) -> bytes | bytearray:
    if not nulls:
        return _NOTHING
    bits = bytearray(b"\xff") * ((length + 7) // 8)
    for i in nulls:
        bits[i >> 3] &= ~(1 << (i & 7))
    return bits


def _bytes_of(values: array[Any]) -> Data:
    """Return what an array holds, without a copy; it cannot grow from then on."""
    return memoryview(values).cast("B") if values else _NOTHING


class _Numbers:
    def __init__(self, code: str) -> None:
        self._values: array[Any] = array(code)
        self._nulls: list[int] = []

    def append(self, value: float | None) -> None:
        if value is None:
            self._nulls.append(len(self._values))
            value = 0
        self._values.append(value)

    def extend(self, values: Iterable[float]) -> None:
        self._values.extend(values)

    def give(self, nodes: list[int], buffers: list[Data]) -> None:
        length = len(self._values)
        nodes += (length, len(self._nulls))
        buffers += (_validity(length, self._nulls), _bytes_of(self._values))


class _Truths:
    def __init__(self) -> None:
        self._length = 0
        self._false: list[int] = []

    def append(self, value: bool) -> None:
        if not value:
            self._false.append(self._length)
        self._length += 1

    def extend(self, values: Iterable[bool]) -> None:
        for value in values:
            self.append(value)

    def give(self, nodes: list[int], buffers: list[Data]) -> None:
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

    def extend(self, values: Iterable[str]) -> None:
        texts = list(values)
        known = {text: encode_text(text) for text in set(texts)}  # of thousands most are alike
        encoded = [known[text] for text in texts]
        ends = accumulate(map(len, encoded), initial=len(self._data))
        self._offsets.extend(islice(ends, 1, None))
        self._data += b"".join(encoded)

    def give(self, nodes: list[int], buffers: list[Data]) -> None:
        length = len(self._offsets) - 1
        nodes += (length, 0)
        buffers += (_NOTHING, _bytes_of(self._offsets) if length else _NOTHING, self._data)


class _Structs:
    """A struct: each value is an iterable of one item per member."""

    def __init__(self, members: Sequence[Column]) -> None:
        self._length = 0
        self._nulls: list[int] = []
        self._members = [_filling(member) for member in members]
        self._unread = [_UNREAD[member.kind] for member in members]

    def append(self, value: Iterable[Any] | None) -> None:
        if value is None:
            self._nulls.append(self._length)
            value = self._unread
        self._length += 1
        for member, item in zip(self._members, value, strict=True):
            member.append(item)

    def extend(self, values: Iterable[Iterable[Any]]) -> None:
        rest = iter(values)
        while rows := list(islice(rest, _BATCH)):
            self._length += len(rows)
            for member, items in zip(self._members, zip(*rows, strict=True), strict=True):
                if None in items and not isinstance(member, _Lists):
                    for item in items:
                        member.append(item)
                else:
                    member.extend(items)

    def give(self, nodes: list[int], buffers: list[Data]) -> None:
        nodes += (self._length, len(self._nulls))
        buffers.append(_validity(self._length, self._nulls))
        for member in self._members:
            member.give(nodes, buffers)


class _Lists:
    """A list of structs or of numbers: each value is a collection of what its items are."""

    def __init__(self, items: Column) -> None:
        self._offsets = array("i", [0])
        self._nulls: list[int] = []
        self._items = (
            _Numbers(CODES[items.kind]) if items.kind in CODES else _Structs(items.children)
        )

    def append(self, value: Collection[Any] | None) -> None:
        if value is None:
            self._nulls.append(len(self._offsets) - 1)
            value = ()
        self._items.extend(value)
        self._offsets.append(self._offsets[-1] + len(value))

    def extend(self, values: Iterable[Collection[Any] | None]) -> None:
        lists, first = list(values), len(self._offsets) - 1
        self._nulls += [first + i for i, value in enumerate(lists) if value is None]
        items = [() if value is None else value for value in lists]
        self._items.extend(chain.from_iterable(items))
        ends = accumulate(map(len, items), initial=self._offsets[-1])
        self._offsets.extend(islice(ends, 1, None))

    def give(self, nodes: list[int], buffers: list[Data]) -> None:
        length = len(self._offsets) - 1
        nodes += (length, len(self._nulls))
        offsets = _bytes_of(self._offsets) if length else _NOTHING
        buffers += (_validity(length, self._nulls), offsets)
        self._items.give(nodes, buffers)


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

    def extend(self, values: Iterable[Any]) -> None:
        for value in values:
            self.append(value)

    def give(self, nodes: list[int], buffers: list[Data]) -> None:
        length, total = len(self.offsets) - 1, self.offsets[-1]
        nodes += (length, 0, total, 0)
        buffers += (_NOTHING, _bytes_of(self.offsets), _NOTHING)
        for _, _, gathered in self._columns:
            nodes += (total, 0)
            buffers += (_NOTHING, gathered)


def _filling(column: Column) -> _Filling:
    if column.kind in CODES:
        return _Numbers(CODES[column.kind])
    if column.kind == "bool":
        return _Truths()
    if column.kind == "utf8":
        return _Texts()
    return _Structs(column.children) if column.kind == "struct" else _Lists(column.children[0])


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


class _Lines(Collection[Any]):
    """An address map as rows, made when they are asked for: there may be thousands."""

    def __init__(self, entries: Sequence[Mapping]) -> None:
        self._entries = Mappings.of(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._entries.rows()

    def __contains__(self, row: object) -> bool:
        return row in list(self)


def _mappings(maps: dict[int, Sequence[Mapping]]) -> list[tuple[Any, ...]]:
    _within(range(sum(map(len, maps.values()))), MAX_MAPPINGS)
    return [(target_id, _Lines(entries)) for target_id, entries in maps.items()]


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


def _region_used(columns: Columns) -> array[int] | None:
    used = columns.used
    if used is not None and (used.typecode != "Q" or len(used) != len(columns)):
        raise ValueError(f"column used is not {len(columns)} items of type Q")
    return used


def _region_rates(columns: Columns) -> list[array[float] | None]:
    rates = [columns.rate, columns.low, columns.high]
    for told in rates:
        if (told is None) != (columns.rate is None):
            raise ValueError("rates of regions are told without their bounds, or the other way")
        if told is not None and (told.typecode != "d" or len(told) != len(columns)):
            raise ValueError(f"rates of regions are not {len(columns)} items of type d")
    return rates


def _region_share(columns: Columns) -> array[float] | None:
    share = columns.share
    if share is not None and (share.typecode != "d" or len(share) != len(columns)):
        raise ValueError(f"column share is not {len(columns)} items of type d")
    return share


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
        self._use_rows = 0

    def __len__(self) -> int:
        return len(self._regions.offsets) - 1

    @property
    def is_full(self) -> bool:
        """Whether it is to be written, however young it is."""
        size = self._regions.offsets[-1] + USE_ROW_REGIONS * self._use_rows
        return size >= BLOCK_REGIONS or len(self) >= BLOCK_ROWS

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
        cost, use = snapshot.cost, snapshot.page_use
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
            _region_used(snapshot.columns),
            None if use is None else use_values(use, len(snapshot.targets)),
            *_region_rates(snapshot.columns),
            snapshot.explored,
            _region_share(snapshot.columns),
        )
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)
        self._use_rows += 0 if use is None else len(use.rows) + len(use.groups)

    def parts(self) -> list[Data]:
        """Return the block as a record batch message, in parts; nothing can be added any more."""
        nodes: list[int] = []
        buffers: list[Data] = []
        for column in self._columns:
            column.give(nodes, buffers)
        return batch_parts(len(self), nodes, buffers)
