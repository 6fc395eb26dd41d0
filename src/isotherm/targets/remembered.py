"""Something of each process of the machine, without a look at each of them each time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

from isotherm.kernel import procfs

T = TypeVar("T")
#: A process is looked at so often when it is new: it may be about to exec.
_YOUNG_LOOKS = 4
#: An older one in one look of so many at least, and of many so few in a look.
_SELDOM, _FEW = 16, 16


class Remembered(Generic[T]):
    """
    What `told` says of the processes of the machine; None: it is not meant, or gone.

    A change is noticed in the first looks at a process, later in one of sixteen, or of more where
    there are hundreds.
    """

    def __init__(self, told: Callable[[int], T | None]) -> None:
        self._told = told
        self._looks: dict[int, int] = {}
        self._found: dict[int, T] = {}
        self._turn = 0

    def look(self) -> dict[int, T]:
        """Return what is known of those that live, ourselves left out."""
        now = procfs.pids()
        self._turn += 1
        seldom = max(_SELDOM, len(now) // _FEW)
        before, self._looks = self._looks, {}
        found: dict[int, T] = {}
        for pid in now:
            looks = before.get(pid, 0)
            if looks < _YOUNG_LOOKS or (pid + self._turn) % seldom == 0:
                looks += 1
                value = self._told(pid)
            else:
                value = self._found.get(pid)
            self._looks[pid] = looks
            if value is not None:
                found[pid] = value
        found.pop(os.getpid(), None)
        self._found = found
        return dict(found)
