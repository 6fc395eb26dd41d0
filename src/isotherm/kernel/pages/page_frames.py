"""
Page frames: which one holds an address, what it is, and whether it is idle. Needs root.

pagemap and kpageflags: Documentation/admin-guide/mm/pagemap.rst; the bitmap:
idle_page_tracking.rst. One bit of the bitmap is one frame; of a folio, only the head's counts.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from isotherm.errors import IsothermError, NotPermittedError, NotSupportedError, TargetGoneError
from isotherm.kernel.privilege import root_hint
from isotherm.kernel.procfs import PAGE_SIZE

IDLE_BITMAP = Path("/sys/kernel/mm/page_idle/bitmap")
_WORD_BYTES, _WORD_BITS = 8, 64
_PRESENT = 1 << 63
_FRAME = (1 << 55) - 1
#: Bits of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h).
LRU, COMPOUND_HEAD, COMPOUND_TAIL, HUGE, ZERO_PAGE = 1 << 5, 1 << 15, 1 << 16, 1 << 17, 1 << 24
#: Frames of the largest folio that is on an LRU list (2 MiB).
_MOST_FRAMES = 512


class PageFrames:
    """
    The three files, open until `close`.

    Raises `NotSupportedError` without the bitmap, `NotPermittedError` without root, and
    `TargetGoneError` when a process has vanished.
    """

    def __init__(self) -> None:
        self._maps: dict[int, int] = {}
        self._bitmap = self._flags = -1
        try:
            self._bitmap = os.open(IDLE_BITMAP, os.O_RDWR | os.O_CLOEXEC)
            self._flags = os.open("/proc/kpageflags", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as err:
            self.close()
            if err.errno == errno.ENOENT:
                raise NotSupportedError(
                    "this kernel has no page_idle bitmap (CONFIG_IDLE_PAGE_TRACKING)",
                    hint="--backend bpf or clear-refs",
                ) from err
            raise NotPermittedError("page frames are for root only", hint=root_hint()) from err

    def close(self) -> None:
        for fd in (self._bitmap, self._flags, *self._maps.values()):
            if fd >= 0:
                os.close(fd)
        self._bitmap = self._flags = -1
        self._maps.clear()

    def forget(self, pids: Iterable[int]) -> None:
        """Close what is held of processes that are watched no more."""
        for pid in pids:
            if (fd := self._maps.pop(pid, -1)) >= 0:
                os.close(fd)

    def frames(self, pid: int, addresses: Iterable[int]) -> list[int | None]:
        """
        Return the frame behind each address of a process; None where no page is present.

        A `range` of pages costs one system call.
        """
        try:
            fd = self._maps.get(pid, -1)
            if fd < 0:
                fd = self._maps[pid] = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            found: list[int | None] = []
            for data in _entries(fd, addresses):
                found += [
                    value & _FRAME if value & _PRESENT else None
                    for value in memoryview(data).cast("Q")
                ]
        except OSError as err:
            if err.errno in (errno.ENOENT, errno.ESRCH):
                raise TargetGoneError(f"process {pid} has ended") from err
            raise IsothermError(f"cannot read pagemap of process {pid}: {err.strerror}") from err
        return found

    def flags(self, frame: int, count: int = 1) -> list[int]:
        """Return the flags of `count` frames; fewer at the end of memory."""
        data = os.pread(self._flags, count * _WORD_BYTES, frame * _WORD_BYTES)
        return memoryview(data).cast("Q").tolist()

    def head(self, frame: int) -> int | None:
        """Return the frame whose bit tells of this one; None where none does."""
        (flags,) = self.flags(frame) or [0]
        if flags & HUGE or not flags & (LRU | COMPOUND_TAIL):
            return None
        if not flags & COMPOUND_TAIL:
            return frame
        first = frame // _MOST_FRAMES * _MOST_FRAMES
        before = self.flags(first, frame - first)
        for offset in range(len(before) - 1, -1, -1):
            if before[offset] & COMPOUND_HEAD:
                return first + offset if before[offset] & LRU else None
        return None

    def size(self, head: int) -> int:
        """Return how many frames the folio has that begins with this one."""
        after = self.flags(head + 1, _MOST_FRAMES - 1)
        tails = (n for n, flags in enumerate(after) if not flags & COMPOUND_TAIL)
        return 1 + next(tails, len(after))

    def is_zero_page(self, frame: int) -> bool:
        """Tell whether this is the page of zeros, which everybody maps and nobody uses."""
        return any(flags & ZERO_PAGE for flags in self.flags(frame))

    def set_idle(self, frames: Iterable[int]) -> None:
        """Mark frames idle, which clears their accessed bits in every process."""
        for first, words in runs(frames):
            data = b"".join(word.to_bytes(_WORD_BYTES, "little") for word in words)
            try:
                os.pwrite(self._bitmap, data, first * _WORD_BYTES)
            except OSError as err:
                # Frames beyond the end of memory, as of devices, have no bit.
                if err.errno != errno.ENXIO:
                    raise IsothermError(f"cannot mark pages idle: {err.strerror}") from err

    def idle(self, frames: Sequence[int]) -> set[int]:
        """Return those of the frames that were not accessed since they were marked."""
        found = set()
        for first, words in runs(frames):
            data = os.pread(self._bitmap, len(words) * _WORD_BYTES, first * _WORD_BYTES)
            for index, word in enumerate(memoryview(data).cast("Q")):
                asked = word & words[index]
                while asked:
                    bit = asked & -asked
                    found.add((first + index) * _WORD_BITS + bit.bit_length() - 1)
                    asked ^= bit
        return found


def _entries(pagemap: int, addresses: Iterable[int]) -> Iterator[bytes]:
    """Yield the words of addresses; beyond the last that a process can have they are 0."""
    if isinstance(addresses, range) and addresses.step == PAGE_SIZE:
        wanted = len(addresses) * _WORD_BYTES
        data = os.pread(pagemap, wanted, addresses.start // PAGE_SIZE * _WORD_BYTES)
        yield data.ljust(wanted, b"\0")
        return
    for address in addresses:
        data = os.pread(pagemap, _WORD_BYTES, address // PAGE_SIZE * _WORD_BYTES)
        yield data.ljust(_WORD_BYTES, b"\0")


def runs(frames: Iterable[int]) -> Iterator[tuple[int, list[int]]]:
    """Yield (index of the first word, words) of the bitmap, neighbouring words together."""
    bits: dict[int, int] = {}
    for frame in sorted(frames):
        word = frame // _WORD_BITS
        bits[word] = bits.get(word, 0) | 1 << frame % _WORD_BITS
    for _, group in groupby(enumerate(bits.items()), key=lambda pair: pair[1][0] - pair[0]):
        items = [item for _, item in group]
        yield items[0][0], [value for _, value in items]
