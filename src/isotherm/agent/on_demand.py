"""The sink that records for a while when somebody asks: `isotherm ctl record`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isotherm.errors import BadValueError, OutputError
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping
from isotherm.recording.sink import RecordingSink
from isotherm.session.session import MonitorSession

NAME = "asked.isotherm"
#: A recording ends when it is so large; it may be asked for no longer than a day.
MOST_BYTES = 64 << 20
MOST_S = 86_400.0


@dataclass(slots=True)
class _Asked:
    """A recording that was asked for; until: when it ends, by the sink's clock."""

    number: int
    until: float
    sink: RecordingSink | None = None
    first: int = 0
    over: bool = False
    failed: str = ""

    def document(self, path: Path) -> dict[str, Any]:
        """Return what is told of it."""
        sink = self.sink
        return {
            "number": self.number,
            "path": str(path),
            "over": self.over,
            "snapshots": 0 if sink is None else sink.nr_snapshots,
            "bytes": 0 if sink is None else sink.bytes_written,
            "failed": self.failed or None,
        }


class OnDemand:
    """
    Records into one file, over and over: one recording at a time, which replaces the one before.

    folder: ours alone, where the file lies while the agent runs. `ask` and `told` are for the
    thread that serves, the rest for the one that monitors.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._path = folder / NAME
        self._now = now
        self._lock = threading.Lock()
        self._asked: _Asked | None = None
        self._session: MonitorSession | None = None
        self._maps: dict[int, Sequence[Mapping]] = {}

    def ask(self, seconds: float) -> dict[str, Any]:
        """
        Begin a recording that ends with the first window after so many seconds.

        Raises `BadValueError` while another one is made, and for a length that makes no sense.
        """
        if not 0 < seconds <= MOST_S:
            raise BadValueError("a recording of that length is not made", hint="up to 24h")
        with self._lock:
            before = self._asked
            if before is not None and not before.over:
                raise BadValueError("another recording is made already", hint="it ends by itself")
            number = 1 if before is None else before.number + 1
            self._asked = _Asked(number, self._now() + seconds)
            return self._asked.document(self._path)

    def told(self) -> dict[str, Any] | None:
        """Return how the last recording that was asked for fares."""
        with self._lock:
            return None if self._asked is None else self._asked.document(self._path)

    def open(self, session: MonitorSession) -> None:
        """Take note of what is recorded."""
        self._session = session

    def take(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, if somebody asked for it."""
        here = {target.id for target in snapshot.targets}
        told = {**self._maps, **(snapshot.mappings or {})}
        self._maps = {key: found for key, found in told.items() if key in here}
        with self._lock:
            asked = self._asked
            if asked is None or asked.over:
                return
            try:
                self._keep(asked, snapshot)
            except OutputError as err:
                self._end(asked, err.message)

    def close(self) -> None:
        """End what is recorded, and remove the file."""
        with self._lock:
            if self._asked is not None and not self._asked.over:
                self._end(self._asked, "the agent ended")
            if self._asked is not None:
                with suppress(OSError):
                    self._path.unlink()

    def _keep(self, asked: _Asked, snapshot: Snapshot) -> None:
        assert self._session is not None  # noqa: S101 - `open` comes first
        if asked.sink is None:
            # What is told once was told to who listened then.
            snapshot = replace(snapshot, mappings=self._maps or None)
            asked.sink, asked.first = RecordingSink(self._path, force=True), snapshot.index
            asked.sink.open(self._session)
        asked.sink.take(replace(snapshot, index=snapshot.index - asked.first))
        if self._now() >= asked.until or asked.sink.bytes_written >= MOST_BYTES:
            self._end(asked)

    def _end(self, asked: _Asked, failed: str = "") -> None:
        asked.over, asked.failed = True, failed
        try:
            if asked.sink is not None:
                asked.sink.close()
        except OutputError as err:
            asked.failed = asked.failed or err.message
