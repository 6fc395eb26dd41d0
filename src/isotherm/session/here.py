"""What this machine can do of schemes: asked of the backend that would be chosen, on ourselves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from isotherm.backends.choose import choose, open_ops
from isotherm.errors import IsothermError
from isotherm.kernel.features import probe
from isotherm.model.scheme import Scheme
from isotherm.session.metrics import why_not_goal


@dataclass(frozen=True, slots=True)
class Feasible:
    """Of one scheme: why it cannot be done here ("" if it can), and what to know beforehand."""

    why_not: str
    warnings: tuple[str, ...] = ()


def feasible_here(schemes: Sequence[Scheme]) -> list[Feasible]:
    """Tell for each scheme whether it can be done to processes here, by the user that we are."""
    try:
        choice = choose(probe())
        opened = open_ops(choice, [os.getpid()], follow_children=False)
    except IsothermError as err:
        return [Feasible(err.message)] * len(schemes)
    with closing(opened) as ops:
        return [
            Feasible(_why_not_goals(one) or ops.why_not(one), tuple(ops.warnings_for(one)))
            for one in schemes
        ]


def _why_not_goals(scheme: Scheme) -> str:
    goals = scheme.quota.goals if scheme.quota is not None else ()
    return next(filter(None, map(why_not_goal, goals)), "")
