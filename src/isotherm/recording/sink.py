"""The sink that keeps a session's snapshots as a recording."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from isotherm.errors import OutputError
from isotherm.model.attrs import Attrs
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Target
from isotherm.recording.calibration import kept_digest
from isotherm.recording.series import Rotation, Series
from isotherm.recording.thinning import Thinning
from isotherm.recording.writer import RecordingWriter

#: Snapshots that are further apart are each safe from a kill as soon as they are written.
_FLUSH_NS = 1_000_000_000


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
    policy = getattr(session.choice, "policy", "")
    measured = kept_digest(session.backend, policy)
    return {
        "backend": session.backend,
        "backend_reason": session.choice.reason if session.choice is not None else "",
        "policy": policy,
        "policy_reason": getattr(session.choice, "policy_reason", ""),
        "whole_mappings": session.choice is not None and session.choice.whole_mappings,
        "attrs": session.attrs,
        "profile": session.profile,
        "operations": session.operations,
        "targets": targets,
        **({} if measured is None else {"calibration": asdict(measured)}),
    }


class RecordingSink:
    """
    Writes snapshots to a recording: `open`, `take` each, `close`.

    output: the path of the file, or an open binary stream, which is not closed; force: replace a
    regular file of ours; every_ns: keep a snapshot of so much time only (`Thinning`); rotation:
    go on in the next file now and then (`Series`), whose names come from `output`, a path.
    Without any snapshot no file is left behind, and what `force` would have replaced stays. Each
    raises `OutputError` for what cannot be written.
    """

    def __init__(
        self,
        output: Path | BinaryIO,
        *,
        force: bool = False,
        every_ns: int | None = None,
        rotation: Rotation | None = None,
    ) -> None:
        self._output = output
        self._force = force
        self._every_ns = every_ns
        self._thinning = None if every_ns is None else Thinning(every_ns)
        self.rotation = rotation
        self._writer: RecordingWriter | Series | None = None
        self._failed = False
        self.nr_snapshots = 0

    @property
    def files(self) -> list[Path]:
        """The files that hold the recording, as far as they were kept; none of a stream."""
        if isinstance(self._writer, Series):
            return self._writer.files
        return [self._output] if isinstance(self._output, Path) else []

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
        if self._every_ns is not None:
            info["every_ns"] = self._every_ns
        if self.rotation is not None:
            assert isinstance(self._output, Path)  # noqa: S101 - as the caller was told
            self._writer = Series(self._output, info, self.rotation)
        else:
            self._writer = RecordingWriter(self._output, info, force=self._force)

    def take(self, snapshot: Snapshot) -> None:
        """
        Keep one snapshot; it is safe from a kill after a second.

        snapshot: the next one of the session.
        """
        if self._writer is None:
            raise OutputError("a recording takes snapshots only after it was opened")
        kept = snapshot if self._thinning is None else self._thinning.take(snapshot)
        if kept is not None:
            self._keep(kept)

    def _keep(self, snapshot: Snapshot) -> None:
        if self._writer is None:
            return
        self._failed = True  # unless the end is reached
        self._writer.write(snapshot)
        self.nr_snapshots += 1
        if self._every_ns is not None and self._every_ns >= _FLUSH_NS:
            self._writer.flush()
        self._failed = False

    def close(self) -> None:
        """End the recording, with the last window; further calls do nothing."""
        if self._writer is None:
            return
        try:
            rest = None if self._thinning is None else self._thinning.rest()
            if rest is not None and not self._failed:
                self._keep(rest)
        finally:
            if self.nr_snapshots:
                self._writer.close()
            else:
                self._writer.discard()
