"""A child process that makes memory of every kind on command, and a way to look at its pages."""

import subprocess
import sys
import time
from array import array
from contextlib import contextmanager
from pathlib import Path

from isotherm.core.look import WAS_YOUNG, Check, Samples
from support.looks import Composed

PAGE, HUGE, MIB, GIB = 4096, 2 << 20, 1 << 20, 1 << 30

_CHILD = """
import mmap, os, sys
sys.path.insert(0, {here!r})
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import memory_kit as kit
memory = kit.Memory()
names = dict(kit=kit, memory=memory, os=os)
print("ready", flush=True)
for line in sys.stdin:
    exec(line, names)
    # Fresh pages wait in a batch of the CPU, where nobody can clear them: push them out.
    with mmap.mmap(-1, 64 << 12, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as spare:
        spare.madvise(15)
        for at in range(0, len(spare), 4096):
            spare[at] = 1
    print(names.get("result"), flush=True)
"""


class Child:
    """Runs statements; `result` is what it tells."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD.format(here=str(Path(__file__).parent))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n"
        self.pid = self._process.pid

    def run(self, statement):
        self._process.stdin.write(statement + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the child died of {statement!r}"
        return answer.strip()

    def make(self, expression):
        """Map memory as `expression` says and return its address."""
        return int(self.run(f"result = {expression}"))

    def exec(self, program):
        """Become another program, which says a line and waits."""
        return self.run(f"os.execv({sys.executable!r}, [{sys.executable!r}, '-c', {program!r}])")

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


def batch(addresses, targets=None):
    nr = len(addresses)
    return Samples(array("Q", addresses), array("I", targets or [0] * nr), array("I", [0] * nr))


@contextmanager
def watching(*pids, overhead=1.0, sweep=False, **options):
    """An ops on these processes with, unless told otherwise, no limit of clears and no sweep."""
    ops = Composed(pids, overhead=overhead, sweep=sweep, **options)
    try:
        ops.targets()
        yield ops
    finally:
        ops.close()


def cleared(ops, addresses, tries=50):
    """Prepare until every page is old or known to be unclearable (fresh pages take a moment)."""
    for _ in range(tries):
        ops.prepare(batch(addresses))
        found = ops.check()
        if Check.MISSED not in found:
            break
        time.sleep(0.01)
    return found


def look(ops, addresses, act=lambda: None):
    """What the ops finds on `addresses` after `act`, without the flag of young pages."""
    cleared(ops, addresses)
    ops.prepare(batch(addresses))
    act()
    return [value & ~WAS_YOUNG for value in ops.check()]


def vmstat(prefix):
    lines = Path("/proc/vmstat").read_text().split("\n")
    return {k: int(v) for k, v in (line.split() for line in lines if line.startswith(prefix))}


def anon_huge_kib(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.split("\n") if line.startswith("AnonHuge"))


def taken_by_damon(pages):
    """Of how many of so many pages the kernel's own DAMON, where it runs, may clear the bits."""
    states = Path("/sys/kernel/mm/damon/admin/kdamonds").glob("*/state")
    return max(1, pages // 50) if any(state.read_text() == "on\n" for state in states) else 0
