"""Signals of commands that run until they are told to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from isotherm.session.session import MonitorSession


@contextmanager
def stopping_on_signals(session: MonitorSession) -> Iterator[None]:
    """ctrl-c and SIGTERM end the session in good order instead of the program."""

    def stop(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        session.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
