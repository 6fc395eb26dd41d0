"""Processes by name, and by user."""

from __future__ import annotations

import pwd
import re
from typing import Self

from isotherm.errors import BadValueError, TargetGoneError, quoted
from isotherm.kernel import procfs
from isotherm.targets.remembered import Remembered
from isotherm.targets.source import TargetSource


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
        self._all = Remembered(self._is_called_so)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the source of this name."""
        return cls(text)

    def pids(self) -> list[int]:
        """Return who has the name, or had it when it was last looked."""
        found = sorted(self._all.look())
        if not found:
            what = "matches" if self._regex else "is named"
            raise TargetGoneError(
                f"no process {what} {quoted(self._name)}",
                hint="`ps -e` lists names; --wait waits for one",
            )
        return found

    def _is_called_so(self, pid: int) -> bool | None:
        names = procfs.names_of(pid)
        if self._regex is not None:
            return any(self._regex.search(name) for name in names) or None
        by_path = self._name.startswith("/") and self._name == procfs.program_of(pid)
        return self._name in names or by_path or None


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
        self._all = Remembered(lambda pid: procfs.user_of(pid) == self._uid or None)

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
        found = sorted(self._all.look())
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
