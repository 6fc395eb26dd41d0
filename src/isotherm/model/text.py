"""Texts from outside that stand in the model: names, and paths of cgroups."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from isotherm.errors import BadValueError, quoted

#: Of a name, in characters.
MAX_NAME = 200
#: Of a path, in bytes; as Linux has it (PATH_MAX).
MAX_PATH = 4096


def check_name(what: str, name: str) -> None:
    """
    Refuse a name that a terminal, a log or a label could not show as it is.

    what: whose name it is, for the message. Raises `BadValueError` for control characters, line
    breaks and everything else that does not print, and for more than `MAX_NAME` characters.
    """
    if len(name) > MAX_NAME:
        raise BadValueError(
            f"{what} {quoted(name)} has {len(name)} characters", hint=f"{MAX_NAME} are the most"
        )
    if not name.isprintable():
        raise BadValueError(
            f"{what} {quoted(name)} holds characters that do not print",
            hint="letters, digits, signs and spaces are fine",
        )


def check_path(what: str, path: str) -> None:
    """
    Refuse a path that no cgroup can have.

    what: whose path it is, for the message. Raises `BadValueError` for NUL, line breaks and lone
    surrogates, and for more than `MAX_PATH` bytes.
    """
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        length = MAX_PATH + 1
    if length > MAX_PATH or "\0" in path or "\n" in path:
        raise BadValueError(
            f"{what} {quoted(path)} is no path that can be", hint="as in /system.slice/app.service"
        )


@dataclass(frozen=True, slots=True)
class NamePattern:
    """
    Which names are meant: "[heap]", "/usr/lib/*", "anonymous|[anon:*]".

    `*` stands for any text, `?` for any character, `|` separates several; all else for itself.
    """

    text: str
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = re.sub(r"\*+", "*", self.text)
        spelled = "".join({"*": ".*", "?": ".", "|": "|"}.get(c) or re.escape(c) for c in text)
        object.__setattr__(self, "_compiled", re.compile(spelled, re.DOTALL))

    def matches(self, name: str) -> bool:
        return self._compiled.fullmatch(name) is not None
