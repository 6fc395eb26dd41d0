"""
A recording in several files: each of limited size or time, whole, and readable by itself.

Files are called NAME.0001.isotherm, NAME.0002.isotherm and so on; a series goes on where one of
the same name ended. Only files that say of themselves that they are part of a series are removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from isotherm.errors import BadValueError, IsothermError, OutputError, quoted
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping
from isotherm.recording.writer import RecordingWriter
from isotherm.units import duration_ns, format_size, size

#: The smallest file worth having: its beginning alone takes some KiB.
MIN_BYTES: Final = 64 << 10
MIN_NS: Final = 1_000_000_000
MAX_KEPT: Final = 1_000_000
#: What the end of a file takes, at most.
_END_BYTES: Final = 256
#: The key of `info` that says which part of a series a file is, counted from 1.
PART: Final = "part"


@dataclass(frozen=True, slots=True)
class Rotation:
    """
    When the next file is begun, and how many are kept.

    max_bytes: before a file is larger; max_ns: when it spans so much time; keep: files of the
    series, with the one that is written; None: no such limit, all of them.
    """

    max_bytes: int | None = None
    max_ns: int | None = None
    keep: int | None = None

    @classmethod
    def of(cls, rotate: str, keep: int | None = None) -> Rotation:
        """
        Return the rotation of "100M", "1h", or "100M,1h"; raises `BadValueError`.

        keep: as above, at least 1.
        """
        if keep is not None and not 1 <= keep <= MAX_KEPT:
            raise BadValueError(f"{keep} files cannot be kept", hint=f"from 1 to {MAX_KEPT:,}")
        max_bytes = max_ns = None
        for text in map(str.strip, rotate.split(",")):
            unit = text.lstrip("0123456789.,_ ")
            if unit == "m":
                raise BadValueError(
                    f"{quoted(text)} could be bytes or minutes", hint="write 100M, or 60s"
                )
            if unit in ("s", "h", "d", "ms"):
                max_ns = duration_ns(text)
            else:
                max_bytes = size(text)
        if max_bytes is not None and max_bytes < MIN_BYTES:
            raise BadValueError(
                f"files of {max_bytes} bytes are too small to begin with", hint="64K at least"
            )
        if max_ns is not None and max_ns < MIN_NS:
            raise BadValueError(f"{quoted(rotate)} is too often", hint="1s at least")
        return cls(max_bytes, max_ns, keep)


def series_files(path: Path) -> list[tuple[int, Path]]:
    """Return the files of the series of this name, and their numbers, in order."""
    name = re.compile(rf"{re.escape(path.stem)}\.([0-9]{{4,9}}){re.escape(path.suffix)}")
    try:
        there = list(path.parent.iterdir())
    except OSError:
        return []
    found = ((name.fullmatch(entry.name), entry) for entry in there)
    return sorted((int(match[1]), entry) for match, entry in found if match)


def part_path(path: Path, number: int) -> Path:
    """Return NAME.0001.isotherm for NAME.isotherm and 1."""
    return path.with_name(f"{path.stem}.{number:04}{path.suffix}")


class Series:
    """
    A recording that goes on in the next file; written to as a `RecordingWriter`.

    path: NAME.isotherm; info: of each file, which also says which part it is. Nothing is
    overwritten: files get numbers that are not taken. Raises `OutputError`.
    """

    def __init__(self, path: Path, info: dict[str, Any], rotation: Rotation) -> None:
        self._path, self._info, self._rotation = path, info, rotation
        self._maps: dict[int, Sequence[Mapping]] = {}
        self._number = max((number for number, _ in series_files(path)), default=0)
        self._first_index = 0
        self._begin_ns = 0
        self._largest = 0
        self._finished_bytes = 0
        self.files: list[Path] = []
        self._writer = self._next()

    @property
    def bytes_written(self) -> int:
        """How many bytes all files have that were written, those that are gone included."""
        return self._finished_bytes + self._writer.bytes_written

    def _next(self) -> RecordingWriter:
        self._number += 1
        path = part_path(self._path, self._number)
        writer = RecordingWriter(path, {**self._info, PART: self._number})
        self.files.append(path)
        return writer

    def write(self, snapshot: Snapshot) -> None:
        """Take one snapshot, and begin the next file first if this one is full."""
        writer = self._writer
        if writer.nr_snapshots and self._is_full(snapshot):
            writer.close()
            self._finished_bytes += writer.bytes_written
            self._writer = writer = self._next()
            self._remove_old()
        if not writer.nr_snapshots:
            self._first_index, self._begin_ns = snapshot.index, snapshot.start_ns
            # What is told once stands in each file; of those that are gone nothing is.
            here = {target.id for target in snapshot.targets}
            self._maps = {id_: found for id_, found in self._maps.items() if id_ in here}
            if self._maps:
                told = {**self._maps, **(snapshot.mappings or {})}
                snapshot = replace(snapshot, mappings=told)
        self._maps.update(snapshot.mappings or {})
        before = writer.bytes_written
        writer.write(replace(snapshot, index=snapshot.index - self._first_index))
        self._largest = max(self._largest, writer.bytes_written - before)

    def _is_full(self, snapshot: Snapshot) -> bool:
        limit = self._rotation
        spans = abs(snapshot.end_ns - self._begin_ns)
        if limit.max_ns is not None and spans > limit.max_ns:
            return True
        # A block is being gathered, and may be as large as the largest one before.
        needed = self._writer.bytes_written + self._largest + _END_BYTES
        return limit.max_bytes is not None and needed > limit.max_bytes

    def _remove_old(self) -> None:
        """Remove the oldest files of the series beyond those that are to be kept."""
        if self._rotation.keep is None:
            return
        old = [path for number, path in series_files(self._path) if number < self._number]
        for path in old[: max(0, len(old) + 1 - self._rotation.keep)]:
            if path in self.files or _is_part(path):
                with contextlib.suppress(OSError):
                    path.unlink()
                self.files = [kept for kept in self.files if kept != path]

    def flush(self) -> None:
        """Write what was gathered: from here on a kill keeps it."""
        before = self._writer.bytes_written
        self._writer.flush()
        self._largest = max(self._largest, self._writer.bytes_written - before)

    def close(self) -> None:
        """End the last file; further calls do nothing."""
        self._writer.close()

    def discard(self) -> None:
        """Leave no file behind that holds nothing."""
        self._writer.discard()


def _is_part(path: Path) -> bool:
    """Tell whether a file is a recording of ours that is part of a series."""
    from isotherm.recording.reader import open_recording  # what records needs no reader

    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return False
        return isinstance(open_recording(path).info.get(PART), int)
    except (OSError, IsothermError):
        return False


def check_series(output: Path, rotation: Rotation) -> None:
    """Raise `OutputError` if the files that are kept cannot find room."""
    if rotation.max_bytes is None or rotation.keep is None:
        return
    try:
        disk = os.statvfs(output.parent)
    except OSError:
        return  # who creates the first file says why
    there = sum(path.stat().st_size for _, path in series_files(output) if path.exists())
    free = disk.f_bavail * disk.f_frsize + there
    if free < rotation.max_bytes * rotation.keep:
        raise OutputError(
            f"{rotation.keep} files of {format_size(rotation.max_bytes)} do not fit into "
            f"{quoted(str(output.parent))}, where {format_size(free)} are free",
            hint="a smaller --rotate or --keep, or another -o",
        )
