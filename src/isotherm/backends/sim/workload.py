"""
What a simulated machine is made of: memory of processes, and how often its pages are used.

Nothing is kept per page: uses follow from rates and hashes, so terabytes cost what megabytes do.
Times are nanoseconds of simulated time, rates are uses per second of each page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from isotherm import _core
from isotherm.backends.sim.costs import Costs
from isotherm.errors import BadValueError
from isotherm.model.ranges import PAGE

#: Where the memory of a process begins: any address that is a multiple of 2 MiB will do.
BASE = 0x10_0000_0000
HUGE_PAGE = 2 << 20
FOREVER = 1 << 61
SECOND = 1_000_000_000

Order = Literal["random", "sweep"]
_KINDS: dict[Order, int] = {"random": 0, "sweep": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """
    Pages at [start, start + size) of an area that are used from `from_ns` until `until_ns`.

    rate: how often each is; order: "random" is a Poisson process, "sweep" one page after the
    other, evenly, `rate` times a second all over. rate_end: the rate at the end, if it changes.
    period_ns, on_ns: only in the first part of each period.

    unit, group: of each `group` units of so many pages one is used, drawn by seed, or always the
    first (regular); levels, gain: of each `group` of those one is used `gain` times as often, and
    so on: zipf's law in steps.
    """

    start: int
    size: int
    rate: float
    order: Order = "random"
    rate_end: float | None = None
    from_ns: int = 0
    until_ns: int = FOREVER
    period_ns: int = 0
    on_ns: int = 0
    unit: int = 1
    group: int = 1
    levels: int = 1
    gain: float = 1.0
    regular: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """
    Memory of a process, mapped at [start, start + size) from `from_ns` until `until_ns`.

    All of it is there, and young, from the beginning. huge: in pages of 2 MiB; hidden: its use
    cannot be seen; shows: the place of an earlier area in the workload whose memory it shows, as
    shared memory does: uses are those of that area, clears are seen by both.
    """

    process: int = 0
    start: int = BASE
    size: int
    uses: tuple[Use, ...] = ()
    name: str = ""
    huge: bool = False
    hidden: bool = False
    from_ns: int = 0
    until_ns: int = FOREVER
    shows: int | None = None

    @property
    def end(self) -> int:
        """The address after it."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Workload:
    """
    What runs on a simulated machine.

    areas: the memory of all processes, which are numbered from 0; hot_rate: pages used so often
    and more are hot; changes_ns: when other memory becomes hot.
    """

    name: str
    areas: tuple[Area, ...]
    hot_rate: float
    changes_ns: tuple[int, ...] = ()

    @property
    def processes(self) -> int:
        """How many processes there are."""
        return 1 + max(area.process for area in self.areas)

    def size_at(self, at_ns: int) -> int:
        """Return how many bytes are mapped at a time, in each process anew."""
        return sum(area.size for area in self.areas if area.from_ns <= at_ns < area.until_ns)

    def world(self, costs: Costs, *, seed: int = 0, overhead: float = 0.0) -> _core.SimWorld:
        """
        Return the machine at its beginning.

        seed: of what is drawn; overhead: share of one CPU that clears of samples keep to, 0 is no
        bound. Raises `BadValueError` if the areas do not fit together.
        """
        frames = _frames(self.areas)
        patterns: list[tuple[float, ...]] = []
        for area, frame in zip(self.areas, frames, strict=True):
            for use in area.uses:
                patterns.append(_pattern(use, area, frame, (seed << 32) + len(patterns)))
        areas = [
            (a.process, a.start, a.end, frame, a.from_ns, a.until_ns, a.huge, a.hidden)
            for a, frame in zip(self.areas, frames, strict=True)
        ]
        try:
            return _core.SimWorld(areas, patterns, costs.words(), int(overhead * SECOND))
        except ValueError as err:
            raise BadValueError(f"workload {self.name}: {err}") from None


def _frames(areas: Sequence[Area]) -> list[int]:
    """The first frame of each area: a table of addresses is a table of frames."""
    frames: list[int] = []
    free = 0
    for area in areas:
        if area.shows is not None:
            frames.append(frames[area.shows])
            continue
        frames.append(free + area.start % HUGE_PAGE // PAGE)
        end = frames[-1] + area.size // PAGE
        free = -(-end // (HUGE_PAGE // PAGE)) * (HUGE_PAGE // PAGE)
    return frames


def _pattern(use: Use, area: Area, frame: int, seed: int) -> tuple[float, ...]:
    first = frame + use.start // PAGE
    return (
        _KINDS[use.order],
        first,
        first + use.size // PAGE,
        max(use.from_ns, area.from_ns),
        min(use.until_ns, area.until_ns),
        use.period_ns,
        use.on_ns,
        use.rate,
        use.rate if use.rate_end is None else use.rate_end,
        use.unit,
        use.group,
        use.levels,
        use.gain,
        seed & (1 << 64) - 1,
        use.regular,
    )
