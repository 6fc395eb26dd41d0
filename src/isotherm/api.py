"""
What `import isotherm` offers beside the nouns: monitor, record, open, apply.

Apart from `session`, because a recording needs zstd and monitoring does not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from isotherm.analysis.recorded import AnalysedRecording, open_recording
from isotherm.model.snapshot import Snapshot
from isotherm.recording.sink import RecordingSink
from isotherm.session.session import MonitorSession, default_path, monitor

__all__ = ["MonitorSession", "default_path", "monitor", "open", "record", "write_recording"]


def write_recording(
    session: MonitorSession,
    path: Path,
    *,
    duration: float | str | None = None,
    force: bool = False,
    each: Callable[[Snapshot], None] | None = None,
) -> int:
    """
    Write the session's snapshots to `path` until the stream ends; return how many there were.

    `each` is called with every snapshot after it was taken over. Without any snapshot no file is
    left behind.
    """
    sink = RecordingSink(path, force=force)
    sink.open(session)
    try:
        for snapshot in session.snapshots(duration):
            sink.take(snapshot)
            if each is not None:
                each(snapshot)
    finally:
        sink.close()
    return sink.nr_snapshots


def record(
    path: str | Path,
    *,
    duration: float | str | None = None,
    force: bool = False,
    **target: Any,
) -> int:
    """
    Record to `path` for `duration`, or until the target ends; return the number of snapshots.

    `target` and everything else is as for `isotherm.monitor`. An existing file is kept, with
    `OutputError`, unless `force`.
    """
    with monitor(**target) as session:
        return write_recording(session, Path(path), duration=duration, force=force)


def open(path: str | Path) -> AnalysedRecording:  # noqa: A001 - isotherm.open, as gzip.open
    """
    Open a recording: iterate it for its snapshots, or ask for `wss()`, `heatmap()`, `summary()`.

    Raises `BadValueError` for what is no recording. A damaged one gives all that is readable,
    then `DamagedRecordingError`.
    """
    return open_recording(Path(path))
