"""The ring: recordings of the last hours on disk, whose oldest file goes when a new one begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from isotherm.agent.config import RING_FILES, Ring
from isotherm.errors import OutputError
from isotherm.model.snapshot import Snapshot
from isotherm.recording.series import Rotation
from isotherm.recording.sink import RecordingSink
from isotherm.session.session import MonitorSession

NAME = "ring.isotherm"
#: What could not be written is tried again so much later.
_AGAIN_S = 60.0


class RingSink:
    """
    Writes snapshots to the ring. A disk that is full or gone ends nothing: it is tried again.

    ring: where, and how much; say: is told what goes wrong, and that it goes on.
    """

    def __init__(
        self, ring: Ring, say: Callable[[str], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._ring = ring
        self._say = say
        self._now = now
        self._rotation = Rotation(
            ring.size // RING_FILES, ring.for_ns // (RING_FILES - 1), RING_FILES
        )
        self._session: MonitorSession | None = None
        self._sink: RecordingSink | None = None
        self._again_at = 0.0
        self.written_bytes = 0
        self.failed = False

    def open(self, session: MonitorSession) -> None:
        """Take note of what is recorded."""
        self._session = session

    def take(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, if it is time."""
        try:
            if self._sink is None:
                if self._now() < self._again_at:
                    return
                self._sink = self._begun()
            self._sink.take(snapshot)
            self.written_bytes = self._sink.bytes_written
        except OutputError as err:
            self._fail(err)
        else:
            if self.failed:
                self.failed = False
                self._say("the ring is written again")

    def close(self) -> None:
        """End the file that is written."""
        sink, self._sink = self._sink, None
        if sink is not None:
            try:
                sink.close()
            except OutputError as err:
                self._say(f"the ring: {err.message}")

    def _begun(self) -> RecordingSink:
        assert self._session is not None  # noqa: S101 - `open` comes first
        folder = self._ring.folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as err:
            raise OutputError(f"cannot make {folder}: {err.strerror}") from None
        sink = RecordingSink(folder / NAME, every_ns=self._ring.every_ns, rotation=self._rotation)
        sink.open(self._session)
        return sink

    def _fail(self, err: OutputError) -> None:
        if not self.failed:
            self._say(f"the ring cannot be written, and is tried again: {err.message}")
        self.failed, self._again_at = True, self._now() + _AGAIN_S
        sink, self._sink = self._sink, None
        if sink is not None:
            with suppress(OutputError):
                sink.close()
