"""The machine's figures that quota goals and watermarks aim at, read from the kernel."""

from __future__ import annotations

from isotherm.kernel import cgroupfs, meminfo
from isotherm.model.scheme import Goal, Metric
from isotherm.schemes.goals import Metrics

_MEMCG = (Metric.NODE_MEMCG_USED_BP, Metric.NODE_MEMCG_FREE_BP)
_NODE = (Metric.NODE_MEM_USED_BP, Metric.NODE_MEM_FREE_BP, *_MEMCG)


class SystemMetrics(Metrics):
    """Metrics of the running kernel; see `schemes.goals.Metrics`."""

    def why_not(self, goal: Goal) -> str:
        return why_not_goal(goal)

    def psi_some_us(self) -> int:
        return meminfo.psi_some_us() or 0

    def node_bytes(self, nid: int) -> tuple[int, int] | None:
        fields = meminfo.node_meminfo(nid)
        return None if fields is None else (fields["MemTotal"], fields["MemFree"])

    def memcg_bytes(self, path: str, nid: int) -> int | None:
        return cgroupfs.node_bytes(path, nid)

    def lru_bytes(self) -> tuple[int, int]:
        fields = meminfo.meminfo()
        return fields["Active"], fields["Inactive"]

    def free_permil(self) -> int:
        return meminfo.free_permil()


def why_not_goal(goal: Goal) -> str:
    """Say why a goal cannot be measured here, and what would make it possible; "" if it can."""
    if goal.complement:
        return "no kernel and no user-space metric knows complements of goals"
    if goal.metric is Metric.NODE_ELIGIBLE_MEM_BP:
        return "node_eligible_mem_bp needs the kernel's DAMON on physical memory (Linux 7.2)"
    if goal.metric is Metric.SOME_MEM_PSI_US and meminfo.psi_some_us() is None:
        return "pressure stall information is off: boot with psi=1"
    if goal.metric in _NODE and meminfo.node_meminfo(goal.nid) is None:
        return f"there is no memory node {goal.nid}"
    if goal.metric in _MEMCG and cgroupfs.node_bytes(goal.memcg, goal.nid) is None:
        return f"there is no cgroup {goal.memcg!r} with per-node figures"
    return ""
