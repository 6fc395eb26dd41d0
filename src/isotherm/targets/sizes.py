"""What is told of targets besides addresses: sizes, shares and groups, as often as is due."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from isotherm.core.look import TargetRanges
from isotherm.model.target import Target
from isotherm.targets.processes import Process
from isotherm.targets.proportions import Proportions

#: Of more targets than that new sizes are told so much later: a row for each of them is written
#: down whenever one is another.
_MANY, _SELDOM_NS = 64, 10_000_000_000


class Sizes:
    """Completes targets, and keeps them as they were where they are many and nothing is due."""

    def __init__(self) -> None:
        self._proportions = Proportions()
        self._told: dict[int, Target] = {}
        self._told_ns = 0

    def told(
        self, living: Sequence[tuple[Process, TargetRanges]]
    ) -> list[tuple[Process, TargetRanges]]:
        """Return the living, with what was read of their maps, with complete targets."""
        shares = self._proportions.of(
            [(process, read.target.resident_bytes) for process, read in living]
        )
        now_ns = time.monotonic_ns()
        due = len(living) <= _MANY or now_ns - self._told_ns >= _SELDOM_NS
        if due:
            self._told_ns = now_ns
        before, self._told = self._told, {}
        found = []
        for process, read in living:
            key = process.target_id
            group = process.group.title if process.group else ""
            target, old = read.target, before.get(key)
            if not due and old is not None and (old.name, old.group) == (target.name, group):
                target = old
            else:
                target = replace(target, proportional_bytes=shares.get(key), group=group)
            self._told[key] = target
            found.append((process, replace(read, target=target)))
        return found
