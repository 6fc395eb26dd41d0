"""Processes that are stopped or frozen: what they used just before is not idle for that time."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import swap  # noqa: F401 - a fixture
from bpf_kit import PAGE, Child, watching
from memory_kit import pagemap

from isotherm.kernel.standstill import Standstill
from isotherm.model.page_use import WINDOWS_NS
from isotherm.model.scheme import Action, Filter, FilterType, Scheme
from support.waiting import wait_for

pytestmark = pytest.mark.kernel

SECOND = 1_000_000_000
PAGES, STEP = 1031, 7  # prime; every 7th page is in use
STOOD_S = 4
#: Two looks at who stands still, and a step in which some memory was read.
SLACK_S = 0.3


@contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def a_cgroup():
    """A cgroup of version 2: freezing needs no controller; its processes go to the root."""
    root = next(
        Path(line.split()[1])
        for line in Path("/proc/self/mounts").read_text().splitlines()
        if line.split()[2] == "cgroup2"
    )
    group = root / f"isotherm-test-{os.getpid()}"
    group.mkdir()
    try:
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            (root / "cgroup.procs").write_text(pid)
        group.rmdir()


@contextmanager
def frozen(group):
    (group / "cgroup.freeze").write_text("1")
    try:
        yield
    finally:
        (group / "cgroup.freeze").write_text("0")


def who_stands(*pids):
    standstill = Standstill()
    standstill.follow(pids)
    return standstill.now()


@pytest.fixture
def child():
    child = Child()
    yield child
    child.close()


def test_a_stopped_process_stands_still_and_a_sleeping_one_does_not(child):
    assert who_stands(child.pid, None, os.getpid(), 2**22 + 1) == [False] * 4
    with stopped(child.pid):
        wait_for(lambda: who_stands(child.pid, None) == [True, False])
    wait_for(lambda: who_stands(child.pid) == [False])


THREADS = """
import ctypes, threading, time
def work():
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
threading.Thread(target=work).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_whose_main_thread_ended_is_stopped_as_a_whole():
    with subprocess.Popen([sys.executable, "-c", THREADS], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            wait_for(lambda: ") Z" in Path(f"/proc/{process.pid}/stat").read_text())
            assert who_stands(process.pid) == [False]
            with stopped(process.pid):
                wait_for(lambda: who_stands(process.pid) == [True])
        finally:
            process.kill()


def test_a_frozen_process_stands_still_from_its_own_cgroup_and_from_one_above(child):
    with a_cgroup() as group:
        inner = group / "inner"
        inner.mkdir()
        try:
            (inner / "cgroup.procs").write_text(str(child.pid))
            assert who_stands(child.pid) == [False]
            for which in (inner, group):
                with frozen(which):
                    wait_for(lambda: who_stands(child.pid) == [True])
                wait_for(lambda: who_stands(child.pid) == [False])
        finally:
            (group / "cgroup.procs").write_text(str(child.pid))
            inner.rmdir()


def watch(ops, seconds, act=lambda: None):
    """Let the map work so long once all was looked at, and `act` now and then."""
    end = None
    while end is None or time.monotonic() < end:
        act()
        if end is None and ops.map.covered():
            end = time.monotonic() + seconds
        wait_ns = ops.map.step() - time.monotonic_ns()
        time.sleep(min(0.02, max(0, wait_ns) / 1e9))


def idle_s(ops, start):
    """For how long, at the least, each page is said to be idle, in seconds."""
    ages = ops.map.ages(0, start, start + PAGES * PAGE)
    return [WINDOWS_NS[idle - 1] / SECOND if idle else 0.0 for idle in ages[3::4]]


@pytest.mark.usefixtures("swap")
@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_what_was_used_before_a_standstill_is_not_idle_for_its_time(child, how):
    start = child.make(f"memory.small({PAGES} * 4096)")
    child.run(f"kit.write({start}, {PAGES * PAGE})")
    use = f"[kit.touch(a) for a in range({start}, {start + PAGES * PAGE}, {STEP * PAGE})]"
    out = Scheme(
        Action.PAGEOUT, filters=(Filter(FilterType.IDLE, False, False, (2_000_000, 2**64 - 1)),)
    )
    with a_cgroup() as group, watching(child.pid, with_map=True) as ops:
        (group / "cgroup.procs").write_text(str(child.pid))
        ops.targets()
        watch(ops, 0, lambda: child.run(use))
        began = time.monotonic()
        watch(ops, 0.5, lambda: child.run(use))
        with stopped(child.pid) if how == "stopped" else frozen(group):
            ran = time.monotonic() - began
            watch(ops, STOOD_S)
            idle = idle_s(ops, start)
            # Nothing is idle for longer than it ran, whether it was used before or not.
            assert max(idle) <= ran + SLACK_S
            assert max(idle[::STEP]) <= SLACK_S
            stood = ops.map.sum().stopped_ns / SECOND
            assert STOOD_S - SLACK_S <= stood <= STOOD_S + ran + SLACK_S
            taken = ops.act(out, 0, start, start + PAGES * PAGE, filtered=True)
        resumed = ops.act(out, 0, start, start + PAGES * PAGE, filtered=True)
        assert (taken.applied_bytes, resumed.applied_bytes) == (0, 0)
        assert all(here for here, _, _ in pagemap(start, PAGES, child.pid))
        # From here on time goes by again.
        watch(ops, 2.5, lambda: child.run(use))
        idle = idle_s(ops, start)
        assert min(page for number, page in enumerate(idle) if number % STEP) >= 2.0
        assert max(idle[::STEP]) <= SLACK_S
