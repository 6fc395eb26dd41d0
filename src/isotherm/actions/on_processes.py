"""The Act of backends that look at processes: the same `Actor` whatever way of looking it has."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import Protocol

from isotherm.actions.actor import Actor
from isotherm.core.act import Done
from isotherm.model.ranges import Range
from isotherm.model.scheme import Scheme
from isotherm.targets.processes import Process


class Looking(Protocol):
    """What is needed of the look beside it; `backends.process_look.ProcessLook` has it."""

    present: list[Process]

    def refused(self, index: int) -> list[Range]: ...
    def exempt(self, cpu_ns: int) -> None: ...


class ActOnProcesses:
    """
    Acts on the processes that `look` looks at; a `core.act.Act`.

    look: says who a target is; make_actor: called when there is something to do or to ask.
    """

    def __init__(self, look: Looking, make_actor: Callable[[], Actor]) -> None:
        self._look = look
        self._make_actor = make_actor

    @cached_property
    def _actor(self) -> Actor:
        return self._make_actor()

    def why_not(self, scheme: Scheme) -> str:
        """Say why a scheme cannot be done, and what would make it possible; "" if it can."""
        return self._actor.why_not(scheme)

    def warnings_for(self, scheme: Scheme) -> list[str]:
        """Return what the user should know beforehand."""
        return self._actor.warnings_for(scheme)

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
        begun_ns = time.thread_time_ns()
        done = self._actor.act(
            scheme,
            self._look.present[target],
            target,
            start,
            end,
            filtered=filtered,
            avoid=self._look.refused(target),
            dry=dry,
        )
        # Acting is no cost of looking: a budget of clears is not to pay for it.
        self._look.exempt(time.thread_time_ns() - begun_ns)
        return done

    def close(self) -> None:
        """Give back what acting holds; looking goes on."""
        if "_actor" in self.__dict__:
            self._actor.close()
