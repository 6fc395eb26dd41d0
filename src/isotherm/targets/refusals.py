"""Who is left out of those that a source told of, and why: each of them is told once."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from isotherm.errors import IsothermError, NotPermittedError, NotSupportedError

#: A process that was refused is tried again in one look of so many: it may have exec'd.
_SELDOM = 16


class Refused(NamedTuple):
    """A process that is not looked at, and the sentence that says why."""

    pid: int
    why: str


def left_out(refused: Sequence[Refused]) -> str:
    """Return the sentence that tells of those, of which there is at least one."""
    more = len(refused) - 1
    others = "" if not more else f", and of {more} other{'s' if more > 1 else ''}"
    return f"{refused[0].why}{others}: left out"


class Refusals:
    """Remembers who was refused, so that it is neither asked nor told at each look."""

    def __init__(self) -> None:
        self._pids: set[int] = set()
        self._told: set[int] = set()
        self._news: list[Refused] = []
        self._turn = 0

    def add(self, pid: int, error: IsothermError) -> None:
        """Note a refusal. Who has ended, or has no memory of its own, is nothing to tell."""
        if not isinstance(error, NotPermittedError | NotSupportedError):
            return
        self._pids.add(pid)
        if isinstance(error, NotPermittedError) and pid not in self._told:
            self._told.add(pid)
            self._news.append(Refused(pid, error.message))

    def again(self, pid: int) -> bool:
        """Tell whether it is time to try a process, which may not have been refused at all."""
        return pid not in self._pids or (pid + self._turn) % _SELDOM == 0

    def forget_but(self, told: Sequence[AbstractSet[int]]) -> None:
        """
        Begin a look: who is told of no more may be another process when its number returns.

        told: the numbers that each source tells.
        """
        self._turn += 1
        if self._pids:
            pids = {pid for pid in self._pids if any(pid in of for of in told)}
            self._pids, self._told = pids, self._told & pids

    def take(self) -> list[Refused]:
        """Return what is new."""
        news, self._news = self._news, []
        return news
