"""What comes of a session: sinks, and the one loop that feeds them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

from isotherm.model.snapshot import Snapshot
from isotherm.session.session import MonitorSession


class Sink(Protocol):
    """
    Takes a stream of snapshots: a recording, a live view, metrics.

    `open`, then `take` for each snapshot, then `close`, all in the thread that monitors. What one
    raises ends the run.
    """

    def open(self, session: MonitorSession) -> None:
        """Make ready; the session has not begun yet."""

    def take(self, snapshot: Snapshot) -> None:
        """Take the next snapshot, soon: the monitor waits meanwhile."""

    def close(self) -> None:
        """End, whatever happened before; called once if `open` returned."""


def run(
    session: MonitorSession, sinks: Sequence[Sink], *, duration: float | str | None = None
) -> int:
    """
    Monitor in a thread of its own until the stream ends; return how many snapshots there were.

    sinks: take each snapshot in their order, and are closed in the reverse one; duration: as
    `MonitorSession.snapshots`. Signals are served meanwhile, if this is the main thread: a handler
    may `stop` the session. What monitoring or a sink raises is raised here.
    """
    thread = Run(session, sinks, duration)
    thread.start()
    try:
        thread.join()
    except BaseException:
        session.stop()
        thread.join()
        raise
    if thread.error is not None:
        raise thread.error
    return thread.count


class Run(threading.Thread):
    """
    The thread that monitors: `start` it, and `join` it.

    session, sinks, duration: as for `run`; ended: is called at its end, in it. `count` is how many
    snapshots there were, `error` what ended it if it was not the end of the stream.
    """

    def __init__(
        self,
        session: MonitorSession,
        sinks: Sequence[Sink],
        duration: float | str | None = None,
        *,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name="isotherm")
        self._session, self._sinks, self._duration = session, tuple(sinks), duration
        self._ended = ended
        self.count = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        """Monitor until the stream ends; nothing is raised."""
        try:
            with ExitStack() as opened:
                for sink in self._sinks:
                    sink.open(self._session)
                    opened.callback(sink.close)
                for snapshot in self._session.snapshots(self._duration):
                    self.count += 1
                    for sink in self._sinks:
                        sink.take(snapshot)
        except BaseException as err:  # noqa: BLE001 - raised by who waits
            self.error = err
        finally:
            self._ended()
