"""Swap space of this machine: which devices, how much is free, and what zram keeps in how much."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isotherm.errors import TargetGoneError
from isotherm.kernel.cgroupfs import hierarchies
from isotherm.kernel.procfs import read, read_file

Medium = Literal["zram", "ssd", "disk", "unknown"]

_SWAPS = "/proc/swaps"


@dataclass(frozen=True, slots=True)
class SwapDevice:
    """
    A swap device or file: sizes in bytes, priority as the kernel has it.

    medium: where it is; stored_bytes, taken_bytes: of zram, what was written to it, and the memory
    that this takes; None of other media.
    """

    path: str
    size_bytes: int
    used_bytes: int
    priority: int
    medium: Medium
    stored_bytes: int | None = None
    taken_bytes: int | None = None

    @property
    def free_bytes(self) -> int:
        """What is left of it."""
        return self.size_bytes - self.used_bytes


def swap_devices() -> tuple[SwapDevice, ...]:
    """Return the swap devices in use, those that are filled first before the others."""
    try:
        lines = read_file(_SWAPS).decode(errors="replace").splitlines()[1:]
    except OSError:
        return ()
    found = [device for line in lines if (device := _device(line)) is not None]
    return tuple(sorted(found, key=lambda device: -device.priority))


def _device(line: str) -> SwapDevice | None:
    words = line.split()
    if len(words) < 5:
        return None
    path = words[0].replace("\\040", " ")
    size, used, priority = (int(word) for word in words[-3:])
    medium, folder = _medium(path)
    stored, taken = _zram(folder) if medium == "zram" else (None, None)
    return SwapDevice(path, size << 10, used << 10, priority, medium, stored, taken)


def _medium(path: str) -> tuple[Medium, str]:
    """Return what holds a device or file, and its folder of /sys, "" where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return "unknown", ""
    number = status.st_rdev if stat.S_ISBLK(status.st_mode) else status.st_dev
    folder = os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if os.path.basename(folder).startswith("zram"):  # noqa: PTH119
        return "zram", folder
    for place in (folder, os.path.dirname(folder)):  # noqa: PTH120 - a partition's disk is above it
        with suppress(OSError):
            rotates = Path(place, "queue/rotational").read_text("ascii").strip()
            return ("disk" if rotates == "1" else "ssd"), folder
    return "unknown", folder


def _zram(folder: str) -> tuple[int | None, int | None]:
    try:
        words = Path(folder, "mm_stat").read_text("ascii").split()
        return int(words[0]), int(words[2])
    except (OSError, ValueError, IndexError):
        return None, None


def swap_left_to(pid: int) -> int | None:
    """
    Return how much more the memory cgroups of a process let it swap; None: they set no limit.

    It is the least over its group and all above (memory.swap.max of cgroup v2).
    """
    least: int | None = None
    for folder in _groups_of(pid):
        try:
            limit = Path(folder, "memory.swap.max").read_text("ascii").strip()
            if limit == "max":
                continue
            used = int(Path(folder, "memory.swap.current").read_text("ascii"))
            left = max(0, int(limit) - used)
        except (OSError, ValueError):
            continue
        least = left if least is None else min(least, left)
    return least


def _groups_of(pid: int) -> Iterator[Path]:
    """Yield the folders of a process' cgroup of v2, and of all above it but the root's."""
    try:
        lines = read(pid, "cgroup").decode(errors="replace").splitlines()
        unified = next(one for one in hierarchies() if one.unified)
    except (TargetGoneError, OSError, StopIteration):
        return
    path = next((line[3:] for line in lines if line.startswith("0::")), "/")
    folder = unified.folder(path)
    while folder != unified.mount and folder.is_relative_to(unified.mount):
        yield folder
        folder = folder.parent
