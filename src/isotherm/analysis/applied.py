"""What schemes did, or would do: bytes per scheme and mapping, from the engine's events."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from isotherm.core.look import TargetRanges
from isotherm.model.target import Mapping, Range
from isotherm.schemes.engine import Event


def overlaps(mappings: Sequence[Mapping], start: int, end: int) -> list[tuple[Mapping, Range]]:
    """Return the mappings (address ordered) that [start, end) lies in, and the part in each."""
    at = max(0, bisect_right(mappings, start, key=lambda mapping: mapping.start) - 1)
    found = []
    while at < len(mappings) and mappings[at].start < end:
        low, high = max(start, mappings[at].start), min(end, mappings[at].end)
        if low < high:
            found.append((mappings[at], Range(low, high)))
        at += 1
    return found


def title(mapping: Mapping) -> str:
    """Return the name of a mapping, "anonymous" where it has none."""
    return mapping.name or "anonymous"


class RangeSet:
    """Addresses, each counted once."""

    def __init__(self) -> None:
        self._ranges: list[Range] = []  # in order, and apart

    def add(self, start: int, end: int) -> None:
        """Add [start, end)."""
        known = self._ranges
        first = bisect_left(known, start, key=lambda one: one.end)
        last = bisect_right(known, end, key=lambda one: one.start)
        if first < last:
            start, end = min(start, known[first].start), max(end, known[last - 1].end)
        known[first:last] = [Range(start, end)]

    @property
    def size(self) -> int:
        return sum(one.size for one in self._ranges)


@dataclass(slots=True)
class SchemeOutcome:
    """
    One scheme's deeds. asked: bytes tried per mapping; done: bytes really treated per mapping, in
    proportion where a region lies in several; different: addresses tried, each counted once.
    """

    asked: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    different: dict[str, RangeSet] = field(default_factory=lambda: defaultdict(RangeSet))


class Outcomes:
    """Takes the events of an engine and sums them up by scheme and mapping."""

    def __init__(self) -> None:
        self.by_scheme: dict[int, SchemeOutcome] = defaultdict(SchemeOutcome)

    def take(self, event: Event, targets: Sequence[TargetRanges]) -> None:
        """Add an event; others than "done" are passed over."""
        tried, done = event.tried, event.done
        if event.kind != "done" or tried is None or done is None or tried.target >= len(targets):
            return
        one = self.by_scheme[event.scheme]
        parts = overlaps(targets[tried.target].mappings, tried.start, tried.end)
        mapped = sum(part.size for _, part in parts)
        for mapping, part in parts:
            name = title(mapping)
            one.asked[name] += part.size
            one.done[name] += done.applied_bytes * part.size // mapped
            if done.applied_bytes:
                one.different[name].add(part.start, part.end)
