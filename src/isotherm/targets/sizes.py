"""What is told of targets besides addresses: sizes, shares and groups, as often as is due."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from isotherm.core.look import TargetRanges
from isotherm.targets.processes import Process
from isotherm.targets.proportions import Proportions

#: Of more targets than that new sizes are told so much later: a row for each of them is written
#: down whenever one is another.
_MANY, _SELDOM_NS = 64, 10_000_000_000


class Sizes:
    """Completes targets, and keeps them as they were where they are many and nothing is due."""

    def __init__(self) -> None:
        self._proportions = Proportions()
        #: By target id: what was read, and the same completed.
        self._told: dict[int, tuple[TargetRanges, TargetRanges]] = {}
        self._told_ns = 0

    def told(
        self, living: Sequence[Process], known: Mapping[int, TargetRanges]
    ) -> dict[int, TargetRanges]:
        """
        Return what is known of the living with complete targets, by target id.

        known: what was read of their maps, by target id.
        """
        resident = [(one, known[one.target_id].target.resident_bytes) for one in living]
        shares = self._proportions.of(resident)
        now_ns = time.monotonic_ns()
        due = len(living) <= _MANY or now_ns - self._told_ns >= _SELDOM_NS
        if due:
            self._told_ns = now_ns
        before, self._told = self._told, {}
        for process in living:
            key, read = process.target_id, known[process.target_id]
            group = process.group.title if process.group else ""
            old = before.get(key)
            target = read.target
            if old is not None and not due:
                target = old[1].target
            if target is read.target or (target.name, target.group) != (read.target.name, group):
                target = replace(read.target, proportional_bytes=shares.get(key), group=group)
            if old is not None and old[0] is read and old[1].target == target:
                self._told[key] = old
            else:
                self._told[key] = read, replace(read, target=target)
        return {key: completed for key, (_, completed) in self._told.items()}
