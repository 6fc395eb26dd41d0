"""Every kind of page, as the walker reads it and as /proc/PID/pagemap tells."""

import os
import random
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import memory_kit as kit
from memory_kit import HUGE, PAGE

from isotherm.kernel.bpf import open_walker, probe

pytestmark = pytest.mark.kernel

NONE, PRESENT, SWAPPED, UNREAD = range(4)
STATE, PFN, LEVEL, YOUNG, DIRTY, WRITE, FLAGS, ORDER, INDEX = range(9)
MIB, GIB = 1 << 20, 1 << 30
TIERS = ["fast", "base"]


@pytest.fixture(params=TIERS)
def walker(request):
    if request.param == "fast" and not probe().fast:
        pytest.skip(f"the fast programs do not load: {probe().fast_why_not}")
    opened = open_walker(fast=request.param == "fast")
    opened.set_targets([os.getpid()])
    yield opened
    opened.close()


@pytest.fixture
def memory():
    made = kit.Memory()
    yield made
    made.close()


def read(walker, addresses, *, folios=False):
    return walker.read([(address, 0) for address in addresses], folios)


def told(leaf):
    return (int(leaf[STATE] == PRESENT), int(leaf[STATE] == SWAPPED), leaf[PFN])


def mismatches(walker, addresses):
    """Pages that pagemap tells otherwise, and the same before and after our look."""
    before = [kit.pagemap(address)[0] for address in addresses]
    leaves = read(walker, addresses)
    return [
        (hex(address), leaf, there)
        for address, leaf, there in zip(addresses, leaves, before, strict=True)
        if told(leaf) != there and kit.pagemap(address)[0] == there
    ]


def pages(at, size):
    return range(at, at + size, PAGE)


def test_small_pages(walker, memory):
    size = 40 * MIB
    at = memory.small(size)
    for address in pages(at, size):
        if address // PAGE % 7:
            kit.write(address)
    leaves = read(walker, pages(at, size))
    assert [leaf[STATE] for leaf in leaves] == [
        PRESENT if address // PAGE % 7 else NONE for address in pages(at, size)
    ]
    assert {leaf[LEVEL] for leaf in leaves} == {0}
    assert mismatches(walker, pages(at, size)) == []


def test_accessed_bit_follows_the_access(walker, memory):
    nr = 97
    at = memory.small(nr * PAGE)
    kit.write(at, nr * PAGE)
    kit.check(kit.libc.madvise(at, nr * PAGE, kit.COLD))
    cleared = read(walker, pages(at, nr * PAGE))
    assert [leaf[YOUNG] for leaf in cleared] == [0] * nr
    touched = random.Random(5).sample(range(nr), 23)
    for page in touched:
        kit.touch(at + page * PAGE)
    again = read(walker, pages(at, nr * PAGE))
    assert [page for page in range(nr) if again[page][YOUNG]] == sorted(touched)
    assert all(leaf[WRITE] and leaf[DIRTY] for leaf in again)


def test_transparent_huge_pages(walker, memory):
    size = 32 * MIB
    at = memory.huge(size)
    kit.write(at, size, HUGE)
    leaves = read(walker, pages(at, size))
    if not any(leaf[LEVEL] == 1 for leaf in leaves):
        pytest.skip("the kernel gave no transparent huge page")
    assert mismatches(walker, pages(at, size)) == []
    assert all(leaf[STATE] == PRESENT for leaf in leaves if leaf[LEVEL] == 1)


@contextmanager
def reserved_huge_pages(nr):
    knob = Path("/proc/sys/vm/nr_hugepages")
    before = int(knob.read_text())
    knob.write_text(str(before + nr))
    try:
        yield int(knob.read_text()) >= before + nr
    finally:
        knob.write_text(str(before))


def test_hugetlb(walker, memory):
    with reserved_huge_pages(5) as got:
        if not got:
            pytest.skip("no huge pages could be reserved")
        at = kit.check(
            kit.libc.mmap(None, 4 * HUGE, 3, kit.PRIVATE | kit.ANON | kit.HUGETLB, -1, 0)
        )
        try:
            kit.write(at, 3 * HUGE, HUGE)
            assert mismatches(walker, pages(at, 4 * HUGE)) == []
            leaves = read(walker, pages(at, 4 * HUGE))
            assert {leaf[LEVEL] for leaf in leaves[: 3 * 512]} == {1}
            assert {leaf[STATE] for leaf in leaves[3 * 512 :]} == {NONE}
        finally:
            kit.libc.munmap(at, 4 * HUGE)


