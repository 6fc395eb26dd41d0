"""
Where a program writes what it calls parts of its own memory, and what such a file says.

One file a process, in a folder of the user's own, which nobody else may write to. Text: a line
with the format, and when the process began (in clock ticks since boot, so that another process of
the same number is not taken for it), then "START END NAME" for each part, in hexadecimal.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from isotherm.naming.files import FLAGS, read_plain

#: More than the longest names take, all in UTF-8.
MOST_BYTES = 1 << 19
MOST_PARTS = 1000
MOST_NAME = 64
_FORMAT = "isotherm names 1"
_HIGHEST = 1 << 56


class Part(NamedTuple):
    """Addresses [start, end), and what they are called."""

    start: int
    end: int
    name: str


def folders(user: int) -> tuple[str, str]:
    """Return where a user's files are, in the order in which they are tried."""
    return f"/run/user/{user}/isotherm", f"/tmp/isotherm-{user}"  # noqa: S108 - checked by `trusted`


def trusted(facts: os.stat_result, user: int) -> bool:
    """Tell whether a folder is the user's, and nobody else may write to it."""
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == user and not facts.st_mode & 0o022


def text_of(start_ticks: int, parts: list[Part]) -> str:
    """Return the content of a file."""
    lines = [f"{_FORMAT} {start_ticks}"]
    lines += [f"{part.start:x} {part.end:x} {part.name}" for part in parts[:MOST_PARTS]]
    return "\n".join(lines) + "\n"


def parts_of(text: bytes, start_ticks: int) -> list[Part]:
    """Return what a file says, in order and apart; nothing of one that makes no sense."""
    # What follows the last line break is a line that was cut.
    lines = text[:MOST_BYTES].decode(errors="replace").split("\n")[:-1]
    if not lines or lines[0] != f"{_FORMAT} {start_ticks}":
        return []
    found = []
    for line in lines[1 : MOST_PARTS + 1]:
        words = line.split(" ", 2)
        if len(words) < 3 or not words[2]:
            continue
        try:
            start, end = int(words[0], 16), int(words[1], 16)
        except ValueError:
            continue
        if 0 <= start < end <= _HIGHEST:
            found.append(Part(start, end, words[2][:MOST_NAME]))
    apart: list[Part] = []
    for part in sorted(found):
        if not apart or apart[-1].end <= part.start:
            apart.append(part)
    return apart


def read_parts(pid: int, start_ticks: int) -> list[Part]:
    """Return what process `pid` calls parts of its memory; nothing where that is not certain."""
    try:
        user = os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116
    except OSError:
        return []
    for folder in folders(user):
        try:
            text = _read(f"/proc/{pid}/root{folder}", pid, user)
        except OSError:
            continue
        if parts := parts_of(text, start_ticks):
            return parts
    return []


def _read(folder: str, pid: int, user: int) -> bytes:
    inside = os.open(folder, FLAGS | os.O_DIRECTORY)
    try:
        if not trusted(os.fstat(inside), user):
            return b""
        return read_plain(inside, str(_own_number(pid)), MOST_BYTES, user)
    finally:
        os.close(inside)


def _own_number(pid: int) -> int:
    """Return the number of a process as it sees itself, in its PID namespace."""
    with open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123
        for line in file:
            if line.startswith(b"NSpid:"):
                return int(line.split()[-1])
    return pid
