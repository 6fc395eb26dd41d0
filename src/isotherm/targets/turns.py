"""Whose memory map is read now: all of them, or in turns where that would cost too much."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice

from isotherm.targets.processes import Process

#: Share of a CPU for it, the time that may be spent before any was earned, and saved up at most.
_CPU_SHARE, _CREDIT_NS = 0.002, 5_000_000
#: So many are looked at in any case.
_LEAST = 8
#: What a first look is expected to cost.
_LOOK_NS = 60_000


class Turns:
    """
    Chooses who is looked at: who is new, and of the others who waits longest, as can be paid.

    Few processes are all looked at each time. now_ns: a clock; cpu_ns: one of CPU time.
    """

    def __init__(
        self,
        now_ns: Callable[[], int] = time.monotonic_ns,
        cpu_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self._now_ns, self._cpu_ns = now_ns, cpu_ns
        self._credit_ns = float(_CREDIT_NS)
        self._earned_ns = now_ns()
        self._look_ns = float(_LOOK_NS)
        #: By target id, in the order of when they were looked at.
        self._looked: dict[int, None] = {}
        self._begun_ns = 0
        self._chosen = 0

    def begin(self, members: Sequence[Process]) -> set[int]:
        """
        Return the target ids of those to look at; `end` follows when that is done.

        members: the living.
        """
        now_ns = self._now_ns()
        earned_ns = (now_ns - self._earned_ns) * _CPU_SHARE
        self._credit_ns = min(_CREDIT_NS, self._credit_ns + earned_ns)
        self._earned_ns = now_ns
        ids = {process.target_id for process in members}
        self._looked = {target_id: None for target_id in self._looked if target_id in ids}
        chosen = ids - self._looked.keys()
        others = max(_LEAST, int(self._credit_ns / self._look_ns))
        chosen.update(target_id for target_id in islice(self._looked, others))
        for target_id in sorted(chosen):
            self._looked.pop(target_id, None)
            self._looked[target_id] = None
        self._chosen = len(chosen)
        self._begun_ns = self._cpu_ns()
        return chosen

    def end(self) -> None:
        """Take note of what the looks cost."""
        spent_ns = self._cpu_ns() - self._begun_ns
        self._credit_ns = max(0.0, self._credit_ns - spent_ns)
        if self._chosen:
            self._look_ns += (max(1, spent_ns / self._chosen) - self._look_ns) / 4
