"""HotSpot's performance data (/tmp/hsperfdata_USER/PID): how large the heap may be."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator

from isotherm.model.mappings import Mappings
from isotherm.model.ranges import PAGE
from isotherm.naming import files

_FILE = re.compile(r"/tmp/hsperfdata_[^/]+/\d+")  # noqa: S108 - a name in an address map
_MOST_BYTES = 1 << 20
_MOST_ENTRIES = 10_000
_CAPACITY = re.compile(rb"sun\.gc\.generation\.\d+\.maxCapacity")


def data_file(mappings: Mappings) -> str | None:
    """Return the path of the data file that a process maps; None of what is no JVM."""
    for _, name in mappings.texts:
        if _FILE.fullmatch(name):
            return name
    return None


def heap_size(pid: int, path: str) -> int | None:
    """
    Return the bytes that are reserved for the heap of a JVM; None where that is not told.

    path: of the data file, as the process sees it. The file belongs to whoever runs it: what is
    read is bounded, and what makes no sense is nothing.
    """
    folder, _, name = path.rpartition("/")
    try:
        inside = files.open_folder(f"/proc/{pid}/root", folder)
        try:
            data = files.read_plain(inside, name, _MOST_BYTES)
        finally:
            os.close(inside)
    except OSError:
        return None
    found = [value for name, value in longs(data) if _CAPACITY.fullmatch(name)]
    # G1 counts the heap for each generation, and adds a few words, so that none is 0.
    size = max(found) // PAGE * PAGE if any(n % PAGE for n in found) else sum(found)
    return size if size > 0 else None


def longs(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield names and values of entries that are one long; ends where it makes no sense."""
    if len(data) < 32 or data[:4] != b"\xca\xfe\xc0\xc0" or data[4] not in (0, 1):
        return
    order = "<" if data[4] else ">"
    at, nr = struct.unpack_from(f"{order}ii", data, 24)
    for _ in range(min(nr, _MOST_ENTRIES)):
        if not 0 <= at <= len(data) - 20:
            return
        length, name_at, vector = struct.unpack_from(f"{order}iii", data, at)
        kind = data[at + 12]
        (value_at,) = struct.unpack_from(f"{order}i", data, at + 16)
        end = at + length
        if length < 20 or end > len(data) or not 20 <= name_at < length:
            return
        name = data[at + name_at : end].split(b"\0", 1)[0]
        if kind == ord("J") and not vector and 20 <= value_at <= length - 8:
            (value,) = struct.unpack_from(f"{order}q", data, at + value_at)
            yield name, value
        at = end
