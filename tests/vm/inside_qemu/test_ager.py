"""
Accessed bits of shared memory cleared by the kernel's DAMON, in every process that maps it.

The witness reads the page tables of each.
"""

import mmap
import os
from pathlib import Path

import pytest
from kit import PAGE, by_kernel, nothing_left, vmstat
from large import join_free_memory, large_folios
from shared import Sharers

from isotherm.kernel.bpf import open_walker
from isotherm.kernel.damon.ager import FolioAger, obstacle
from isotherm.model.ranges import union

PAGES = 1024
#: Bits of /proc/kpageflags: of the pages of a large folio.
HEAD, TAIL = 1 << 15, 1 << 16
#: What would count if the scheme did more than to clear: it moves, reclaims, or splits.
HARM = ("pgactivate", "pgdeactivate", "pgrotated", "pgsteal_kswapd", "pgsteal_direct", "pswpout")
HARM += ("thp_split_page", "thp_split_pmd")

pytestmark = by_kernel


@pytest.fixture(autouse=True)
def _clean():
    yield
    assert nothing_left()


class Witness:
    """Pages with an accessed bit, in each process's own page table."""

    def __init__(self, sharers):
        self._pids = [os.getpid(), *sharers.pids]
        self._pages = range(sharers.area.start, sharers.area.end, PAGE)
        self._walker = open_walker()
        self._walker.set_targets(self._pids)

    def young_pages(self):
        everybody = range(len(self._pids))
        leaves = self._walker.read([(at, who) for who in everybody for at in self._pages])
        found = [leaf[3] for leaf in leaves]
        size = len(self._pages)
        return [[i for i in range(size) if found[who * size + i]] for who in everybody]

    def young(self):
        return [len(found) for found in self.young_pages()]


def put_on_lists():
    """
    Folios that wait to be put on their LRU list are seen by nobody.

    They wait in a batch of their CPU, of which there is one here: giving back a page empties it.
    """
    with mmap.mmap(-1, PAGE) as page:
        page[0] = 1
        page.madvise(mmap.MADV_DONTNEED)


def make_room():
    """Join free memory; what is moved for that waits to be put on a list."""
    join_free_memory()
    put_on_lists()


def is_whole(frames):
    """Whether frames are all of one folio, in order."""
    with Path("/proc/kpageflags").open("rb", buffering=0) as file:
        file.seek(frames[0] * 8)
        flags = memoryview(file.read(8 * len(frames) + 8)).cast("Q").tolist()
    tails = [bool(one & TAIL) for one in flags]
    in_order = frames == list(range(frames[0], frames[0] + len(frames)))
    own = [i % len(frames) > 0 for i in range(len(tails))]
    return in_order and bool(flags[0] & HEAD) and tails == own


def cleared(ager, ranges):
    """Clear, and look that this is all that the scheme did; nanoseconds that it took."""
    harm = {name: vmstat(name) for name in HARM}
    ns = ager.clear(ranges)
    assert {name: vmstat(name) for name in HARM} == harm
    return ns


@pytest.mark.parametrize("kind", ["shared", "forked"])
def test_bits_are_cleared_in_every_mapper_and_where_it_was_asked_for(kind):
    with Sharers(PAGES * PAGE, 2, kind, mmap.MADV_NOHUGEPAGE) as sharers, FolioAger() as ager:
        put_on_lists()
        witness = Witness(sharers)
        everything, half = sharers.physical(), PAGES // 2
        assert witness.young() == [PAGES] * 3
        cleared(ager, sharers.physical(0, half))
        assert witness.young() == [half] * 3
        cleared(ager, everything)
        assert witness.young() == [0] * 3
        sharers.touch(0, 0, 23)
        sharers.touch(1, 11, 48)
        assert witness.young() == [0, 23, 37]
        ns = cleared(ager, everything)
        assert witness.young() == [0] * 3
        assert len(sharers.frames()) == PAGES
    print(
        f"{kind}: {ns / PAGES / 2:.0f} instructions a page of 3 mappers, {len(everything)} ranges"
    )


@pytest.mark.parametrize("kib", [64, 2048])
def test_a_large_folio_becomes_old_as_a_whole_and_stays_whole(kib):
    unit, pages = kib * 1024 // PAGE, 8 * PAGES
    make_room()
    with (
        large_folios(kib),
        Sharers(pages * PAGE, 2, "forked", mmap.MADV_HUGEPAGE) as sharers,
        FolioAger() as ager,
    ):
        put_on_lists()
        witness, before = Witness(sharers), sharers.frames()
        assert witness.young() == [pages] * 3
        # Where memory stays in pieces, some of the folios are smaller.
        whole = [i for i in range(0, pages, unit) if is_whole(before[i : i + unit])]
        assert len(whole) >= 4
        one, rest = whole[0], [i for i in range(pages) if not whole[0] <= i < whole[0] + unit]
        cleared(ager, union((before[i] * PAGE, (before[i] + 1) * PAGE) for i in rest))
        assert witness.young_pages() == [list(range(one, one + unit))] * 3
        cleared(ager, sharers.physical(one, one + unit))
        assert witness.young() == [0] * 3
        after = sharers.frames()
        assert [i for i in whole if is_whole(after[i : i + unit])] == whole
    print(f"{kib} KiB: {len(whole)} of {pages // unit} folios are whole")


def test_it_can_be_done_here():
    assert obstacle() == ""
