"""
Schemes over physical memory, by independent witnesses.

A guest of their own, and the memory between the frames of the workload only: in a gibibyte with
holes, finding a few MiB is a matter of luck.
"""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit import (
    MIB,
    PAGE,
    cold_bytes,
    frames,
    hot_of,
    nothing_left,
    resident,
    running,
    span,
    until,
    vmstat,
)

from isotherm.backends.kdamond.kdamond import Kdamond
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Access, Action, Age, Filter, FilterType, Pattern, Scheme
from isotherm.targets.physical import PhysicalMemory

COLD = Pattern(access=Access(0, 0), age=Age(1_000_000))
HOT = Pattern(access=Access(30, None))
ATTRS = Attrs(10_000, 200_000, 1_000_000, 50, 500)


@pytest.fixture(autouse=True)
def _clean():
    yield
    assert nothing_left()


def physical(work, *schemes, beside=()):
    memory = PhysicalMemory([span(work, *beside)])
    return Kdamond(memory, ATTRS, schemes)


def test_an_anon_filter_keeps_anonymous_memory():
    scheme = Scheme(Action.PAGEOUT, COLD, filters=(Filter(FilterType.ANON),))
    with running() as work, physical(work, scheme) as backend:
        before = cold_bytes(work)
        state = until(
            lambda one: one.schemes[0].stats.sz_tried > 30 * MIB, backend.snapshots(), least_s=8
        ).schemes[0]
        after = cold_bytes(work)
    print(f"anon filter: {before / MIB:.1f} -> {after / MIB:.1f} MiB; {state.stats}")
    assert after == before
    assert state.stats.sz_tried > 30 * MIB
    assert state.stats.sz_applied == 0


def test_pageout_of_physical_memory_takes_the_cold_part():
    with running() as work, physical(work, Scheme(Action.PAGEOUT, COLD)) as backend:
        seen = []

        def done(_):
            # A piece of the hot part that went by chance is back with the next touch.
            seen.append((resident(work.pid, hot_of(work)), cold_bytes(work)))
            return seen[-1][0] > 6 * MIB and seen[-1][1] < 41 * MIB / 4

        until(done, backend.snapshots(), least_s=12)
    hot, cold = seen[-1]
    print(f"paddr pageout: {hot / MIB:.1f} MiB hot, {cold / MIB:.2f} MiB cold")
    assert hot > 6 * MIB
    assert cold < 41 * MIB / 4


@contextmanager
def running_in_group(name):
    """A workload whose memory belongs to a cgroup from the first touch on."""
    group, root = Path("/sys/fs/cgroup") / name, Path("/sys/fs/cgroup/cgroup.procs")
    Path("/sys/fs/cgroup/cgroup.subtree_control").write_text("+memory")
    group.mkdir()
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        with running() as work:
            root.write_text(str(os.getpid()))
            yield work
    finally:
        root.write_text(str(os.getpid()))
        group.rmdir()


def test_a_memcg_filter_takes_one_group_only():
    only = Filter(FilterType.MEMCG, matching=False, memcg="/inside")
    with running_in_group("inside") as inside, running() as outside:
        before = cold_bytes(inside), cold_bytes(outside)
        scheme = Scheme(Action.PAGEOUT, COLD, filters=(only,))
        with physical(inside, scheme, beside=(outside,)) as backend:
            until(lambda _: cold_bytes(inside) < before[0] / 2, backend.snapshots(), least_s=12)
        after = cold_bytes(inside), cold_bytes(outside)
    print(f"memcg filter: inside, outside {before} -> {after}")
    assert after[1] == before[1]
    assert after[0] < before[0] / 2


def test_lru_prio_and_deprio():
    with running() as work:
        names = ("pgactivate", "pgdeactivate")

        def done(snapshot):
            prio, deprio = (one.stats.sz_applied for one in snapshot.schemes)
            return prio >= 7 * MIB and deprio >= 30 * MIB

        before = {name: vmstat(name) for name in names}
        schemes = (Scheme(Action.LRU_PRIO, HOT), Scheme(Action.LRU_DEPRIO, COLD))
        with physical(work, *schemes) as backend:
            prio, deprio = until(done, backend.snapshots()).schemes
        moved = {name: vmstat(name) - before[name] for name in names}
        assert len(frames(work.pid, hot_of(work))) == 7 * MIB // PAGE
    print(f"lru: prio {prio.stats}, deprio {deprio.stats}, pages {moved}")
    assert prio.stats.sz_applied >= 7 * MIB
    assert deprio.stats.sz_applied >= 30 * MIB
