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

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from isotherm.actions.actor import Actor
from isotherm.core.act import Done
from isotherm.core.look import Check, Samples, TargetRanges
from isotherm.core.ops import Ops
from isotherm.errors import TargetGoneError
from isotherm.kernel.procfs import clear_refs, statm
from isotherm.kernel.smaps import SmapsEntry, smaps
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import PAGE
from isotherm.model.scheme import Scheme
from isotherm.targets.processes import Process, ProcessSet
from isotherm.targets.ranges import target_ranges

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


class ClearRefsOps(Ops):
    """
    Operations set over /proc/PID/clear_refs and smaps; see the module for what it means.

    Takes over `processes` and closes it. Raises `NotPermittedError` at the first `prepare` if a
    process belongs to somebody else. look_again: actions that would hurt memory in use are
    refused, as accessed bits of single pages cannot be read here; force_guests: act on processes
    that run a virtual machine. Acting needs root.
    """

    name: ClassVar[str] = "clear-refs"

    def __init__(
        self,
        processes: ProcessSet,
        *,
        max_ranges: int = 64,
        seed: int = 1,
        look_again: bool = True,
        force_guests: bool = False,
    ) -> None:
        self._processes = processes
        self._actor = Actor(look_again=look_again, force_guests=force_guests)
        self._max_ranges = max_ranges
        self._rng = random.Random(seed)  # noqa: S311 - sampling
        self._targets: list[Process] = []
        self._samples: Samples | None = None
        self._cleared = 0

    @property
    def recommended_attrs(self) -> Attrs:
        """
        Intervals that make sense here, for the present size of the targets.

        A second or more, so that a round costs at most 5 % of a CPU at 4 KiB pages; five samples
        in an aggregation, as each tells the share of all pages of a mapping.
        """
        resident = sum(map(_resident_bytes, self._processes.members))
        round_us = resident * ROUND_NS_PER_GIB // 2**30 // 1000
        sample_us = max(_SHORTEST_SAMPLE_US, int(round_us / _CPU_SHARE))
        sample_us = -(-sample_us // 1_000_000) * 1_000_000
        aggr_us = sample_us * _SAMPLES_PER_AGGR
        return Attrs(sample_us=sample_us, aggr_us=aggr_us, update_us=aggr_us)

    def targets(self) -> Sequence[TargetRanges]:
        self._targets, found = [], []
        for process in self._processes.refresh():
            ranges = target_ranges(process, max_ranges=self._max_ranges)
            if ranges is not None:
                self._targets.append(process)
                found.append(ranges)
        return found

    def alive(self) -> bool:
        return self._processes.alive()

    def prepare(self, addresses: Samples) -> None:
        self._samples = addresses
        for process in self._targets:
            try:
                clear_refs(process.pid)
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

    def why_not(self, scheme: Scheme) -> str:
        return self._actor.why_not(scheme)

    def warnings_for(self, scheme: Scheme) -> list[str]:
        return self._actor.warnings_for(scheme)

    def act(
        self,
        scheme: Scheme,
        target: int,
        start: int,
        end: int,
        *,
        filtered: bool,
        dry: bool = False,
    ) -> Done:
        process = self._targets[target]
        return self._actor.act(scheme, process, target, start, end, filtered=filtered, dry=dry)

    def close(self) -> None:
        self._actor.close()
        self._processes.close()

    def _check_target(
        self, target: int, samples: Samples, which: range, results: bytearray
    ) -> None:
        try:
            entries = smaps(self._targets[target].pid)
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
        return statm(process.pid).resident_bytes
    except TargetGoneError:
        return 0
