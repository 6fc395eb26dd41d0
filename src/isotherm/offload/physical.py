"""Physical memory as a target, for the operations set paddr."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isotherm.core.ops import TargetRanges
from isotherm.errors import NotSupportedError
from isotherm.kernel.privilege import root_hint
from isotherm.model.target import Range, Target

_IOMEM = Path("/proc/iomem")


def system_ram(iomem: Path = _IOMEM) -> tuple[Range, ...]:
    """
    Return the ranges of memory, by /proc/iomem, in bytes.

    `NotSupportedError` if it tells none, which without root is always so.
    """
    found = []
    for line in iomem.read_text().splitlines():
        bounds, _, name = line.partition(" : ")
        if name == "System RAM":
            start, _, last = bounds.strip().partition("-")
            found.append(Range(int(start, 16), int(last, 16) + 1))
    found = [one for one in found if one.size > 1]
    if not found:
        raise NotSupportedError(f"{iomem} does not tell where memory is", hint=root_hint())
    return tuple(found)


class PhysicalMemory:
    """The machine's memory, or the given ranges of it: give `regions` to `Kdamond` as well."""

    def __init__(self, regions: Sequence[Range] | None = None) -> None:
        self.regions = tuple(regions) if regions is not None else system_ram()

    def targets(self) -> list[TargetRanges]:
        """Return the one target there is."""
        size = sum(one.size for one in self.regions)
        target = Target(0, "physical memory", mapped_bytes=size)
        return [TargetRanges(target, self.regions)]

    def close(self) -> None:
        """Nothing is held."""
