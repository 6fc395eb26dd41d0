"""The backend bpf on every kind of page: what is seen, what is not, and that nothing is harmed."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bpf_kit import (
    GIB,
    HUGE,
    MIB,
    PAGE,
    Child,
    anon_huge_kib,
    batch,
    cleared,
    look,
    taken_by_damon,
    vmstat,
    watching,
)

from isotherm.backends.bpf.look import self_test
from isotherm.core.look import WAS_YOUNG, Check
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import Range, intersect, union

pytestmark = pytest.mark.kernel

IDLE, ACCESSED, UNOBSERVABLE = Check.IDLE, Check.ACCESSED, Check.UNOBSERVABLE
THP = Path("/sys/kernel/mm/transparent_hugepage")
PAGES, TOUCHED = 97, 23


@pytest.fixture
def child():
    started = Child()
    yield started
    started.close()


@pytest.fixture
def setting():
    """Set a file of /sys or /proc for the test."""
    before = []

    def write(path, value):
        path = Path(path)
        text = path.read_text()
        before.append((path, text.split("[")[1].split("]")[0] if "[" in text else text.strip()))
        path.write_text(value)

    yield write
    for path, value in reversed(before):
        path.write_text(value)


def pages(start, nr):
    return [start + i * PAGE for i in range(nr)]


def test_self_test_measures():
    cost = self_test()
    print(f"{cost.read_us:.2f} us per read, {cost.clear_us:.2f} us per clear")
    assert cost.read_us > 0
    assert cost.clear_us > 0


@pytest.mark.parametrize("how", ["touch", "write"])
def test_exactly_the_touched_pages_are_found(child, how):
    at = child.make(f"memory.small({PAGES * PAGE})")
    child.run(f"kit.write({at}, {PAGES * PAGE})")
    addresses = pages(at, PAGES)
    chosen = sorted(random.Random(how).sample(range(PAGES), TOUCHED))
    statement = "; ".join(f"kit.{how}({addresses[i]})" for i in chosen)
    with watching(child.pid) as ops:
        for _ in range(3):
            found = look(ops, addresses, lambda: child.run(statement))
            assert [i for i, value in enumerate(found) if value == ACCESSED] == chosen
            assert found.count(IDLE) == PAGES - TOUCHED


def test_first_access_of_untouched_memory_is_found(child):
    at = child.make(f"memory.small({PAGES * PAGE})")
    with watching(child.pid) as ops:
        found = look(ops, pages(at, PAGES), lambda: child.run(f"kit.write({at + 5 * PAGE})"))
        assert [i for i, value in enumerate(found) if value == ACCESSED] == [5]


def test_huge_pages_stay_whole(child):
    size = 64 * MIB
    at = child.make(f"memory.huge({size})")
    child.run(f"kit.write({at}, {size})")
    huge = anon_huge_kib(child.pid)
    if huge < size // 1024:
        pytest.skip(f"only {huge} KiB of {size // 1024} became huge pages")
    splits, rng = vmstat("thp_split"), random.Random(1)
    with watching(child.pid, sweep=True) as ops:
        addresses = [at + i * HUGE + 7 * PAGE for i in range(size // HUGE)]
        found = look(ops, addresses, lambda: child.run(f"kit.touch({at + 3 * HUGE})"))
        assert [i for i, value in enumerate(found) if value == ACCESSED] == [3]
        for _ in range(100):
            child.run(f"kit.touch({at}, {size}, {HUGE})")
            ops.prepare(batch(sorted(at + rng.randrange(size) for _ in range(64))))
            ops.check()
            ops.targets()
        assert ops.stats()["clears"] > 1000
        assert ops.stats()["swept_bytes"] >= size
    assert anon_huge_kib(child.pid) == huge
    assert vmstat("thp_split") == splits


def test_large_folios_stay_whole(child, setting):
    sizes = THP / "hugepages-64kB"
    if not (sizes / "stats" / "split").exists():
        pytest.skip("this kernel does not count splits of 64 KiB folios (6.12)")
    setting(sizes / "enabled", "madvise")
    setting(THP / "hugepages-2048kB" / "enabled", "never")
    at = child.make(f"memory.huge({8 * MIB})")
    before = int((sizes / "stats" / "nr_anon").read_text())
    child.run(f"kit.write({at}, {8 * MIB})")
    made = int((sizes / "stats" / "nr_anon").read_text()) - before
    if made < 64:
        pytest.skip(f"only {made} folios of 64 KiB were made")
    # One that is cut by the border of a mapping, and one that has lost a page.
    child.run(f"kit.check(kit.libc.mprotect({at + MIB + 8 * PAGE}, {PAGE * 8}, 1))")
    child.run(f"kit.check(kit.libc.madvise({at + 2 * MIB + 4 * PAGE}, {PAGE}, 4))")
    splits = int((sizes / "stats" / "split").read_text())
    rng = random.Random(2)
    with watching(child.pid, sweep=True) as ops:
        for _ in range(100):
            child.run(f"kit.touch({at}, {8 * MIB})")
            ops.prepare(batch(sorted(at + rng.randrange(8 * MIB) for _ in range(64))))
            ops.check()
        assert ops.stats()["clears"] > 1000
        assert ops.stats()["swept_bytes"] >= MIB
        whole = pages(at + 4 * MIB, 16)
        found = look(ops, whole, lambda: child.run(f"kit.touch({whole[5]})"))
        assert [i for i, value in enumerate(found) if value == ACCESSED] == [5]
        cut = look(ops, [at + MIB + 2 * PAGE, at + 2 * MIB + 2 * PAGE])
        assert cut == [UNOBSERVABLE, UNOBSERVABLE]
    assert int((sizes / "stats" / "split").read_text()) == splits


def test_mlocked_memory_is_unobservable(child):
    at = child.make(f"memory.small({PAGES * PAGE})")
    child.run(f"kit.check(kit.libc.mlock2({at}, {PAGES * PAGE}, 0))")
    with watching(child.pid, sweep=True) as ops:
        found = look(ops, pages(at, PAGES), lambda: child.run(f"kit.touch({at})"))
        assert list(found).count(UNOBSERVABLE) >= PAGES - taken_by_damon(PAGES)
        reasons = [u.reason for u in ops.targets()[0].unobservable if u.start <= at < u.end]
        assert reasons == ["mlocked"]


def test_memory_that_is_locked_later_is_counted_once(child):
    size = 16 * MIB
    at = child.make(f"memory.small({size})")
    child.run(f"kit.write({at}, {size})")
    attrs = Attrs(sample_us=5_000, aggr_us=50_000, update_us=100_000)
    with watching(child.pid) as ops:
        for snapshot in ops.monitor(attrs, seed=1).snapshots():
            monitored = union((r.start, r.end) for r in snapshot.regions)
            unobservable = union((u.start, u.end) for u in snapshot.unobservable)
            assert intersect(monitored, unobservable) == []
            if snapshot.index == 0:
                assert intersect(monitored, [Range(at, at + size)]) == [Range(at, at + size)]
                child.run(f"kit.check(kit.libc.mlock2({at}, {size}, 0))")
            if intersect(unobservable, [Range(at, at + size)]):
                break
            child.run(f"kit.touch({at})")
    known = sum(u.size for u in snapshot.unobservable)
    assert snapshot.monitored_bytes + known <= snapshot.targets[0].mapped_bytes


def test_hugetlb_is_unobservable_and_known(child, setting):
    setting("/proc/sys/vm/nr_hugepages", "3")
    at = child.make(f"memory.map({2 * HUGE}, kit.PRIVATE | kit.ANON | kit.HUGETLB, align=1)")
    child.run(f"kit.write({at}, {2 * HUGE}, {HUGE})")
    with watching(child.pid) as ops:
        assert set(look(ops, [at, at + HUGE + 5 * PAGE])) == {UNOBSERVABLE}
        assert any(u.start <= at < u.end for u in ops.targets()[0].unobservable)
    child.close()


def test_memory_of_two_processes_is_unobservable():
    with_fork = Child()
    at = with_fork.make(f"memory.small({PAGES * PAGE})")
    with_fork.run(f"kit.write({at}, {PAGES * PAGE})")
    with_fork.run("fork = os.fork() or __import__('time').sleep(100)")
    try:
        with watching(with_fork.pid, follow_children=False) as ops:
            addresses = pages(at, PAGES)
            cleared(ops, addresses)
            found = look(ops, addresses, lambda: with_fork.run(f"kit.touch({at})"))
            assert ACCESSED not in found[1:]
            assert UNOBSERVABLE in found
            # A write makes an own copy of the first page: seen again.
            with_fork.run(f"kit.write({at})")
            assert look(ops, [at]) == [IDLE]
            with_fork.run("os.kill(fork, 9); os.wait()")
            found = look(ops, addresses, lambda: with_fork.run(f"kit.touch({at + PAGE})"))
            assert [i for i, value in enumerate(found) if value == ACCESSED] == [1]
    finally:
        with_fork.close()


def test_pages_of_a_file_are_seen(child, tmp_path):
    # Written by the child: it empties the batch of fresh pages of its own CPU only.
    child.run(f"path = __import__('pathlib').Path({str(tmp_path / 'file')!r})")
    child.run(f"path.write_bytes(b'x' * {PAGES * PAGE})")
    at = child.make(f"memory.file(path, {PAGES * PAGE})")
    child.run(f"kit.touch({at}, {PAGES * PAGE})")
    with watching(child.pid) as ops:
        found = look(ops, pages(at, PAGES), lambda: child.run(f"kit.touch({at + 11 * PAGE})"))
        seen = [i for i, value in enumerate(found) if value == ACCESSED]
        # Where the page cache made folios that MADV_COLD would split, nothing is known of them.
        assert seen == [11] or set(found) <= {UNOBSERVABLE, IDLE}


def test_the_page_of_zeros_is_unobservable(child):
    at = child.make(f"memory.small({PAGES * PAGE})")
    child.run(f"kit.touch({at}, {PAGES * PAGE})")
    with watching(child.pid) as ops:
        assert set(look(ops, pages(at, PAGES))) == {UNOBSERVABLE}
        assert ops.stats()["clears"] == 0
        assert ops.stats()["unobservable"]["zero page"] > 0


def test_memory_without_access_rights_is_idle(child):
    at = child.make(f"memory.small({PAGES * PAGE})")
    child.run(f"kit.write({at}, {PAGES * PAGE})")
    child.run(f"kit.check(kit.libc.mprotect({at}, {PAGES * PAGE}, 0))")
    with watching(child.pid) as ops:
        assert set(look(ops, pages(at, PAGES))) == {IDLE}


def test_sparse_memory(child):
    at = child.make(f"memory.map({10 * GIB}, kit.PRIVATE | kit.ANON | kit.NORESERVE)")
    rng = random.Random(3)
    with watching(child.pid, sweep=True) as ops:
        for _ in range(50):
            addresses = sorted(at + rng.randrange(10 * GIB) for _ in range(200))
            assert set(look(ops, addresses)) == {IDLE}
    resident = int(Path(f"/proc/{child.pid}/statm").read_text().split()[1])
    assert resident * PAGE < GIB


def test_without_folios_of_bpf_the_files_of_proc_tell(child):
    from isotherm._core import AccessBpf
    from isotherm.kernel.bpf import open_walker

    at = child.make(f"memory.small({PAGES * PAGE})")
    child.run(f"kit.write({at}, {PAGES * PAGE})")
    with watching(child.pid) as ops:
        ops.look._access.close()
        ops.look._access = AccessBpf(open_walker(), overhead_ns=10**9, ignore_folios=True)
        ops.look._last = None  # the new one was told of nobody
        ops.targets()
        found = look(ops, pages(at, PAGES), lambda: child.run(f"kit.touch({at + 7 * PAGE})"))
        assert [i for i, value in enumerate(found) if value == ACCESSED] == [7]


def test_a_budget_leaves_samples_out():
    busy = Child()
    at = busy.make(f"memory.small({4 * MIB})")
    try:
        with watching(busy.pid, overhead=0.0001) as ops:
            found = b""
            for _ in range(20):
                busy.run(f"kit.write({at}, {4 * MIB})")
                ops.prepare(batch(pages(at, 1000)))
                found += ops.check()
            assert found.count(Check.MISSED) > 15_000
            assert ops.cleared() < 5_000
    finally:
        busy.close()


def test_who_rests_is_not_looked_at_and_keeps_its_accessed_bits(child):
    other = Child()
    try:
        at = [each.make(f"memory.small({PAGES * PAGE})") for each in (child, other)]
        both = pages(at[0], PAGES) + pages(at[1], PAGES)
        asked = batch(both, [0] * PAGES + [1] * PAGES)

        def turn(ops):
            ops.prepare(asked)
            for each, start in zip((child, other), at, strict=True):
                each.run(f"kit.write({start}, {PAGES * PAGE})")
            return list(ops.check())

        with watching(child.pid, other.pid) as ops:
            seen = [result & ~WAS_YOUNG for result in turn(ops)]
            assert seen == [ACCESSED] * (2 * PAGES)
            reads = ops.stats()["reads"]
            ops.rest(b"\0\1")
            found = turn(ops)
            assert {result & ~WAS_YOUNG for result in found[:PAGES]} == {ACCESSED}
            assert set(found[PAGES:]) == {Check.RESTING}
            assert ops.stats()["reads"] == reads + 2 * PAGES
            ops.rest(b"\0\0")
            # They were young all the time, or would not have been cleared for this turn.
            assert set(turn(ops)[PAGES:]) == {ACCESSED | WAS_YOUNG}
    finally:
        other.close()


def test_page_idle_bitmap(child, tmp_path):
    """A kernel without the bitmap: the words that would be written, into a file."""
    from isotherm._core import AccessBpf
    from isotherm.kernel.bpf import open_walker

    bitmap = tmp_path / "bitmap"
    bitmap.touch()
    with pytest.raises(OSError, match="of 64 own pages, 64 read as accessed"):
        AccessBpf(open_walker(), page_idle=str(bitmap))
    words = bitmap.read_bytes()
    frames = Path("/proc/kpageflags")
    assert len(words) % 8 == 0
    # A plain file forgets the bits that a second write to the same word leaves out.
    assert 8 <= sum(byte.bit_count() for byte in words) <= 5 * 64
    with frames.open("rb", buffering=0) as file:
        file.seek(len(words) * 8 - 64 * 8)
        assert file.read(8)
