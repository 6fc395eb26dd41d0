"""Files that belong to whoever is watched: opened without harm, and read within bounds."""

from __future__ import annotations

import os
import stat

#: Never through a link, and nothing waits, or becomes our terminal.
FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def open_folder(root: str, path: str) -> int:
    """
    Open the folder `path` below `root`, and return its descriptor: no part of it is a link.

    root: a folder that is trusted to be one, as /proc/PID/root. Raises `OSError`.
    """
    inside = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in path.strip("/").split("/"):
        try:
            below = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=inside)
        finally:
            os.close(inside)
        inside = below
    return inside


def read_plain(inside: int, name: str, most: int, user: int | None = None) -> bytes:
    """
    Return the first `most` bytes of a regular file; nothing of what is none.

    inside: descriptor of its folder. user: whose it has to be, with no second name. It is opened
    when it is known what it is: devices do things when they are opened. Raises `OSError`.
    """
    descriptor = open_plain(inside, name, user)
    if descriptor is None:
        return b""
    try:
        return _read(descriptor, most)
    finally:
        os.close(descriptor)


def open_plain(inside: int, name: str, user: int | None = None) -> int | None:
    """Return the descriptor of a regular file, None of what is none; as `read_plain`."""
    known = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    try:
        facts = os.fstat(known)
        own = user is None or (facts.st_uid == user and facts.st_nlink == 1)
        if not (stat.S_ISREG(facts.st_mode) and own):
            return None
        # The link is the kernel's, to the very file that was looked at.
        return os.open(f"/proc/self/fd/{known}", FLAGS & ~os.O_NOFOLLOW)
    finally:
        os.close(known)


def _read(descriptor: int, most: int) -> bytes:
    """Read until the end: one read may be short."""
    data = b""
    while len(data) < most and (more := os.read(descriptor, most - len(data))):
        data += more
    return data
