"""Paging out: what goes, what must stay, and what is said of it."""

import os
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from action_kit import (
    THP,
    acting,
    allow,
    huge_kib,
    make_old,
    present,
    reject,
    scheme,
    settings,  # noqa: F401 - a fixture
    swap,  # noqa: F401 - a fixture
)
from bpf_kit import HUGE, MIB, PAGE, Child, vmstat
from memory_kit import cached_file, pagemap

from isotherm.actions.actor import NO_SWAP
from isotherm.actions.memory import SHARED
from isotherm.actions.obstacles import OTHERS, UNWRITTEN
from isotherm.actions.treat import Place
from isotherm.core.act import Done
from isotherm.kernel.procfs import clear_refs
from isotherm.model.scheme import Action

pytestmark = [pytest.mark.kernel]
needs_swap = pytest.mark.usefixtures("swap")

PAGES, HOT = 97, (5, 7, 23, 41, 89)
PAGEOUT = scheme(Action.PAGEOUT)


@pytest.fixture
def child():
    started = Child()
    yield started
    started.close()


def small(child, nr=PAGES):
    at = child.make(f"memory.small({nr * PAGE})")
    child.run(f"kit.write({at}, {nr * PAGE})")
    return at


@needs_swap
def test_exactly_old_pages_go_and_young_ones_go_later(child):
    at = small(child)
    make_old(child.pid, (at, PAGES * PAGE))
    child.run("; ".join(f"kit.touch({at + i * PAGE})" for i in HOT))
    with acting(child) as (_, act):
        done = act(PAGEOUT, at, PAGES * PAGE)
        left = present(child.pid, at, PAGES)
        assert done == Done(applied_bytes=(PAGES - len(left)) * PAGE)
        # The machine's own DAMON, where it runs, clears a bit now and then.
        assert set(left) <= set(HOT)
        assert len(left) >= len(HOT) - 1
        child.run(f"kit.touch({at + 23 * PAGE})")
        # The others were found young once, and were not touched since.
        done = act(PAGEOUT, at, PAGES * PAGE)
        assert present(child.pid, at, PAGES) == [23]
        assert done.applied_bytes == len(set(left) - {23}) * PAGE
        assert act(PAGEOUT, at, PAGES * PAGE).applied_bytes == PAGE
    assert child.run(f"result = sum(kit.ctypes.string_at({at}, {PAGES * PAGE})) // 120") == "97"


@needs_swap
def test_only_the_region_goes(child):
    at = small(child)
    make_old(child.pid, (at, PAGES * PAGE))
    with acting(child) as (_, act):
        assert act(PAGEOUT, at + 11 * PAGE, 31 * PAGE).applied_bytes == 31 * PAGE
    assert present(child.pid, at, PAGES) == [*range(11), *range(42, PAGES)]


@needs_swap
def test_look_again_can_be_left_out(child):
    at = small(child)
    with acting(child) as (_, act):
        # The machine's own DAMON, where it runs, clears a bit now and then.
        assert act(PAGEOUT, at, PAGES * PAGE).applied_bytes <= 3 * PAGE
    child.run(f"kit.touch({at}, {PAGES * PAGE})")
    with acting(child, look_again=False) as (_, act):
        assert act(PAGEOUT, at, PAGES * PAGE).applied_bytes == PAGES * PAGE
    assert present(child.pid, at, PAGES) == []


