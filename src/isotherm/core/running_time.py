"""How long targets stood still, so that this time is left out of what is said of their memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from isotherm.core.look import TargetRanges
from isotherm.kernel.standstill import Standstill
from isotherm.model.ranges import Range
from isotherm.model.target import Mapping

#: The stack of the main thread is one of the last mappings.
_STACK, _LAST = "[stack]", 16
#: A share of the CPU time that is there for looking who stands still, with what waking up for it
#: costs; and how often that is.
_SHARE = 0.05
_WAKING_NS = 30_000
_NEVER_NS = 1 << 62
_OFTEN_NS, _RARE_NS = 100_000_000, 1_000_000_000
#: Of so many targets at most; more of them are looked at in proportion more seldom.
_RARE_TARGETS = 50


class WhoStands(Protocol):
    """Who stands still: as `kernel.standstill.Standstill`."""

    def follow(self, pids: Sequence[int | None]) -> None:
        """Take who is meant."""

    def now(self) -> list[bool]:
        """Tell of each whether it stands still."""

    def stacks(self) -> list[int]:
        """Return where the stack of each one's program began by then; 0: not known."""


@dataclass(slots=True)
class _Known:
    stopped_ns: int = 0
    still: bool = False
    mappings: Sequence[Mapping] = ()
    stack: Range | None = None


class RunningTime:
    """
    Follows which targets are stopped or frozen, by looking about ten times a second.

    share: of one CPU that is there for all that is done to follow their memory; tell: takes the
    index of a target, for how long it has stood still since it is followed, whether it does, and
    the time of the look.

    executed: places of those whose stack began elsewhere than in their address map: it is that of
    a program that they run no more.

    Between two looks a target ran if it did at both: what is left out is rather too much, by the
    time between two looks, than too little. What is shorter may go unnoticed.
    """

    def __init__(
        self,
        share: float,
        tell: Callable[[int, int, bool, int], None],
        who: WhoStands | None = None,
    ) -> None:
        self._share = share * _SHARE
        self._tell = tell
        self._who = who or Standstill()
        self._known: dict[int, _Known] = {}
        self._looked_ns = self._settled_ns = 0
        self.due_ns = 0
        self.executed: frozenset[int] = frozenset()

    def follow(self, targets: Sequence[TargetRanges]) -> None:
        """Take the living targets, in their order."""
        before, ids = self._known, [one.target.id for one in targets]
        self._known = {one: before.get(one) or _Known() for one in ids}
        self.executed = frozenset()
        for known, one in zip(self._known.values(), targets, strict=True):
            if known.mappings is not one.mappings:
                known.mappings, known.stack = one.mappings, _stack_of(one.mappings)
        self._who.follow([one.target.pid for one in targets])
        if all(one.target.pid is None for one in targets):
            self.due_ns = _NEVER_NS
        elif self.due_ns == _NEVER_NS:
            self.due_ns = 0

    def look(self, now_ns: int) -> None:
        """Look who stands still, and tell of those that do or did."""
        if self.due_ns == _NEVER_NS:
            return
        began_ns = time.thread_time_ns()
        since_ns = self._looked_ns or now_ns
        for index, (known, still) in enumerate(
            zip(self._known.values(), self._who.now(), strict=True)
        ):
            if still or known.still:
                # The time of who ran so far is not taken back.
                begin_ns = since_ns if known.still else max(since_ns, self._settled_ns)
                known.stopped_ns += max(0, now_ns - begin_ns)
                known.still = still
                self._tell(index, known.stopped_ns, still, now_ns)
        self.executed = frozenset(
            index
            for index, (known, at) in enumerate(
                zip(self._known.values(), self._who.stacks(), strict=True)
            )
            if at and known.stack is not None and not known.stack.start <= at <= known.stack.end
        )
        cost_ns = time.thread_time_ns() - began_ns + _WAKING_NS
        rest_ns = int(cost_ns / self._share)
        rare_ns = _RARE_NS * max(1, len(self._known) // _RARE_TARGETS)
        self.due_ns = now_ns + min(max(_OFTEN_NS, rest_ns), rare_ns)
        self._looked_ns = now_ns

    def settle(self, now_ns: int) -> None:
        """Take that something was noted of the memory of those who ran, up to this time."""
        self._settled_ns = now_ns

    @property
    def stopped_ns(self) -> int:
        """For how long the target that did so longest has stood still."""
        return max((known.stopped_ns for known in self._known.values()), default=0)


def _stack_of(mappings: Sequence[Mapping]) -> Range | None:
    for place in range(len(mappings) - 1, max(-1, len(mappings) - 1 - _LAST), -1):
        if (mapping := mappings[place]).name == _STACK:
            return Range(mapping.start, mapping.end)
    return None
