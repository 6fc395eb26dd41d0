"""Processes by name, and by user."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable
from typing import Self

from isotherm.errors import BadValueError, TargetGoneError, quoted
from isotherm.kernel import procfs
from isotherm.targets.source import TargetSource

#: A process is looked at so often when it is new: it may be about to exec.
_YOUNG_LOOKS = 4
#: An older one in one look of so many.
_SELDOM = 16


class _Remembered:
    """Which processes of all are meant, without looking at each of them each time."""

    def __init__(self, is_meant: Callable[[int], bool]) -> None:
        self._is_meant = is_meant
        self._looks: dict[int, int] = {}
        self._found: set[int] = set()
        self._turn = 0

    def look(self) -> list[int]:
        """Return those that live and are meant, in the order of their numbers."""
        now = set(procfs.pids())
        now.discard(os.getpid())
        self._turn += 1
        self._looks = {pid: looks for pid, looks in self._looks.items() if pid in now}
        self._found &= now
        for pid in now:
            looks = self._looks.get(pid, 0)
            if looks < _YOUNG_LOOKS or (pid + self._turn) % _SELDOM == 0:
                self._looks[pid] = looks + 1
                (self._found.add if self._is_meant(pid) else self._found.discard)(pid)
        return sorted(self._found)


class NameSource(TargetSource):
    """
    The processes of a name: of the command, of the program's file, or of a script.

    What `pidof -x` finds. name: as `ps -e` shows it, or longer where that is cut; the path of the
    program; or a regular expression, "/^worker-[0-9]+$/", that is searched for in the names.
    """

    kind = "name"
    options = ("-n", "--name")
    metavar = "NAME"
    help = "The processes of this name, or /REGEX/; may be repeated."
    living = True
    complete = False

    def __init__(self, name: str) -> None:
        if not name or "\0" in name or "\n" in name:
            raise BadValueError(
                f"{quoted(name)} is no name of a process", hint="`ps -e` lists them"
            )
        self._name = name
        self._regex = _regex_of(name)
        self._all = _Remembered(self._is_called_so)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the source of this name."""
        return cls(text)

    def pids(self) -> list[int]:
        """Return who has the name, or had it when it was last looked."""
        found = self._all.look()
        if not found:
            what = "matches" if self._regex else "is named"
            raise TargetGoneError(
                f"no process {what} {quoted(self._name)}",
                hint="`ps -e` lists names; --wait waits for one",
            )
        return found

    def _is_called_so(self, pid: int) -> bool:
        names = procfs.names_of(pid)
        if self._regex is None:
            return self._name in names or (
                self._name.startswith("/") and self._name == procfs.program_of(pid)
            )
        return any(self._regex.search(name) for name in names)


def _regex_of(name: str) -> re.Pattern[str] | None:
    """Return the expression between slashes; None of a plain name, or a path."""
    if len(name) < 3 or not (name.startswith("/") and name.endswith("/")):
        return None
    try:
        return re.compile(name[1:-1])
    except (re.error, OverflowError, RecursionError) as err:
        raise BadValueError(
            f"{quoted(name)} is no regular expression: {err}", hint="such as /^nginx$/"
        ) from None


class UserSource(TargetSource):
    """
    The processes of a user: whose rights they have.

    user: a name, or a number.
    """

    kind = "user"
    options = ("-u", "--user")
    metavar = "USER"
    help = "The processes of this user, as they come and go; may be repeated."
    living = True

    def __init__(self, user: str) -> None:
        self._user = user
        self._uid = _uid_of(user)
        self._all = _Remembered(lambda pid: procfs.user_of(pid) == self._uid)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the source of this user."""
        return cls(text)

    @property
    def group(self) -> str:
        """The user as it was named."""
        return self._user

    def pids(self) -> list[int]:
        """Return the processes of the user."""
        found = self._all.look()
        if not found:
            raise TargetGoneError(f"no process belongs to user {quoted(self._user)}")
        return found


def _uid_of(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):  # a NUL
        pass
    if user.isascii() and user.isdecimal() and len(user) <= 10 and int(user) < 1 << 32:
        return int(user)
    raise BadValueError(f"there is no user {quoted(user)}", hint="`getent passwd` lists them")
