"""Processes by their numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from isotherm.errors import BadValueError, quoted
from isotherm.targets.source import TargetSource

_MOST_PID = (1 << 31) - 1  # pid_t


class PidSource(TargetSource):
    """
    Processes by their numbers.

    pids: as whole numbers, above 0.
    """

    kind = "pid"
    options = ("-p", "--pid")
    metavar = "PID[,PID]"
    help = "These processes: 12,34 or several numbers; may be repeated."

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = list(dict.fromkeys(pids))
        for pid in self._pids:
            if type(pid) is not int or not 0 < pid <= _MOST_PID:
                raise BadValueError(f"{quoted(str(pid))} is no pid", hint="`ps -e` lists them")
        if not self._pids:
            raise BadValueError("no pid was given", hint="write it as -p 4242 or -p 4242,4243")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the source of "12,34" or "12 34"."""
        words = text.replace(",", " ").split()
        if not words or not all(word.isascii() and word.isdecimal() for word in words):
            raise BadValueError(
                f"{quoted(text)} is not a pid", hint="write it as -p 4242 or -p 4242,4243"
            )
        if any(len(word.lstrip("0")) > len(str(_MOST_PID)) for word in words):
            raise BadValueError(
                f"{quoted(text)} is no pid: they end at {_MOST_PID}", hint="`ps -e` lists them"
            )
        return cls(map(int, words))

    @classmethod
    def continues(cls, word: str) -> bool:
        """Tell whether it is a further number, as `-p $(pidof NAME)` gives them."""
        return word.isascii() and word.isdecimal()

    def pids(self) -> list[int]:
        """Return them as they were given, whether they live or not."""
        return list(self._pids)
