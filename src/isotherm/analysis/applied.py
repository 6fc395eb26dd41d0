"""What schemes did, or would do: bytes per scheme and mapping, from the engine's events."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from isotherm.core.look import TargetRanges
from isotherm.model.ranges import RangeSet, parts, total
from isotherm.schemes.engine import Event


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
        outcome = self.by_scheme[event.scheme]
        found = list(parts(targets[tried.target].mappings, tried.start, tried.end))
        mapped = total(part for _, part in found)
        for mapping, part in found:
            name = mapping.title
            outcome.asked[name] += part.size
            outcome.done[name] += done.applied_bytes * part.size // mapped
            if done.applied_bytes:
                outcome.different[name].add(part.start, part.end)
