"""How much memory a process has, had at the most, and faulted in, as the kernel counts it."""

from __future__ import annotations

from typing import NamedTuple

from isotherm.kernel import procfs
from isotherm.model.ranges import PAGE


class MemoryCounts(NamedTuple):
    """
    Bytes. faulted: pages that came by a page fault since the process began, of 4 KiB each;
    resident: in memory now; peak: at the most since it began; anonymous: of no file, in memory or
    in swap space; file: of files, in memory; of_children: pages that came by page faults of its
    children that ended and that it waited for, and of theirs.
    """

    faulted: int
    resident: int
    peak: int
    anonymous: int
    file: int = 0
    of_children: int = 0

    @property
    def total(self) -> int:
        """In memory or in swap space."""
        return self.anonymous + self.file

    @property
    def swapped(self) -> int:
        """In swap space."""
        return max(0, self.total - self.resident)


def memory_counts(pid: int) -> MemoryCounts | None:
    """Return what is counted of a process; None if it is gone, or has no memory of its own."""
    try:
        stat = procfs.read_file(f"/proc/{pid}/stat")
        status = procfs.read_file(f"/proc/{pid}/status")
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    found = {}
    for line in status.splitlines():
        name, _, text = line.partition(b":")
        if name in _SIZES:
            found[name] = int(text.split()[0]) << 10
    if len(fields) < 11 or b"VmHWM" not in found:
        return None
    anonymous = sum(found.get(name, 0) for name in (b"RssAnon", b"RssShmem", b"VmSwap"))
    faults = int(fields[7]) + int(fields[9])
    return MemoryCounts(
        faults * PAGE,
        found.get(b"VmRSS", 0),
        found[b"VmHWM"],
        anonymous,
        found.get(b"RssFile", 0),
        (int(fields[8]) + int(fields[10])) * PAGE,
    )


_SIZES = frozenset((b"VmHWM", b"VmRSS", b"RssAnon", b"RssFile", b"RssShmem", b"VmSwap"))
