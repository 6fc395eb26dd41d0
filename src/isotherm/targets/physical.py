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
from isotherm.model.scope import Scope
from isotherm.model.target import Mapping, Target
from isotherm.targets.target_set import TargetFacts, TargetSet

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


class PhysicalMemory(TargetSet):
    """
    The machine's memory, or the given ranges of it.

    ranges: in bytes, all of it where there are none; ram: where memory is, by default asked of
    the kernel at the first look (`system_ram`, and raises as it does).
    """

    def __init__(self, ranges: Sequence[Range] = (), ram: Sequence[Range] | None = None) -> None:
        super().__init__(Scope("paddr", tuple(ranges)))
        self._ram = None if ram is None else tuple(ram)

    def targets(self, max_ranges: int = 0) -> list[TargetRanges]:
        """Return the one target there is; ranges are not joined."""
        del max_ranges
        if self._ram is None:
            self._ram = system_ram()
        chart = tuple(Mapping(chunk.start, chunk.end, "", _RAM) for chunk in self._ram)
        return [TargetRanges(Target(0, NAME), self.scope.ranges or self._ram, chart)]

    def alive(self) -> bool:
        """Memory stays."""
        return True

    def facts(self) -> TargetFacts:
        """Say that no process is meant."""
        return TargetFacts(operations="paddr")

    def close(self) -> None:
        """Nothing is held."""
