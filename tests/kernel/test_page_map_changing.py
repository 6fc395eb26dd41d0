"""
Memory of real programs that comes, goes and moves: the map's bounds hold what they used of it.

What each program does to its areas is its own account; the interpreter's memory comes on top.
"""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import isotherm
from isotherm.model.page_use import FREED
from support import wandering
from support.wandering import MIB, Account

pytestmark = pytest.mark.kernel

SECOND = 1_000_000_000
#: What the interpreter uses of its own.
OWN = 12 * MIB
WANDERING = Path(wandering.__file__)
_BEGIN = f"""
import os, sys, time, tempfile
sys.path.insert(0, {str(WANDERING.parents[1])!r})
from support.wandering import Area, Writer
def area(kind, mib, file=None):
    made = Area(Writer(), kind, mib, file)
    made.touch(0, mib)
    return made
def rest(seconds):
    time.sleep(seconds)
def ready():
    print("ready", flush=True)
    sys.stdin.readline()
"""
#: 48 MiB that nobody uses move to another address, four times a second.
MOVING = """
idle = area("small", 48)
ready()
while True:
    idle.move()
    rest(0.25)
"""
#: 32 MiB of huge pages are used and given back, ten times a second.
HUGE = """
one = area("huge", 32)
ready()
while True:
    one.give_back(0, 32)
    rest(0.09)
    one.touch(0, 32)
    rest(0.002)
"""
#: A file of 32 MiB is mapped, read and unmapped, ten times a second.
READING = """
file = tempfile.TemporaryFile(dir="/var/tmp")
file.write(bytes(32 << 20))
file.flush()
again = area("small", 32)
again.map_again(True)
while True:
    one = area("file", 32, file.fileno())
    rest(0.002)
    one.unmap()
    ready()
    ready = lambda: None
    rest(0.09)
"""
#: 48 MiB are used all the time, then unmapped; a child uses 24 MiB for two seconds, and ends.
ENDING = """
one = area("small", 48)
if not os.fork():
    ready = lambda: None
    one = area("small", 24)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        one.touch(0, 24)
        rest(0.05)
    os._exit(0)
ready()
until = time.monotonic() + 3
while time.monotonic() < until:
    one.touch(0, 48)
    rest(0.05)
one.unmap()
os.wait()
rest(60)
"""


@contextmanager
def running(text):
    command = [sys.executable, "-c", text] if "\n" in text else text.split()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def uses_of(process, seconds):
    """What the map knew, while it was watched for so long; the program goes on as that begins."""
    found = []
    with isotherm.monitor(pid=process.pid, policy="map", overhead=0.1, seed=1) as session:
        for snapshot in session.snapshots(f"{seconds}s"):
            if process.stdin and not process.stdin.closed:
                process.stdin.write("go\n")
                process.stdin.close()
            if snapshot.page_use is not None:
                found.append(snapshot.page_use)
    return found


def total(use, figure, window_ns):
    return sum(getattr(row, figure)[use.windows_ns.index(window_ns)] for row in use.rows)


def test_idle_memory_that_is_moved_is_there_and_not_used():
    with running(_BEGIN + MOVING) as process:
        uses = uses_of(process, 5)
    assert len(uses) >= 3
    for use in uses[1:]:
        assert 48 * MIB <= use.resident <= 48 * MIB + 2 * OWN
        assert total(use, "used_low", SECOND) <= OWN
        assert total(use, "used", SECOND) <= OWN


@pytest.mark.parametrize("text", [HUGE, READING])
def test_what_comes_and_goes_between_two_looks_is_within_the_bounds(text):
    with running(_BEGIN + text) as process:
        uses = uses_of(process, 5)
    assert len(uses) >= 3
    for use in uses[2:]:
        assert total(use, "used_low", SECOND) <= 32 * MIB + OWN
        assert total(use, "used_high", SECOND) >= 32 * MIB
        assert total(use, "used_high", SECOND) <= 3 * 32 * MIB + 2 * OWN


def test_what_was_used_and_freed_or_was_of_who_ended_stays_in_the_windows():
    with running(_BEGIN + ENDING) as process:
        uses = uses_of(process, 8)
    used = [use.windows_ns[-1] for use in uses]
    assert used == sorted(used)
    for use in uses:
        whole = [sum(getattr(row, name)[-1] for row in use.rows) for name in
                 ("used_low", "used", "used_high")]  # fmt: skip
        if use.watched_ns > 3 * SECOND:
            assert whole[0] <= (48 + 24) * MIB + 2 * OWN
            assert (48 + 20) * MIB <= whole[1] <= (48 + 24) * MIB + 2 * OWN
            assert whole[2] >= (48 + 24) * MIB
    last = uses[-1]
    assert total(last, "used", SECOND) <= OWN
    assert {row.resident for row in last.rows if row.what == FREED} == {0}


def test_memory_by_a_schedule_at_random_is_within_the_bounds(tmp_path):
    path = tmp_path / "account"
    seed = 4
    with running(f"{sys.executable} {WANDERING} {seed} 4 {path}") as process:
        uses = uses_of(process, 6)
        assert process.stdout.readline() == "done\n"
    account, late = Account(path), SECOND // 20
    assert len(uses) >= 3
    for use in uses:
        for place, window in enumerate(use.windows_ns):
            low, high = (
                sum(getattr(row, figure)[place] for row in use.rows)
                for figure in ("used_low", "used_high")
            )
            if window >= SECOND // 2:
                assert low <= account.used(use.monotonic_ns, window, late, late) + OWN
                assert high >= account.used(use.monotonic_ns, window, -late)
