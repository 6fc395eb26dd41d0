"""The stream of a session's snapshots, for `for` and for `async for`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from isotherm.clock import cpu_ns_of
from isotherm.model.snapshot import Snapshot

if TYPE_CHECKING:
    from isotherm.session.session import MonitorSession


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
        cpu_ns = cpu_ns_of(session.clock)
        until_ns = None
        if self._duration_ns is not None:
            until_ns = session.clock.now_ns() + self._duration_ns
        snapshots = session.monitor.snapshots(until_ns)
        snapshot: Snapshot | None = None
        while not session.closed:
            session.enter()
            try:
                if snapshot is not None:
                    before, cpu_ns = cpu_ns, cpu_ns_of(session.clock)
                    session.account(snapshot, cpu_ns - before)
                snapshot = next(snapshots, None)
            finally:
                session.leave()
            if snapshot is None:
                return
            yield snapshot

    async def __aiter__(self) -> AsyncIterator[Snapshot]:
        # Only here: recording needs no event loop, and one costs megabytes.
        from isotherm.session.async_reader import AsyncReader

        reader = AsyncReader(self)
        try:
            while (snapshot := await reader.next()) is not None:
                yield snapshot
        finally:
            self._session.stop()
            reader.end()
