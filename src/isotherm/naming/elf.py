"""
ELF files: which large objects the writable memory of a program has, by their symbols.

As much of the format (System V gABI, chapters 4 and 5) as that takes; 64 bits, either byte order.
The files are somebody else's: every offset is checked, and what makes no sense is nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from isotherm.model.ranges import PAGE

#: Smaller objects are not told apart.
LEAST_BYTES = 4 * PAGE
#: Programs with more symbols are left alone, and of one no more objects are told.
_MOST_SYMBOLS, _MOST_OBJECTS = 200_000, 1000
_MOST_NAMES, _MOST_NAME = 32 << 20, 64
_MOST_HEADERS = 4096
_LOAD, _WRITABLE = 1, 2
_SYMBOLS, _DYNAMIC_SYMBOLS = 2, 11
_OBJECT, _NOWHERE, _ABSOLUTE = 1, 0, 0xFFF1
_BATCH = 4096

Read = Callable[[int, int], bytes]


class Object(NamedTuple):
    """Addresses [start, end) as the file was linked, and the symbol for them."""

    start: int
    end: int
    name: str


class Image(NamedTuple):
    """
    What a file says of memory, at the addresses that it was linked for.

    low: of its first page; end: of the last byte that is written, .bss included; objects: the
    large ones of writable memory, in order and apart.
    """

    low: int
    end: int
    objects: tuple[Object, ...]


def read_image(read: Read) -> Image | None:
    """
    Return what an ELF file says; None of what is none, or has no writable memory.

    read: returns the bytes at an offset, as many as asked for or there are.
    """
    head = read(0, 64)
    if len(head) < 64 or head[:5] != b"\x7fELF\x02" or head[5] not in (1, 2):
        return None
    order = "<" if head[5] == 1 else ">"
    _, _, _, _, segments_at, sections_at, _, _, size, nr, section_size, nr_sections, _ = (
        struct.unpack_from(f"{order}HHIQQQIHHHHHH", head, 16)
    )
    if size != 56 or section_size not in (0, 64):
        return None
    loads = [
        (flags, address, length)
        for kind, flags, _, address, _, _, length, _ in _rows(
            read, f"{order}IIQQQQQQ", segments_at, min(nr, _MOST_HEADERS)
        )
        if kind == _LOAD and length and address + length < 1 << 63
    ]
    writable = [(at, at + length) for flags, at, length in loads if flags & _WRITABLE]
    if not writable:
        return None
    sections = list(
        _rows(read, f"{order}IIQQQQIIQQ", sections_at, min(nr_sections, _MOST_HEADERS))
    )
    found = [
        one
        for one in islice(_objects(read, order, sections), 4 * _MOST_OBJECTS)
        if any(start <= one.start and one.end <= end for start, end in writable)
    ]
    low = min(address for _, address, _ in loads) // PAGE * PAGE
    return Image(low, max(end for _, end in writable), _apart(found)[:_MOST_OBJECTS])


def _rows(read: Read, form: str, at: int, nr: int) -> Iterator[tuple[int, ...]]:
    """Yield a table as far as it is there, a few thousand rows at a time."""
    size = struct.calcsize(form)
    for first in range(0, nr, _BATCH):
        data = read(at + first * size, min(_BATCH, nr - first) * size)
        yield from struct.iter_unpack(form, data[: len(data) // size * size])
        if len(data) < size:
            return


def _objects(read: Read, order: str, sections: list[tuple[int, ...]]) -> Iterator[Object]:
    """Yield the large objects by the table of all symbols, or of those that others link to."""
    tables = {one[1]: one for one in sections if one[1] in (_SYMBOLS, _DYNAMIC_SYMBOLS)}
    table = tables.get(_SYMBOLS) or tables.get(_DYNAMIC_SYMBOLS)
    if table is None or table[6] >= len(sections):
        return
    names_at, names_size = sections[table[6]][4:6]
    nr = table[5] // 24
    if nr > _MOST_SYMBOLS or names_size > _MOST_NAMES:
        return
    for name_at, info, _, section, value, size in _rows(read, f"{order}IBBHQQ", table[4], nr):
        large = info & 15 == _OBJECT and LEAST_BYTES <= size < 1 << 48 and value < 1 << 62
        if not large or section in (_NOWHERE, _ABSOLUTE) or name_at >= names_size:
            continue
        text = read(names_at + name_at, _MOST_NAME).split(b"\0", 1)[0]
        name = text.decode("ascii", "replace")
        if name.isprintable() and name:
            yield Object(value, value + size, name)


def _apart(objects: list[Object]) -> tuple[Object, ...]:
    """Return objects in order, of those at the same place the largest."""
    apart: list[Object] = []
    for one in sorted(objects, key=lambda one: (one.start, -one.end, one.name)):
        if not apart or apart[-1].end <= one.start:
            apart.append(one)
    return tuple(apart)
