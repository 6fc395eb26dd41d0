"""Quota goals: how far they are met, and the tuners that turn that into an effective quota."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from isotherm.core.damon.arithmetic import mult_frac
from isotherm.core.damon.profile import NEWEST, Profile
from isotherm.core.schedule import feed
from isotherm.model.scheme import Goal, Metric, Quota, Tuner
from isotherm.units import U64_MAX

_BP = 10_000


class Metrics(Protocol):
    """The machine's figures that goals and watermarks aim at; a seam, for pure engines."""

    def why_not(self, goal: Goal) -> str:
        """Say why a goal cannot be measured, and what would make it possible; "" if it can."""

    def psi_some_us(self) -> int:
        """Return the total time that some task waited for memory, in µs."""

    def node_bytes(self, nid: int) -> tuple[int, int] | None:
        """Return total and free memory of a node, in bytes; None without such a node."""

    def memcg_bytes(self, path: str, nid: int) -> int | None:
        """Return the memory of a cgroup on a node, in bytes; None if there is no such thing."""

    def lru_bytes(self) -> tuple[int, int]:
        """Return the active and the inactive memory of the machine, in bytes."""

    def free_permil(self) -> int:
        """Return the free share of the machine's memory, in 1/1,000."""


class GoalState:
    """
    The present value of one goal.

    PSI counts from evaluation to evaluation; the first has nothing to count from and is neutral,
    it neither grows nor shrinks the quota. Before Linux 7.3 it counts from 0.
    """

    def __init__(self, goal: Goal, profile: Profile = NEWEST) -> None:
        self.goal = goal
        self.errors: Counter[str] = Counter()
        self._psi_before: int | None = None if profile.psi_starts_neutral else 0

    def go_on_from(self, before: GoalState) -> None:
        """Count pressure from where the goal that was here before stopped."""
        self._psi_before = before._psi_before

    def current(self, metrics: Metrics, tuner: Tuner, effective: int) -> int:
        """Return the value now (damos_set_quota_goal_current_value)."""
        goal = self.goal
        if goal.read is not None:
            value, failed = goal.measured()
            self.errors.update([f"goal {goal.title}: {failed}"] if failed else [])
            return value
        if goal.metric is Metric.USER_INPUT:
            return goal.current
        if goal.metric is Metric.SOME_MEM_PSI_US:
            return self._psi(metrics.psi_some_us(), tuner, effective)
        if goal.metric in (Metric.ACTIVE_MEM_BP, Metric.INACTIVE_MEM_BP):
            active, inactive = metrics.lru_bytes()
            part = active if goal.metric is Metric.ACTIVE_MEM_BP else inactive
            return part * _BP // max(1, active + inactive)
        return self._node(metrics)

    def _psi(self, total: int, tuner: Tuner, effective: int) -> int:
        before, self._psi_before = self._psi_before, total
        if before is not None:
            return total - before
        if tuner == "consist":
            return self.goal.target
        return 0 if effective else self.goal.target

    def _node(self, metrics: Metrics) -> int:
        goal = self.goal
        node = metrics.node_bytes(goal.nid)
        used: int | None = None
        if goal.metric in (Metric.NODE_MEM_USED_BP, Metric.NODE_MEM_FREE_BP):
            used = node[0] - node[1] if node is not None else None
        elif goal.metric in (Metric.NODE_MEMCG_USED_BP, Metric.NODE_MEMCG_FREE_BP):
            used = metrics.memcg_bytes(goal.memcg, goal.nid)
        wants_used = goal.metric in (Metric.NODE_MEM_USED_BP, Metric.NODE_MEMCG_USED_BP)
        # As the kernel: what cannot be told counts as all free.
        if node is None or used is None or not node[0] or used > node[0]:
            return 0 if wants_used else _BP
        return (used if wants_used else node[0] - used) * _BP // node[0]


def score_bp(states: Sequence[GoalState], metrics: Metrics, tuner: Tuner, effective: int) -> int:
    """Return how far goals are met, in 1/10,000: the best met one rules (damos_quota_score)."""
    return max(
        mult_frac(state.current(metrics, tuner, effective), _BP, state.goal.target)
        for state in states
    )


def tuned_bp(quota: Quota, size_bp: int, score: int) -> int:
    """
    Return the next effective size of a quota with goals, in bytes * 10,000.

    consist: feedback from the size so far, one byte at first, at most doubled; temporal: all that
    the quota allows until the goal is met, then nothing.
    """
    if quota.tuner == "consist":
        return feed(max(size_bp, _BP), score)
    if score >= _BP:
        return 0
    return min(quota.size_bytes * _BP, U64_MAX) if quota.size_bytes else U64_MAX
