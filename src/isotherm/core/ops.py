"""Ops, DAMON's damon_operations in one class: a `Look` that may `Act` as well, for own ones."""

from __future__ import annotations

from isotherm.core.act import CountOnly, Done
from isotherm.core.look import Look
from isotherm.model.scheme import Scheme


class Ops(Look):
    """
    Base of own operations sets: `ranges`, `prepare` and `check` are needed.

    One that can act overrides `why_not` and `act` (`core.act.Act`); otherwise it only counts.
    """

    def why_not(self, scheme: Scheme) -> str:
        """Say why a scheme cannot be done here; "" if it can."""
        return CountOnly(self.name).why_not(scheme)

    def warnings_for(self, scheme: Scheme) -> list[str]:
        """Return what a user should know before a scheme runs here."""
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
        """Do the scheme's action to [start, end) of a target, as `core.act.Act.act`."""
        del scheme, target, start, end, filtered, dry
        return Done()
