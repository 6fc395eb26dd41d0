"""Processes as targets of a backend that looks at memory itself: who they are, where they map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from isotherm.core.look import TargetRanges
from isotherm.model.ranges import Range
from isotherm.targets.processes import ProcessSet
from isotherm.targets.ranges import target_ranges


class ProcessTargets:
    """
    Living processes with their address maps; raises as `ProcessSet` does.

    Ranges are the given ones, else DAMON's three per process (damon-spec 1.7).
    """

    def __init__(
        self,
        pids: Iterable[int],
        *,
        follow_children: bool = True,
        ranges: Sequence[Range] = (),
    ) -> None:
        self._ranges = tuple(ranges)
        self._processes = ProcessSet(pids, follow_children=follow_children)

    def targets(self) -> list[TargetRanges]:
        """Return the living, by target id."""
        found = [
            target_ranges(one, max_ranges=3, fixed=self._ranges)
            for one in self._processes.refresh()
        ]
        return [one for one in found if one is not None]

    def close(self) -> None:
        self._processes.close()
