"""Facts of pages and swap that actions need: the bits of a survey, and where they come from."""

import fcntl
import os
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntFlag

from isotherm import _core
from isotherm.kernel import procfs
from isotherm.kernel.meminfo import meminfo


class Fact(IntFlag):
    """What a survey tells of a page: survey/survey.h explains each."""

    PRESENT = _core.PAGE_PRESENT
    SWAPPED = _core.PAGE_SWAPPED
    YOUNG = _core.PAGE_YOUNG
    ANON = _core.PAGE_ANON
    SHARED = _core.PAGE_SHARED
    HUGE = _core.PAGE_HUGE
    ACTIVE = _core.PAGE_ACTIVE
    REFERENCED = _core.PAGE_REFERENCED
    LOCKED = _core.PAGE_LOCKED
    ZERO = _core.PAGE_ZERO
    SPECIAL = _core.PAGE_SPECIAL
    JOINED = _core.PAGE_JOINED
    TORN = _core.PAGE_TORN
    DIRTY = _core.PAGE_DIRTY
    USED = _core.PAGE_USED
    EARLY = _core.PAGE_EARLY


_PAGEMAP_SCAN = 0xC0606610  # _IOWR('f', 16, struct pm_scan_arg) of linux/fs.h, Linux 6.7
_POPULATED = 1 << 3 | 1 << 4  # PAGE_IS_PRESENT, PAGE_IS_SWAPPED


def next_populated(descriptor: int, start: int, end: int) -> int | None:
    """
    Return the first address of [start, end) that has a page, in memory or swapped out; else `end`.

    Passes over terabytes of nothing in microseconds. descriptor: of `opened`. None where the
    kernel cannot tell (before 6.7), or the memory is gone.
    """
    found = array("Q", (0, 0, 0))  # struct page_region
    wish = array(
        "Q", (96, 0, start, end, 0, found.buffer_info()[0], 1, 1, 0, 0, _POPULATED, _POPULATED)
    )
    try:
        nr = fcntl.ioctl(descriptor, _PAGEMAP_SCAN, wish)
    except OSError:
        return None
    return found[0] if nr else end


@contextmanager
def opened(pid: int) -> Iterator[int]:
    """
    Open /proc/PID/pagemap: a descriptor of the memory that `pid` has now.

    It stays that memory's: after an exec, or the end of the process, nothing is read from it.
    """
    with procfs.reading(pid, "pagemap"):
        descriptor = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def free_swap_bytes() -> int:
    """Return how much swap space is free on this machine; 0 without any."""
    return meminfo().get("SwapFree", 0)