def test_file_and_shared_memory(walker, memory, tmp_path):
    size = 8 * MIB
    path = kit.cached_file(tmp_path / "data", size)
    shared = memory.file(path, size)
    private = memory.file(path, size, kit.PRIVATE)
    shmem = memory.map(size, kit.SHARED | kit.ANON)
    kit.touch(shared, size // 2)
    kit.touch(private, size)
    kit.write(private, size, 5 * PAGE)
    kit.write(shmem, size, 3 * PAGE)
    for at in (shared, private, shmem):
        assert mismatches(walker, pages(at, size)) == []
    # a write to a private file page unmaps the huge page around it
    kit.touch(private, size)
    assert {leaf[STATE] for leaf in read(walker, pages(private, size))} == {PRESENT}


def test_zero_pages(walker, memory):
    small, huge = memory.small(64 * PAGE), memory.huge(2 * HUGE)
    kit.touch(small, 64 * PAGE)
    kit.touch(huge, 2 * HUGE, HUGE)
    frames = {leaf[PFN] for leaf in read(walker, pages(small, 64 * PAGE))}
    assert len(frames) == 1
    assert mismatches(walker, pages(small, 64 * PAGE)) == []
    assert mismatches(walker, pages(huge, 2 * HUGE)) == []


def test_protected_pages_are_present(walker, memory):
    small, huge = memory.small(1024 * PAGE), memory.huge(4 * HUGE)
    kit.write(small, 512 * PAGE)
    kit.write(huge, 4 * HUGE, HUGE)
    before = read(walker, pages(small, 1024 * PAGE)) + read(walker, pages(huge, 4 * HUGE))
    kit.check(kit.libc.mprotect(small, 1024 * PAGE, kit.PROT_NONE))
    kit.check(kit.libc.mprotect(huge, 4 * HUGE, kit.PROT_NONE))
    after = read(walker, pages(small, 1024 * PAGE)) + read(walker, pages(huge, 4 * HUGE))
    assert [told(leaf) for leaf in after] == [told(leaf) for leaf in before]
    assert [leaf[LEVEL] for leaf in after] == [leaf[LEVEL] for leaf in before]
    assert not any(leaf[WRITE] for leaf in after[:512])
    assert mismatches(walker, pages(small, 1024 * PAGE)) == []
    assert mismatches(walker, pages(huge, 4 * HUGE)) == []


@pytest.fixture
def swap(tmp_path):
    path = tmp_path / "swap"
    path.touch(0o600)
    if not shutil.which("mkswap"):
        pytest.skip("no mkswap")
    path.write_bytes(bytes(16 * MIB))
    made = subprocess.run(["mkswap", path], capture_output=True, text=True, check=False)
    on = subprocess.run(["swapon", path], capture_output=True, text=True, check=False)
    if made.returncode or on.returncode:
        pytest.skip(f"swap cannot be had: {made.stderr}{on.stderr}")
    yield
    subprocess.run(["swapoff", path], check=True)
    path.unlink()


@pytest.mark.usefixtures("swap")
def test_swapped_is_not_never_touched(walker, memory):
    nr = 512
    at = memory.small(2 * nr * PAGE)
    kit.write(at, nr * PAGE)
    kit.check(kit.libc.madvise(at, 2 * nr * PAGE, kit.PAGEOUT))
    leaves = read(walker, pages(at, 2 * nr * PAGE))
    assert mismatches(walker, pages(at, 2 * nr * PAGE)) == []
    assert any(leaf[STATE] == SWAPPED for leaf in leaves[:nr])
    assert {leaf[STATE] for leaf in leaves[nr:]} == {NONE}


def test_sparse_mapping(walker, memory):
    size = 10 * GIB
    at = memory.small(size, kit.PRIVATE | kit.ANON | kit.NORESERVE)
    step = 1021 * PAGE
    kit.write(at, size, step)
    written = range(at, at + size, step)
    assert {leaf[STATE] for leaf in read(walker, written)} == {PRESENT}
    rng = random.Random(7)
    anywhere = [at + rng.randrange(size // PAGE) * PAGE for _ in range(20_000)]
    assert mismatches(walker, [*written, *anywhere]) == []


def test_random_addresses_do_no_harm(walker):
    """Also of the kernel's half, and such as no CPU can form."""
    rng = random.Random(11)
    addresses = [
        rng.getrandbits(rng.choice([20, 40, 46, 47, 48, 56, 57, 63, 64])) for _ in range(15_000)
    ]
    addresses += [0xFFFF_8880_0000_0000 + rng.getrandbits(40) for _ in range(500)]
    addresses += [0, 2**64 - 1, 2**47 - 1, 2**47 - PAGE, 2**47, 2**48, 0xFFFF_FFFF_FF60_0000]
    addresses += [2**n + d for n in range(12, 64) for d in (-1, 0, 1)]
    complaints = kernel_complaints()
    leaves = read(walker, addresses, folios=True)
    assert len(leaves) == len(addresses)
    assert all(
        leaf[STATE] == NONE
        for address, leaf in zip(addresses, leaves, strict=True)
        if address >= 1 << 56
    )
    assert kernel_complaints() == complaints


def kernel_complaints():
    lines = subprocess.run(
        ["dmesg"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    words = (
        "BUG",
        "WARNING",
        "Oops",
        "general protection",
        "unable to handle",
        "bpf",
        "Call Trace",
    )
    return [line for line in lines if any(word in line for word in words)]


def test_both_tiers_tell_the_same(memory, tmp_path):
    if not probe().fast:
        pytest.skip(f"the fast programs do not load: {probe().fast_why_not}")
    path = kit.cached_file(tmp_path / "data", 4 * MIB)
    parts = [memory.small(4 * MIB), memory.huge(8 * MIB), memory.file(path, 4 * MIB)]
    parts += [memory.map(4 * MIB, kit.SHARED | kit.ANON)]
    sizes = [4 * MIB, 8 * MIB, 4 * MIB, 4 * MIB]
    for at, size in zip(parts, sizes, strict=True):
        kit.write(at, size, 3 * PAGE)
    wanted = [a for at, size in zip(parts, sizes, strict=True) for a in pages(at, size)]
    # Between the two reads the machine may do something to a page: a true difference stays.
    for _ in range(3):
        different, young = tiers_differ(wanted)
        if not different:
            break
    assert different == []
    assert young > 1000


def tiers_differ(wanted):
    """What the two tiers tell differently of these addresses, and how many both call young."""
    results = []
    for fast in (True, False):
        walker = open_walker(fast=fast)
        walker.set_targets([os.getpid()])
        assert walker.facts()["fast"] is fast
        results.append(read(walker, wanted, folios=True))
        walker.close()
    # The machine's own DAMON may clear a bit (then no folio is told), and pages that were waiting
    # to enter the LRU may have.
    lru = 8
    results = [[(*r[:FLAGS], r[FLAGS] | lru, *r[ORDER:]) for r in rows] for rows in results]
    pairs = list(zip(*results, strict=True))
    different = [
        (a, b) for a, b in pairs if (a != b if a[YOUNG] == b[YOUNG] else a[:YOUNG] != b[:YOUNG])
    ]
    return different, sum(a[YOUNG] and b[YOUNG] for a, b in pairs)


def test_whole_tables(walker, memory):
    small, huge = memory.small(8 * HUGE), memory.huge(4 * HUGE)
    kit.write(small, 3 * HUGE, 3 * PAGE)
    kit.write(huge, 2 * HUGE, HUGE)
    for at, nr in ((small, 8), (huge, 4)):
        tables, level2 = walker.read_tables(0, at, nr)
        for i, leaf in enumerate(read(walker, pages(at, nr * HUGE))):
            entry = int.from_bytes(tables[8 * i : 8 * i + 8], "little")
            upper = int.from_bytes(level2[i // 512 * 8 : i // 512 * 8 + 8], "little")
            if leaf[LEVEL] == 0:
                assert (entry & 1) == (leaf[STATE] == PRESENT)
                assert (entry & 0xFFFFFFFFFF000) >> 12 == leaf[PFN]
                assert upper & 0x81 == 1
            else:
                assert entry == 0
                assert (upper & 1) == (leaf[STATE] == PRESENT)
                assert (upper & 0xFFFFFFFE00000) >> 12 == leaf[PFN] & ~511
    with pytest.raises(OSError, match="Invalid argument"):
        walker.read_tables(0, small + PAGE, 1)
    with pytest.raises(OSError, match="Argument list too long"):
        walker.read_tables(0, small, 1 << 20)
