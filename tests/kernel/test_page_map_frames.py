"""
Shared memory that somebody clears by frames, for the map of pages: what is asked for, and known.

Here clear_refs stands for the kernel's DAMON, which the guests have (tests/vm): it clears in every
process that maps the memory. It leaves no mark on a frame, so that a page that is young right
after it counts as not seen; nothing is touched at that moment.
"""

import ctypes
import mmap
import os
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from isotherm.clock import SystemClock
from isotherm.core.native_map import NativePageMap
from isotherm.errors import IsothermError
from isotherm.kernel.damon.background import Cleared, Ready
from isotherm.kernel.procfs import clear_refs
from isotherm.model.page_use import WINDOWS_NS
from isotherm.model.ranges import Range, union
from support.looks import Composed

pytestmark = pytest.mark.kernel

PAGE, MIB, S = 4096, 1 << 20, 1_000_000_000
PAGES = 8 * MIB // PAGE
UNSEEN, UNCOVERED = 0xFE, 0xFD


class Pair:
    """Two processes that map the same pages, of which they use what they are told to."""

    def __init__(self, pages):
        self.pages = pages
        self._map = mmap.mmap(-1, pages * PAGE, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._children = [self._child() for _ in range(2)]
        self.pids = [pid for pid, *_ in self._children]
        for who in range(2):
            self.touch(who, 0, pages)

    def _child(self):
        orders, order = os.pipe()
        answer, answers = os.pipe()
        pid = os.fork()
        if pid == 0:
            while words := os.read(orders, 64).split():
                for page in range(int(words[0]), int(words[1])):
                    self._map[page * PAGE] = self._map[page * PAGE]
                os.write(answers, b".")
            os._exit(0)
        os.close(orders)
        os.close(answers)
        return pid, order, answer

    def touch(self, who, first, end):
        _, order, answer = self._children[who]
        os.write(order, f"{first} {end}".encode())
        assert os.read(answer, 1) == b"."

    def frames(self):
        with Path(f"/proc/{self.pids[0]}/pagemap").open("rb", buffering=0) as file:
            file.seek(self.start // PAGE * 8)
            words = memoryview(file.read(8 * self.pages)).cast("Q").tolist()
        return [word & ((1 << 55) - 1) for word in words]

    def physical(self):
        return union((one * PAGE, (one + 1) * PAGE) for one in self.frames())

    def close(self):
        for pid, order, answer in self._children:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            os.close(order)
            os.close(answer)


class ByClearRefs:
    """Clears all memory of processes, when it is told to. between: called just before it does."""

    def __init__(self, pids):
        self.pids = pids
        self.asked, self.news = [], []
        self.between = lambda: None
        self.fails = self.closed = False
        self.clears = True

    def prepare(self, ranges):
        self.asked.append(ranges)
        self.news.append(Ready())

    def begin(self):
        self.between()
        for pid in self.pids if self.clears else ():
            clear_refs(pid)
        self.news.append(Cleared(time.monotonic_ns(), 1000))

    def take(self):
        if self.fails:
            raise IsothermError("it was taken away")
        return self.news.pop(0) if self.news else None

    def close(self):
        self.closed = True


class Watched:
    def __init__(self, pair, ops, clearer):
        self.pair, self.clearer = pair, clearer
        # All that the stand-in clears is followed: it knows no frames.
        scope = [Range(pair.start, pair.start + pair.pages * PAGE)]
        self.map = NativePageMap(
            ops.look._access, SystemClock(), share=1.0, scope=scope, by_frames=clearer
        )
        self.map.update(ops.targets())

    def run(self, seconds=0.0, until=None):
        """For so long, or until it holds."""
        end = time.monotonic() + seconds
        while not until() if until else time.monotonic() < end:
            due = self.map.step()
            time.sleep(min(0.01, max(0.0, due / 1e9 - time.monotonic())))

    def round(self):
        """Until a whole round was done that begins from here on."""
        stats = self.map.stats
        more = stats()["frame_rounds"] + 2
        self.run(until=lambda: stats()["frame_rounds"] >= more)

    def ages(self, first=0, end=PAGES):
        """Of each page, as the first process has it: surely, likely, possibly, idle."""
        start = self.pair.start
        found = self.map.ages(0, start + first * PAGE, start + end * PAGE)
        return [tuple(found[i : i + 4]) for i in range(0, len(found), 4)]


@pytest.fixture
def watched():
    with watching() as one:
        yield one


@contextmanager
def watching(pages=PAGES):
    pair = Pair(pages)
    clearer = ByClearRefs(pair.pids)
    try:
        with Composed(pair.pids, overhead=1.0, sweep=False, page_idle=False) as ops:
            one = Watched(pair, ops, clearer)
            try:
                yield one
            finally:
                one.map.close()
    finally:
        pair.close()


def unknown(ages):
    return [one for one in ages if one[0] in (UNSEEN, UNCOVERED)]


def test_the_frames_of_all_young_shared_pages_are_asked_for(watched):
    watched.clearer.clears = False
    watched.run(until=watched.map.covered)
    asked = union(one for ranges in watched.clearer.asked for one in ranges)
    missing = [one for one in watched.pair.physical() if not any(_holds(r, one) for r in asked)]
    # The machine's own DAMON may have cleared some that were young.
    assert sum(end - start for start, end in missing) <= PAGES * PAGE // 20
    assert all(list(ranges) == sorted(union(ranges)) for ranges in watched.clearer.asked)
    assert watched.map.sum().shared_by == "damon"
    # Nothing was cleared, though it was said: whatever is young still may be so for long.
    assert len(unknown(watched.ages())) >= 0.95 * PAGES
    watched.clearer.clears = True
    watched.round()
    assert unknown(watched.ages()) == []


def _holds(outer, inner):
    return Range(*outer).start <= inner[0] and inner[1] <= Range(*outer).end


def test_what_is_idle_is_not_asked_for_again(watched):
    watched.run(until=watched.map.covered)
    watched.round()
    watched.clearer.asked.clear()
    watched.pair.touch(0, 64, 128)
    watched.round()
    asked = union(one for ranges in watched.clearer.asked for one in ranges)
    frames = (
        sum(end - start for start, end in intersecting(asked, watched.pair.physical())) // PAGE
    )
    # The machine's own DAMON may have cleared some that were young.
    assert 56 <= frames <= PAGES // 4


def intersecting(some, others):
    for a in some:
        for b in others:
            if max(a[0], b[0]) < min(a[1], b[1]):
                yield max(a[0], b[0]), min(a[1], b[1])


def test_what_any_of_them_used_is_known_and_the_rest_idle(watched):
    watched.run(until=watched.map.covered)
    watched.round()
    idle_ns = time.monotonic_ns()
    watched.run(1.2)
    watched.pair.touch(0, 0, 512)
    watched.pair.touch(1, 256, 768)
    use = watched.map.sum()
    idle_ns = time.monotonic_ns() - idle_ns
    assert (use.held_ns, use.shared_note) == (0, "")
    place = use.windows_ns.index(S)
    rows = [row for row in use.rows if row.kind == "shmem"]
    assert sum(row.used[place] for row in rows) == 3 * MIB
    assert sum(row.idle[place] for row in rows) == 5 * MIB
    for _, _, _, idle in watched.ages(768):
        assert idle > 0
        assert WINDOWS_NS[idle - 1] <= idle_ns + 30 * S


def between_two(pair):
    """Pages of which the frame lies between those of two others of the same 2 MiB."""
    by_frame = {frame: page for page, frame in enumerate(pair.frames())}
    found, last = {}, 0
    for frame in sorted(by_frame):
        pages = [by_frame.get(frame + step) for step in (-1, 0, 1)]
        blocks = {None if page is None else pair.start // PAGE + page >> 9 for page in pages}
        if frame - last > 2 and None not in blocks and len(blocks) == 1:
            found[pages[1]] = (pages[0], pages[2])
            last = frame
    return found


def test_a_use_while_it_clears_for_long_is_not_forgotten():
    """Frames between those that are asked for are cleared as well, and nobody read their use."""
    # So many, as memory may be in pieces.
    with watching(8 * PAGES) as watched:
        watched.run(until=watched.map.covered)
        watched.round()
        watched.run(0.5)
        used = use_between(watched)
        for index in range(2):
            for page, when in used.items():
                at = watched.pair.start + page * PAGE
                surely, _, possibly, idle = watched.map.ages(index, at, at + PAGE)
                now = time.monotonic_ns()
                if surely in (UNSEEN, UNCOVERED):
                    continue
                assert not idle or WINDOWS_NS[idle - 1] <= now - when
                assert not possibly or WINDOWS_NS[possibly - 1] <= now - when


def use_between(watched):
    """Pages that one of them uses after the last read before they are cleared, and when."""
    pair, clearer = watched.pair, watched.clearer
    middle, used = between_two(pair), {}
    if not middle:
        pytest.skip("free memory is in pieces: no three frames of 64 MiB lie side by side")

    def between():
        asked, frames = clearer.asked[-1], pair.frames()
        for page in middle:
            if page not in used and any(a <= frames[page] * PAGE < b for a, b in asked):
                pair.touch(1, page, page + 1)
                used[page] = time.monotonic_ns()
        time.sleep(0.05)

    for beside in middle.values():
        for page in beside:
            pair.touch(0, page, page + 1)
    clearer.between = between
    watched.round()
    clearer.between = lambda: None
    assert used
    return used


def test_what_nobody_clears_any_more_is_unknown_with_the_reason(watched):
    watched.run(until=watched.map.covered)
    watched.round()
    watched.clearer.fails = True
    watched.pair.touch(0, 0, 512)
    watched.run(until=lambda: len(unknown(watched.ages(0, 512))) > 500)
    assert watched.clearer.closed
    use = watched.map.sum()
    assert (use.shared_by, use.shared_note) == ("", "it was taken away")
    # Nobody touched them since, and their bits were cleared: that is still known.
    assert unknown(watched.ages(600)) == []
    assert all(idle for *_, idle in watched.ages(600))
    watched.pair.touch(1, 600, 700)
    use = watched.map.sum()
    high = [row.used_high for row in use.rows if row.kind == "shmem"]
    assert sum(one[use.windows_ns.index(S)] for one in high) >= 600 * PAGE


def test_it_is_given_back_with_the_map():
    with watching() as one:
        assert not one.clearer.closed
    assert one.clearer.closed
