"""
Arrow record batches taken apart: columns whose every length, offset and bound has been checked.

Only what is asked for is looked at; the rest of a batch is counted and passed over. This is pure
Python on purpose: no input makes it read memory that is not the message's.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from isotherm.recording.columns import BUFFERS, CODES, Column, Kind
from isotherm.recording.flatbuffer import BadMessageError
from isotherm.recording.messages import Message
from isotherm.recording.texts import decode_text

_NOTHING = memoryview(b"")
#: Shared, and never added to.
_NO_CHILDREN: Final[dict[str, Vector]] = {}
_SIZES: Final = {code: struct.calcsize(code) for code in (*CODES.values(), "B", "i")}


class Vector:
    """
    The values of a column: `length` of them.

    values: the items of a column of numbers, or of all lists of numbers, the bits of truth values;
    offsets: length + 1 of them, rising, of text into `text`, of lists into their items; children:
    by name, the members of a struct, or of the structs that are the items of lists; valid: a bit
    per value, None if none is null.
    """

    __slots__ = ("children", "length", "offsets", "text", "valid", "values")

    def __init__(
        self,
        length: int,
        *,
        valid: memoryview | None = None,
        values: memoryview = _NOTHING,
        offsets: memoryview = _NOTHING,
        children: dict[str, Vector] = _NO_CHILDREN,
    ) -> None:
        self.length = length
        self.valid = valid
        self.values = values
        self.offsets = offsets
        self.text = _NOTHING
        self.children = children

    def has(self, i: int) -> bool:
        """Whether value `i` is there, and not null."""
        return self.valid is None or bool(self.valid[i >> 3] >> (i & 7) & 1)

    def is_true(self, i: int) -> bool:
        """Return truth value `i`."""
        return bool(self.values[i >> 3] >> (i & 7) & 1)

    def number(self, i: int) -> Any:
        """Return number `i`, None for null."""
        return self.values[i] if self.has(i) else None

    def numbers(self) -> list[Any]:
        """Return all numbers, None for null."""
        if self.valid is None:
            return self.values.tolist()
        return [self.number(i) for i in range(self.length)]


@dataclass(frozen=True, slots=True)
class _Part:
    """
    What to do with a column of a batch, and with all that is nested in it.

    nodes, buffers: how many it has altogether; wanted: whether it is read; code: the struct format
    of its numbers, "" where it is not of numbers; items: of a list;
    members: of a struct; empty: those of a struct, or of a list's items, where there are none;
    absent: of a struct, those that are wanted and are not there, as they may be null.
    """

    name: str
    kind: Kind
    nullable: bool
    nodes: int
    buffers: int
    wanted: bool
    code: str
    items: _Part | None = None
    members: tuple[_Part, ...] = ()
    empty: dict[str, Vector] = field(default_factory=dict)
    absent: tuple[str, ...] = ()


def _part(column: Column, wanted: Column | None) -> _Part:
    parts = _parts(column.children, () if wanted is None else wanted.children)
    items = parts[0] if column.kind == "list" else None
    absent = _absent(column, wanted)
    empty = {part.name: _empty(part) for part in parts}
    empty |= dict.fromkeys(absent, _nothing(0))
    return _Part(
        column.name,
        column.kind,
        wanted is not None and wanted.nullable,
        1 + sum(part.nodes for part in parts),
        BUFFERS[column.kind] + sum(part.buffers for part in parts),
        wanted is not None,
        CODES.get(column.kind, ""),
        items,
        parts,
        empty if items is None else items.empty,
        absent,
    )


def _absent(column: Column, wanted: Column | None) -> tuple[str, ...]:
    """Return the members that are wanted of a struct and that it does not have."""
    if wanted is None or column.kind != "struct":
        return ()
    names = {child.name for child in column.children}
    return tuple(child.name for child in wanted.children if child.name not in names)


def _nothing(length: int) -> Vector:
    """Return so many nulls."""
    return Vector(length, valid=memoryview(bytes(length // 8 + 1)))


def _parts(columns: Sequence[Column], wanted: Sequence[Column]) -> tuple[_Part, ...]:
    by_name = {column.name: column for column in wanted}
    if len(columns) == len(wanted) == 1:  # the items of lists may have any name
        return (_part(columns[0], wanted[0]),)
    return tuple(_part(column, by_name.get(column.name)) for column in columns)


def _empty(part: _Part) -> Vector:
    return Vector(0, offsets=memoryview(bytes(4)).cast("i"), children=part.empty)


class Layout:
    """
    How the batches of a stream are taken apart.

    columns: of its schema; wanted: those that are read, which the schema must have
    (`Column.fits`), but for some that may be null: these are null where they are missing.
    """

    def __init__(self, columns: Sequence[Column], wanted: Sequence[Column]) -> None:
        by_name = {column.name: column for column in wanted}
        self.parts = tuple(_part(column, by_name.get(column.name)) for column in columns)
        self.absent = by_name.keys() - {column.name for column in columns}
        self.nodes = sum(part.nodes for part in self.parts)
        self.buffers = sum(part.buffers for part in self.parts)


class Batch:
    """
    A record batch: its length, and its columns by name.

    message: that of the batch; layout: of the stream that it is of. Raises `BadMessageError`.
    """

    def __init__(self, message: Message, layout: Layout) -> None:
        header = message.header
        if header.table(3) is not None:
            raise BadMessageError("a block is compressed inside")
        self.length = header.number(0, "q")
        self._body, self._size = message.body, len(message.body)
        self._nodes, self._node = header.structs(1, "qq", 16), 0
        self._buffers, self._buffer = header.structs(2, "qq", 16), 0
        counts = (len(self._nodes), len(self._buffers))
        if counts != (layout.nodes, layout.buffers) or self.length < 0:
            raise BadMessageError("a block has not the columns of its schema")
        self.columns = self._read_all(layout.parts, self.length)
        if layout.absent:
            self.columns |= dict.fromkeys(layout.absent, _nothing(self.length))

    def _read_all(self, parts: Sequence[_Part], least: int) -> dict[str, Vector]:
        """Read columns of at least so many values (lists may leave some of their items out)."""
        found = {}
        for part in parts:
            if part.wanted:
                found[part.name] = self._read(part, least)
            else:
                self._pass_over(part)
        return found

    def _pass_over(self, part: _Part) -> None:
        self._node += part.nodes
        self._buffer += part.buffers

    def _next(self) -> tuple[int, int]:
        """Return where the next buffer is, and how long."""
        start, length = found = self._buffers[self._buffer]
        self._buffer += 1
        if start < 0 or length < 0 or start + length > self._size:
            raise BadMessageError("a column lies outside of its block")
        return found

    def _take(self) -> memoryview:
        start, length = self._next()
        return self._body[start : start + length]

    def _items(self, code: str, count: int) -> memoryview:
        """Return the next buffer as `count` items of struct format `code`."""
        start, length = self._next()
        size = count * _SIZES[code]
        if length < size:
            raise BadMessageError("a column is shorter than its length")
        if not size:  # nothing has no address, and a view of it cannot be cast
            return memoryview(array(code))
        return self._body[start : start + size].cast(code)  # type: ignore[call-overload,no-any-return]

    def _read(self, part: _Part, least: int) -> Vector:
        length, nulls = self._nodes[self._node]
        self._node += 1
        if length < least or not 0 <= nulls <= length:
            raise BadMessageError("a column has an impossible length")
        vector = Vector(length)
        if nulls:
            if not part.nullable:
                raise BadMessageError(f"null where a value must be, in {part.name!r}")
            vector.valid = _validity(self._take(), length, nulls)
        else:
            self._next()
        if part.code:
            vector.values = self._items(part.code, length)
        elif part.kind == "bool":
            vector.values = self._items("B", (length + 7) // 8)
        elif part.kind == "utf8":
            offsets, vector.text = self._take(), self._take()
            vector.offsets = _offsets(offsets, length, len(vector.text))
        elif part.items is not None:
            offsets = self._take()
            if self._nodes[self._node][0]:
                items = self._read(part.items, 0)
                vector.values, vector.children = items.values, items.children
                vector.offsets = _offsets(offsets, length, items.length)
            else:
                vector.offsets = _offsets(offsets, length, 0)
                vector.children = part.empty
                self._pass_over(part.items)
        elif nulls < length:  # of what is null nothing is read
            vector.children = self._read_all(part.members, length)
            if part.absent:
                vector.children |= dict.fromkeys(part.absent, _nothing(length))
        else:
            vector.children = part.empty
            self._node += part.nodes - 1
            self._buffer += part.buffers - 1
        return vector


def span(lists: Vector, i: int, limit: int) -> range:
    """
    Return where the items of list `i` are.

    limit: how many there may be. Raises `BadMessageError` for more, and for a list that is null.
    """
    ends = lists.offsets[i : i + 2]
    if len(ends) < 2:
        raise BadMessageError("a list is null that cannot be")
    low, high = ends
    if high - low > limit:
        raise BadMessageError(f"more than {limit} in one list")
    return range(low, high)


def text_of(vector: Vector, i: int) -> str:
    """Return text `i`; raise `BadMessageError` where it is none that a writer writes."""
    low, high = vector.offsets[i : i + 2]
    return decode_text(vector.text[low:high])


def _validity(bits: memoryview, length: int, nulls: int) -> memoryview:
    size = (length + 7) // 8
    if len(bits) < size:
        raise BadMessageError("a column does not say which of its values are null")
    known = int.from_bytes(bits[:size], "little") & (1 << length) - 1
    if known.bit_count() != length - nulls:
        raise BadMessageError("a column has not as many nulls as it says")
    return bits[:size]


def _offsets(data: memoryview, length: int, limit: int) -> memoryview:
    """Return the offsets of `length` values into something of `limit` items or bytes."""
    if not length and not data:
        return memoryview(bytes(4)).cast("i")
    size = 4 * (length + 1)
    if len(data) < size:
        raise BadMessageError("a column is shorter than its length")
    offsets = data[:size].cast("i")
    values = offsets.tolist()
    if values[0] < 0 or values[-1] > limit or values != sorted(values):
        raise BadMessageError("offsets of a column run backwards, or out of it")
    return offsets
