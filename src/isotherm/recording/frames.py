"""The frames of a recording: from bytes on a disk to the contents that can be believed."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from typing import Final

from isotherm.recording import format as layout
from isotherm.recording.zstd import (
    HEADER_BYTES,
    FrameError,
    content_size,
    frame_end,
    inflate,
)

_SEARCH_BYTES: Final = 1 << 18


class Frames:
    """
    The whole and verified zstd frames of the file `fd`, from byte `at` on; iterate once.

    Broken frames are left out: `damage` says what is wrong with the first of them, or with the
    end of the file. `end` is the content of the end marker, None before it was met; `begin` is
    where the frame that was yielded last begins.
    """

    def __init__(self, fd: int, at: int) -> None:
        self._fd = fd
        self._at = self.begin = at
        self._broken = 0
        self._inflated = 0
        self.damage = ""
        self.end: dict[str, int] | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._frames(os.fstat(self._fd).st_size)
        except OSError as err:
            self.note(f"it cannot be read on: {err.strerror}")

    def note(self, what: str) -> None:
        """Take down what is wrong; only the first counts."""
        self.damage = self.damage or what

    def _frames(self, size: int) -> Iterator[bytes]:
        begin = self._at
        while self._at < size and self.end is None:
            at = self._at
            try:
                content, self._at = self._frame(at)
            except FrameError as err:
                self.note(f"{err} at byte {at}")
                self._broken += 1
                if self._broken > layout.MAX_BROKEN_FRAMES:
                    return
                self._at = self._next_magic(at + 1)
                continue
            self._inflated += len(content)
            most = layout.FREE_INFLATION_BYTES + layout.MAX_INFLATION * (self._at - begin)
            if self._inflated > most:
                self.note(f"it inflates to more than a recording can, at byte {at}")
                return
            if content:
                self.begin = at
                yield content
        if self.end is None:
            self.note("it has no end: it was cut short, or is still being written")
        elif self._at < size:
            self.note(f"{size - self._at} bytes follow its end")

    def _read(self, at: int, count: int) -> bytes:
        return os.pread(self._fd, count, at)

    def _frame(self, at: int) -> tuple[bytes, int]:
        """Return the content of the frame at `at` and where the next one begins."""
        head = self._read(at, HEADER_BYTES)
        if head.startswith(layout.SKIPPABLE_MAGIC):
            return b"", self._end_marker(at, head)
        if not head.startswith(layout.ZSTD_MAGIC):
            raise FrameError("unreadable frame")
        size = content_size(head)
        # An empty frame is of no use, and many of them would only take time.
        if not 0 < size <= layout.MAX_BLOCK_BYTES:
            raise FrameError("impossible frame")
        return inflate(self._read, at, size, layout.MAX_BLOCK_BYTES)

    def _end_marker(self, at: int, head: bytes) -> int:
        length: int = struct.unpack_from("<I", head.ljust(8, b"\0"), 4)[0]
        if length > layout.MAX_NOTE_BYTES:
            raise FrameError("impossible frame")
        text = self._read(at + 8, length)
        try:
            if len(text) < length or not text.startswith(layout.END_TEXT):
                raise ValueError  # noqa: TRY301 - one place for all that is wrong with it
            end = json.loads(text[len(layout.END_TEXT) :])
            self.end = {key: int(end[key]) for key in ("snapshots", "regions")}
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise FrameError("unreadable end marker") from None
        return at + 8 + length

    def begins(self) -> list[int]:
        """
        Return where frames begin, as far as they follow each other, without inflating them.

        What stands in them is not looked at.
        """
        found, at, size = [], self._at, os.fstat(self._fd).st_size
        window, window_at = b"", 0

        def read(place: int, count: int) -> bytes:
            nonlocal window, window_at
            if not window_at <= place <= window_at + len(window) - count:
                window, window_at = self._read(place, _SEARCH_BYTES), place
            return window[place - window_at : place - window_at + count]

        while at < size and read(at, 4) == layout.ZSTD_MAGIC:
            try:
                after = frame_end(read, at)
            except FrameError:
                break
            found.append(at)
            at = after
        return found

    def stated(self) -> dict[str, int] | None:
        """Return the content of the end marker that the file ends with, None without one."""
        tail_at = max(self._at, os.fstat(self._fd).st_size - layout.MAX_NOTE_BYTES)
        tail = self._read(tail_at, layout.MAX_NOTE_BYTES)
        at = tail.rfind(layout.END_TEXT) - 8
        if at < 0:
            return None
        try:
            end = self._end_marker(tail_at + at, tail[at : at + HEADER_BYTES])
        except FrameError:
            return None
        found, self.end = self.end, None
        return found if end == tail_at + len(tail) else None

    def _next_magic(self, at: int) -> int:
        """Return where the next frame may begin, or the end of the file."""
        while window := self._read(at, _SEARCH_BYTES):
            found = [window.find(m) for m in (layout.ZSTD_MAGIC, layout.SKIPPABLE_MAGIC)]
            if hits := [offset for offset in found if offset >= 0]:
                return at + min(hits)
            if len(window) < 4:
                return at + len(window)
            at += len(window) - 3
        return at
