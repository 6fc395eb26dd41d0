"""Commands that run until they are told to stop, beside a program that they may have started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType, TracebackType
from typing import Self

from isotherm.errors import BadValueError, IsothermError, TargetGoneError
from isotherm.session.session import MonitorSession
from isotherm.terminal.output import tell
from isotherm.units import exact_duration, format_duration

#: How long a command may take to end when it is told to.
_PATIENCE_S = 5.0


class Foreground:
    """
    What signals do: SIGINT, SIGTERM and SIGHUP end the session in good order; a context manager.

    Entered before anything is started; `watch` tells the session. As users of `perf record`
    expect, a command that was started for it gets the signal too, and is waited for; a second
    signal leaves it running. A failure ends the command as well.
    """

    def __init__(self) -> None:
        self._session: MonitorSession | None = None
        self._waiting = False
        self._before: dict[int, signal.Handlers] = {}
        self.signal: int | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            if number == signal.SIGHUP and before == signal.SIG_IGN:
                continue  # nohup
            self._before[number] = signal.signal(number, self._handle)  # type: ignore[assignment]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        command = self._command
        if error is not None and command is not None and command.poll() is None:
            command.terminate()
            try:
                command.wait(_PATIENCE_S)
                tell(f"the command was ended (process {command.pid})")
            except subprocess.TimeoutExpired:
                tell(f"the command is left to run (process {command.pid})")

    def watch(self, session: MonitorSession) -> None:
        """From now on signals stop this session."""
        self._session = session

    @property
    def _command(self) -> subprocess.Popen[bytes] | None:
        return self._session.command if self._session is not None else None

    def status(self) -> int:
        """
        Return the status of the command, 0 if none was started; waits for it, and says so.

        A command that a signal left running gives 128 and the number of the signal.
        """
        command = self._command
        if command is None:
            return 0
        if command.poll() is None and not self._end(command):
            return 128 + (self.signal or 0)
        status = command.wait()
        return 128 - status if status < 0 else status

    def _end(self, command: subprocess.Popen[bytes]) -> bool:
        """Wait for a command that still runs; False if it is left to run on."""
        if self.signal is None:
            tell(f"the command runs on (process {command.pid}): waiting for it; ctrl-c ends it")
        else:
            self._pass_on(self.signal)
        self._waiting = True
        try:
            command.wait()
        except _LeftError:
            tell(f"the command is left to run (process {command.pid})")
            return False
        finally:
            self._waiting = False
        return True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        first, self.signal = self.signal is None, number
        if self._session is None:
            # What was started so far is ended by whoever started it.
            raise SystemExit(128 + number)
        if not self._waiting:
            self._session.stop()
        elif first:
            self._pass_on(number)
        else:
            raise _LeftError

    def _pass_on(self, number: int) -> None:
        command = self._command
        if command is None or (number == signal.SIGINT and _on_terminal()):
            return  # the terminal has told it already
        command.send_signal(number)


class _LeftError(Exception):
    """The user asked twice: the command is not waited for."""


def _on_terminal() -> bool:
    """Tell whether ctrl-c of a terminal reaches us, and what we started, at once."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def tell_news(session: MonitorSession) -> None:
    """Say what became known since the session began, of who was left out."""
    for text in session.news():
        tell(f"warning: {text}")


def require_a_window(session: MonitorSession, duration_ns: int | None) -> None:
    """Raise `BadValueError` if a duration is shorter than the first window that was asked for."""
    aggr_ns = session.attrs.aggr_us * 1000
    if duration_ns is not None and duration_ns < aggr_ns and session.command is None:
        raise BadValueError(
            f"{format_duration(duration_ns)} are over before the first window of "
            f"{exact_duration(session.attrs.aggr_us)} is",
            hint="a longer -d, or a shorter --aggr",
        )


def why_nothing(session: MonitorSession, foreground: Foreground, verb: str) -> IsothermError:
    """
    Return the reason why there was not a single snapshot.

    session: not closed yet; verb: what was not done, "recorded".
    """
    window = exact_duration(session.attrs.aggr_us)
    if foreground.signal is not None:
        return IsothermError(
            f"stopped in the first window: nothing was {verb}", hint=f"a window takes {window}"
        )
    if session.alive():
        return IsothermError(
            f"the time was over in the first window: nothing was {verb}",
            hint=f"a window takes {window}: a longer -d, or a shorter --aggr",
        )
    return TargetGoneError(
        f"the target ended before the first window was over: nothing was {verb}",
        hint="a shorter --aggr"
        if session.command
        else "start it with `-- CMD`, or shorten --aggr",
    )
