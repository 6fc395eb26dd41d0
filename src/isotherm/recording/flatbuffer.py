"""
FlatBuffers, as far as the metadata of Arrow messages need them.

Reading believes nothing: every offset is checked against the buffer before it is followed, and
whatever does not fit raises `BadMessageError`. Offsets point forward only, so that a walk down a
schema ends; how many tables it may meet is for the caller to bound.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final


class BadMessageError(Exception):
    """A message that cannot be believed, and why."""


_FORMS: Final = {
    form: struct.Struct(f"<{form}") for form in ("b", "B", "?", "h", "H", "i", "I", "q")
}
#: Sizes in bytes of the fixed-size kinds, by their struct format.
_SIZES: Final = {form: known.size for form, known in _FORMS.items()}


def unpack(form: str, data: bytes | memoryview, at: int) -> Any:
    """
    Return the one value of struct format `form` at byte `at` of `data`.

    Raises `BadMessageError` beyond the bounds of `data`.
    """
    try:
        if at >= 0:  # what is negative counts from the end
            return _FORMS[form].unpack_from(data, at)[0]
    except struct.error:
        pass
    raise BadMessageError("an offset leads out of it")


class Table:
    """
    A table to be read: its fields are asked for by their number in the FlatBuffers schema.

    data: the whole buffer; at: where the table begins in it.
    """

    __slots__ = ("_at", "_data", "_fields", "_inline")

    def __init__(self, data: memoryview, at: int) -> None:
        self._data, self._at = data, at
        vtable = at - unpack("i", data, at)
        size = unpack("H", data, vtable)
        self._inline = unpack("H", data, vtable + 2)
        if size < 4 or size % 2 or vtable + size > len(data) or at + self._inline > len(data):
            raise BadMessageError("a table leads out of it")
        self._fields = struct.unpack_from(f"<{size // 2 - 2}H", data, vtable + 4)

    def _place(self, slot: int, size: int) -> int:
        """Return where field `slot` of `size` bytes stands, 0 if it is absent."""
        offset: int = self._fields[slot] if slot < len(self._fields) else 0
        if offset and not 4 <= offset <= self._inline - size:
            raise BadMessageError("a field lies outside of its table")
        return self._at + offset if offset else 0

    def number(self, slot: int, form: str, default: int = 0) -> int:
        """Return the number of format `form` in field `slot`, `default` if it is absent."""
        place = self._place(slot, _SIZES[form])
        return int(unpack(form, self._data, place)) if place else default

    def _follow(self, slot: int) -> int:
        """Return where the offset in field `slot` leads, 0 if it is absent."""
        place = self._place(slot, 4)
        return self._follow_from(place) if place else 0

    def _follow_from(self, place: int) -> int:
        offset: int = unpack("I", self._data, place)
        if not offset or place + offset > len(self._data):
            raise BadMessageError("an offset leads out of it")
        return place + offset

    def table(self, slot: int) -> Table | None:
        """Return the table in field `slot`, None if it is absent."""
        place = self._follow(slot)
        return Table(self._data, place) if place else None

    def _vector(self, slot: int, item: int) -> tuple[int, int]:
        """Return start and length of the vector in field `slot` with items of `item` bytes."""
        place = self._follow(slot)
        if not place:
            return 0, 0
        length = unpack("I", self._data, place)
        if place + 4 + length * item > len(self._data):
            raise BadMessageError("a vector leads out of it")
        return place + 4, length

    def text(self, slot: int) -> str:
        """Return the text in field `slot`, "" if it is absent."""
        start, length = self._vector(slot, 1)
        try:
            return str(self._data[start : start + length], "utf-8")
        except UnicodeDecodeError:
            raise BadMessageError("a text of it is not UTF-8") from None

    def tables(self, slot: int) -> Iterator[Table]:
        """Yield the tables of the vector in field `slot`."""
        start, length = self._vector(slot, 4)
        for i in range(length):
            yield Table(self._data, self._follow_from(start + 4 * i))

    def structs(self, slot: int, form: str, size: int) -> list[tuple[Any, ...]]:
        """Return the structs of `size` bytes and struct format `form` of field `slot`."""
        start, length = self._vector(slot, size)
        return list(struct.iter_unpack("<" + form, self._data[start : start + length * size]))


@dataclass(frozen=True, slots=True)
class Structs:
    """A vector of structs to be written: their number, and their bytes (aligned to 8)."""

    count: int
    data: bytes


#: A field to be written: None leaves it out, (format, number) is inline, the others stand behind
#: the table and are pointed to. A tuple of fields is a table.
Field = None | tuple[str, int] | str | Structs | list[Any] | tuple[Any, ...]


def build(root: Sequence[Field]) -> bytes:
    """Return a buffer whose root table has these fields, padded to a multiple of 8 bytes."""
    out = bytearray(4)
    struct.pack_into("<I", out, 0, _table(out, root))
    _align(out, 8)
    return bytes(out)


def _is_number(field: Any) -> bool:
    return isinstance(field, tuple) and len(field) == 2 and field[0] in _SIZES


def _align(out: bytearray, unit: int, after: int = 0) -> None:
    """Pad so that what follows `after` more bytes is aligned to `unit`."""
    out += bytes(-(len(out) + after) % unit)


def _table(out: bytearray, fields: Sequence[Any]) -> int:
    """Append a table and all it points to; return where it begins."""
    places, at = [0] * len(fields), 4
    sizes = {
        slot: _SIZES[field[0]] if _is_number(field) else 4
        for slot, field in enumerate(fields)
        if field is not None
    }
    for slot in sorted(sizes, key=lambda slot: -sizes[slot]):
        at += -at % sizes[slot]
        places[slot] = at
        at += sizes[slot]
    vtable = struct.pack(f"<{2 + len(places)}H", 4 + 2 * len(places), at, *places)
    _align(out, 8, len(vtable))
    out += vtable
    start = len(out)
    out += struct.pack("<i", len(vtable)) + bytes(at - 4)
    for slot in sizes:
        field, place = fields[slot], start + places[slot]
        if _is_number(field):
            struct.pack_into("<" + field[0], out, place, field[1])
        else:
            struct.pack_into("<I", out, place, _object(out, field) - place)
    return start


def _object(out: bytearray, field: Any) -> int:
    """Append what a field points to; return where it begins."""
    if isinstance(field, tuple):
        return _table(out, field)
    if isinstance(field, Structs):
        _align(out, 8, 4)
        start = len(out)
        out += struct.pack("<I", field.count) + field.data
        return start
    _align(out, 4)
    start = len(out)
    if isinstance(field, str):
        data = field.encode()
        out += struct.pack("<I", len(data)) + data + b"\0"
        return start
    out += struct.pack("<I", len(field)) + bytes(4 * len(field))
    for i, entry in enumerate(field):
        place = start + 4 + 4 * i
        struct.pack_into("<I", out, place, _object(out, entry) - place)
    return start
