"""
Who is meant: sources of processes, one kind each, in a registry.

A source finds pids, at the start and, where it lives, again and again. The command line makes an
option of every registered kind, and `isotherm.monitor` takes sources as they are.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Self

from isotherm.errors import BadValueError, TargetGoneError, quoted
from isotherm.kernel import cgroupfs, procfs

_MOST_PID = (1 << 31) - 1  # pid_t


class TargetSource(ABC):
    """
    One way to say who is monitored; subclasses are registered by `register`.

    kind: the keyword of `isotherm.monitor` and the name in scheme files; options: how the command
    line spells it; metavar, help: for its help; living: members come and go, so `pids` is asked
    at each update, and who is not told any more is let go.
    """

    kind: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()
    metavar: ClassVar[str] = "TEXT"
    help: ClassVar[str] = ""
    living: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self:
        """Return the source that `text` describes; raises `BadValueError`."""

    @classmethod
    def continues(cls, word: str) -> bool:
        """Tell whether a word that follows the option's value belongs to it: `-p 12 34`."""
        del word
        return False

    @abstractmethod
    def pids(self) -> list[int]:
        """
        Return the processes there are now, ourselves left out.

        Raises `TargetGoneError` where there are none at the start. Pids that cannot be monitored
        are told nevertheless: the user named them.
        """

    @property
    def group(self) -> str:
        """What its members have in common, such as "/app" of a cgroup; "" for nothing."""
        return ""


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


class NameSource(TargetSource):
    """
    The processes of a name: of the command, or of the program's file.

    name: as `ps -e` shows it, or longer where that is cut.
    """

    kind = "name"
    options = ("-n", "--name")
    metavar = "NAME"
    help = "The processes of this name; may be repeated."

    def __init__(self, name: str) -> None:
        if not name or "\0" in name or "\n" in name:
            raise BadValueError(
                f"{quoted(name)} is no name of a process", hint="`ps -e` lists them"
            )
        self._name = name

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the source of this name."""
        return cls(text)

    def pids(self) -> list[int]:
        """Return who has the name now."""
        found = procfs.find_by_name(self._name)
        if not found:
            raise TargetGoneError(
                f"no process is named {quoted(self._name)}", hint="`ps -e` lists names"
            )
        return found


class CgroupSource(TargetSource):
    """
    The processes of a cgroup and of the groups in it, as they come and go.

    path: in any spelling of `kernel.cgroupfs.normal_path`.
    """

    kind = "cgroup"
    options = ("-G", "--cgroup")
    metavar = "PATH"
    help = "The processes of this cgroup, as they come and go; may be repeated."
    living = True

    def __init__(self, path: str) -> None:
        self._path = cgroupfs.normal_path(path)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the source of this cgroup."""
        return cls(text)

    @property
    def group(self) -> str:
        """The path of the cgroup."""
        return self._path

    def pids(self) -> list[int]:
        """Return the members as of now."""
        inside = cgroupfs.group_pids(self._path)
        if inside is None:
            below = cgroupfs.memory_root() or "which is mounted nowhere"
            raise TargetGoneError(
                f"no cgroup {quoted(self._path)}",
                hint=f"its path below the memory controller, {below}",
            )
        found = [pid for pid in inside if pid != os.getpid()]
        if not found:
            raise TargetGoneError(f"no process is in cgroup {quoted(self._path)}")
        return found


_KINDS: dict[str, type[TargetSource]] = {}


def register(kind: type[TargetSource]) -> None:
    """Make a kind of source known, to the command line as well; replaces one of the same name."""
    _KINDS[kind.kind] = kind


def unregister(kind: str) -> None:
    """Forget a kind of source; of no effect if there is none."""
    _KINDS.pop(kind, None)


def kinds() -> tuple[type[TargetSource], ...]:
    """Return the registered kinds, in the order in which they came."""
    return tuple(_KINDS.values())


for _kind in (PidSource, NameSource, CgroupSource):
    register(_kind)
