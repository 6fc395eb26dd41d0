"""
The backend `clear-refs`: own processes, without any privilege, a mapping at a time.

A round writes 1 to /proc/PID/clear_refs, which clears the accessed bits of all pages, and later
reads `Referenced:` of every mapping from /proc/PID/smaps. So only the *share* of a mapping that
was accessed is known, not the place. A sample counts as accessed with that share as its
probability: over a window, size times rate of a mapping's regions then is what was really
accessed, while regions inside a mapping differ by chance only. The draw is systematic (one random
phase per mapping and round, then every 1/share-th sample hits), which has the least variance.

What it costs: 59 ms per GiB and round at 4 KiB pages, 0.3 ms with huge ones. What it holds: the
target's mmap_lock, for writing while it clears (its mmap() waits; page faults wait before Linux
6.4), for reading while it looks.

What it cannot see: anything below a mapping; hugetlb and device memory; how often within a round.
Accesses of pages whose translations stay in the TLB are missed until those are evicted, as
clear_refs does not flush it; at rounds of a second or more that is rare. Pages that other
processes or the kernel mark referenced (`read()` of a mapped file) count as accessed.
"""

from __future__ import annotations

import os
import random
import time
from bisect import bisect_right
from dataclasses import dataclass
from typing import ClassVar

from isotherm.actions.actor import Actor
from isotherm.actions.on_processes import ActOnProcesses
from isotherm.backends.kind import UNSEEN_BY_PROCESSES, BackendKind, only_processes
from isotherm.backends.opening import Opening, open_look
from isotherm.backends.process_look import ProcessLook
from isotherm.backends.self_test import PAGES, TOUCHED, SelfTest, disagreement, own_pages, touch
from isotherm.core.backend import Backend
from isotherm.core.look import Check, Samples
from isotherm.errors import TargetGoneError
from isotherm.kernel.features import KernelSupport
from isotherm.kernel.privilege import root_hint
from isotherm.kernel.procfs import clear_refs, statm
from isotherm.kernel.smaps import SmapsEntry, smaps
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import PAGE
from isotherm.targets.processes import Process
from isotherm.targets.target_set import ProcessTargets, TargetFacts

#: CPU time of one round, clearing and reading, per GiB of resident 4 KiB pages (measured).
ROUND_NS_PER_GIB = 59_000_000
#: Share of a CPU that the recommended interval keeps to.
_CPU_SHARE = 0.05
_SHORTEST_SAMPLE_US = 1_000_000
_SAMPLES_PER_AGGR = 5
_UNOBSERVABLE_FLAGS = frozenset({"ht", "pf", "io", "mm"})


@dataclass(slots=True)
class _Referenced:
    """What one mapping showed in this round; `phase` is where its next sample stands."""

    end: int
    share: float
    unobservable: bool
    phase: float

    def draw(self) -> Check:
        """Answer for the next sample in this mapping."""
        if self.unobservable:
            return Check.UNOBSERVABLE
        self.phase += self.share
        if self.phase < 1:
            return Check.IDLE
        self.phase -= 1
        return Check.ACCESSED


