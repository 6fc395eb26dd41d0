"""The machine's figures, against text that kernels print and against this kernel."""

import os
from pathlib import Path

import pytest

from isotherm.kernel import cgroupfs, meminfo
from isotherm.model.scheme import Goal, Metric
from isotherm.session.metrics import SystemMetrics, why_not_goal

V1 = """\
total=100 N0=60 N1=40
file=31 N0=20 N1=11
anon=69 N0=40 N1=29
unevictable=0 N0=0 N1=0
hierarchical_total=200 N0=120 N1=80
hierarchical_file=61 N0=40 N1=21
hierarchical_anon=139 N0=80 N1=59
"""
V2 = """\
anon N0=8192 N1=4096
file N0=40960 N1=0
kernel_stack N0=16384 N1=0
inactive_anon N0=1 N1=2
"""


@pytest.mark.parametrize(
    ("text", "nid", "expected"),
    [
        (V1, 0, 120 * 4096),
        (V1, 1, 80 * 4096),
        (V2, 0, 49152),
        (V2, 1, 4096),
        (V1, 2, None),
        ("", 0, None),
    ],
)
def test_memory_of_a_cgroup_on_a_node(text, nid, expected):
    assert cgroupfs.parse_numa_stat(text, nid) == expected


def test_fields_of_meminfo_and_of_nodes_read_alike():
    assert meminfo.parse_kib(b"MemTotal:  10 kB\nHugePages_Total:   3\nbad\n") == {
        "MemTotal": 10240,
        "HugePages_Total": 3,
    }
    assert meminfo.parse_kib(b"Node 0 MemFree:   7 kB\n") == {"MemFree": 7168}


def test_figures_of_this_machine_agree_with_another_witness():
    metrics = SystemMetrics()
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert meminfo.meminfo()["MemTotal"] == total
    assert 0 <= metrics.free_permil() <= 1000
    node_total, node_free = metrics.node_bytes(0)
    assert 0 < node_free < node_total <= total
    assert metrics.node_bytes(999) is None
    assert sum(metrics.lru_bytes()) < total
    assert (meminfo.meminfo()["SwapTotal"] > 0) == (
        Path("/proc/swaps").read_text().count("\n") > 1
    )


@pytest.mark.parametrize(
    ("goal", "reason"),
    [
        (Goal(Metric.NODE_ELIGIBLE_MEM_BP, 10), "physical memory"),
        (Goal(Metric.NODE_MEM_FREE_BP, 10, nid=999), "no memory node 999"),
        (Goal(Metric.NODE_MEMCG_USED_BP, 10, memcg="/no/such"), "no cgroup '/no/such'"),
        (Goal(Metric.USER_INPUT, 10, complement=True), "complement"),
    ],
)
def test_a_goal_that_cannot_be_measured_says_why(goal, reason):
    assert reason in why_not_goal(goal)


def test_psi_that_is_off_says_how_to_turn_it_on(monkeypatch):
    monkeypatch.setattr(meminfo, "PSI_MEMORY", "/nonexistent")
    assert "psi=1" in why_not_goal(Goal(Metric.SOME_MEM_PSI_US, 10))
    assert SystemMetrics().psi_some_us() == 0


def test_goals_of_this_machine_can_be_measured():
    assert why_not_goal(Goal(Metric.NODE_MEM_FREE_BP, 10)) == ""
    assert why_not_goal(Goal(Metric.USER_INPUT, 10)) == ""
