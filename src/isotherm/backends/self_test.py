"""What backends try themselves on, pages of our own, and what comes out."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

PAGES = 97
TOUCHED = 23


@dataclass(frozen=True, slots=True)
class SelfTest:
    """
    What came out: accessed pages were seen as accessed, cleared ones as idle, touched ones again.

    problem: "" or what was wrong; read_us: microseconds per address read, clear_us: per accessed
    bit cleared, round_us: per round of a backend that looks at everything; None where unknown.
    """

    backend: str
    problem: str = ""
    read_us: float | None = None
    clear_us: float | None = None
    round_us: float | None = None


@contextmanager
def own_pages() -> Iterator[tuple[mmap.mmap, int]]:
    """Map and touch `PAGES` small pages; they and their address."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, PAGES * mmap.PAGESIZE, flags=flags) as area:
        with suppress(OSError):  # a kernel without huge pages does not know the advice
            area.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(PAGES):
            area[page * mmap.PAGESIZE] = page
        # The view must be gone when the area is closed.
        yield area, ctypes.addressof(ctypes.c_char.from_buffer(area))


def touch(area: mmap.mmap, count: int) -> None:
    """Read the first `count` pages."""
    for page in range(count):
        _ = area[page * mmap.PAGESIZE]


def disagreement(before: int, cleared: int, touched: int) -> str:
    """Say what was seen, for a problem: pages accessed before, after clearing, after touching."""
    return (
        f"of {PAGES} own pages {before} were seen accessed, {cleared} after clearing, "
        f"{touched} after touching {TOUCHED}"
    )
