"""
Migrations between two NUMA nodes, the second without a CPU: a slow tier.

By the kernel's DAMON and by isotherm itself; the witness is move_pages(2), which tells where a
page is when no node is asked for.
"""

import ctypes
import os
from collections import Counter
from pathlib import Path

import pytest
from kit import (
    MIB,
    PAGE,
    apply,
    by_kernel,
    cold_of,
    hot_of,
    nothing_left,
    running,
    spans,
    until,
    vmstat,
)

from isotherm.backends.kdamond.kdamond import Kdamond
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Access, Action, Age, Destination, Pattern, Scheme
from isotherm.targets.physical import PhysicalMemory

MOVE_PAGES = 279  # x86-64
COLD = Pattern(access=Access(0, 0), age=Age(1_000_000))
# Aged: at first a region holds more than is hot.
HOT = Pattern(access=Access(60, None), age=Age(1_000_000))
NEARLY = 0.95
LIBC = ctypes.CDLL(None, use_errno=True)

pytestmark = pytest.mark.skipif(
    not Path("/sys/devices/system/node/node1").is_dir(), reason="one node only"
)


def nodes_of(pid, *parts):
    """Pages on each node."""
    addresses = [at for part in parts for at in range(part.start, part.end, PAGE)]
    pages = (ctypes.c_ulong * len(addresses))(*addresses)
    status = (ctypes.c_int * len(addresses))()
    assert LIBC.syscall(MOVE_PAGES, pid, len(addresses), pages, None, status, 0) == 0
    return Counter(status)


def share_on(node, pid, *parts):
    found = nodes_of(pid, *parts)
    return found[node] / sum(found.values())


def all_on(node, pid):
    """Bytes of all mappings on a node."""
    words = Path(f"/proc/{pid}/numa_maps").read_text().split()
    return sum(int(one[3:]) for one in words if one.startswith(f"N{node}=")) * PAGE


def gone(node, work, *parts):
    """Whether nearly all of these parts is on a node."""
    return lambda _: share_on(node, work.pid, *parts) > NEARLY


def settled(share, least):
    """Whether a share of more than `least` has not changed for 8 windows."""
    seen = []

    def look(_):
        seen.append(share())
        return len(seen) > 8 and least < min(seen[-8:]) == max(seen[-8:])

    return look


def kernel_migrates(work, action, pattern, node, *parts):
    # In a gibibyte with holes, finding a few MiB would be a matter of luck.
    target = PhysicalMemory(spans(work))
    attrs = Attrs(10_000, 200_000, 1_000_000, 50, 500)
    scheme = Scheme(action, pattern, target_nid=node)
    with Kdamond(target, attrs, (scheme,)) as backend:
        went = gone(node, work, *parts)
        return until(went, backend.snapshots()).schemes[0].stats


@by_kernel
def test_the_kernels_damon_demotes_the_cold_and_promotes_the_hot_part():
    with running() as work:
        assert share_on(0, work.pid, *work.areas) == 1
        stats = kernel_migrates(work, Action.MIGRATE_COLD, COLD, 1, *cold_of(work))
        cold, hot = share_on(1, work.pid, *cold_of(work)), share_on(1, work.pid, hot_of(work))
        print(f"kdamond, migrate_cold: {cold:.3f} of the cold, {hot:.3f} of the hot part; {stats}")
        assert cold > 0.9
        # Best effort: a part of the wrong memory may go too.
        assert hot < 0.3
        assert stats.sz_applied >= 0.9 * 41 * MIB
        # All of it away, then what is hot back.
        kernel_migrates(work, Action.MIGRATE_COLD, Pattern(), 1, hot_of(work))
        assert share_on(1, work.pid, hot_of(work)) > 0.9
        stats = kernel_migrates(work, Action.MIGRATE_HOT, HOT, 0, hot_of(work))
        cold, hot = share_on(0, work.pid, *cold_of(work)), share_on(0, work.pid, hot_of(work))
        print(f"kdamond, migrate_hot: {hot:.3f} of the hot, {cold:.3f} of the cold part; {stats}")
        assert hot > 0.9
        assert cold < 0.3
    assert nothing_left()


def test_isotherm_demotes_the_cold_and_promotes_the_hot_part():
    with running() as work:
        went = gone(1, work, *cold_of(work))
        (state,) = apply(work, went, Scheme(Action.MIGRATE_COLD, COLD, target_nid=1)).states
        cold, hot = share_on(1, work.pid, *cold_of(work)), share_on(1, work.pid, hot_of(work))
        print(f"bpf, migrate_cold: {cold:.3f} of the cold, {hot:.3f} of the hot part")
        assert cold > 0.9
        assert hot < 0.1
        assert state.stats.sz_applied == pytest.approx(all_on(1, work.pid), rel=0.1)
        away = vmstat("pgmigrate_success")
        move(work, 1)
        assert vmstat("pgmigrate_success") > away
        went = gone(0, work, hot_of(work))
        apply(work, went, Scheme(Action.MIGRATE_HOT, HOT, target_nid=0))
        cold, hot = share_on(0, work.pid, *cold_of(work)), share_on(0, work.pid, hot_of(work))
        print(f"bpf, migrate_hot: {hot:.3f} of the hot, {cold:.3f} of the cold part")
        assert hot > 0.9
        assert cold < 0.1


def test_weights_spread_over_nodes():
    destinations = (Destination(0, 1), Destination(1, 3))
    with running() as work:
        went = settled(lambda: share_on(1, work.pid, *cold_of(work)), 0.65)
        apply(work, went, Scheme(Action.MIGRATE_COLD, COLD, destinations=destinations))
        share = share_on(1, work.pid, *cold_of(work))
    print(f"bpf, weights 1 and 3: {share:.3f} of the cold part on node 1")
    assert 0.65 < share < 0.85


def move(work, node):
    """All of a workload to a node."""
    (area,) = work.areas
    addresses = range(area.start, area.end, PAGE)
    pages = (ctypes.c_ulong * len(addresses))(*addresses)
    wanted = (ctypes.c_int * len(addresses))(*[node] * len(addresses))
    status = (ctypes.c_int * len(addresses))()
    move_them = 2  # MPOL_MF_MOVE
    done = LIBC.syscall(MOVE_PAGES, work.pid, len(addresses), pages, wanted, status, move_them)
    assert done >= 0, os.strerror(ctypes.get_errno())
    assert share_on(node, work.pid, area) > 0.99
