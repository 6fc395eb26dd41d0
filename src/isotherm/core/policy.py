"""
Policy: what is worth looking at next.

A Look says whether a page was accessed; a policy decides which pages are asked for, and what
regions come of the answers. DAMON's is `core.damon.policy`; others are registered by name in
`core.policies`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from isotherm.clock import Clock
from isotherm.core.damon.profile import Profile
from isotherm.core.look import Look, TargetRanges
from isotherm.core.page_map import PageMap
from isotherm.core.table import Table
from isotherm.core.ticks import Tally
from isotherm.model.attrs import Attrs
from isotherm.model.snapshot import Columns

RngKind = Literal["splitmix", "lcg", "draws"]


@dataclass(frozen=True, slots=True)
class Setting:
    """
    What a policy is made of.

    look: where memory is looked at; clock: when; attrs: intervals and bounds to begin with; seed:
    of the random numbers, the same seed gives the same regions. prng: their kind (see
    `core.reference.rng.Rng`); native: run on the C core, if the policy has one; profile: the rules
    of which Linux release hold, if it follows any; page_map: a map of all pages, where there is
    one, which the monitor steps and closes; overhead: share of one CPU, for policies that keep to
    it by themselves.
    """

    look: Look
    clock: Clock
    attrs: Attrs
    seed: int
    prng: RngKind
    native: bool
    profile: Profile
    page_map: PageMap | None = None
    overhead: float = 0.01


class Policy(Protocol):
    """
    Keeps the regions and chooses the samples; owns table, random numbers and sampler.

    Called from the monitor's thread in the order: `begin`, then per window `sample` (as often as
    something else is due), `end_window`, `begin_window`; `update` and `rescale` between samples.
    """

    @property
    def table(self) -> Table:
        """The regions, for schemes."""

    @property
    def size_limit(self) -> int:
        """Bytes that regions which schemes cut stay below when they are joined again."""

    def begin(self, targets: Sequence[TargetRanges], attrs: Attrs) -> None:
        """Begin with these targets."""

    def update(self, targets: Sequence[TargetRanges], attrs: Attrs) -> None:
        """Take the living targets and their ranges; kept ones are known by their `Target.id`."""

    def sample(self, ticks: int, sample_us: int) -> int:
        """
        Sample for so many intervals and return how many were completed, fewer after `stop`.

        Raises `TargetGoneError` when every target is gone.
        """

    def stop(self) -> None:
        """Have `sample` return early: the running one, or the next. From any thread or signal."""

    def end_window(self, attrs: Attrs) -> None:
        """Conclude from the samples of a whole window: what `table` and `columns` then say."""

    def begin_window(self, attrs: Attrs) -> None:
        """Forget the samples of the ended window, and decide where to look in the next."""

    def rescale(self, old: Attrs, new: Attrs, *, aggregating: bool) -> None:
        """
        Convert what is known to changed intervals.

        aggregating: amid a window, whose samples so far are then dropped.
        """

    def access_events(self) -> tuple[int, int]:
        """Return Σ size * nr_accesses, and Σ size of the regions: for tuning of intervals."""

    def columns(self) -> Columns:
        """Return the regions as a snapshot's columns."""

    def take_cost(self) -> Tally:
        """Return what sampling cost since the last call."""


PolicyFactory = Callable[[Setting], Policy]
