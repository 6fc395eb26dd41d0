"""Iterates a stream of snapshots in a thread of its own, for who awaits them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from contextlib import suppress

from isotherm.model.snapshot import Snapshot

#: Snapshots that may wait for the reader before the monitor waits for it.
_MOST_WAITING = 2


class AsyncReader:
    """
    A thread that iterates a stream for the running event loop.

    stream: ends soon when its session is stopped.
    """

    def __init__(self, stream: Iterable[Snapshot]) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
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

    def end(self) -> None:
        """Let the thread go on though nobody reads any more, and wait for its end: a tick."""
        self._released = True
        self._room.release()
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
