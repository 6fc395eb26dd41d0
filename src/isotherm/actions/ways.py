"""
How each action is done to other processes: which pages, whether they are looked at again, and what
counts as done. One table, `WAYS`, and the facts of pages that it speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isotherm.kernel.pages import madvise
from isotherm.kernel.pages.pagemap import Fact
from isotherm.model.scheme import Action

HUGE_BYTES = 2 << 20

NOTHING = Fact(0)
#: Memory with any of these is never acted on: not this process' alone, locked, nothing to gain,
#: or a folio that the action would split.
NEVER = Fact.SHARED | Fact.LOCKED | Fact.ZERO | Fact.SPECIAL | Fact.TORN

#: A block with fewer pages than half is not made huge: at worst its memory doubles. (The kernel's
#: own DAMON has no bound, khugepaged fills up to 511 of 512.)
MIN_PRESENT_PAGES = 256
#: Where the rest is zeros the block was huge before, or was read before it was written: so many,
#: 90 %, must be in use, so that what is split for its zeros is not made huge and split in turn.
MIN_DENSE_PAGES = 461
#: Of pages found young by the look just before, so many ranges in a step of 64 MiB are cleared, to
#: be judged afresh next time: each costs up to 20 µs, and the target half of that.
MOST_CLEARED_RANGES = 64
#: Huge pages split per call: one takes 170 µs under the target's mmap_lock, shared.
SPLITS_PER_CALL = 16
#: Reads of a page that move it to the active list: the first may only mark it referenced.
VISITS = 2


@dataclass(frozen=True, slots=True)
class Way:
    """
    How an action chooses and what it tells the kernel.

    need, avoid: facts of the pages that it is for, besides NEVER; look: only at "old" or "young"
    ones by a look just before acting; advice: to process_madvise, 0 for other ways; blocks: acts
    on aligned blocks of 2 MiB; page_tables: has to know how pages are mapped.
    """

    need: Fact = Fact.PRESENT
    avoid: Fact = NOTHING
    look: Literal["old", "young", ""] = ""
    advice: int = 0
    blocks: bool = False
    page_tables: bool = False

    @property
    def needs_nice(self) -> bool:
        """Whether advising others needs CAP_SYS_NICE."""
        return bool(self.advice)


_HUGER = Way(avoid=Fact.HUGE, look="young", advice=madvise.COLLAPSE, blocks=True, page_tables=True)
_COLDER = Way(advice=madvise.COLD)

WAYS = {
    Action.PAGEOUT: Way(look="old", advice=madvise.PAGEOUT),
    Action.COLD: _COLDER,
    Action.LRU_DEPRIO: _COLDER,
    # Reading a huge page from outside marks it accessed instead of active, and misleads monitors.
    Action.LRU_PRIO: Way(avoid=Fact.ACTIVE | Fact.HUGE, page_tables=True),
    Action.WILLNEED: Way(need=Fact.SWAPPED, advice=madvise.WILLNEED),
    # MADV_HUGEPAGE only marks a mapping, and cannot be given to others: what it is for is done.
    Action.HUGEPAGE: _HUGER,
    Action.COLLAPSE: _HUGER,
    Action.NOHUGEPAGE: Way(need=Fact.PRESENT | Fact.HUGE, advice=madvise.COLD, page_tables=True),
    Action.MIGRATE_HOT: Way(look="young"),
    Action.MIGRATE_COLD: Way(look="old"),
    Action.STAT: Way(),
}
