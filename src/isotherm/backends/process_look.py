"""What all ways to look at processes share: who they are, in the monitor's order."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import ClassVar

from isotherm.core.look import Census, Look, TargetRanges
from isotherm.model.ranges import Range
from isotherm.targets.processes import Process
from isotherm.targets.target_set import ProcessTargets


class ProcessLook(Look):
    """
    Base of looks at processes.

    targets: who; stays the caller's. max_ranges: as `ProcessTargets.living`.
    """

    has_processes: ClassVar[bool] = True

    def __init__(self, targets: ProcessTargets, *, max_ranges: int = 64) -> None:
        self.process_targets = targets
        self._max_ranges = max_ranges
        #: The processes of the last `targets()`, by the monitor's index.
        self.present: list[Process] = []
        self._living: list[tuple[Process, TargetRanges]] | None = None
        self._found: list[TargetRanges] = []

    def targets(self) -> Sequence[TargetRanges]:
        """Return the living processes and their ranges; the same list if all is as it was."""
        living = self.process_targets.living(self._max_ranges)
        if living is not self._living:
            self._living = living
            self.present = [process for process, _ in living]
            self._found = [ranges for _, ranges in living]
        return self._found

    def alive(self) -> bool:
        """Tell whether any process lives."""
        return self.process_targets.alive()

    @property
    def waits(self) -> bool:
        """Tell whether others may come when nobody is left."""
        return self.process_targets.waits

    @property
    def paced_ns(self) -> int:
        """CPU time so far of reading address maps, within a share of its own."""
        return self.process_targets.paced_ns

    def census(self, executed: AbstractSet[int]) -> Census:
        """Tell of whom nothing is known."""
        return self.process_targets.census(self.present, executed)

    def forget(self, executed: AbstractSet[int]) -> None:
        """Let the address maps be read again."""
        for place, process in enumerate(self.present):
            if place in executed:
                process.maps_cache = None

    def refused(self, index: int) -> list[Range]:
        """Return, in order, what of a target turned out to be unobservable while looking."""
        del index
        return []

    def exempt(self, cpu_ns: int) -> None:
        """Take no notice of CPU time that the monitoring thread spent on something else."""
        del cpu_ns
