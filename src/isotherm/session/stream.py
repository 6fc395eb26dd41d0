"""The stream of a session's snapshots, for `for` and for `async for`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from isotherm.model.snapshot import Snapshot

if TYPE_CHECKING:
    from isotherm.session.session import MonitorSession

#: Snapshots that may wait for an asynchronous reader before the monitor waits for it.
_MOST_WAITING = 2


class SnapshotStream:
    """
    Snapshots as they come; iterate once.

    session: whose; duration_ns: when to end, by the session's clock.
    """

    def __init__(self, session: MonitorSession, duration_ns: int | None) -> None:
        self._session = session
        self._duration_ns = duration_ns

    def __iter__(self) -> Iterator[Snapshot]:
        session = self._session
        cpu_ns = time.thread_time_ns()
        until_ns = None
        if self._duration_ns is not None:
            until_ns = session.clock.now_ns() + self._duration_ns
        snapshots = session.monitor.snapshots(until_ns)
        while not session.closed:
            with session.inside():
                snapshot = next(snapshots, None)
            if snapshot is None:
                return
            yield snapshot
            if session.closed:
                return
            before, cpu_ns = cpu_ns, time.thread_time_ns()
            with session.inside():
                session.account(snapshot, cpu_ns - before)

    async def __aiter__(self) -> AsyncIterator[Snapshot]:
        reader = _Reader(self, asyncio.get_running_loop())
        try:
            while (snapshot := await reader.next()) is not None:
                yield snapshot
        finally:
            self._session.stop()
            reader.release()
        reader.join()


class _Reader:
    """A thread that iterates a stream for an event loop; it ends when the session is stopped."""

    def __init__(self, stream: SnapshotStream, loop: asyncio.AbstractEventLoop) -> None:
        self._stream = stream
        self._loop = loop
        self._queue: asyncio.Queue[Snapshot | None] = asyncio.Queue()
        self._room = threading.Semaphore(_MOST_WAITING)
        self._released = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="isotherm", daemon=True)
        self._thread.start()

    async def next(self) -> Snapshot | None:
        """Return the next snapshot, None at the end; raises what iterating raised."""
        snapshot = await self._queue.get()
        self._room.release()
        if snapshot is None and self._error is not None:
            raise self._error
        return snapshot

    def release(self) -> None:
        """Let the thread go on though nobody reads any more."""
        self._released = True
        self._room.release()

    def join(self) -> None:
        """Wait for the thread, which has nothing left to do."""
        self._thread.join()

    def _run(self) -> None:
        try:
            for snapshot in self._stream:
                self._room.acquire()
                if self._released:
                    return
                self._tell(snapshot)
        except BaseException as err:  # noqa: BLE001 - raised again where it is awaited
            self._error = err
        finally:
            self._tell(None)

    def _tell(self, snapshot: Snapshot | None) -> None:
        with suppress(RuntimeError):  # the event loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._queue.put_nowait, snapshot)
