"""What is told of targets besides addresses: sizes, shares and groups, as often as is due."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from isotherm.core.look import TargetRanges
from isotherm.model.target import Group
from isotherm.targets.processes import Process
from isotherm.targets.proportions import Proportions

#: Of more targets than that new sizes are told so much later: a row for each of them is written
#: down whenever one is another.
_MANY, _SELDOM_NS = 64, 10_000_000_000


class _Told(NamedTuple):
    read: TargetRanges
    group: Group | None
    completed: TargetRanges


class Sizes:
    """Completes targets, and keeps them as they were where they are many and nothing is due."""

    def __init__(self) -> None:
        self._proportions = Proportions()
        self._shares: dict[int, int | None] = {}
        self._told: dict[int, _Told] = {}
        self._told_ns = 0
        self._found: list[tuple[Process, TargetRanges]] = []

    @property
    def spent_ns(self) -> int:
        """The CPU time so far of reading who has which share, which keeps to a pace of its own."""
        return self._proportions.spent_ns

    def told(
        self, living: Sequence[tuple[Process, TargetRanges]]
    ) -> list[tuple[Process, TargetRanges]]:
        """
        Return the living, with what was read of their maps, with complete targets.

        The same list as before if nothing of it is another.
        """
        now_ns = time.monotonic_ns()
        due = len(living) <= _MANY or now_ns - self._told_ns >= _SELDOM_NS
        if due:
            self._told_ns = now_ns
            self._shares = self._proportions.of(
                [(process, read.target.resident_bytes) for process, read in living]
            )
        before, self._told = self._told, {}
        found, same = [], len(living) == len(before)
        for process, read in living:
            key, group = process.target_id, process.group
            old = before.get(key)
            if old is None or due or old.read is not read or old.group is not group:
                new = self._complete(old, read, group, due=due)
                same = same and old is not None and old.completed is new.completed
                old = new
            self._told[key] = old
            found.append((process, old.completed))
        if not same:
            self._found = found
        return self._found

    def _complete(
        self, old: _Told | None, read: TargetRanges, group: Group | None, *, due: bool
    ) -> _Told:
        title = group.title if group else ""
        target = read.target
        before = None if old is None or due else old.completed.target
        if before is not None and (before.name, before.group) == (target.name, title):
            target = before
        else:
            share = self._shares.get(target.id)
            target = replace(target, proportional_bytes=share, group=title)
        if old is not None and old.read is read and old.completed.target == target:
            return _Told(read, group, old.completed)
        return _Told(read, group, replace(read, target=target))
