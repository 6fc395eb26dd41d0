"""What this machine can do of schemes: asked of the backend that would be chosen, on ourselves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from isotherm.backends.choose import AUTO, open_best
from isotherm.backends.opening import Opening
from isotherm.errors import IsothermError
from isotherm.kernel.features import probe
from isotherm.model.scheme import Action, Scheme
from isotherm.session.metrics import SystemMetrics, why_not_goal
from isotherm.targets.target_set import ProcessTargets


@dataclass(frozen=True, slots=True)
class Feasible:
    """Of one scheme: why it cannot be done here ("" if it can), and what to know beforehand."""

    why_not: str
    warnings: tuple[str, ...] = ()


def feasible_here(schemes: Sequence[Scheme]) -> list[Feasible]:
    """Tell for each scheme whether it can be done to processes here, by the user that we are."""
    try:
        with closing(ProcessTargets([os.getpid()], follow_children=False)) as ourselves:
            # With a scheme, so that a backend is taken that would act; this one it can always do.
            counting = (Scheme(Action.STAT),)
            opening = Opening(targets=ourselves, metrics=SystemMetrics(), schemes=counting)
            _, backend = open_best(probe(), AUTO, opening)
            with closing(backend):
                return [
                    Feasible(
                        _why_not_goals(scheme) or backend.why_not(scheme),
                        tuple(backend.warnings_for(scheme)),
                    )
                    for scheme in schemes
                ]
    except IsothermError as err:
        return [Feasible(err.message)] * len(schemes)


def _why_not_goals(scheme: Scheme) -> str:
    goals = scheme.quota.goals if scheme.quota is not None else ()
    return next(filter(None, map(why_not_goal, goals)), "")
