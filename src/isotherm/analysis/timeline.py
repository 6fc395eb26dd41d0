"""What changes in the course of a recording: memory, schemes, and what the monitor costs."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from isotherm.analysis.page_use import curve
from isotherm.analysis.summary import resident
from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Snapshot
from isotherm.recording.blocks import Rows

#: More points than this are put together.
POINTS: Final = 400
#: Length of the windows of which a map of pages says what was used in them.
WINDOW_NS: Final = 1_000_000_000


class Bin(NamedTuple):
    """A stretch of time: its middle in ns since the beginning, and mean, least and most in it."""

    at_ns: int
    mean: float
    low: float
    high: float


@dataclass(slots=True)
class Timeline:
    """
    Gathers what changes, window by window.

    used: what a map of pages says was used within `WINDOW_NS`: (time of day in ns, bytes by best
    estimate, at least, at most); resident: (time of day in ns, bytes) where shared memory is
    counted once, by_pages: by a map of pages; schemes: number and title -> (time of day in ns,
    bytes applied so far); last_schemes: as of the end; begins, ends, cpu_ns: of windows.
    """

    used: list[tuple[int, int, int, int]] = field(default_factory=list)
    resident: list[tuple[int, int]] = field(default_factory=list)
    schemes: dict[tuple[int, str], list[tuple[int, int]]] = field(default_factory=dict)
    last_schemes: Sequence[SchemeState] = ()
    by_pages: bool = False
    begins: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    cpu_ns: array[int] = field(default_factory=lambda: array("Q"))

    def take(self, part: Snapshot | Rows) -> None:
        """Add a window, or some."""
        if isinstance(part, Snapshot):
            begins, ends, cpu = [part.start_ns], [part.end_ns], [part.cost.cpu_ns]
        else:
            begins, ends, cpu = (part.numbers(name) for name in ("start", "end", "cpu_ns"))
        self.begins.extend(begins)
        self.ends.extend(ends)
        self.cpu_ns.extend(cpu)
        self._take_memory(part, ends[0])
        if part.schemes:
            self.last_schemes = part.schemes
        for number, state in enumerate(part.schemes):
            points = self.schemes.setdefault((number, state.title), [])
            points.append((ends[0], state.stats.sz_applied))

    def _take_memory(self, part: Snapshot | Rows, end_ns: int) -> None:
        """Note what is in memory, and used: by pages where they are known, as those count once."""
        use = part.page_use
        if use is not None and use.rows:
            if not self.by_pages:
                self.resident.clear()
            self.by_pages = True
            self.resident.append((end_ns, use.resident))
            point = next((one for one in curve(use) if one.window_ns == WINDOW_NS), None)
            if point is not None:
                self.used.append((end_ns, point.bytes, point.low_bytes, point.high_bytes))
        told_once = len(part.targets) == 1 or all(
            target.proportional_bytes is not None for target in part.targets
        )
        known = resident(part.targets)
        if not self.by_pages and told_once and known is not None:
            self.resident.append((end_ns, known))

    def cpu_shares(self) -> list[tuple[int, float]]:
        """Return (time of day in ns, share of one CPU) of windows."""
        return [
            (end, cpu / max(1, end - begin))
            for begin, end, cpu in zip(self.begins, self.ends, self.cpu_ns, strict=True)
        ]


def binned(points: Iterable[tuple[int, float]], start_ns: int, end_ns: int) -> Iterator[Bin]:
    """Yield points, times of day within [start_ns, end_ns], in `POINTS` stretches at most."""
    width = max(1, -(-(end_ns - start_ns) // POINTS))
    found: dict[int, list[float]] = {}
    for at_ns, value in points:
        if start_ns <= at_ns <= end_ns:
            found.setdefault((at_ns - start_ns) // width, []).append(value)
    for number, values in sorted(found.items()):
        middle = min(end_ns - start_ns, number * width + width // 2)
        yield Bin(middle, sum(values) / len(values), min(values), max(values))
