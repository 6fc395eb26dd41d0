"""The look of the backend `clear-refs`; see `kind` for what it means."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, ClassVar

from isotherm.backends.clear_refs.epochs import CPU_SHARE, Epochs
from isotherm.backends.clear_refs.usage import is_unseen
from isotherm.backends.process_look import ProcessLook
from isotherm.core.look import Check, Samples
from isotherm.errors import TargetGoneError
from isotherm.kernel.procfs import statm
from isotherm.model.attrs import Attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isotherm.core.look import TargetRanges
    from isotherm.targets.processes import Process
    from isotherm.targets.target_set import ProcessTargets

#: CPU time of a clear and a read, per GiB of resident 4 KiB pages (measured).
ROUND_NS_PER_GIB = 59_000_000
_SHORTEST_AGGR_US = 5_000_000
#: So finely the used share of a mapping is told.
_PARTS = 100
#: Every mapping is a range of its own, holes are no part of any.
_MOST_RANGES = 1 << 17


class ClearRefsLook(ProcessLook):
    """
    A look over /proc/PID/clear_refs and smaps.

    Its own policy (`regions`) asks `epochs` for whole mappings, and so does its map of pages.
    Another policy may ask for samples: then each `prepare` clears, and all samples in a mapping
    answer alike: accessed so often that, over many checks, it is the share of the mapping that was
    used. targets: who; stays the caller's. Raises `NotPermittedError` at the first look if a
    process belongs to somebody else.
    """

    name: ClassVar[str] = "clear-refs"
    whole_mappings: ClassVar[bool] = True

    def __init__(self, targets: ProcessTargets, *, max_ranges: int = _MOST_RANGES) -> None:
        super().__init__(targets, max_ranges=max_ranges)
        self.epochs = Epochs()
        self._samples: Samples | None = None
        #: What is left of the shares of earlier checks, by target id and begin of the mapping.
        self._carried: dict[tuple[int, int], float] = {}

    @property
    def recommended_attrs(self) -> Attrs:
        """
        Intervals that make sense here, for the present size of the targets.

        Windows of 5 s or more, so that a clear and a read in each cost at most 5 % of a CPU at
        4 KiB pages. A sampling interval is nothing but a hundredth of that: a unit of the share.
        """
        resident = sum(map(_resident_bytes, self.process_targets.members))
        round_us = resident * ROUND_NS_PER_GIB // 2**30 // 1000
        aggr_us = max(_SHORTEST_AGGR_US, int(round_us / CPU_SHARE))
        aggr_us = -(-aggr_us // 1_000_000) * 1_000_000
        return Attrs(sample_us=aggr_us // _PARTS, aggr_us=aggr_us, update_us=aggr_us)

    def targets(self) -> Sequence[TargetRanges]:
        found = super().targets()
        self.epochs.follow(self.present)
        return found

    def prepare(self, addresses: Samples) -> None:
        self._samples = addresses
        self.epochs.clear()

    def check(self) -> bytearray:
        samples = self._samples
        if samples is None:
            return bytearray()
        self.epochs.read()
        shown = [self._answers(process.target_id) for process in self.present]
        results = bytearray(len(samples))
        for index, (address, target) in enumerate(
            zip(samples.addresses, samples.targets, strict=True)
        ):
            starts, answers = shown[target]
            near = bisect_right(starts, address) - 1
            if near >= 0 and address < answers[near][0]:
                results[index] = answers[near][1]
        return results

    def cleared(self) -> int:
        return self.epochs.take_cleared()

    def _answers(self, target_id: int) -> tuple[list[int], list[tuple[int, Check]]]:
        """Return where the mappings begin, and where each ends and what its samples answer."""
        starts, answers = [], []
        watch = self.epochs.watches[target_id]
        # Of a process that vanished nothing is known of this round.
        for entry in watch.entries if watch.uses else ():
            key = target_id, entry.mapping.start
            starts.append(entry.mapping.start)
            answer = Check.UNOBSERVABLE
            if not is_unseen(entry):
                # Of the mapping and not of what is resident: a sample on an absent page is idle.
                left = self._carried.get(key, 0.5) + entry.referenced_bytes / entry.mapping.size
                answer = Check.ACCESSED if left >= 1 else Check.IDLE
                self._carried[key] = left - int(left)
            answers.append((entry.mapping.end, answer))
        return starts, answers


def _resident_bytes(process: Process) -> int:
    try:
        return statm(process.tid).resident_bytes
    except TargetGoneError:
        return 0
