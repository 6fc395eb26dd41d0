"""
Arrow IPC messages (Arrow columnar format 1.0, little endian) in bytes and back.

Of the format's types those of `columns` are written and understood, others are passed over;
dictionaries, unions and views are refused. `batch` takes record batches apart. `BadMessageError`
says what did not fit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from isotherm.recording.columns import CODES, Column, Kind
from isotherm.recording.flatbuffer import BadMessageError, Structs, Table, build, unpack

#: Bounds of a schema that is read, its nested columns counted.
MAX_FIELDS: Final = 1000
MAX_DEPTH: Final = 16

END: Final = b"\xff\xff\xff\xff\0\0\0\0"
_CONTINUATION: Final = 0xFFFFFFFF
_VERSION: Final = 4  # MetadataVersion V5
_SCHEMA, _BATCH = 1, 3  # MessageHeader
#: Bytes, whoever holds them.
Data = bytes | bytearray | memoryview
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


def batch_message(rows: int, nodes: Sequence[int], buffers: Sequence[Data]) -> bytes:
    """Return a record batch message, as `batch_parts` has it."""
    return b"".join(batch_parts(rows, nodes, buffers))


def batch_parts(rows: int, nodes: Sequence[int], buffers: Sequence[Data]) -> list[Data]:
    """
    Return a record batch message in parts, the buffers as they are.

    rows: its length; nodes: length and number of nulls of each column in turn, depth first;
    buffers: of the columns in that order, all that `BUFFERS` counts.
    """
    places: list[int] = []
    body: list[Data] = []
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
    return [_message(_BATCH, table, at), *body]


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
