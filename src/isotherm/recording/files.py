"""
Opening files to write in: for us alone, and nobody's trap.

A privileged monitor that is told to write into a folder of everybody must not be led elsewhere
by a link, keep waiting for the reader of a pipe, or give away what it saw.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

PRIVATE = 0o600
_FLAGS = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY


class RefusedError(Exception):
    """A file that is not written to, why, and what to do instead."""

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint


def _owner_of(path: Path) -> int:
    return path.lstat().st_uid


def _check_folders(path: Path) -> None:
    """Refuse a path that leads through a link of somebody else."""
    for folder in path.absolute().parents:
        if folder.is_symlink() and _owner_of(folder) not in (0, os.geteuid()):
            raise RefusedError(
                f"{folder} is a link that belongs to somebody else", "name the folder itself"
            )


def _check_ours(found: os.stat_result) -> None:
    """Refuse what is no regular file of ours with one name."""
    if stat.S_ISLNK(found.st_mode):
        raise RefusedError("it is a link", "name the file itself, or remove the link")
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise RefusedError("it is no regular file", "take another name")
    if found.st_uid != os.geteuid():
        raise RefusedError("it belongs to somebody else", "remove it first, or take another name")
    if found.st_nlink > 1:
        raise RefusedError("it has several names (hard links)", "remove it, or take another name")


def append(path: Path) -> int:
    """
    Open a log to append to, made if it is not there; return its descriptor.

    path: a regular file of ours, or a character device. Raises OSError, or `RefusedError`.
    """
    _check_folders(path)
    try:
        # Without a reader, a pipe would keep us waiting.
        fd = os.open(path, _FLAGS | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, PRIVATE)
    except OSError as err:
        if err.errno == errno.ELOOP:
            raise RefusedError("it is a link", "name the file itself") from None
        if err.errno == errno.ENXIO:
            raise RefusedError("it is no regular file", "take another name") from None
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISCHR(found.st_mode):
            _check_ours(found)
        os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return fd


class NewFile:
    """
    A file that is being made; `fd` is open for writing.

    path: its name. Without `force` there must be nothing yet. With it, a regular file of ours is
    replaced, and stays as it is until `keep`: what is written goes to a file beside it first.
    Raises OSError, or `RefusedError`.
    """

    def __init__(self, path: Path, *, force: bool) -> None:
        self._path = path
        self._beside: Path | None = None
        _check_folders(path)
        try:
            self.fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, PRIVATE)
        except FileExistsError:
            if not force:
                raise
            _check_ours(path.lstat())
            self._beside = path.with_name(f".{os.urandom(4).hex()}{path.suffix}.part")
            self.fd = os.open(self._beside, _FLAGS | os.O_CREAT | os.O_EXCL, PRIVATE)
        self._made = os.fstat(self.fd)

    def keep(self) -> None:
        """Give the file its name, in the place of what had it; further calls do nothing."""
        if self._beside is not None:
            self._beside.rename(self._path)
            self._beside = None

    def discard(self) -> None:
        """Remove what was made, if it is still there under its name; close it."""
        if self._beside is None:
            with contextlib.suppress(OSError):
                if os.path.samestat(self._made, self._path.lstat()):
                    self._path.unlink()
        self.close()

    def close(self) -> None:
        """Close the file, and remove it if it was not kept; further calls do nothing."""
        if self._beside is not None:
            with contextlib.suppress(OSError):
                self._beside.unlink()
            self._beside = None
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)
