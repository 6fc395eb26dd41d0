"""One agent at a time: a lock in the run folder, which the kernel gives back whatever happens."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Self

from isotherm.errors import IsothermError, NotPermittedError, quoted

NAME = "agent.lock"


class Lock:
    """
    Holds a folder for this process; a context manager.

    folder: is there. Raises `IsothermError` where another agent holds it: each would clear the
    accessed bits that the other waits for.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(path, flags, 0o600)
        except OSError as err:
            raise NotPermittedError(
                f"cannot write {quoted(str(path))}: {err.strerror}", hint="an agent runs as root"
            ) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            who = f" (process {holder})" if holder.isdecimal() else ""
            raise IsothermError(
                f"another agent runs already{who}: it holds {quoted(str(path))}",
                hint="two of them hide accesses from each other; isotherm ctl status asks it",
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Give it back; may be called twice."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
