"""Protocol buffers, as far as they are written here: varints, and bytes with their length."""

from __future__ import annotations

from collections.abc import Iterable

_U64 = (1 << 64) - 1


def varint(value: int) -> bytes:
    """Return a number; one below 0 as 64 bits of two's complement."""
    value &= _U64
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def number(field: int, value: int) -> bytes:
    """Return a field that is a number; 0 is what is not written."""
    return varint(field << 3) + varint(value) if value else b""


def data(field: int, value: bytes) -> bytes:
    """Return a field that is a text, or a message."""
    return varint(field << 3 | 2) + varint(len(value)) + value


def text(field: int, value: str) -> bytes:
    """Return a field that is a text."""
    return data(field, value.encode("utf-8", "backslashreplace"))


def packed(field: int, values: Iterable[int]) -> bytes:
    """Return a field of repeated numbers."""
    return data(field, b"".join(map(varint, values)))