class ClearRefsLook(ProcessLook):
    """
    A look over /proc/PID/clear_refs and smaps; see the module for what it means.

    targets: who; stays the caller's. max_ranges: as `ProcessTargets.living`; seed: of the draws.
    Raises `NotPermittedError` at the first `prepare` if a process belongs to somebody else.
    """

    name: ClassVar[str] = "clear-refs"

    def __init__(self, targets: ProcessTargets, *, max_ranges: int = 64, seed: int = 1) -> None:
        super().__init__(targets, max_ranges=max_ranges)
        self._rng = random.Random(seed)  # noqa: S311 - sampling
        self._samples: Samples | None = None
        self._cleared = 0

    @property
    def recommended_attrs(self) -> Attrs:
        """
        Intervals that make sense here, for the present size of the targets.

        A second or more, so that a round costs at most 5 % of a CPU at 4 KiB pages; five samples
        in an aggregation, as each tells the share of all pages of a mapping.
        """
        resident = sum(map(_resident_bytes, self.process_targets.members))
        round_us = resident * ROUND_NS_PER_GIB // 2**30 // 1000
        sample_us = max(_SHORTEST_SAMPLE_US, int(round_us / _CPU_SHARE))
        sample_us = -(-sample_us // 1_000_000) * 1_000_000
        aggr_us = sample_us * _SAMPLES_PER_AGGR
        return Attrs(sample_us=sample_us, aggr_us=aggr_us, update_us=aggr_us)

    def prepare(self, addresses: Samples) -> None:
        self._samples = addresses
        for process in self.present:
            try:
                clear_refs(process.tid)
            except TargetGoneError:
                continue

    def check(self) -> bytearray:
        samples = self._samples
        if samples is None:
            return bytearray()
        results = bytearray(len(samples))
        at = 0
        while at < len(samples):
            target, first = samples.targets[at], at
            while at < len(samples) and samples.targets[at] == target:
                at += 1
            self._check_target(target, samples, range(first, at), results)
        return results

    def cleared(self) -> int:
        count, self._cleared = self._cleared, 0
        return count

    def _check_target(
        self, target: int, samples: Samples, which: range, results: bytearray
    ) -> None:
        try:
            entries = smaps(self.present[target].tid)
        except TargetGoneError:
            return
        self._cleared += sum(entry.referenced_bytes for entry in entries) // PAGE
        starts = [entry.mapping.start for entry in entries]
        shown = [self._referenced(entry) for entry in entries]
        for index in which:
            address = samples.addresses[index]
            near = bisect_right(starts, address) - 1
            if near >= 0 and address < shown[near].end:
                results[index] = shown[near].draw()

    def _referenced(self, entry: SmapsEntry) -> _Referenced:
        # Of the mapping and not of what is resident: a sample on an absent page is idle, and
        # which pages are absent is not known either.
        share = min(1.0, entry.referenced_bytes / entry.mapping.size)
        unobservable = bool(entry.flags & _UNOBSERVABLE_FLAGS)
        return _Referenced(entry.mapping.end, share, unobservable, self._rng.random())


def _resident_bytes(process: Process) -> int:
    try:
        return statm(process.tid).resident_bytes
    except TargetGoneError:
        return 0


class _ClearRefs(BackendKind):
    name = "clear-refs"
    whole_mappings = True

    def how(self, kernel: KernelSupport) -> str:
        del kernel
        return "needs no privileges; sees which share of each mapping is used"

    def blind_to(self, kernel: KernelSupport) -> tuple[str, ...]:
        del kernel
        return (
            "anything smaller than a mapping: only its accessed share is known",
            "intervals below a second",
            "processes of other users",
            "hugetlb pages",
            *UNSEEN_BY_PROCESSES,
        )

    def obstacle(self, kernel: KernelSupport, target: TargetFacts) -> str:
        if why := only_processes(target):
            return why
        if target.operations == "fvaddr":
            return "it sees whole mappings only, and ranges were asked for"
        if not kernel.clear_refs:
            return "this kernel has no clear_refs (CONFIG_PROC_PAGE_MONITOR)"
        if target.foreign:
            return f"process {target.foreign[0]} belongs to another user"
        return ""

    def lacks_rights(self, kernel: KernelSupport, target: TargetFacts) -> bool:
        """Rights are for processes of other users only."""
        return target.operations == "vaddr" and super().lacks_rights(kernel, target)

    def warnings(self, kernel: KernelSupport) -> tuple[str, ...]:
        if kernel.root:
            return ()
        return (f"clear-refs is coarse; page-exact monitoring needs rights: {root_hint()}",)

    def open(self, opening: Opening) -> Backend:
        look = ClearRefsLook(opening.processes)
        force = opening.force_guests
        return open_look(look, ActOnProcesses(look, lambda: Actor(force_guests=force)), opening)

    def self_test(self) -> SelfTest:
        """Touch 97 pages of our own, clear, touch 23; clear_refs and smaps must agree."""
        own = os.getpid()
        with own_pages() as (area, address):
            before = _referenced(own, address)
            begin = time.perf_counter_ns()
            clear_refs(own)
            cleared = _referenced(own, address)
            round_us = (time.perf_counter_ns() - begin) / 1000
            touch(area, TOUCHED)
            touched = _referenced(own, address)
        # Translations left in the TLB hide a few of the accesses.
        right = before >= PAGES and cleared == 0 and 0 < touched <= TOUCHED
        problem = "" if right else disagreement(before, cleared, touched)
        return SelfTest(self.name, problem=problem, round_us=round_us)


def _referenced(pid: int, address: int) -> int:
    """Return the accessed pages of the mapping that holds `address`."""
    return sum(
        entry.referenced_bytes // PAGE
        for entry in smaps(pid)
        if entry.mapping.start <= address < entry.mapping.end
    )


KIND = _ClearRefs()
