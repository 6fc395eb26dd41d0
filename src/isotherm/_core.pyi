"""The C core. What it computes is defined by its readable twins in `core/`; this file types it."""

from typing import Self, TypeAlias

from typing_extensions import Buffer

class TouchArea:
    """
    Private anonymous memory of a workload, 2 MiB aligned, never merged with its neighbours.

    nbytes: size, whole pages; huge: ask for transparent huge pages, else none are used. Raises
    OSError when the kernel refuses. Unmapped when the object goes.
    """

    def __new__(cls, nbytes: int, huge: bool = False) -> Self: ...
    @property
    def address(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def populate(self) -> None:
        """Write a byte of every page."""

_TouchRange: TypeAlias = tuple[TouchArea, int, int, int, bool]

def touch_paced(ranges: tuple[_TouchRange, ...], until_ns: int, control: Buffer, /) -> None:
    """
    Read a byte of every page of each range once per period, until CLOCK_MONOTONIC `until_ns`.

    A range is (area, offset, nbytes, period_ns, random order of the pages). `control` is eight
    64-bit words of shared memory: stop (set by others), bytes touched, sweeps, overruns, unused.
    Releases the interpreter lock; does not look at signals.
    """

def touch_busy(ranges: tuple[_TouchRange, ...], until_ns: int, control: Buffer, /) -> None:
    """Read 64-byte lines of the ranges as fast as possible, weighed by size; as `touch_paced`."""
