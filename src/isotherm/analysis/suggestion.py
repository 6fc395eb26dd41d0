"""What would be worth paging out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from isotherm.analysis.hotness import total
from isotherm.analysis.summary import Summary
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
    """A scheme, the mapping that it is about, and how many bytes it could free at the most."""

    what: str
    scheme: str
    bytes: int


def known_sum(values: Iterable[int | None]) -> int | None:
    """Return the sum of what is known, None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def suggest(summary: Summary) -> Suggestion | None:
    """Return the mapping from which the most would be paged out, if that is worth saying."""
    best = max(summary.what, key=lambda heat: heat.idle_own, default=None)
    everything = total(summary.what)
    resident = known_sum(target.resident_bytes for target in summary.targets)
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
    return Suggestion(best.name, f"pageout access=0% age={age}..", freed)
