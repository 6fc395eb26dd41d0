"""
The map of pages on real programs that write down what they use, page by page.

The account is the program's own (benchmarks/truth_workload.c): of each page the moment of its last
access. What the map calls sure must be true of every page; its estimates may be off by the part of
a program that is no area of its account (code, libraries, stacks, the account: REST).
"""

import importlib
import math
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bpf_kit import anon_huge_kib

from isotherm.model.page_use import WINDOWS_NS
from support.looks import Composed

pytestmark = pytest.mark.kernel

FOLDER = Path(__file__).parents[2] / "benchmarks"
MIB, PAGE, SECOND = 1 << 20, 4096, 1_000_000_000
REST = MIB
#: Marks of pages that nothing is known of: not there, not seen, not looked at.
NOTHING = 0xFD
#: The program notes the time once for 256 pages, and may wait for a CPU between note and access.
SLACK_MS = 100


@pytest.fixture
def truth(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    found = importlib.import_module("truth_workload")
    if found.compiler() is None:
        pytest.skip("the programs of benchmarks/truth.py are made with a C compiler")
    return found


class Watched:
    """A map of a process and its children that is stepped here, as a monitor would."""

    def __init__(self, ops, page_map):
        self.ops, self.map = ops, page_map
        self.update()

    def update(self):
        self.targets = self.ops.targets()
        self.map.update(self.targets)

    def run(self, seconds):
        """Until all was looked at, and so long after that."""
        end = None
        while end is None or time.monotonic() < end:
            self.update()
            due = self.map.step()
            if end is None and self.map.covered():
                end = time.monotonic() + seconds
            time.sleep(min(0.02, max(0.0, due / 1e9 - time.monotonic())))
        return self.map.sum()

    def ages(self, area):
        """Four places of the scale for each 4 KiB page of an area."""
        index = [known.target.pid for known in self.targets].index(area.pid)
        found = self.map.ages(index, area.base, area.end)
        return [found[at : at + 4] for at in range(0, len(found), 4)]


@contextmanager
def watched(program):
    with Composed([program.pid], overhead=1.0, sweep=False) as ops:
        page_map = ops.look.page_map(1.0, SECOND)
        try:
            yield Watched(ops, page_map)
        finally:
            page_map.close()


def of_windows(use, figure):
    """Sums over all rows by length of time in seconds."""
    columns = zip(*(getattr(row, figure) for row in use.rows), strict=True)
    return {ns / 1e9: sum(column) for ns, column in zip(use.windows_ns, columns, strict=True)}


def judge(truth, program, watched):
    """
    Compare each page's place on the scale with the program's account: (right, known, all).

    That what is said to be surely idle is so, is asserted. A page is right if its last use lies
    where the places say, from possible to sure, a step of the scale either way.
    """
    before = program.last_used()
    known = [watched.ages(area) for area in program.areas]
    at, after = truth.now_ms(), program.last_used()
    right = judged = total = 0
    for (area, early), (_, late), pages in zip(before, after, known, strict=True):
        each = area.unit // PAGE
        for number, (surely, _, possibly, idle) in enumerate(pages):
            total += 1
            if surely >= NOTHING:
                continue
            judged += 1
            first, last = at - early[number // each], at - late[number // each]
            if idle:
                assert first + SLACK_MS >= WINDOWS_NS[idle - 1] / 1e6, (number, possibly, first)
            least = WINDOWS_NS[possibly - 2] / 1e6 if possibly > 1 else 0.0
            most = WINDOWS_NS[surely + 1] / 1e6 if surely + 1 < len(WINDOWS_NS) else math.inf
            right += least - SLACK_MS <= first and last <= most + SLACK_MS
    return right, judged, total


def pss_bytes(pid):
    """The kernel's own count of what a process has in memory, with its part of what is shared."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) << 10


#: Pattern, its memory, what is used of it, and more for the program.
PATTERNS = {
    "eighth": (64 * MIB, 8 * MIB),
    "half": (32 * MIB, 16 * MIB),
    "stacks": (16 * MIB, 16 * MIB),
    "file": (32 * MIB, 8 * MIB),
    "huge": (64 * MIB, 32 * MIB),
    "forbidden": (32 * MIB, 16 * MIB),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_is_used_and_what_is_there(truth, pattern):
    nbytes, used = PATTERNS[pattern]
    with truth.scheduled(pattern, nbytes, 50) as program, watched(program) as map_:
        huge = anon_huge_kib(program.pid)
        use = map_.run(3.0)
        # Others begin and end meanwhile, and share libraries or not.
        assert abs(use.resident - pss_bytes(program.pid)) <= REST // 4
        said, low, high = (of_windows(use, name) for name in ("used", "used_low", "used_high"))
        for window_s in (0.5, 1.0, 2.0):
            assert low[window_s] <= used + REST
            assert high[window_s] >= used
            if high[window_s] - low[window_s] <= 0.03 * used + REST:
                assert abs(said[window_s] - used) <= 0.03 * used + REST
        right, judged, total = judge(truth, program, map_)
        assert judged >= 0.99 * total
        assert right >= 0.99 * judged
        assert anon_huge_kib(program.pid) == huge


def test_what_moved_on_grows_idle(truth):
    nbytes = 40 * MIB
    with truth.scheduled("moving", nbytes, 50, "1500") as program, watched(program) as map_:
        use = map_.run(5.0)
        account, at = program.last_used(), truth.now_ms()
        low, high = of_windows(use, "used_low"), of_windows(use, "used_high")
        for window_s in (1.0, 2.0):
            true = truth.used_since(account, at - int(window_s * 1000))
            # The account is a little younger than the sum: at most one part was left since then.
            assert low[window_s] <= true + nbytes // 10 + REST
            assert high[window_s] >= true - nbytes // 10
        # What was idle for long is read seldom: the part it just moved on to may be unnoticed.
        right, judged, total = judge(truth, program, map_)
        assert judged >= 0.99 * total
        assert right >= 0.89 * judged


@pytest.mark.parametrize("pattern", ["once", "once-shared"])
def test_what_is_used_once_was_used_then(truth, pattern):
    nbytes = 64 * MIB
    part = nbytes // 8
    with truth.scheduled(pattern, nbytes, 50) as program, watched(program) as map_:
        map_.run(8.0)
        program.next_step()
        use = map_.run(2.3)
        account, at = program.last_used(), use.monotonic_ns // 1_000_000
        said, low, high = (of_windows(use, name) for name in ("used", "used_low", "used_high"))
        for window_s in (0.5, 1.0, 5.0, 10.0):
            true = truth.used_since(account, at - int(window_s * 1000))
            assert true == (part if window_s < 2.3 else 2 * part)
            assert low[window_s] <= true + REST
            assert high[window_s] >= true
            assert abs(said[window_s] - true) <= REST


def test_memory_of_forked_processes_is_counted_once(truth):
    nbytes = 152 * 256 * 1024
    with truth.scheduled("prefork", nbytes, 50) as program, watched(program) as map_:
        use = map_.run(3.0)
        # Five processes map 120 of 152 parts: counted for each it would be 632.
        assert abs(use.resident - nbytes) <= 5 * REST
        used = 40 * 256 * 1024
        assert of_windows(use, "used_low")[1.0] <= used + 5 * REST
        assert of_windows(use, "used_high")[1.0] >= used


def test_memory_that_ends_is_neither_used_nor_idle(truth):
    nbytes = 32 * MIB
    with truth.scheduled("ending", nbytes, 50) as program, watched(program) as map_:
        assert abs(map_.run(1.0).resident - nbytes) <= REST
        program.next_step()
        use = map_.run(2.0)
        assert abs(use.resident - nbytes // 2) <= REST
        assert of_windows(use, "used")[1.0] <= nbytes // 2 + REST
        assert max(of_windows(use, "idle").values()) <= REST


def test_memory_that_comes_and_goes_was_used(truth):
    nbytes = 32 * MIB
    with truth.scheduled("churn", nbytes, 100) as program, watched(program) as map_:
        use = map_.run(2.5)
        account, at = program.last_used(), use.monotonic_ns // 1_000_000
        low, high = of_windows(use, "used_low"), of_windows(use, "used_high")
        true = truth.used_since(account, at - 1000)
        assert true == nbytes // 2
        assert low[1.0] <= true + REST
        assert true <= high[1.0] <= true + 2 * REST
        assert max(of_windows(use, "idle").values()) <= nbytes // 2 + REST
        assert use.resident <= nbytes + REST


VAST = """
import mmap, time
NORESERVE = 0x4000
area = mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE)
middle = 1 << 39
area[middle : middle + (8 << 20)] = bytes(8 << 20)
print("ready", flush=True)
while True:
    for at in range(middle, middle + (2 << 20), 4096):
        area[at] = 1
    time.sleep(0.02)
"""


def test_a_terabyte_of_nothing_costs_nothing():
    with subprocess.Popen([sys.executable, "-c", VAST], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline() == b"ready\n"
            with Composed([child.pid], overhead=1.0, sweep=False) as ops:
                page_map = ops.look.page_map(1.0, SECOND)
                found = Watched(ops, page_map)
                use = found.run(2.0)
                visits = page_map.stats()["visits"]
                page_map.close()
        finally:
            child.kill()
    (row,) = [row for row in use.rows if row.resident >= 8 * MIB]
    # Whether a whole look fell into the last second is a matter of how busy the machine is.
    assert row.used_low[-1] >= 2 * MIB
    assert row.used_high[use.windows_ns.index(SECOND)] >= 2 * MIB
    assert row.idle[use.windows_ns.index(SECOND)] >= 6 * MIB - REST
    # A terabyte has 8,192 stretches of 128 MiB.
    assert visits < 4000
