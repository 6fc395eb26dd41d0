"""Reads recordings as streams of Snapshots, also damaged ones."""

from __future__ import annotations

import io
import json
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from isotherm.errors import BadValueError, DamagedRecordingError
from isotherm.model.snapshot import Snapshot
from isotherm.recording import format as layout
from isotherm.recording.arrow import Decoder

_CHUNK = 1 << 18
_HEADER = re.compile(re.escape(layout.HEADER_TEXT) + rb"(\d{1,9})\n")


class _BrokenFrameError(Exception):
    """A frame that cannot be believed."""


class _Frames(io.RawIOBase):
    """
    The whole and verified zstd frames after the header, as one readable stream of bytes.

    Broken frames are left out: `damage` says what is wrong with the first of them, or with the
    end of the file. `end` is the content of the end marker.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._current = memoryview(b"")
        self._frames = self._read(file.tell())
        self.damage = ""
        self.end: dict[str, int] | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        while not self._current:
            try:
                self._current = memoryview(next(self._frames))
            except StopIteration:
                return 0
        count = min(len(target), len(self._current))
        target[:count] = self._current[:count]
        self._current = self._current[count:]
        return count

    def drain(self) -> None:
        """Read on after the Arrow stream's own end, as far as the recording's."""
        if self._current or any(self._frames):
            self._note("data follow the end of its Arrow stream")

    def _read(self, at: int) -> Iterator[bytes]:
        size = os.fstat(self._file.fileno()).st_size
        while at < size and self.end is None:
            try:
                data, after = self._frame(at)
            except _BrokenFrameError as err:
                self._note(f"{err} at byte {at}")
                after = self._next_magic(at + 1)
                data = b""
            if data:
                yield data
            at = after
        if self.end is None:
            self._note("it has no end: it was cut short, or is still being written")
        elif at < size:
            self._note(f"{size - at} bytes follow its end")

    def _note(self, what: str) -> None:
        self.damage = self.damage or what

    def _frame(self, at: int) -> tuple[bytes, int]:
        """Return the content of the frame at `at` and where the next one begins."""
        self._file.seek(at)
        head = self._file.read(18)
        if head.startswith(layout.SKIPPABLE_MAGIC):
            return b"", self._end_marker(at, head)
        try:
            parameters = zstandard.get_frame_parameters(head)
        except zstandard.ZstdError:
            raise _BrokenFrameError("unreadable frame") from None
        # An absent size reads as 2^64 - 1.
        if not parameters.has_checksum or parameters.content_size > layout.MAX_BLOCK_BYTES:
            raise _BrokenFrameError("impossible frame")
        inflate = zstandard.ZstdDecompressor().decompressobj()
        self._file.seek(at)
        parts = []
        while not inflate.eof:
            chunk = self._file.read(_CHUNK)
            if not chunk:
                raise _BrokenFrameError("unfinished frame")
            try:
                parts.append(inflate.decompress(chunk))
            except zstandard.ZstdError:
                raise _BrokenFrameError("frame with a wrong checksum") from None
        return b"".join(parts), self._file.tell() - len(inflate.unused_data)

    def _end_marker(self, at: int, head: bytes) -> int:
        length: int = struct.unpack_from("<I", head.ljust(8, b"\0"), 4)[0]
        if length > layout.MAX_NOTE_BYTES:
            raise _BrokenFrameError("impossible frame")
        self._file.seek(at + 8)
        text = self._file.read(length)
        try:
            if len(text) < length or not text.startswith(layout.END_TEXT):
                raise ValueError  # noqa: TRY301 - one place for all that is wrong with it
            end = json.loads(text[len(layout.END_TEXT) :])
            self.end = {key: int(end[key]) for key in ("snapshots", "regions")}
        except (ValueError, TypeError, KeyError):
            raise _BrokenFrameError("unreadable end marker") from None
        return at + 8 + length

    def _next_magic(self, at: int) -> int:
        """Return where the next frame may begin, or the end of the file."""
        self._file.seek(at)
        carried = b""
        while chunk := self._file.read(_CHUNK):
            window = carried + chunk
            found = [window.find(m) for m in (layout.ZSTD_MAGIC, layout.SKIPPABLE_MAGIC)]
            if hits := [offset for offset in found if offset >= 0]:
                return self._file.tell() - len(window) + min(hits)
            carried = window[-3:]
        return self._file.tell()


class Recording:
    """
    A recording on disk: `info` says where it comes from; iterating yields its Snapshots.

    Each iteration reads the file anew, a block at a time. Iterating raises
    `DamagedRecordingError` after the last readable snapshot where anything is missing;
    `readable` ends quietly instead and leaves the error in `damage`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.damage: DamagedRecordingError | None = None
        with self._open() as file:
            self.info: dict[str, Any] = self._decoder(_Frames(file)).info

    def __iter__(self) -> Iterator[Snapshot]:
        yield from self.readable()
        if self.damage is not None:
            raise self.damage

    def readable(self) -> Iterator[Snapshot]:
        """Yield what can be read and believed; `damage` says afterwards what could not."""
        self.damage = None
        count = regions = 0
        with self._open() as file:
            frames = _Frames(file)
            try:
                for snapshot in self._decoder(frames).snapshots():
                    count += 1
                    regions += len(snapshot.columns)
                    yield snapshot
            except DamagedRecordingError as err:
                self.damage = self._damaged(err.message, count)
                return
            frames.drain()
        whole = {"snapshots": count, "regions": regions}
        if frames.damage:
            self.damage = self._damaged(frames.damage, count)
        elif frames.end != whole:
            self.damage = self._damaged(f"its end speaks of {frames.end}", count)

    def _open(self) -> BinaryIO:
        """Open the file after its header; raise `BadValueError` if it is none of ours."""
        try:
            file = self.path.open("rb")
        except OSError as err:
            raise BadValueError(
                f"cannot read {self.path}: {err.strerror}",
                hint="isotherm record -o FILE makes a recording",
            ) from err
        try:
            self._check_header(file)
        except BaseException:
            file.close()
            raise
        return file

    def _check_header(self, file: BinaryIO) -> None:
        try:
            head = file.read(8)
            text = file.read(min(64, struct.unpack("<I", head[4:])[0]))
        except (OSError, struct.error):
            head = text = b""
        match = _HEADER.fullmatch(text)
        if not head.startswith(layout.SKIPPABLE_MAGIC) or match is None:
            raise BadValueError(
                f"{self.path} is not a recording of isotherm",
                hint="a recording is made with isotherm record, and named *.isotherm",
            )
        if int(match[1]) != layout.VERSION:
            raise BadValueError(
                f"{self.path} is a recording of version {int(match[1])}; "
                f"this program reads version {layout.VERSION}",
                hint="read it with a newer isotherm",
            )

    def _decoder(self, frames: _Frames) -> Decoder:
        try:
            return Decoder(frames)
        except DamagedRecordingError as err:
            raise self._damaged(frames.damage or err.message, 0) from err

    def _damaged(self, what: str, count: int) -> DamagedRecordingError:
        return DamagedRecordingError(
            f"recording {self.path} is damaged: {what}",
            hint=f"{count} snapshots of it could be read" if count else "",
        )


def open_recording(path: str | os.PathLike[str]) -> Recording:
    """
    Open a recording for reading.

    Raises `BadValueError` when the file cannot be read, is no recording, or has a version this
    program does not know; `DamagedRecordingError` when not even its first part can be read.
    """
    return Recording(path)
