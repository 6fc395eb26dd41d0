"""Regions of a real program: memory that processes share, and addresses without a page."""

import os
import subprocess
import sys

import pytest

import isotherm

pytestmark = pytest.mark.kernel

MIB = 1 << 20
#: 64 MiB that two processes map, of which each uses the first half all the time; 64 MiB of its own
#: of which the first quarter was touched once. It says where.
PROGRAM = r"""
import ctypes, mmap, os, time
shared, own = mmap.mmap(-1, 64 << 20), mmap.mmap(-1, 64 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANON)
for area in shared, own:
    area.madvise(15)  # MADV_NOHUGEPAGE
shared[::4096] = bytes(len(shared) // 4096)
own[: 16 << 20 : 4096] = bytes(4096)
if os.fork():
    print(*(ctypes.addressof(ctypes.c_char.from_buffer(one)) for one in (shared, own)), flush=True)
shared[::4096]
while os.getppid() > 1:
    shared[: 32 << 20 : 4096]
    time.sleep(0.01)
"""


@pytest.fixture
def program():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as made:
        try:
            yield made.pid, *map(int, made.stdout.readline().split())
        finally:
            os.killpg(made.pid, 9)


def inside(snapshot, start, size):
    """Bytes of [start, start + size) in regions of the first target, and in which."""
    found = []
    for region in snapshot.regions:
        overlap = min(region.end, start + size) - max(region.start, start)
        if region.target == 0 and overlap > 0:
            found.append((overlap, region))
    return sum(overlap for overlap, _ in found), found


def heat(found):
    """The mean over what is known."""
    known = [(n, one.share) for n, one in found if one.nr_accesses is not None]
    return sum(n * share for n, share in known) / max(1, sum(n for n, _ in known))


def wrong(snapshot, shared, own):
    """What a snapshot does not tell as it is."""
    size, hot = inside(snapshot, shared, 30 * MIB)
    _, cold = inside(snapshot, shared + 40 * MIB, 24 * MIB)
    touched, _ = inside(snapshot, own, 16 * MIB)
    absent, _ = inside(snapshot, own + 16 * MIB, 48 * MIB)
    told = {
        "hot": size == 30 * MIB and heat(hot) > 0.5,
        "of no region that is hot it is said that it is not": all(
            region.nr_accesses != 0 for _, region in hot
        ),
        "cold": bool(cold) and heat(cold) < 0.1,
        "touched": touched == 16 * MIB,
        "absent": absent <= 2 * MIB,  # a block of the map
    }
    return [what for what, holds in told.items() if not holds]


@pytest.mark.parametrize("policy", ["damon", "map"])
def test_shared_memory_is_as_hot_as_it_is_and_what_is_absent_in_no_region(program, policy):
    pid, shared, own = program
    right = 0  # windows in succession: how soon it is told apart is a matter of chance
    with isotherm.monitor(pid=pid, policy=policy, overhead="20%", backend="bpf") as watching:
        for snapshot in watching.snapshots(duration="30s"):
            found = wrong(snapshot, shared, own)
            right = 0 if found else right + 1
            if right == 2:
                break
    assert right == 2, found
