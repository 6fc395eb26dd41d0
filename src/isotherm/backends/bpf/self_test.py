"""Try a backend on a page of our own: is it right, and what does it cost here?"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from isotherm.backends.bpf import vaddr_bpf
from isotherm.errors import IsothermError
from isotherm.kernel import procfs, smaps
from isotherm.kernel.pages.page_frames import PageFrames

_PAGES = 97
_TOUCHED = 23


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


def self_test(backend: str) -> SelfTest | None:
    """Run the self-test of `backend`; None if it has none. An error becomes a `problem`."""
    test = _TESTS.get(backend)
    if test is None:
        return None
    try:
        return test()
    except (IsothermError, OSError) as err:
        return SelfTest(backend, problem=str(err).split("\n", 1)[0])


def _clear_refs() -> SelfTest:
    """Touch 97 pages of our own, clear, touch 23; clear_refs and smaps must agree."""
    own = os.getpid()
    with _own_pages() as (area, address):
        before = _referenced(own, address)
        begin = time.perf_counter_ns()
        procfs.clear_refs(own)
        cleared = _referenced(own, address)
        round_us = (time.perf_counter_ns() - begin) / 1000
        _touch(area, _TOUCHED)
        touched = _referenced(own, address)
    # Translations left in the TLB hide a few of the accesses.
    right = before >= _PAGES and cleared == 0 and 0 < touched <= _TOUCHED
    problem = "" if right else _disagreement(before, cleared, touched)
    return SelfTest("clear-refs", problem=problem, round_us=round_us)


def _bpf() -> SelfTest:
    """The test that the backend makes at every start; its costs are of native code."""
    cost = vaddr_bpf.self_test()
    return SelfTest("bpf", read_us=cost.read_us, clear_us=cost.clear_us)


def _idle() -> SelfTest:
    """Mark 97 pages of our own idle, touch 23; the bitmap must tell those apart."""
    files = PageFrames()
    try:
        with _own_pages() as (area, address):
            pages = [address + page * mmap.PAGESIZE for page in range(_PAGES)]
            frames = [frame for frame in files.frames(os.getpid(), pages) if frame is not None]
            # Pages that were faulted in just now wait for their list: those cannot be seen yet.
            known = [frame for frame in frames if files.head(frame) == frame]
            begin = time.perf_counter_ns()
            files.set_idle(known)
            clear_us = (time.perf_counter_ns() - begin) / 1000 / max(1, len(known))
            begin = time.perf_counter_ns()
            before = len(files.idle(known))
            read_us = (time.perf_counter_ns() - begin) / 1000 / max(1, len(known))
            _touch(area, _TOUCHED)
            touched = before - len(files.idle(known))
    finally:
        files.close()
    # Translations left in the TLB hide a few of the accesses.
    right = before > _PAGES // 2 and 0 < touched <= _TOUCHED
    problem = "" if right else _disagreement(len(known), len(known) - before, touched)
    return SelfTest("idle", problem=problem, read_us=read_us, clear_us=clear_us)


@contextmanager
def _own_pages() -> Iterator[tuple[mmap.mmap, int]]:
    """Map and touch `_PAGES` small pages; they and their address."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, _PAGES * mmap.PAGESIZE, flags=flags) as area:
        with suppress(OSError):  # a kernel without huge pages does not know the advice
            area.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(_PAGES):
            area[page * mmap.PAGESIZE] = page
        # The view must be gone when the area is closed.
        yield area, ctypes.addressof(ctypes.c_char.from_buffer(area))


def _touch(area: mmap.mmap, count: int) -> None:
    for page in range(count):
        _ = area[page * mmap.PAGESIZE]


def _disagreement(before: int, cleared: int, touched: int) -> str:
    return (
        f"of {_PAGES} own pages {before} were seen accessed, {cleared} after clearing, "
        f"{touched} after touching {_TOUCHED}"
    )


def _referenced(pid: int, address: int) -> int:
    """Return the accessed pages of the mapping that holds `address`."""
    return sum(
        entry.referenced_bytes // mmap.PAGESIZE
        for entry in smaps.smaps(pid)
        if entry.mapping.start <= address < entry.mapping.end
    )


_TESTS: dict[str, Callable[[], SelfTest]] = {
    "bpf": _bpf,
    "clear-refs": _clear_refs,
    "idle": _idle,
}
