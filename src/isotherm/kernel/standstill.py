"""Processes that stand still: stopped by a signal or a debugger, or frozen with their cgroup."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from isotherm.kernel import procfs

#: Place of startstack of proc(5) after the name.
_STACK_FIELD = 25
_STOPPED, _TRACED, _ENDED = b"T", b"t", b"ZXx"
#: Of more processes than that the cgroup of each is read in one call of so many.
_FEW, _SELDOM = 32, 16


class Standstill:
    """
    Tells which processes stand still, by what the kernel says at the moment.

    One that sleeps, or waits for a CPU, does not: it may use its memory at any time.
    """

    def __init__(self) -> None:
        self._pids: tuple[int | None, ...] = ()
        self._switches: dict[int, list[str]] = {}
        self._turn = 0
        self._stacks: dict[int, int] = {}

    def follow(self, pids: Sequence[int | None]) -> None:
        """Take who is meant; None stands for what is no process, and never stands still."""
        self._pids = tuple(pids)
        self._turn += 1
        known = self._switches
        few = len(self._pids) <= _FEW
        # Of many the cgroups are asked in turns: hardly any process changes them.
        self._switches = {
            pid: _switches(pid)
            if few or pid not in known or (pid + self._turn) % _SELDOM == 0
            else known[pid]
            for pid in pids
            if pid is not None
        }

    def now(self) -> list[bool]:
        """Tell of each process whether it stands still."""
        frozen: dict[str, bool] = {}
        self._stacks = {}
        return [pid is not None and self._stands_still(pid, frozen) for pid in self._pids]

    def stacks(self) -> list[int]:
        """Return where the stack of each one's program began by then; 0: not known."""
        return [0 if pid is None else self._stacks.get(pid, 0) for pid in self._pids]

    def _stands_still(self, pid: int, frozen: dict[str, bool]) -> bool:
        for switch in self._switches[pid]:
            if switch not in frozen:
                frozen[switch] = _is_frozen(switch)
            if frozen[switch]:
                return True
        return self._is_stopped(pid)

    def _is_stopped(self, pid: int) -> bool:
        """Tell if a process is stopped; a debugger, or the end of its main thread, is not all."""
        state, self._stacks[pid] = _state_and_stack(f"/proc/{pid}/task/{pid}/stat")
        return _all_stopped(pid, state)


def _all_stopped(pid: int, state: bytes) -> bool:
    if state == _STOPPED:
        return True
    if state != _TRACED and state not in _ENDED:
        return False
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return False
    states = [_state_and_stack(f"/proc/{pid}/task/{tid}/stat")[0] for tid in threads]
    alive = [one for one in states if one not in _ENDED]
    return bool(alive) and all(one in (_STOPPED, _TRACED) for one in alive)


def _state_and_stack(path: str) -> tuple[bytes, int]:
    """Return the letter of a thread's state, and where its program's stack began, 0: not told."""
    try:
        line = procfs.read_file(path)
    except OSError:
        return _ENDED[:1], 0
    field = line[line.rfind(b")") + 2 :].split(None, _STACK_FIELD + 1)
    return field[0], int(field[_STACK_FIELD])


def _is_frozen(switch: str) -> bool:
    try:
        words = procfs.read_file(switch).split()
    except OSError:
        return False
    # cgroup.events: "populated 1\nfrozen 1\n"; freezer.state: "FROZEN\n".
    return words == [b"FROZEN"] or (b"frozen", b"1") in pairwise(words)


@cache
def _hierarchies() -> tuple[tuple[str, str], ...]:
    """Where cgroups can be frozen: (controller, mount point); "" is version 2."""
    found = []
    for line in Path("/proc/self/mounts").read_text(errors="replace").splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2":
            found.append(("", where))
        elif kind == "cgroup" and "freezer" in options.split(","):
            found.append(("freezer", where))
    return tuple(found)


def _switches(pid: int) -> list[str]:
    """Return the files that tell whether the cgroups of a process are frozen; roots never are."""
    try:
        lines = procfs.read_file(f"/proc/{pid}/cgroup").decode(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller, where in _hierarchies():
            if path != "/" and ".." not in path and controller in controllers.split(","):
                name = "freezer.state" if controller else "cgroup.events"
                found.append(f"{where}{path}/{name}")
    return found
