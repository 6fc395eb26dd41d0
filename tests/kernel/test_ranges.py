"""The ranges of real processes that do unusual things with their memory. No root needed."""

import json
import os
import subprocess
import sys

import pytest

from isotherm.targets.maps import target_ranges
from isotherm.targets.processes import ProcessSet
from support.waiting import wait_for

SCRIPT = """
import ctypes, json, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
NORESERVE = 0x4000
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
def map(size, prot=3, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, fd=-1):
    address = libc.mmap(None, size, prot, flags, fd, 0)
    assert address != 2**64 - 1, os.strerror(ctypes.get_errno())
    return address
def say(*what):
    print(json.dumps(what), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def child():
    """Run a script in a child; gives what it said first and its process as a target."""
    started, opened = [], []

    def start(script):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT + script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        said = json.loads(process.stdout.readline())
        processes = ProcessSet([process.pid])
        opened.append(processes)
        return said, processes.members[0], process

    yield start
    for processes in opened:
        processes.close()
    for process in started:
        process.kill()
        process.communicate()


def covers(target, address):
    return any(r.start <= address < r.end for r in target.ranges)


def hidden(target):
    return {u.start: (u.size, u.reason) for u in target.unobservable}


def test_hugetlb_is_unobservable_without_any_huge_page_reserved(child):
    said, process, _ = child(
        "flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE | 0x40000\n"
        "anonymous = map(6 << 20, flags=flags)\n"
        "fd = os.memfd_create('x', os.MFD_HUGETLB)\n"
        "say(anonymous, map(4 << 20, flags=mmap.MAP_SHARED | NORESERVE, fd=fd))\n"
    )
    target = target_ranges(process)
    anonymous, memfd = said
    found = hidden(target)
    # Two mappings of one file system that touch stay two lines of the map.
    assert found[anonymous] == (6 << 20, "hugetlb pages")
    assert found[memfd] == (4 << 20, "hugetlb pages")
    assert not covers(target, anonymous)
    assert not covers(target, memfd)


def test_guard_areas_and_sparse_mappings(child):
    said, process, _ = child(
        "say(map(10 << 30, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE),\n"
        "    map(10 << 30, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE))\n"
    )
    target = target_ranges(process)
    guard, sparse = said
    assert not covers(target, guard + (5 << 30))
    assert covers(target, sparse + (5 << 30))
    assert target.unobservable == ()
    assert target.target.mapped_bytes > 20 << 30
    assert target.target.resident_bytes < 1 << 30


def test_ten_thousand_mappings_become_few_ranges(child):
    said, process, _ = child(
        # Every other page without access: neighbours cannot become one mapping.
        "base = map(20000 * 4096)\n"
        "for page in range(0, 20000, 2):\n"
        "    libc.mprotect(ctypes.c_void_p(base + page * 4096), 4096, 0)\n"
        "say(base)\n"
    )
    target = target_ranges(process)
    assert len(target.mappings) > 20000
    assert len(target.ranges) == 64
    assert all(covers(target, said[0] + page * 4096) for page in range(1, 20000, 2))
    assert len(target_ranges(process, max_ranges=3).ranges) == 3


def test_exec_in_the_middle(child):
    said, process, popen = child(
        "address = map(512 << 20)\nsay(address)\nos.execv('/bin/sleep', ['sleep', '60'])\n"
    )
    before = target_ranges(process)
    assert covers(before, said[0] + (256 << 20))
    popen.stdin.write("\n")
    popen.stdin.flush()
    wait_for(lambda: (seen := target_ranges(process)) and seen.target.name == "sleep")
    after = target_ranges(process)
    assert after.target.id == before.target.id
    assert not covers(after, said[0] + (256 << 20))


def test_a_target_that_maps_and_unmaps_all_the_time(child):
    _, process, popen = child(
        "say()\nwhile True:\n    with mmap.mmap(-1, 1 << 20) as m: m[0] = 1\n"
    )
    popen.stdin.write("\n")
    popen.stdin.flush()
    for _ in range(300):
        target = target_ranges(process)
        starts = [r.start for r in target.ranges]
        assert starts == sorted(starts)
        assert all(r.size > 0 for r in target.ranges)
    os.kill(popen.pid, 9)
    popen.wait()
    assert target_ranges(process) is None
