"""
Accessed bits of shared memory cleared by the kernel's DAMON, in every process that maps it.

The witness reads the page tables of each.
"""

import mmap
import os
from pathlib import Path

import pytest
from kit import PAGE, by_kernel, nothing_left, vmstat
from large import large_folios
from shared import Sharers

from isotherm.kernel.bpf import open_walker
from isotherm.kernel.damon.ager import FolioAger, obstacle

PAGES = 1024
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

    def young(self):
        everybody = range(len(self._pids))
        leaves = self._walker.read([(at, who) for who in everybody for at in self._pages])
        found = [leaf[3] for leaf in leaves]
        size = len(self._pages)
        return [sum(found[who * size : (who + 1) * size]) for who in everybody]


def put_on_lists():
    """Folios that wait to be put on their LRU list are seen by nobody; frees large ones, too."""
    Path("/proc/sys/vm/compact_memory").write_text("1")


@pytest.mark.parametrize("kind", ["shared", "forked"])
def test_bits_are_cleared_in_every_mapper_and_where_it_was_asked_for(kind):
    with Sharers(PAGES * PAGE, 2, kind, mmap.MADV_NOHUGEPAGE) as sharers, FolioAger() as ager:
        put_on_lists()
        witness, harm = Witness(sharers), {name: vmstat(name) for name in HARM}
        everything, half = sharers.physical(), PAGES // 2
        assert witness.young() == [PAGES] * 3
        ager.clear(sharers.physical(0, half))
        assert witness.young() == [half] * 3
        ager.clear(everything)
        assert witness.young() == [0] * 3
        sharers.touch(0, 0, 23)
        sharers.touch(1, 11, 48)
        assert witness.young() == [0, 23, 37]
        ns = ager.clear(everything)
        assert witness.young() == [0] * 3
        assert {name: vmstat(name) for name in HARM} == harm
        assert len(sharers.frames()) == PAGES
    print(
        f"{kind}: {ns / PAGES / 2:.0f} instructions a page of 3 mappers, {len(everything)} ranges"
    )


@pytest.mark.parametrize("kib", [64, 2048])
def test_a_large_folio_becomes_old_as_a_whole_and_stays_whole(kib):
    unit = kib * 1024 // PAGE
    put_on_lists()
    with (
        large_folios(kib),
        Sharers(PAGES * PAGE, 2, "forked", mmap.MADV_HUGEPAGE) as sharers,
        FolioAger() as ager,
    ):
        put_on_lists()
        witness, harm = Witness(sharers), {name: vmstat(name) for name in HARM}
        assert witness.young() == [PAGES] * 3
        before = sharers.frames()
        # Where memory is in pieces, some of the folios are smaller.
        blocks = [before[first : first + unit] for first in range(0, PAGES, unit)]
        whole = [one[0] % unit == 0 and one[-1] - one[0] == unit - 1 for one in blocks]
        assert sum(whole) >= min(8, len(blocks))
        ager.clear(sharers.physical(unit))
        assert witness.young() == [unit] * 3
        ager.clear(sharers.physical())
        assert witness.young() == [0] * 3
        assert sharers.frames() == before
        assert {name: vmstat(name) for name in HARM} == harm


def test_it_can_be_done_here():
    assert obstacle() == ""
