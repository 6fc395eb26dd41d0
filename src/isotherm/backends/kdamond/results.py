"""
What came of the kernel's schemes: statistics, quotas in force, events.

Asking for them is not free: Linux up to 6.13 answers a command after 100 ms. So they are asked for
only when no further window waits, quotas once a second, and not at all where the kernel keeps its
files up to date by itself (refresh_ms, 6.17).

Whether watermarks let a scheme work is not told: the same rule is kept here, over the same figure,
looked at when statistics are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from isotherm.clock import Clock
from isotherm.core.act import Done
from isotherm.kernel import meminfo
from isotherm.kernel.damon.context import KdamondFiles
from isotherm.model.scheme import Metric, Scheme
from isotherm.model.scheme_state import SchemeState, TriedRegion
from isotherm.schemes.engine import Event
from isotherm.schemes.watermarks import WatermarkState

_QUOTAS_EVERY_NS = 1_000_000_000


class SchemeResults:
    """
    States of the schemes, window after window.

    observe: called for every region that a scheme was tried on, with its part, by size, of what
    was applied meanwhile: the kernel tells only the sum.
    """

    def __init__(
        self,
        kdamond: KdamondFiles,
        clock: Clock,
        observe: Callable[[Event], None] | None,
        *,
        refreshed: bool,
    ) -> None:
        self._kdamond, self._clock, self._observe = kdamond, clock, observe
        self._refreshed = refreshed
        self._schemes: tuple[Scheme, ...] = ()
        self._marks: list[WatermarkState] = []
        self._states: tuple[SchemeState, ...] = ()
        self._untold: list[list[TriedRegion]] = []
        self._applied: list[int] = []
        self._next_quotas_ns = 0

    def begin(self, schemes: Sequence[Scheme]) -> None:
        """Take notice of the schemes that were committed; those in the same place go on."""
        self._schemes = tuple(schemes)
        # A commit wakes the kernel's up as well.
        self._marks = [WatermarkState(scheme.watermarks) for scheme in self._schemes]
        count = len(self._schemes)
        self._untold = [[] for _ in range(count)]
        self._applied = (self._applied + [0] * count)[:count]
        self._states = ()

    def take(
        self, tried: dict[int, list[TriedRegion]], *, behind: bool
    ) -> tuple[SchemeState, ...]:
        """
        Return the states after a window in which schemes were `tried` on regions.

        behind: further windows wait; what was read last then stands for now.
        """
        if not self._schemes:
            return ()
        for index, regions in tried.items():
            if index < len(self._untold):
                self._untold[index] += regions
        if not behind or not self._states:
            self._update()
            self._states = tuple(map(self._read, range(len(self._schemes))))
            self._tell()
        return tuple(
            replace(state, tried=tuple(tried.get(index, ())))
            for index, state in enumerate(self._states)
        )

    def _update(self) -> None:
        watched = [one for one in self._marks if one.marks.metric != "none"]
        if watched:
            free = meminfo.free_permil()
            for one in watched:
                one.look(free)
        kdamond = self._kdamond
        if kdamond.put_goal_values(self._schemes):
            kdamond.command("commit_schemes_quota_goals")
        if self._refreshed:
            return
        kdamond.command("update_schemes_stats")
        limited = any(one.quota is not None and one.quota.limits for one in self._schemes)
        if limited and self._clock.now_ns() >= self._next_quotas_ns:
            self._next_quotas_ns = self._clock.now_ns() + _QUOTAS_EVERY_NS
            if kdamond.effective_bytes(0) is not None:
                kdamond.command("update_schemes_effective_quotas")

    def _read(self, index: int) -> SchemeState:
        scheme = self._schemes[index]
        limited = scheme.quota is not None and scheme.quota.limits
        return SchemeState(
            title=scheme.title,
            action=scheme.action.value,
            stats=self._kdamond.stats(index),
            effective_bytes=self._kdamond.effective_bytes(index) if limited else None,
            score=_score(scheme),
            active=self._marks[index].active,
        )

    def _tell(self) -> None:
        for index, state in enumerate(self._states):
            untold, applied = self._untold[index], state.stats.sz_applied - self._applied[index]
            if self._observe is not None:
                for event in _events(index, untold, applied):
                    self._observe(event)
            # The kernel may have counted a window that is still to be told: more than there is.
            self._applied[index] += min(applied, sum(region.size for region in untold))
            untold.clear()


def _events(index: int, tried: Sequence[TriedRegion], applied: int) -> Iterator[Event]:
    size = sum(region.size for region in tried)
    for region in tried:
        part = min(region.size, max(0, applied) * region.size // max(1, size))
        applied -= part
        size -= region.size
        done = region._replace(applied_bytes=part)
        yield Event("done", index, 0, tried=done, done=Done(applied_bytes=part))


def _score(scheme: Scheme) -> float | None:
    """How far goals are met whose present value is ours to tell; None if the kernel measures."""
    goals = scheme.quota.goals if scheme.quota else ()
    if not goals or any(goal.metric not in (Metric.OWN, Metric.USER_INPUT) for goal in goals):
        return None
    return max((goal.read() if goal.read else goal.current) / goal.target for goal in goals)
