"""How much was used within which time, told while it is watched: `isotherm wss`."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isotherm.analysis.could_free import CouldFree, could_free, movable
from isotherm.analysis.page_use import Used, curve, idle_ages
from isotherm.model.page_use import PageUse
from isotherm.model.target import Mapping, Target
from isotherm.report import pages
from isotherm.report.output import Report
from isotherm.terminal.text import bar, columns_of, labelled, target_title
from isotherm.units import format_duration, format_size

SCHEMA = "isotherm.wss/1"
_INDENT = 15
_BAR_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Watched:
    """
    What is known by now of the memory of the targets.

    use: what the map knows; mappings: by the target's id; swap_free_bytes: None where it is not
    known; backend: its name; cost: share of one CPU that it took.
    """

    use: PageUse
    targets: tuple[Target, ...]
    mappings: MappingOf[int, Sequence[Mapping]]
    swap_free_bytes: int | None
    backend: str
    cost: float

    @property
    def free(self) -> CouldFree | None:
        """What paging out could free; None where nothing was watched for long enough."""
        return could_free(movable(self.use, self.targets, self.mappings), self.swap_free_bytes)


def report(watched: Watched, width: int) -> Report:
    """Return the whole of it, in all forms."""
    points = curve(watched.use)
    return Report(
        SCHEMA, document(watched), pages.curve_document(points), lines(watched, points, width)
    )


def document(watched: Watched) -> dict[str, Any]:
    """Return what is known as JSON has it."""
    free = watched.free
    return {
        "backend": watched.backend,
        "cpu_share": round(watched.cost, 6),
        **pages.use_document(watched.use, watched.targets),
        "could_free_bytes": 0 if free is None else free.bytes,
        "could_free_age_ns": None if free is None else free.age_ns,
        "needs_swap_bytes": 0 if free is None else free.swap_bytes,
        "swap_free_bytes": watched.swap_free_bytes,
    }


def lines(watched: Watched, points: Sequence[Used], width: int) -> list[str]:
    """Return the curve as a table, and what belongs to it."""
    most = max([1, *(point.bytes for point in points)])
    beside = max([0, *(columns_of(pages.bounds(point)) for point in points)])
    return [
        *labelled("", headline(watched.targets), width, 0),
        *(row(point, most, beside, width) for point in points),
        *facts(watched, points, width),
    ]


def headline(targets: Sequence[Target]) -> str:
    """Return what the figures are."""
    return f"working set of {target_title(targets)}: bytes used within a time"


def row(point: Used, most: int, beside: int, width: int) -> str:
    """
    Return a line for a point of the curve.

    most: bytes of a whole bar; beside: columns kept for the bounds.
    """
    length, size = format_duration(point.window_ns), format_size(point.bytes)
    room = max(1, min(_BAR_WIDTH, width - 21 - beside))
    drawn = bar(point.bytes / most, room)
    return f" {length:>7} {size:>9} {pages.bounds(point):{beside}} {drawn}".rstrip()


def facts(watched: Watched, points: Sequence[Used], width: int) -> list[str]:
    """Return what is resident, idle, unknown, could be freed, and what it cost, a line each."""
    use = watched.use
    resident = f"{format_size(use.resident)}, shared memory counted once"
    found = []
    for label, text in [*pages.headlines(use, points), ("resident", resident)]:
        found += labelled(label, text, width, _INDENT)
    found += pages.listed("not used for", pages.age_items(idle_ages(use)), width, _INDENT)
    found += labelled("unknown", pages.unknown_text(use), width, _INDENT)
    if (free := watched.free) is not None:
        found += labelled("could free", pages.could_free_text(free), width, _INDENT)
    cost = f"{watched.cost:.1%} of one CPU, watched for {format_duration(use.watched_ns)}"
    return [*found, *labelled("cost", f"{cost}, backend {watched.backend}", width, _INDENT)]
