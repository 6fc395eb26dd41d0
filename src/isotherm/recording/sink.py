"""The sink that keeps a session's snapshots as a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, Protocol

from isotherm.errors import OutputError
from isotherm.model.attrs import Attrs
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Target
from isotherm.recording.writer import RecordingWriter


class Choice(Protocol):
    """Why this backend."""

    @property
    def reason(self) -> str:
        """A short phrase."""

    @property
    def whole_mappings(self) -> bool:
        """Whether only the used share of whole mappings is seen (`Snapshot.shares`)."""


class SessionInfo(Protocol):
    """What a recording tells of the session that it is of."""

    @property
    def backend(self) -> str:
        """The name of the backend at work."""

    @property
    def attrs(self) -> Attrs:
        """The attributes in force at the start."""

    @property
    def profile(self) -> str | None:
        """The Linux release whose rules are followed; None where the kernel runs the monitor."""

    @property
    def operations(self) -> str | None:
        """DAMON's name of what is monitored, None for an own operations set."""

    @property
    def targets(self) -> Any:
        """The targets at the start: a sequence of `Target`."""

    @property
    def choice(self) -> Choice | None:
        """Why this backend was chosen, None where there was no choice."""


def session_info(session: SessionInfo) -> dict[str, Any]:
    """Return what `session` adds to what every recording says of itself."""
    targets: list[Target] = list(session.targets)
    return {
        "backend": session.backend,
        "backend_reason": session.choice.reason if session.choice is not None else "",
        "whole_mappings": session.choice is not None and session.choice.whole_mappings,
        "attrs": session.attrs,
        "profile": session.profile,
        "operations": session.operations,
        "targets": targets,
    }


class RecordingSink:
    """
    Writes snapshots to a recording: `open`, `take` each, `close`.

    output: the path of the file, or an open binary stream, which is not closed; force: replace a
    regular file of ours. Without any snapshot no file is left behind, and what `force` would
    have replaced stays. Each raises `OutputError` for what cannot be written.
    """

    def __init__(self, output: Path | BinaryIO, *, force: bool = False) -> None:
        self._output = output
        self._force = force
        self._writer: RecordingWriter | None = None
        self.nr_snapshots = 0

    @property
    def bytes_written(self) -> int:
        """How many bytes the recording has so far."""
        return self._writer.bytes_written if self._writer is not None else 0

    def open(self, session: SessionInfo) -> None:
        """
        Begin the recording.

        session: is asked for what the recording says of itself.
        """
        info = session_info(session)
        self._writer = RecordingWriter(self._output, info, force=self._force)

    def take(self, snapshot: Snapshot) -> None:
        """
        Keep one snapshot; it is safe from a kill after a second.

        snapshot: the next one of the session.
        """
        if self._writer is None:
            raise OutputError("a recording takes snapshots only after it was opened")
        self._writer.write(snapshot)
        self.nr_snapshots += 1

    def close(self) -> None:
        """End the recording; further calls do nothing."""
        if self._writer is not None and not self.nr_snapshots:
            self._writer.discard()
        elif self._writer is not None:
            self._writer.close()
