"""The large objects in the .data and .bss of what a process runs, where they are in its memory."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator

from isotherm.model.mappings import Mappings
from isotherm.model.ranges import PAGE
from isotherm.naming import elf, files
from isotherm.naming.side_file import Part

#: Less memory that is written is not asked about.
_LEAST_BYTES = 64 << 10
#: What is known of so many files is kept, whoever runs them.
_MOST_FILES = 256
_KNOWN: dict[tuple[int, int, int, int], elf.Image | None] = {}


def symbols(pid: int, mappings: Mappings) -> list[Part]:
    """
    Return the parts of the memory of a process that have symbols, or are .bss: in order, apart.

    mappings: as the kernel has them. A part ends where its mapping does.
    """
    found: list[Part] = []
    for path, start, data_end, end in _written(mappings):
        image = _image(pid, path)
        if image is None:
            continue
        base = start - image.low
        bss_end = -(-(base + image.end) // PAGE) * PAGE
        if data_end <= bss_end <= end:
            found += _parts(mappings, image, base, (data_end, bss_end), path)
    return found


def _written(mappings: Mappings) -> Iterator[tuple[str, int, int, int]]:
    """
    Yield for each file that is mapped to be written privately, with anonymous memory behind that.

    Its path, where its first mapping starts, where its last one ends, and the anonymous memory.
    """
    bounds, texts = mappings.bounds, [mappings.texts[kind] for kind in mappings.kinds]
    first = 0  # of a run of mappings of one file
    for i, (rights, name) in enumerate(texts):
        if not i or texts[i - 1][1] != name:
            first = i
        is_last = i + 1 == len(texts) or texts[i + 1][1] != name
        if rights != "rw-p" or not is_last or not name.startswith("/"):
            continue
        data_end = end = bounds[2 * i + 1]
        if i + 1 < len(texts) and texts[i + 1] == ("rw-p", "") and bounds[2 * i + 2] == end:
            end = bounds[2 * i + 3]
        if end - bounds[2 * i] >= _LEAST_BYTES:
            yield name, bounds[2 * first], data_end, end


def _parts(
    mappings: Mappings, image: elf.Image, base: int, bss: tuple[int, int], path: str
) -> Iterator[Part]:
    """Yield the objects, cut where mappings end, and what of the .bss is between them."""
    at, end = bss
    rest = f"{path.rpartition('/')[2]} .bss"
    for one in image.objects:
        # In whole pages: what is left of one between two objects belongs to neither.
        start = -(-(base + one.start) // PAGE) * PAGE
        stop = min((base + one.end) // PAGE * PAGE, end)
        for low, high in _cut(mappings, start, stop):
            if at < low:
                yield Part(at, low, rest)
            yield Part(low, high, one.name)
            at = max(at, high)
    if at < end:
        yield Part(at, end, rest)


def _cut(mappings: Mappings, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the pieces of [start, end) that are in one mapping each."""
    while start < end:
        place = bisect_right(mappings.bounds, start)
        if not place % 2:
            return
        piece = min(end, mappings.bounds[place])
        yield start, piece
        start = piece


def _image(pid: int, path: str) -> elf.Image | None:
    folder, _, name = path.rpartition("/")
    try:
        inside = files.open_folder(f"/proc/{pid}/root", folder or "/")
        try:
            descriptor = files.open_plain(inside, name)
        finally:
            os.close(inside)
    except OSError:
        return None
    if descriptor is None:
        return None
    try:
        facts = os.fstat(descriptor)
        key = facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns
        if key not in _KNOWN:
            if len(_KNOWN) >= _MOST_FILES:
                _KNOWN.clear()
            _KNOWN[key] = elf.read_image(lambda at, size: _pread(descriptor, size, at))
        return _KNOWN[key]
    finally:
        os.close(descriptor)


def _pread(descriptor: int, size: int, at: int) -> bytes:
    try:
        return os.pread(descriptor, size, at) if at < 1 << 62 else b""
    except OSError:
        return b""
