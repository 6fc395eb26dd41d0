"""Act: what is done to memory, and what came of it; `actions` does it to other processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from isotherm.model.scheme import Action, Scheme


@dataclass(frozen=True, slots=True)
class Done:
    """
    What an action did to a region.

    applied_bytes: really treated, by a look afterwards; passed_bytes: let through by the filters
    that look at memory (0 if the scheme has none); errors: what failed, how often, by a short
    reason.
    """

    applied_bytes: int = 0
    passed_bytes: int = 0
    errors: dict[str, int] = field(default_factory=dict)


@runtime_checkable
class Act(Protocol):
    """
    Does the actions of schemes.

    Called from the monitor's thread; a target is told by its index in the last `Look.targets()`.
    """

    def why_not(self, scheme: Scheme) -> str:
        """
        Say why a scheme cannot be done here, and what would make it possible; "" if it can.

        Asked before a scheme is taken.
        """

    def warnings_for(self, scheme: Scheme) -> list[str]:
        """Return what a user should know before a scheme runs here: no swap, for example."""

    def act(
        self,
        scheme: Scheme,
        target: int,
        start: int,
        end: int,
        *,
        filtered: bool,
        dry: bool = False,
    ) -> Done:
        """
        Do the scheme's action to [start, end) of a target.

        filtered: memory must pass `scheme.ops_filters`; not so where a core filter has allowed the
        region; dry: look only, and tell what would be done as if it were. A vanished target is
        nothing done, not an error.
        """

    def close(self) -> None:
        """Give back what is held; called once, before the look is closed."""


class CountOnly:
    """
    The Act of what has no memory to act on: it can only count.

    name: of what cannot act, for the reason.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def why_not(self, scheme: Scheme) -> str:
        """Say that nothing but counting whole regions can be done."""
        if scheme.action is Action.STAT and not scheme.ops_filters:
            return ""
        return f"{self._name!r} cannot act on memory, it can only count (stat)"

    def warnings_for(self, scheme: Scheme) -> list[str]:
        """Return nothing: counting surprises nobody."""
        del scheme
        return []

    def act(
        self,
        scheme: Scheme,
        target: int,
        start: int,
        end: int,
        *,
        filtered: bool,
        dry: bool = False,
    ) -> Done:
        """Do nothing."""
        del scheme, target, start, end, filtered, dry
        return Done()

    def close(self) -> None:
        """Nothing is held."""
