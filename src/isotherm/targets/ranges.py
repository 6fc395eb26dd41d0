"""Which addresses of a process to monitor, and which cannot be observed at all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from isotherm.core.look import TargetRanges
from isotherm.errors import TargetGoneError
from isotherm.kernel import procfs
from isotherm.model.ranges import Range
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.targets.processes import Process

#: Pages that the kernel shows to every process: nothing that the process uses memory for.
SPECIAL_NAMES = frozenset(
    {"[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]", "[vectors]", "[sigpage]", "[uprobes]"}
)
#: Reading a map that takes longer than this is put off while sizes of the memory stay the same...
_SLOW_READ_NS = 2_000_000
#: ... but not for more than so many times.
_MOST_SKIPS = 5


@dataclass(slots=True)
class _Cache:
    """What the last reading of a process' map found, to make the next one cheap."""

    text: bytes
    lines: dict[bytes, tuple[Mapping, str | None]]
    max_ranges: int
    ranges: tuple[Range, ...]
    mappings: tuple[Mapping, ...]
    unobservable: tuple[Unobservable, ...]
    name: str
    sizes: tuple[int, int, int]
    read_ns: int
    skips: int = 0


def target_ranges(
    process: Process, *, max_ranges: int = 64, fixed: tuple[Range, ...] = ()
) -> TargetRanges | None:
    """
    Return the ranges of `process` to monitor, or None if it has vanished.

    Neighbouring mappings become one range, then the smallest gaps are bridged until at most
    `max_ranges` are left; with 3 this is DAMON's rule (damon-spec 1.7) without the kernel's
    special pages. Addresses without access rights hold no memory in use and count as gaps. What
    is known to be unobservable (hugetlb, devices) is no part of a range unless bridging takes it.
    fixed: exactly these instead, whatever is mapped there, as DAMON's fvaddr has it.

    Unchanged maps cost only their reading, which is 3 µs per mapping in the kernel.
    """
    try:
        sizes = _sizes(process)
        cache = _current(process, sizes, max_ranges)
    except TargetGoneError:
        return None
    if cache is None:
        return None
    target = Target(
        process.target_id, cache.name, process.pid, sizes.mapped_bytes, sizes.resident_bytes
    )
    if fixed:
        return TargetRanges(target, fixed, cache.mappings)
    return TargetRanges(target, cache.ranges, cache.mappings, cache.unobservable)


def _sizes(process: Process) -> procfs.Statm:
    """Return the sizes of a process' memory; its thread to reach it by may change."""
    with suppress(TargetGoneError):
        sizes = procfs.statm(process.tid)
        if sizes.mapped_bytes:
            return sizes
    process.tid = procfs.memory_thread(process.pid)
    return procfs.statm(process.tid)


def _current(process: Process, statm: procfs.Statm, max_ranges: int) -> _Cache | None:
    old = process.maps_cache
    if not isinstance(old, _Cache) or old.max_ranges != max_ranges:
        old = None
    sizes = (statm.mapped_bytes, statm.text_bytes, statm.data_bytes)
    if old and old.read_ns > _SLOW_READ_NS and sizes == old.sizes and old.skips < _MOST_SKIPS:
        old.skips += 1
        return old
    begin = time.monotonic_ns()
    text = procfs.read(process.tid, "maps")
    read_ns = time.monotonic_ns() - begin
    if not text:
        return None
    if old and text == old.text:
        old.sizes, old.read_ns, old.skips = sizes, read_ns, 0
        return old
    known = old.lines if old else {}
    lines = {line: known.get(line) or _classified(line) for line in text.split(b"\n") if line}
    mappings = tuple(mapping for mapping, _ in lines.values())
    visible, hidden = _sorted_out(lines.values())
    ranges = coalesce(visible, max_ranges, hidden)
    unobservable = tuple(
        Unobservable(process.target_id, start, end, reason)
        for start, end, reason in hidden
        if not any(r.start <= start < r.end for r in ranges)
    )
    with suppress(TargetGoneError):  # an exec changes the name
        process.name = procfs.read(process.pid, "comm").decode(errors="replace").rstrip("\n")
    process.maps_cache = _Cache(
        text, lines, max_ranges, ranges, mappings, unobservable, process.name, sizes, read_ns
    )
    return process.maps_cache


def _classified(line: bytes) -> tuple[Mapping, str | None]:
    mapping, device = procfs.parse_maps_line(line)
    return mapping, why_unobservable(mapping, device)


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


Hidden = tuple[int, int, str]


def _sorted_out(
    classified: Iterable[tuple[Mapping, str | None]],
) -> tuple[list[Range], list[Hidden]]:
    """Return what to monitor, and what cannot be observed, both in address order."""
    visible: list[Range] = []
    hidden: list[Hidden] = []
    for mapping, reason in classified:
        if mapping.name in SPECIAL_NAMES or mapping.permissions.startswith("---"):
            continue
        if reason is None:
            visible.append(Range(mapping.start, mapping.end))
        else:
            hidden.append((mapping.start, mapping.end, reason))
    return visible, hidden


def coalesce(
    areas: Sequence[Range], max_ranges: int, hidden: Sequence[Hidden] = ()
) -> tuple[Range, ...]:
    """
    Join `areas` (address ordered) across the smallest gaps until at most `max_ranges` are left.

    The largest gaps survive, of equal ones the first, as in DAMON's
    __damon_va_three_regions(). A gap that holds something of `hidden` is bridged last.
    """
    if not areas:
        return ()
    starts = [start for start, _, _ in hidden]
    gaps: list[tuple[bool, int, int]] = []  # bridged last, size, index of the area before it
    at = 0
    for index, (before, after) in enumerate(pairwise(areas)):
        size = after.start - before.end
        while at < len(starts) and starts[at] < before.end:
            at += 1
        if size:
            holds_hidden = at < len(starts) and starts[at] < after.start
            gaps.append((holds_hidden, size, index))
    gaps.sort(key=lambda gap: gap[:2], reverse=True)  # stable: of equal gaps the first one wins
    cuts = sorted(index for _, _, index in gaps[: max_ranges - 1])
    firsts = [0, *(index + 1 for index in cuts)]
    lasts = [*cuts, len(areas) - 1]
    return tuple(
        Range(areas[first].start, areas[last].end)
        for first, last in zip(firsts, lasts, strict=True)
    )
