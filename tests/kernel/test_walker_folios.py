"""What the walker tells of folios, and what /proc/kpageflags and kpagecount tell."""

import ctypes
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import memory_kit as kit
from memory_kit import HUGE, PAGE

from isotherm.kernel.bpf import open_walker, probe

pytestmark = pytest.mark.kernel

STATE, PFN, LEVEL, YOUNG, DIRTY, WRITE, FLAGS, ORDER, INDEX = range(9)
KNOWN, SHARED, PARTIAL, LRU, MLOCKED, ANON = 1, 2, 4, 8, 16, 32
# bits of /proc/kpageflags
KPF_LRU, KPF_ANON, KPF_HEAD, KPF_TAIL, KPF_UNEVICTABLE, KPF_MLOCKED = 5, 12, 15, 16, 18, 33
MIB = 1 << 20


@pytest.fixture(params=["fast", "base"])
def walker(request):
    facts = probe()
    if request.param == "fast" and not facts.fast:
        pytest.skip(f"the fast programs do not load: {facts.fast_why_not}")
    if not facts.folios:
        pytest.skip(f"folios cannot be told: {facts.folios_why_not}")
    opened = open_walker(fast=request.param == "fast")
    opened.set_targets([os.getpid()])
    yield opened
    opened.close()


@pytest.fixture
def memory():
    made = kit.Memory()
    yield made
    made.close()


def read(walker, at, size):
    """Leaves of pages whose bit was set; the machine's own DAMON may have cleared a few."""
    kit.touch(at, size)
    rows = walker.read([(address, 0) for address in range(at, at + size, PAGE)], True)
    return [row for row in rows if row[YOUNG]]


def witness(frame):
    """(order, index, flags) as /proc tells them."""
    flags = kit.entries("/proc/kpageflags", frame, 1)[0]
    head = frame
    while kit.entries("/proc/kpageflags", head, 1)[0] >> KPF_TAIL & 1:
        head -= 1
    nr = 1
    if kit.entries("/proc/kpageflags", head, 1)[0] >> KPF_HEAD & 1:
        while kit.entries("/proc/kpageflags", head + nr, 1)[0] >> KPF_TAIL & 1:
            nr += 1
    told = (LRU if flags >> KPF_LRU & 1 else 0) | (ANON if flags >> KPF_ANON & 1 else 0)
    if flags >> KPF_UNEVICTABLE & 1 or flags >> KPF_MLOCKED & 1:
        told |= MLOCKED
    return nr.bit_length() - 1, frame - head, told


