"""What would be worth paging out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from isotherm.analysis.could_free import CouldFree, could_free
from isotherm.analysis.hotness import total
from isotherm.analysis.page_use import by_mapping
from isotherm.analysis.summary import Summary
from isotherm.model.page_use import PageUse
from isotherm.units import format_duration

#: It must be worth it: this much memory, and this share of what was monitored.
_WORTH_BYTES = 16 << 20
_WORTH_SHARE = 0.1
#: Idle for less is no reason to page anything out.
_LEAST_NS = 1_000_000_000
#: With more of the samples missed than this, idle may only mean that nobody looked.
MISSED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Suggestion:
    """
    A scheme, the mapping that it is about, and how many bytes it could free at the most.

    with_swap: how many more there would be with swap space, or zram.
    """

    what: str
    scheme: str
    bytes: int
    with_swap: int = 0


def suggest(summary: Summary) -> Suggestion | None:
    """Return the mapping from which the most would be paged out, if that is worth saying."""
    if summary.use is not None and summary.movable is not None:
        return _by_pages(summary.movable, summary.swap_free_bytes, summary.use.resident)
    return _by_regions(summary)


def _by_pages(use: PageUse, swap_free_bytes: int | None, resident: int) -> Suggestion | None:
    best: tuple[str, CouldFree] | None = None
    for part in by_mapping(use):
        found = could_free(replace(use, rows=(part.row,)), swap_free_bytes)
        if found is not None and (best is None or _size(found) > _size(best[1])):
            best = part.name, found
    if best is None:
        return None
    name, found = best
    if found.age_ns < _LEAST_NS or _size(found) < max(_WORTH_BYTES, _WORTH_SHARE * resident):
        return None
    age = format_duration(found.age_ns)
    scheme = f"pageout filter=idle:{age}" if use.exact else f"pageout access=0% age={age}.."
    return Suggestion(name, scheme, found.bytes, found.lacking_bytes)


def _size(found: CouldFree) -> int:
    return found.file_bytes + found.swap_bytes


def _by_regions(summary: Summary) -> Suggestion | None:
    best = max(summary.what, key=lambda heat: heat.idle_own, default=None)
    everything = total(summary.what)
    resident = summary.resident_bytes
    if best is None or resident is None or summary.missed_share > MISSED_SHARE:
        return None  # how much of it is in memory, and whose, is not known
    if summary.idle_after_ns < _LEAST_NS:
        return None
    if best.idle_own < max(_WORTH_BYTES, _WORTH_SHARE * everything.size):
        return None
    freed = min(best.idle_own, resident - everything.hot - everything.warm)
    if freed < _WORTH_BYTES:
        return None
    age = format_duration(summary.idle_after_ns)
    lacking = 0
    if summary.swap_free_bytes is not None and _is_anonymous(best.name, summary):
        lacking = max(0, freed - summary.swap_free_bytes)
    return Suggestion(best.name, f"pageout access=0% age={age}..", freed - lacking, lacking)


def _is_anonymous(title: str, summary: Summary) -> bool:
    """Tell whether memory of mappings of this title needs swap space to go out."""
    return any(
        mapping.is_anonymous
        for entries in summary.mappings.values()
        for mapping in entries
        if mapping.title == title
    )
