"""A configuration that is read again while the agent serves: by a process that is waited for."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from isotherm.agent import reading
from isotherm.agent.config import Settings
from isotherm.agent.server import Server
from isotherm.errors import BadValueError

#: What is read of the process at most, and for how long.
_MOST_BYTES = 16 << 20
PATIENCE_S = 20.0


class Reading:
    """
    Reads a configuration in a process of its own, beside what the server does.

    done: is called with the settings, or with why there are none.
    """

    def __init__(
        self, path: Path, server: Server, done: Callable[[Settings | BadValueError], None]
    ) -> None:
        self._server = server
        self._done = done
        self._told = bytearray()
        self._process = subprocess.Popen(
            reading.command(path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None  # noqa: S101 - a pipe, as asked for
        self._fd = self._process.stdout.fileno()
        os.set_blocking(self._fd, False)
        server.watch(self._fd, self._hear)

    def _hear(self) -> None:
        try:
            data = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return
        self._told += data
        if len(self._told) > _MOST_BYTES:
            self.give_up("the configuration is too long")
        elif not data:
            self._end()
            try:
                found: Settings | BadValueError = reading.passed_on(bytes(self._told))
            except BadValueError as err:
                found = err
            self._done(found)

    def give_up(self, why: str) -> None:
        """End the process; there are no settings."""
        self._process.kill()
        self._end()
        self._done(BadValueError(why))

    def _end(self) -> None:
        self._server.forget(self._fd)
        assert self._process.stdout is not None  # noqa: S101 - a pipe, as asked for
        with contextlib.suppress(OSError):
            self._process.stdout.close()
        self._process.wait()


def read_once(path: Path) -> Settings:
    """Return the settings of a file, by a process that reads it; raises `BadValueError`."""
    try:
        done = subprocess.run(
            reading.command(path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadValueError("the configuration takes too long to read") from None
    return reading.passed_on(done.stdout)
