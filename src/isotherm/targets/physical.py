"""Physical memory as a target, for the operations set paddr."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from isotherm.core.look import TargetRanges
from isotherm.errors import NotSupportedError
from isotherm.kernel.privilege import root_hint
from isotherm.model.ranges import Range, union
from isotherm.model.target import Mapping, Target

NAME = "physical memory"
_IOMEM = Path("/proc/iomem")
_ZONEINFO = Path("/proc/zoneinfo")
#: What /proc/iomem calls it.
_RAM = "System RAM"


def system_ram(iomem: Path = _IOMEM, zoneinfo: Path = _ZONEINFO) -> tuple[Range, ...]:
    """
    Return the ranges of memory in bytes: of /proc/iomem, else those that zones span.

    `NotSupportedError` if it is hidden, as from everybody but root.
    """
    found, hidden = [], False
    for line in iomem.read_text().splitlines():
        bounds, _, name = line.partition(" : ")
        if name == _RAM:
            start, _, last = bounds.strip().partition("-")
            one = Range(int(start, 16), int(last, 16) + 1)
            hidden |= one.size == 1
            found.append(one)
    # Some architectures (User-Mode Linux) list no memory in iomem.
    ranges = union(found or _zones(zoneinfo.read_text()))
    if hidden or not ranges:
        raise NotSupportedError("the kernel does not tell where memory is", hint=root_hint())
    return ranges


def _zones(text: str) -> list[Range]:
    """Return what each zone spans, holes in it included."""
    page = os.sysconf("SC_PAGE_SIZE")
    found = re.findall(r"^ +spanned +(\d+)\n(?:.*\n)*? +start_pfn: +(\d+)", text, re.MULTILINE)
    sizes = ((int(start) * page, int(count) * page) for count, start in found)
    return [Range(start, start + size) for start, size in sizes if size]


class PhysicalMemory:
    """
    The machine's memory, or the given ranges of it.

    Raises as `system_ram` does, whose ranges are its map.
    """

    def __init__(self, ranges: Sequence[Range] = (), ram: Sequence[Range] | None = None) -> None:
        ram = system_ram() if ram is None else ram
        self._ranges = tuple(ranges) or tuple(ram)
        self._map = tuple(Mapping(one.start, one.end, "", _RAM) for one in ram)

    def targets(self) -> list[TargetRanges]:
        """Return the one target there is."""
        return [TargetRanges(Target(0, NAME), self._ranges, self._map)]

    def close(self) -> None:
        """Nothing is held."""
