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

import mmap
import os
import time
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Protocol

from isotherm.actions.actor import Actor
from isotherm.actions.on_processes import ActOnProcesses
from isotherm.backends.kind import UNSEEN_BY_PROCESSES, BackendKind, only_processes
from isotherm.backends.opening import Opening, open_look
from isotherm.backends.process_look import ProcessLook
from isotherm.backends.self_test import PAGES, TOUCHED, SelfTest, disagreement, own_pages, touch
from isotherm.core.backend import Backend
from isotherm.core.look import Check, PageState, Samples, TargetRanges
from isotherm.errors import TargetGoneError
from isotherm.kernel.features import KernelSupport
from isotherm.kernel.pages.page_frames import PageFrames
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import PAGE, union
from isotherm.targets.target_set import ProcessTargets, TargetFacts


class Frames(Protocol):
    """What is used of `kernel.page_frames.PageFrames`."""

    def frames(self, pid: int, addresses: Sequence[int]) -> list[int | None]: ...
    def head(self, frame: int) -> int | None: ...
    def size(self, head: int) -> int: ...
    def is_zero_page(self, frame: int) -> bool: ...
    def set_idle(self, frames: Sequence[int]) -> None: ...
    def idle(self, frames: Sequence[int]) -> set[int]: ...
    def forget(self, pids: Sequence[int]) -> None: ...
    def close(self) -> None: ...


class IdleLook(ProcessLook):
    """
    A look over the page_idle bitmap; see the module for what it means.

    targets: who; stays the caller's. max_ranges: as `ProcessTargets.living`; frames: the files to
    look into, the machine's by default. Raises as `PageFrames` does.
    """

    name: ClassVar[str] = "idle"

    def __init__(
        self, targets: ProcessTargets, *, max_ranges: int = 64, frames: Frames | None = None
    ) -> None:
        super().__init__(targets, max_ranges=max_ranges)
        self.frames: Frames = frames or PageFrames()
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
        """Return the living processes and their ranges; the files of others are closed."""
        before = {process.tid for process in self.present}
        found = super().targets()
        self.frames.forget(sorted(before - {process.tid for process in self.present}))
        return found

    def prepare(self, addresses: Samples) -> None:
        self._samples = addresses
        self._results = bytearray(len(addresses))
        self._at = [None] * len(addresses)
        for index, frame in enumerate(self._frames_of(addresses, range(len(addresses)))):
            if frame is None:
                continue
            head = self.frames.head(frame)
            if head is not None:
                self._at[index] = frame, head
            elif not self.frames.is_zero_page(frame):
                self._results[index] = Check.UNOBSERVABLE
        heads = list({at[1] for at in self._at if at is not None})
        self.frames.set_idle(heads)
        self._cleared += len(heads)

    def check(self) -> bytearray:
        samples, results = self._samples, self._results
        if samples is None:
            return bytearray()
        idle = self.frames.idle([at[1] for at in self._at if at is not None])
        seen = [index for index, at in enumerate(self._at) if at is not None and at[1] not in idle]
        # A frame that was given back is not idle either: the page must still be there.
        for index, frame in zip(seen, self._frames_of(samples, seen), strict=True):
            if frame is not None:
                results[index] = Check.ACCESSED
        return results

    def bulk(self) -> IdleBulk:
        return IdleBulk(self)

    def cleared(self) -> int:
        count, self._cleared = self._cleared, 0
        return count

    def count_cleared(self, count: int) -> None:
        """Count bits that were cleared for somebody else than samples."""
        self._cleared += count

    def close(self) -> None:
        self.frames.close()

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
                found += self.frames.frames(self.present[target].tid, addresses)
            except TargetGoneError:
                found += [None] * len(addresses)
        return found


class IdleBulk:
    """The face of `IdleLook` for whole stretches: a `core.look.Bulk`."""

    frames_cleared: ClassVar[bool] = True

    def __init__(self, look: IdleLook) -> None:
        self._look = look

    def read(self, target: int, start: int, end: int) -> bytes:
        states = bytearray((end - start) // PAGE)
        heads: dict[int, int] = {}
        for index, frame in enumerate(self._frames(target, start, end)):
            if frame is None or self._look.frames.is_zero_page(frame):
                continue
            head = self._look.frames.head(frame)
            if head is None:
                states[index] = PageState.UNOBSERVABLE
            else:
                heads[index] = head
        idle = self._look.frames.idle(sorted(set(heads.values())))
        for index, head in heads.items():
            states[index] = PageState.OLD if head in idle else PageState.YOUNG
        return bytes(states)

    def clear(self, target: int, ranges: Sequence[tuple[int, int]]) -> int:
        frames = self._look.frames
        inside: Counter[int] = Counter()
        for start, end in union(
            (-(-start // PAGE) * PAGE, end // PAGE * PAGE) for start, end in ranges
        ):
            for frame in self._frames(target, start, end):
                if frame is not None and (head := frames.head(frame)) is not None:
                    inside[head] += 1
        whole = [head for head, count in inside.items() if count >= frames.size(head)]
        young = sorted(set(whole) - frames.idle(whole))
        frames.set_idle(young)
        self._look.count_cleared(len(young))
        return len(young)

    def _frames(self, target: int, start: int, end: int) -> list[int | None]:
        try:
            tid = self._look.present[target].tid
            return self._look.frames.frames(tid, range(start, end, PAGE))
        except TargetGoneError:
            return []


class _Idle(BackendKind):
    name = "idle"

    def how(self, kernel: KernelSupport) -> str:
        del kernel
        return "reads and clears through the page_idle bitmap"

    def blind_to(self, kernel: KernelSupport) -> tuple[str, ...]:
        del kernel
        return ("hugetlb pages, device memory", *UNSEEN_BY_PROCESSES)

    def obstacle(self, kernel: KernelSupport, target: TargetFacts) -> str:
        if why := only_processes(target):
            return why
        if not kernel.page_idle:
            return "this kernel has no page_idle bitmap (CONFIG_IDLE_PAGE_TRACKING)"
        if not kernel.page_frames or not kernel.kpageflags:
            return "needs root: frame numbers and their flags are hidden"
        return ""

    def open(self, opening: Opening) -> Backend:
        look = IdleLook(opening.processes)
        force = opening.force_guests
        return open_look(look, ActOnProcesses(look, lambda: Actor(force_guests=force)), opening)

    def self_test(self) -> SelfTest:
        """Mark 97 pages of our own idle, touch 23; the bitmap must tell those apart."""
        files = PageFrames()
        try:
            with own_pages() as (area, address):
                pages = [address + page * mmap.PAGESIZE for page in range(PAGES)]
                frames = [frame for frame in files.frames(os.getpid(), pages) if frame is not None]
                # Pages that were faulted in just now wait for their list, and cannot be seen yet.
                known = [frame for frame in frames if files.head(frame) == frame]
                begin = time.perf_counter_ns()
                files.set_idle(known)
                clear_us = (time.perf_counter_ns() - begin) / 1000 / max(1, len(known))
                begin = time.perf_counter_ns()
                before = len(files.idle(known))
                read_us = (time.perf_counter_ns() - begin) / 1000 / max(1, len(known))
                touch(area, TOUCHED)
                touched = before - len(files.idle(known))
        finally:
            files.close()
        # Translations left in the TLB hide a few of the accesses.
        right = before > PAGES // 2 and 0 < touched <= TOUCHED
        problem = "" if right else disagreement(len(known), len(known) - before, touched)
        return SelfTest(self.name, problem=problem, read_us=read_us, clear_us=clear_us)


KIND = _Idle()
