"""
The backend `idle`: the page_idle bitmap and pagemap, without BPF. Needs root.

Marking a frame idle clears the accessed bits of all who map it; a frame that is not idle any more
was accessed, by whomever: memory that is shared is judged for all its users together. A folio has
one bit.

What it cannot see: hugetlb pages and memory that is on no LRU list (device memory, pages of the
kernel, pages that were faulted in just now); for them the answer is "unobservable".

What it costs: four system calls per sample, 5 to 10 µs with Python around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from isotherm.core.look import Check, Samples, TargetRanges
from isotherm.core.ops import Ops
from isotherm.errors import TargetGoneError
from isotherm.kernel.pages.page_frames import PageFrames
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import Range
from isotherm.targets.processes import ProcessSet
from isotherm.targets.ranges import target_ranges


class Frames(Protocol):
    """What is used of `kernel.page_frames.PageFrames`."""

    def frames(self, pid: int, addresses: Sequence[int]) -> list[int | None]: ...
    def head(self, frame: int) -> int | None: ...
    def is_zero_page(self, frame: int) -> bool: ...
    def set_idle(self, frames: Sequence[int]) -> None: ...
    def idle(self, frames: Sequence[int]) -> set[int]: ...
    def forget(self, pids: Sequence[int]) -> None: ...
    def close(self) -> None: ...


class IdleOps(Ops):
    """
    Operations set over the page_idle bitmap; see the module for what it means.

    Takes over `processes` and closes it. max_ranges, ranges: as `target_ranges`, whose `fixed`
    the latter are. Raises as `PageFrames` does.
    """

    name: ClassVar[str] = "idle"

    def __init__(
        self,
        processes: ProcessSet,
        *,
        max_ranges: int = 64,
        ranges: Sequence[Range] = (),
        frames: Frames | None = None,
    ) -> None:
        self._frames = frames or PageFrames()
        self._processes = processes
        self._max_ranges = max_ranges
        self._ranges = tuple(ranges)
        self._pids: list[int] = []
        self._samples: Samples | None = None
        #: Of each sample: the frame it is in and the one whose bit tells; None where none does.
        self._at: list[tuple[int, int] | None] = []
        self._results = bytearray()
        self._cleared = 0

    @property
    def recommended_attrs(self) -> Attrs:
        """Ten times the intervals of the kernel, for ten times its cost per sample."""
        return Attrs(sample_us=50_000, aggr_us=1_000_000)

    def targets(self) -> Sequence[TargetRanges]:
        before = set(self._pids)
        self._pids, found = [], []
        for process in self._processes.refresh():
            ranges = target_ranges(process, max_ranges=self._max_ranges, fixed=self._ranges)
            if ranges is not None:
                self._pids.append(process.pid)
                found.append(ranges)
        self._frames.forget(sorted(before - set(self._pids)))
        return found

    def alive(self) -> bool:
        return self._processes.alive()

    def prepare(self, addresses: Samples) -> None:
        self._samples = addresses
        self._results = bytearray(len(addresses))
        self._at = [None] * len(addresses)
        for index, frame in enumerate(self._frames_of(addresses, range(len(addresses)))):
            if frame is None:
                continue
            head = self._frames.head(frame)
            if head is not None:
                self._at[index] = frame, head
            elif not self._frames.is_zero_page(frame):
                self._results[index] = Check.UNOBSERVABLE
        heads = list({at[1] for at in self._at if at is not None})
        self._frames.set_idle(heads)
        self._cleared += len(heads)

    def check(self) -> bytearray:
        samples, results = self._samples, self._results
        if samples is None:
            return bytearray()
        idle = self._frames.idle([at[1] for at in self._at if at is not None])
        seen = [index for index, at in enumerate(self._at) if at is not None and at[1] not in idle]
        # A frame that was given back is not idle either: the page must still be there.
        for index, frame in zip(seen, self._frames_of(samples, seen), strict=True):
            if frame is not None:
                results[index] = Check.ACCESSED
        return results

    def cleared(self) -> int:
        count, self._cleared = self._cleared, 0
        return count

    def close(self) -> None:
        self._frames.close()
        self._processes.close()

    def _frames_of(self, samples: Samples, which: Sequence[int]) -> list[int | None]:
        """Return the frames of some samples, which are in the order of their targets."""
        found: list[int | None] = []
        at = 0
        while at < len(which):
            target, first = samples.targets[which[at]], at
            while at < len(which) and samples.targets[which[at]] == target:
                at += 1
            addresses = [samples.addresses[index] for index in which[first:at]]
            try:
                found += self._frames.frames(self._pids[target], addresses)
            except TargetGoneError:
                found += [None] * len(addresses)
        return found
