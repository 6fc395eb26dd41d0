"""
Arrow IPC messages (Arrow columnar format 1.0, little endian) in bytes and back.

Of the format's types those of `columns` are written and understood, others are passed over;
dictionaries, compressed bodies, unions and views are refused. `Batch` gives columns whose every
length, offset and bound has been checked; `BadMessageError` says what did not fit. This is pure
Python on purpose: no input makes it read memory that is not the message's.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import le
from typing import Final

from isotherm.recording.columns import BUFFERS, CODES, Column, Kind
from isotherm.recording.flatbuffer import BadMessageError, Structs, Table, build, unpack

#: Bounds of a schema that is read, its nested columns counted.
MAX_FIELDS: Final = 1000
MAX_DEPTH: Final = 16

END: Final = b"\xff\xff\xff\xff\0\0\0\0"
_CONTINUATION: Final = 0xFFFFFFFF
_VERSION: Final = 4  # MetadataVersion V5
_SCHEMA, _BATCH = 1, 3  # MessageHeader
_NS: Final = 3  # TimeUnit

#: Arrow's numbers of the types that we write, and of those that are passed over.
_TYPE_OF: Final[dict[Kind, int]] = {
    "uint32": 2, "uint64": 2, "float64": 3, "utf8": 5, "bool": 6, "timestamp": 10, "list": 12,
    "struct": 13,
}  # fmt: skip
_KIND_OF: Final[dict[int, Kind]] = {
    **{number: kind for kind, number in _TYPE_OF.items() if kind not in CODES},
    1: "null", 4: "varied", 7: "fixed", 8: "fixed", 9: "fixed", 11: "fixed", 15: "fixed",
    16: "fixed_list", 17: "map", 18: "fixed", 19: "varied", 20: "varied", 21: "large_list",
}  # fmt: skip


# Writing.


def _type(kind: Kind) -> tuple[object, ...]:
    if kind in ("uint32", "uint64"):
        return (("i", int(kind[4:])), ("?", 0))
    if kind == "float64":
        return (("h", 2),)
    return (("h", _NS), "UTC") if kind == "timestamp" else ()


def _field(column: Column) -> tuple[object, ...]:
    return (
        column.name,
        ("?", column.nullable),
        ("B", _TYPE_OF[column.kind]),
        _type(column.kind),
        None,
        [_field(child) for child in column.children],
    )


def _message(header: int, table: tuple[object, ...], body: int) -> bytes:
    metadata = build((("h", _VERSION), ("B", header), table, ("q", body)))
    return struct.pack("<II", _CONTINUATION, len(metadata)) + metadata


def schema_message(columns: Sequence[Column], metadata: dict[str, str]) -> bytes:
    """
    Return the message that begins a stream.

    columns: of every record batch to come; metadata: key and value of the schema.
    """
    fields = [_field(column) for column in columns]
    pairs = list(metadata.items())
    return _message(_SCHEMA, (("h", 0), fields, pairs), 0)


def batch_message(rows: int, nodes: Sequence[int], buffers: Sequence[bytes | bytearray]) -> bytes:
    """
    Return a record batch message.

    rows: its length; nodes: length and number of nulls of each column in turn, depth first;
    buffers: of the columns in that order, all that `BUFFERS` counts.
    """
    places: list[int] = []
    body: list[bytes | bytearray] = []
    at = 0
    for data in buffers:
        length = len(data)
        places += (at, length)
        body.append(data)
        if padding := -length % 8:
            body.append(bytes(padding))
        at += length + padding
    table = (
        ("q", rows),
        Structs(len(nodes) // 2, struct.pack(f"<{len(nodes)}q", *nodes)),
        Structs(len(buffers), struct.pack(f"<{len(places)}q", *places)),
    )
    return b"".join((_message(_BATCH, table, at), *body))


# Reading.


@dataclass(frozen=True, slots=True)
class Message:
    """
    One message: the table of its kind's own metadata, and its body.

    is_schema: a schema, else a record batch.
    """

    is_schema: bool
    header: Table
    body: memoryview


def messages(data: memoryview) -> Iterator[Message | None]:
    """
    Yield the whole messages that `data` is made of; None is the end of the stream.

    Raises `BadMessageError` for anything else, and for messages that are no schema or batch.
    """
    at = 0
    while at < len(data):
        length = unpack("I", data, at + 4)
        if unpack("I", data, at) != _CONTINUATION or length % 8:
            raise BadMessageError("no message begins where one should")
        at += 8
        if not length:
            yield None
            continue
        if at + length > len(data):
            raise BadMessageError("a message is longer than its frame")
        metadata = data[at : at + length]
        at += length
        root = Table(metadata, unpack("I", metadata, 0))
        header, kind, size = root.table(2), root.number(1, "B"), root.number(3, "q")
        if header is None or kind not in (_SCHEMA, _BATCH):
            raise BadMessageError("a message is neither a schema nor a block")
        if not 0 <= size <= len(data) - at:
            raise BadMessageError("a body is longer than its frame")
        yield Message(kind == _SCHEMA, header, data[at : at + size])
        at += size


@dataclass(slots=True)
class _Budget:
    fields: int = MAX_FIELDS


def read_schema(message: Message) -> tuple[tuple[Column, ...], dict[str, str]]:
    """
    Return the columns of a schema message, and its metadata.

    Raises `BadMessageError` for what cannot be read or passed over.
    """
    if message.header.number(0, "h"):
        raise BadMessageError("its numbers are big endian")
    budget = _Budget()
    columns = tuple(_column(table, budget, MAX_DEPTH) for table in message.header.tables(1))
    metadata = {}
    for pair in message.header.tables(2):
        budget.fields -= 1
        if budget.fields < 0:
            raise BadMessageError("its schema is too large")
        metadata[pair.text(0)] = pair.text(1)
    return columns, metadata


def _column(table: Table, budget: _Budget, depth: int) -> Column:
    budget.fields -= 1
    if budget.fields < 0 or not depth:
        raise BadMessageError("its schema is too large")
    if table.table(4) is not None:
        raise BadMessageError("a column is a dictionary")
    kind = _kind(table.number(2, "B"), table.table(3))
    children = tuple(_column(child, budget, depth - 1) for child in table.tables(5))
    column = Column(table.text(0), kind, bool(table.number(1, "B")), children)
    nested = {"list": 1, "map": 1, "fixed_list": 1, "large_list": 1}.get(kind, 0)
    if kind != "struct" and len(children) != nested:
        raise BadMessageError("a column has members that its type has not")
    return column


def _kind(number: int, details: Table | None) -> Kind:
    if details is None:
        raise BadMessageError("a column has no type")
    if number == 2:  # Int
        signed, bits = details.number(1, "B"), details.number(0, "i")
        if signed or bits not in (32, 64):
            return "fixed"
        return "uint32" if bits == 32 else "uint64"
    if number == 3:  # FloatingPoint
        return "float64" if details.number(0, "h") == 2 else "fixed"
    if number == 10:  # Timestamp
        return "timestamp" if details.number(0, "h") == _NS else "fixed"
    if number not in _KIND_OF:
        raise BadMessageError(f"a column is of Arrow's type {number}, which is not read")
    return _KIND_OF[number]


def _view(code: str, data: memoryview, count: int) -> memoryview:
    """Return `count` items of struct format `code` at the start of `data`."""
    size = count * struct.calcsize(code)
    if len(data) < size:
        raise BadMessageError("a column is shorter than its length")
    # Nothing has no address, and a view of it cannot be cast.
    return data[:size].cast(code) if size else memoryview(array(code))  # type: ignore[call-overload]


@dataclass(slots=True)
class Vector:
    """
    The values of a column: `length` of them.

    values: the items of a column of numbers, the bits of one of truth values; offsets: length + 1
    of them, rising, of text into `text`, of lists into the child; children: by name, of lists the
    members of their items; valid: a bit per value, None if none is null.
    """

    length: int
    valid: memoryview | None = None
    values: memoryview = field(default_factory=lambda: memoryview(b""))
    offsets: memoryview = field(default_factory=lambda: memoryview(b""))
    text: memoryview = field(default_factory=lambda: memoryview(b""))
    children: dict[str, Vector] = field(default_factory=dict)

    def has(self, i: int) -> bool:
        """Whether value `i` is there, and not null."""
        return self.valid is None or bool(self.valid[i >> 3] >> (i & 7) & 1)

    def is_true(self, i: int) -> bool:
        """Return truth value `i`."""
        return bool(self.values[i >> 3] >> (i & 7) & 1)


class Batch:
    """
    A record batch, taken apart by the columns of its schema.

    message: that of the batch; columns: of the schema before. Raises `BadMessageError`.
    """

    def __init__(self, message: Message, columns: Sequence[Column]) -> None:
        header = message.header
        if header.table(3) is not None:
            raise BadMessageError("a block is compressed inside")
        self.length = header.number(0, "q")
        self._body = message.body
        nodes, buffers = header.structs(1, "qq", 16), header.structs(2, "qq", 16)
        self._nodes, self._buffers = iter(nodes), iter(buffers)
        if (len(nodes), len(buffers)) != _counts(columns) or self.length < 0:
            raise BadMessageError("a block has not the columns of its schema")
        self.columns = {column.name: self._read(column, self.length) for column in columns}

    def _buffer(self) -> memoryview:
        start, length = next(self._buffers)
        if start < 0 or length < 0 or start + length > len(self._body):
            raise BadMessageError("a column lies outside of its block")
        return self._body[start : start + length]

    def _read(self, column: Column, least: int) -> Vector:
        """Read one column of at least so many values (a list may leave some of its items out)."""
        length, nulls = next(self._nodes)
        if length < least or not 0 <= nulls <= length:
            raise BadMessageError("a column has an impossible length")
        buffers = [self._buffer() for _ in range(BUFFERS[column.kind])]
        vector = Vector(length)
        if nulls and buffers:
            vector.valid = _validity(buffers[0], length, nulls)
            if not column.nullable:
                raise BadMessageError(f"null where a value must be, in {column.name!r}")
        if column.kind in CODES:
            vector.values = _view(CODES[column.kind], buffers[1], length)
        elif column.kind == "bool":
            vector.values = _view("B", buffers[1], (length + 7) // 8)
        elif column.kind == "utf8":
            vector.text = buffers[2]
            vector.offsets = _offsets(buffers[1], length, len(vector.text))
        elif column.kind == "list":
            self._read_items(column.children[0], vector, buffers[1])
        else:
            same = column.kind == "struct"
            vector.children = {
                child.name: self._read(child, length if same else 0) for child in column.children
            }
        return vector

    def _read_items(self, items: Column, vector: Vector, offsets: memoryview) -> None:
        child = self._read(items, 0)
        vector.offsets = _offsets(offsets, vector.length, child.length)
        vector.children = child.children


def _counts(columns: Sequence[Column]) -> tuple[int, int]:
    """Return how many nodes and buffers a batch of these columns has."""
    nodes, buffers = len(columns), 0
    for column in columns:
        below = _counts(column.children)
        nodes += below[0]
        buffers += BUFFERS[column.kind] + below[1]
    return nodes, buffers


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
    offsets = _view("i", data, length + 1)
    if offsets[0] < 0 or offsets[length] > limit or not _rises(offsets):
        raise BadMessageError("offsets of a column run backwards, or out of it")
    return offsets


def _rises(values: memoryview) -> bool:
    return all(map(le, values, islice(values, 1, None)))
