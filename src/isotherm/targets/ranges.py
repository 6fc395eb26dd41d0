"""Rules for mappings: few ranges for many of them, and which cannot be observed at all."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

from isotherm import _core
from isotherm.kernel import procfs
from isotherm.model.ranges import Range
from isotherm.model.target import Mapping

#: Pages that the kernel shows to every process: nothing that the process uses memory for.
SPECIAL_NAMES = frozenset(
    {"[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]", "[vectors]", "[sigpage]", "[uprobes]"}
)


def why_unobservable(mapping: Mapping, device: str) -> str | None:
    """
    Return a short reason why accesses to `mapping` cannot be seen, None if nothing is known.

    device: as in /proc/PID/maps, "fd:01". Known are hugetlbfs, by its devices, device memory and
    kernel objects, by their names.
    """
    name = mapping.name
    if device in _hugetlb_devices() or name.startswith("/anon_hugepage"):
        return "hugetlb pages"
    if name.startswith("/dev/") and not name.startswith(("/dev/shm/", "/dev/zero")):  # noqa: S108
        return "device memory"
    if name.startswith("anon_inode:"):
        return "kernel memory"
    return None


@cache
def _hugetlb_devices() -> frozenset[str]:
    """Return the devices of hugetlbfs: the mounted ones, and the kernel's own, one per size."""
    devices = set()
    with suppress(OSError):
        for line in procfs.read_file("/proc/self/mountinfo").decode(errors="replace").split("\n"):
            left, _, right = line.partition(" - ")
            if right.startswith("hugetlbfs "):
                major, minor = map(int, left.split()[2].split(":"))
                devices.add(f"{major:02x}:{minor:02x}")
    for size_flag in (0, os.MFD_HUGE_2MB, os.MFD_HUGE_1GB):
        with suppress(OSError):
            # Creating the file reserves nothing; anonymous and SysV huge memory has its device.
            fd = os.memfd_create("isotherm", os.MFD_HUGETLB | os.MFD_CLOEXEC | size_flag)
            device = os.fstat(fd).st_dev
            os.close(fd)
            devices.add(f"{os.major(device):02x}:{os.minor(device):02x}")
    return frozenset(devices)


def coalesce(
    areas: Sequence[Range], max_ranges: int, hidden: Sequence[tuple[int, int, str]] = ()
) -> tuple[Range, ...]:
    """
    Join `areas` (address ordered) across the smallest gaps until at most `max_ranges` are left.

    The largest gaps survive, of equal ones the first, as in DAMON's
    __damon_va_three_regions(). A gap that holds something of `hidden` (start, end, why) is bridged
    last.
    """
    both = sorted(
        [(*area, _core.AREA_VISIBLE) for area in areas]
        + [(start, end, _core.AREA_HIDDEN) for start, end, _ in hidden]
    )
    ends = _core.coalesce(array("Q", [word for area in both for word in area]), max_ranges)
    return tuple(map(Range, ends[::2], ends[1::2]))