def agree(rows):
    """At least one, and each as the witness says; folios may change between: once is enough."""
    assert rows
    for row in rows[:: max(1, len(rows) // 64)]:
        seen = (row[ORDER], row[INDEX], row[FLAGS] & (LRU | ANON | MLOCKED))
        order, index, flags = witness(row[PFN])
        # a page waiting for the LRU may enter it at any moment
        assert seen in ((order, index, flags), (order, index, flags & ~LRU)), row
        assert row[FLAGS] & KNOWN


def test_small_anonymous_pages(walker, memory):
    at = memory.small(256 * PAGE)
    kit.write(at, 256 * PAGE)
    rows = read(walker, at, 256 * PAGE)
    agree(rows)
    assert {row[FLAGS] & ~LRU for row in rows} == {KNOWN | ANON}
    assert {(row[ORDER], row[INDEX]) for row in rows} == {(0, 0)}
    assert sum(row[FLAGS] & LRU != 0 for row in rows) > 200, "all but those waiting"


def test_only_young_pages_are_told(walker, memory):
    at = memory.small(16 * PAGE)
    kit.write(at, 16 * PAGE)
    kit.check(kit.libc.madvise(at, 16 * PAGE, kit.COLD))
    rows = walker.read([(at + i * PAGE, 0) for i in range(16)], True)
    assert {row[FLAGS] for row in rows} == {0}


def test_transparent_huge_pages(walker, memory):
    at = memory.huge(8 * HUGE)
    kit.write(at, 8 * HUGE, HUGE)
    rows = [row for row in read(walker, at, 8 * HUGE) if row[LEVEL] == 1]
    if not rows:
        pytest.skip("the kernel gave no transparent huge page")
    agree(rows)
    assert {row[FLAGS] & ~LRU for row in rows} == {KNOWN | ANON}
    assert {row[ORDER] for row in rows} == {9}


@contextmanager
def forked(before=lambda: None):
    """A copy of this process that does nothing, after `before`."""
    ready, done = os.pipe()
    pid = os.fork()
    if not pid:
        before()
        os.write(done, b"x")
        signal.pause()
    os.read(ready, 1)
    os.close(ready)
    os.close(done)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_shared_by_fork(walker, memory):
    small, huge = memory.small(64 * PAGE), memory.huge(2 * HUGE)
    kit.write(small, 64 * PAGE)
    kit.write(huge, 2 * HUGE, HUGE)
    assert not any(row[FLAGS] & SHARED for row in read(walker, small, 64 * PAGE))
    assert not any(row[FLAGS] & SHARED for row in read(walker, huge, 2 * HUGE))
    with forked():
        for at, size in ((small, 64 * PAGE), (huge, 2 * HUGE)):
            rows = read(walker, at, size)
            assert rows
            assert all(row[FLAGS] & SHARED for row in rows)
            assert all(kit.entries("/proc/kpagecount", row[PFN], 1)[0] > 1 for row in rows[:32])
    assert not any(row[FLAGS] & SHARED for row in read(walker, small, 64 * PAGE))
    assert not any(row[FLAGS] & SHARED for row in read(walker, huge, 2 * HUGE))


def test_locked_pages(walker, memory):
    at = memory.small(64 * PAGE)
    kit.write(at, 64 * PAGE)
    kit.check(kit.libc.mlock2(at, 64 * PAGE, 0))
    rows = read(walker, at, 64 * PAGE)
    agree(rows)
    assert all(row[FLAGS] & MLOCKED for row in rows)


def test_zero_page_is_no_business_of_the_lru(walker, memory):
    at = memory.small(8 * PAGE)
    rows = read(walker, at, 8 * PAGE)
    assert not any(row[FLAGS] & (LRU | ANON) for row in rows)


def test_shared_memory_and_files(walker, memory, tmp_path):
    path = kit.cached_file(tmp_path / "data", 4 * MIB)
    shmem = memory.map(4 * MIB, kit.SHARED | kit.ANON)
    file, twice = memory.file(path, 4 * MIB), memory.file(path, 4 * MIB)
    kit.write(shmem, 4 * MIB)
    for at in (shmem, file):
        rows = read(walker, at, 4 * MIB)
        agree(rows)
        assert not any(row[FLAGS] & ANON for row in rows)
    kit.touch(twice, 4 * MIB)
    rows = read(walker, file, 4 * MIB)
    assert all(row[FLAGS] & SHARED for row in rows)


@pytest.fixture
def folios_of_64k(memory):
    """64 KiB folios, mapped page by page."""
    knobs = Path("/sys/kernel/mm/transparent_hugepage")
    small, large = knobs / "hugepages-64kB/enabled", knobs / "hugepages-2048kB/enabled"
    if not small.exists():
        pytest.skip("the kernel has no folios between a page and a huge page")
    before = {k: k.read_text().partition("[")[2].partition("]")[0] for k in (small, large)}
    small.write_text("madvise")
    try:
        # too small an area for a huge page, so nothing else changes
        at = memory.map(1 * MIB, align=MIB)
        kit.check(kit.libc.madvise(at, MIB, kit.HUGEPAGE))
        kit.write(at, MIB)
    finally:
        for knob, value in before.items():
            knob.write_text(value)
    return at


def test_large_folios_mapped_by_page(walker, folios_of_64k):
    rows = read(walker, folios_of_64k, MIB)
    large = [row for row in rows if row[ORDER] == 4]
    if not large:
        pytest.skip("the kernel gave no folio of 64 KiB")
    agree(large)
    assert {row[FLAGS] & ~LRU for row in large} == {KNOWN | ANON}
    assert {row[INDEX] for row in large} == set(range(16))


def test_a_folio_in_pieces_is_partial(walker, folios_of_64k, memory):
    at = folios_of_64k
    rows = read(walker, at, MIB)
    if len(rows) < 256 or any(row[ORDER] != 4 for row in rows):
        pytest.skip("the kernel did not give folios of 64 KiB everywhere")
    # one page of the first folio goes
    kit.check(kit.libc.munmap(at, PAGE))
    assert all(row[FLAGS] & PARTIAL for row in read(walker, at + PAGE, 15 * PAGE))
    # half of the second moves elsewhere: all is mapped here, but not as one piece
    second = at + (1 << 16)
    to = memory.small(1 << 16)
    kit.check(kit.libc.mremap(second + 8 * PAGE, 8 * PAGE, 8 * PAGE, kit.MAYMOVE | kit.FIXED, to))
    assert all(row[FLAGS] & PARTIAL for row in read(walker, second, 8 * PAGE))
    assert all(row[FLAGS] & PARTIAL for row in read(walker, to, 8 * PAGE))
    # the third is untouched
    assert not any(row[FLAGS] & PARTIAL for row in read(walker, at + (2 << 16), 1 << 16))


def test_half_a_folio_each(walker, folios_of_64k):
    """As many mappings as pages, but not all of them ours."""
    at, half = folios_of_64k, 8 * PAGE
    if any(row[ORDER] != 4 for row in read(walker, at, 2 * half)):
        pytest.skip("the kernel gave no folio of 64 KiB")
    with forked(lambda: kit.libc.munmap(at, half)):
        kit.check(kit.libc.munmap(at + half, half))
        rows = read(walker, at, half)
        assert rows
        assert all(row[ORDER] == 4 and row[FLAGS] & SHARED for row in rows)


def test_looking_splits_nothing(walker, memory):
    at = memory.huge(8 * HUGE)
    kit.write(at, 8 * HUGE, HUGE)
    before = [row[LEVEL] for row in walker.read([(at + i * HUGE, 0) for i in range(8)], True)]
    for _ in range(20):
        walker.read([(at + i * PAGE, 0) for i in range(0, 8 * 512, 3)], True)
        walker.read_tables(0, at, 8)
    assert [row[LEVEL] for row in walker.read([(at + i * HUGE, 0) for i in range(8)])] == before
    assert ctypes.c_char.from_address(at).value == b"x"
