"""A trace instance of our own: events of the kernel as text lines, apart from everybody else's."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from isotherm.errors import IsothermError, NotPermittedError, NotSupportedError
from isotherm.kernel.privilege import root_hint

ROOTS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_LOST = re.compile(rb"\[LOST (\d+) EVENTS\]")
_CHUNK = 65536


def find_root() -> Path | None:
    """Return where tracefs is mounted and may be used, or None."""
    return next((root for root in ROOTS if os.access(root / "instances", os.W_OK)), None)


def has_event(root: Path, event: str) -> bool:
    """Tell whether this kernel has an event, named as "damon/damon_aggregated"."""
    return (root / "events" / event / "enable").exists()


class TraceInstance:
    """
    A directory under instances/ with its own buffer; times are of CLOCK_MONOTONIC.

    fd: of its events, for poll; lost: how many events the buffer had no room for. Remove it with
    `close`; of a killed process, `path.rmdir()` is enough.
    """

    def __init__(self, root: Path, name: str, *, buffer_kib: int = 1024) -> None:
        self.path = root / "instances" / name
        self.fd = -1
        self.lost = 0
        self._rest = b""
        try:
            self.path.mkdir()
            self._set("trace_clock", "mono")
            self._set("buffer_size_kb", str(buffer_kib))
            with suppress(FileNotFoundError):  # since Linux 5.0: readers are woken at this fill
                self._set("buffer_percent", "0")
            self.fd = os.open(self.path / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as err:
            self.close()
            if err.errno in (errno.EACCES, errno.EPERM):
                raise NotPermittedError(
                    f"not allowed to trace in {self.path}", hint=root_hint()
                ) from err
            raise NotSupportedError(f"cannot trace in {self.path}: {err.strerror}") from err

    def enable(self, event: str, *, pid: int) -> None:
        """Record the events of one kind that happen in thread `pid`; raises `IsothermError`."""
        try:
            self._set(f"events/{event}/filter", f"common_pid == {pid}")
            self._set(f"events/{event}/enable", "1")
        except OSError as err:
            raise IsothermError(f"cannot trace {event}: {err.strerror}") from err

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that are there, without waiting."""
        while True:
            try:
                chunk = os.read(self.fd, _CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                return
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                if b" EVENTS]" in line and (lost := _LOST.search(line)):
                    self.lost += int(lost[1])
                else:
                    yield line

    def close(self) -> None:
        """Remove the instance."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        with suppress(FileNotFoundError, OSError):
            self.path.rmdir()

    def _set(self, name: str, text: str) -> None:
        fd = os.open(self.path / name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