@needs_swap
def test_huge_pages_go_as_a_whole_and_by_their_middle(child):
    at = child.make(f"memory.huge({7 * HUGE})")
    child.run(f"kit.write({at}, {7 * HUGE})")
    if huge_kib(child.pid, at) < 7 * 2048:
        pytest.skip("the memory did not become huge pages")
    make_old(child.pid, (at, 7 * HUGE))
    splits = vmstat("thp_split")
    with acting(child) as (_, act):
        # From the middle of the first one to before the middle of the third.
        done = act(PAGEOUT, at + HUGE // 2, 2 * HUGE - PAGE)
        assert done.applied_bytes == 2 * HUGE
        assert present(child.pid, at, 7 * 512) == list(range(2 * 512, 7 * 512))
        kept = scheme(Action.PAGEOUT, reject("addr", bounds=(0, 1)))
        assert act(kept, at + 2 * HUGE + PAGE, HUGE).applied_bytes == 0
        child.run(f"kit.touch({at + 5 * HUGE})")
        assert act(PAGEOUT, at + 2 * HUGE, 5 * HUGE).applied_bytes == 4 * HUGE
    assert present(child.pid, at, 7 * 512) == list(range(5 * 512, 6 * 512))
    assert huge_kib(child.pid, at) == 2048
    after = vmstat("thp_split")
    # Writing to a swap file may split them there; nothing that stayed in memory was split.
    assert after["thp_split_pmd"] - splits["thp_split_pmd"] <= 6


@needs_swap
def test_large_folios_go_as_a_whole_or_not_at_all(child, setting):
    sizes = THP / "hugepages-64kB"
    if not (sizes / "stats" / "nr_anon").exists():
        pytest.skip("this kernel does not count folios of 64 KiB (6.12)")
    setting(sizes / "enabled", "madvise")
    setting(THP / "hugepages-2048kB" / "enabled", "never")
    at = child.make(f"memory.huge({2 * MIB})")
    before = int((sizes / "stats" / "nr_anon").read_text())
    child.run(f"kit.write({at}, {2 * MIB})")
    if int((sizes / "stats" / "nr_anon").read_text()) - before < 32:
        pytest.skip("no folios of 64 KiB were made")
    # The third folio loses a page: it is mapped in part only.
    child.run(f"kit.check(kit.libc.madvise({at + 35 * PAGE}, {PAGE}, 4))")
    clear_refs(child.pid)
    with acting(child) as (_, act):
        child.run(f"kit.touch({at + 21 * PAGE})")  # one page of the second folio
        # Up to before the middle of the fifth folio.
        done = act(PAGEOUT, at, 71 * PAGE)
        gone = [*range(16), *range(48, 64)]
        left = set(range(512)) - set(gone) - {35}
        assert present(child.pid, at, 512) == sorted(left)
        assert done.applied_bytes == len(gone) * PAGE


def test_without_swap_the_user_is_told_and_anonymous_memory_is_left_alone(child, monkeypatch):
    for module in ("isotherm.kernel.pages.pagemap", "isotherm.actions.limits"):
        monkeypatch.setattr(f"{module}.free_swap_bytes", lambda: 0)
    at = small(child)
    make_old(child.pid, (at, PAGES * PAGE))
    with acting(child) as (ops, act):
        assert [w for w in ops.warnings_for(PAGEOUT) if w.startswith("no swap: only clean file")]
        done = act(PAGEOUT, at, PAGES * PAGE)
        assert done.applied_bytes == 0
        assert NO_SWAP in done.errors
    assert len(present(child.pid, at, PAGES)) == PAGES


def test_clean_pages_of_a_private_file_go_without_swap(child, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(os.urandom(PAGE) * PAGES)
    with file.open("r+b") as opened:
        os.fsync(opened.fileno())
    at = child.make(
        f"memory.file(__import__('pathlib').Path({str(file)!r}), {PAGES * PAGE}, kit.PRIVATE)"
    )
    child.run(f"kit.touch({at}, {PAGES * PAGE})")
    with acting(child, look_again=False) as (_, act):
        there = len(present(child.pid, at, PAGES))
        done = act(PAGEOUT, at, PAGES * PAGE)
        left = len(present(child.pid, at, PAGES))
    assert done.applied_bytes == (there - left) * PAGE
    # The page cache may have made one folio that reaches beyond the file's mapping.
    assert left < there


@needs_swap
def test_memory_of_two_processes_stays():
    with_fork = Child()
    try:
        at = small(with_fork)
        with_fork.run("fork = os.fork() or __import__('time').sleep(100)")
        with_fork.run(f"kit.write({at + 3 * PAGE})")  # an own copy
        with acting(with_fork, look_again=False) as (_, act):
            assert act(PAGEOUT, at, PAGES * PAGE).applied_bytes == PAGE
            assert present(with_fork.pid, at, PAGES) == [i for i in range(PAGES) if i != 3]
            with_fork.run("os.kill(fork, 9); os.wait()")
            assert act(PAGEOUT, at, PAGES * PAGE).applied_bytes == (PAGES - 1) * PAGE
    finally:
        with_fork.close()


@needs_swap
@pytest.mark.parametrize(
    "expression",
    [
        "memory.map({size}, kit.SHARED | kit.ANON)",
        "memory.map({size}, fd=os.memfd_create('shared'), flags=kit.SHARED, align=4096)",
    ],
)
def test_shared_mappings_stay(child, expression):
    if "memfd" in expression:
        child.run("fd = os.memfd_create('shared'); os.ftruncate(fd, 1 << 20)")
        expression = expression.replace("os.memfd_create('shared')", "fd")
    at = child.make(expression.format(size=PAGES * PAGE))
    child.run(f"kit.write({at}, {PAGES * PAGE})")
    with acting(child, look_again=False) as (_, act):
        assert act(PAGEOUT, at, PAGES * PAGE) == Done(errors={SHARED: 1})
        assert act(scheme(Action.COLD), at, PAGES * PAGE) == Done(errors={SHARED: 1})
        assert act(PAGEOUT, at, PAGES * PAGE) == Done()
    assert len(present(child.pid, at, PAGES)) == PAGES


def test_clean_pages_of_a_shared_file_go_and_those_not_written_stay(child, tmp_path):
    """Such as one process alone maps: what is dropped is read again, by whoever wants it."""
    file, size = cached_file(tmp_path / "mapped", 8 * MIB), 8 * MIB
    at = child.make(f"memory.file(kit.Path({str(file)!r}), {size})")
    child.run(f"kit.touch({at}, {size})")
    dirty = range(31, 37)
    child.run(f"kit.write({at + dirty[0] * PAGE}, {len(dirty) * PAGE})")
    with acting(child, look_again=False) as (_, act):
        done = act(PAGEOUT, at, size)
        left = present(child.pid, at, size // PAGE)
        assert set(dirty) <= set(left)
        assert max(left) < HUGE // PAGE  # a folio may be so large
        assert done == Done((size // PAGE - len(left)) * PAGE, errors={UNWRITTEN: 1})
        assert act(PAGEOUT, at, size) == Done()
        with file.open("r+b") as opened:
            os.fsync(opened.fileno())
        assert act(PAGEOUT, at, size) == Done(len(left) * PAGE)


def test_pages_of_a_shared_file_that_others_map_stay(child, tmp_path):
    file, size = cached_file(tmp_path / "mapped", MIB), MIB
    at = child.make(f"memory.file(kit.Path({str(file)!r}), {size})")
    child.run(f"kit.touch({at}, {size})")
    other = Child()
    try:
        there = other.make(f"memory.file(kit.Path({str(file)!r}), {size})")
        other.run(f"kit.touch({there}, {size})")
        with acting(child, look_again=False) as (_, act):
            assert act(PAGEOUT, at, size) == Done(errors={OTHERS: 1})
    finally:
        other.close()


@needs_swap
def test_locked_memory_stays(child):
    at = small(child)
    child.run(f"kit.check(kit.libc.mlock2({at + 40 * PAGE}, {13 * PAGE}, 0))")
    with acting(child, look_again=False) as (_, act):
        done = act(PAGEOUT, at, PAGES * PAGE)
    assert present(child.pid, at, PAGES) == list(range(40, 53))
    assert done.applied_bytes == (PAGES - 13) * PAGE


@needs_swap
def test_hugetlb_and_special_mappings_stay(child, setting):
    setting(Path("/proc/sys/vm/nr_hugepages"), "3")
    at = child.make(f"memory.map({2 * HUGE}, kit.PRIVATE | kit.ANON | kit.HUGETLB, align=1)")
    child.run(f"kit.write({at}, {2 * HUGE}, {HUGE})")
    maps = Path(f"/proc/{child.pid}/maps").read_text().split("\n")
    vdso = next(line.split()[0].split("-") for line in maps if line.endswith("[vdso]"))
    start, end = (int(part, 16) for part in vdso)
    with acting(child, look_again=False) as (_, act):
        assert act(PAGEOUT, at, 2 * HUGE) == Done(errors={"hugetlb pages: left alone": 1})
        assert act(PAGEOUT, start, end - start) == Done()
    child.close()


@needs_swap
def test_the_page_of_zeros_is_nothing(child):
    at = child.make(f"memory.small({PAGES * PAGE})")
    child.run(f"kit.touch({at}, {PAGES * PAGE})")
    with acting(child, look_again=False) as (_, act):
        assert act(PAGEOUT, at, PAGES * PAGE) == Done()


@needs_swap
def test_filters_choose_pages(child):
    at = small(child)
    make_old(child.pid, (at, PAGES * PAGE))
    child.run("; ".join(f"kit.touch({at + i * PAGE})" for i in HOT))
    with acting(child) as (_, act):
        only_young = scheme(Action.PAGEOUT, allow("young"))
        done = act(only_young, at, PAGES * PAGE)
        assert done == Done(len(HOT) * PAGE, len(HOT) * PAGE)
        assert present(child.pid, at, PAGES) == [i for i in range(PAGES) if i not in HOT]
        assert act(scheme(Action.PAGEOUT, reject("anon")), at, PAGES * PAGE) == Done()
        # Where a core filter has allowed the region, memory is not asked.
        done = act(scheme(Action.PAGEOUT, reject("anon")), at, 11 * PAGE, filtered=False)
        assert done == Done(applied_bytes=(11 - 2) * PAGE)


@needs_swap
def test_unmapping_and_remapping_meanwhile_is_harmless(child):
    at = small(child, 4096)
    child.run(f"kit.check(kit.libc.munmap({at + 100 * PAGE}, {1000 * PAGE}))")
    with acting(child, look_again=False) as (_, act):
        done = act(PAGEOUT, at, 4096 * PAGE)
        assert done.applied_bytes == 3096 * PAGE
        assert not [p for p in pagemap(at, 100, child.pid) if p[0]]


@needs_swap
def test_a_target_that_unmaps_all_the_time_survives(child):
    at = small(child, 2048)
    busy = (
        "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end:\n"
        " n = memory.small(1 << 20); kit.write(n, 1 << 20); kit.libc.munmap(n, 1 << 20)\n"
    )
    child._process.stdin.write(f"exec({busy!r})\n")
    child._process.stdin.flush()
    with acting(child, look_again=False) as (ops, _):
        end, applied = time.monotonic() + 1.5, 0
        while time.monotonic() < end:
            for part in ops.targets()[0].ranges:
                applied += ops.act(PAGEOUT, 0, *part, filtered=True).applied_bytes
    assert applied >= 2048 * PAGE
    assert child._process.stdout.readline()
    assert child.run(f"result = sum(kit.ctypes.string_at({at}, 2048 << 12)) // 120") == "2048"


def test_nothing_is_done_to_what_is_gone(child):
    at = small(child)
    with acting(child, look_again=False) as (ops, act):
        child.exec("print('new', flush=True); import time; time.sleep(100)")
        assert act(scheme(Action.COLD), at, PAGES * PAGE).applied_bytes == 0
        child.close()
        assert act(scheme(Action.COLD), at, PAGES * PAGE) == Done()
        assert ops.targets() == []


@needs_swap
def test_terabytes_of_nothing_are_passed_over(child, monkeypatch):
    size = 16 << 40
    at = child.make(f"memory.map({size}, kit.PRIVATE | kit.ANON | kit.NORESERVE)")
    child.run(f"kit.check(kit.libc.madvise({at}, {size}, 15))")
    used = [(5 << 40) + 7 * PAGE, (5 << 40) + (3 << 30), size - PAGE]
    child.run("; ".join(f"kit.write({at + offset})" for offset in used))
    clear_refs(child.pid)
    steps = []
    real = Place.read
    monkeypatch.setattr(
        Place, "read", lambda self, *where: (steps.append(where), real(self, *where))
    )
    with acting(child) as (_, act):
        assert act(PAGEOUT, at, size).applied_bytes == len(used) * PAGE
    # The beginning, and each place where something is, before and after.
    assert len(steps) <= 1 + 2 * len(used)
    assert not any(present(child.pid, at + offset, 1) for offset in used)
