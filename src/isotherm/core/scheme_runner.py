"""What the monitor's loop needs of schemes; `schemes.engine.Engine` is it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from isotherm.core.act import Act
from isotherm.core.table import Table
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Scheme
from isotherm.model.scheme_state import SchemeState

#: Called just before an action: scheme, target, start, end, rate, age.
Trace = Callable[[int, int, int, int, int, int], None]


@dataclass(frozen=True, slots=True)
class Round:
    """
    One moment at which schemes may be applied.

    sis: passed sampling intervals; left_bp: share of the window still to come, in 1/10,000;
    size_limit: of regions that are merged back, in bytes; now_ms: time, from any origin.
    """

    table: Table
    act: Act
    attrs: Attrs
    sis: int
    left_bp: int
    size_limit: int
    now_ms: int


class SchemeRunner(Protocol):
    """Applies schemes to a region table, when they are due."""

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """The schemes, in their order."""

    def check(self, act: Act, schemes: Sequence[Scheme]) -> None:
        """Raise `NotSupportedError` for the first scheme that cannot be done here, and say why."""

    def begin(self, attrs: Attrs, sis: int) -> None:
        """Count apply intervals from now on: at the start, and when attributes changed."""

    def commit(self, schemes: Sequence[Scheme], attrs: Attrs, sis: int) -> None:
        """Change the schemes, by position."""

    def throttle(self, share: float) -> None:
        """
        Leave this share (0..1) of each quota; from any thread.

        At 0 nothing is done; between, schemes without a quota go on as they are.
        """

    def wait_us(self) -> int:
        """Return how long all schemes want to rest, in µs; 0: go on monitoring."""

    def next_due(self, sis: int) -> int | None:
        """Return the count of sampling intervals at which to come back at the latest."""

    def apply(self, now: Round) -> None:
        """Apply what is due."""

    def take_states(self) -> tuple[SchemeState, ...]:
        """Return what came of each scheme; tried regions since the last call."""

    def states(self) -> tuple[SchemeState, ...]:
        """Return what came of each scheme, without the tried regions; from any thread."""

    def take_acted_ns(self) -> int:
        """Return the CPU time of actions since the last call: no cost of monitoring."""
