"""
What `import isotherm` offers beside the nouns: monitor, record, open, apply.

Apart from `session`, because a recording needs zstd and monitoring does not.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Unpack

from isotherm.analysis.recorded import AnalysedRecording, open_recording
from isotherm.errors import BadValueError
from isotherm.recording.format import SUFFIX
from isotherm.recording.series import Rotation, check_series
from isotherm.recording.sink import RecordingSink
from isotherm.session.options import Keywords, Options
from isotherm.session.run import run
from isotherm.session.session import MonitorSession
from isotherm.session.start import monitor, start
from isotherm.units import duration_ns

__all__ = ["MonitorSession", "monitor", "open", "record", "recording_path"]


def record(
    path: str | Path,
    *,
    duration: float | str | None = None,
    force: bool = False,
    every: float | str | None = None,
    rotate: str | None = None,
    keep: int | None = None,
    coarse: float | str | None = None,
    **asked: Unpack[Keywords],
) -> int:
    """
    Record to a file until the stream ends; return the number of snapshots.

    path: of the file; none is left behind without any snapshot. duration: seconds, or text with a
    unit; without it until the target ends. force: overwrite an existing file, which is kept, with
    `OutputError`, otherwise. every: keep a snapshot of so much time, seconds or text, instead of
    all. rotate: "100M", "1h" or "100M,1h": go on in the next file, NAME.0001.isotherm and so on;
    keep: so many of them. coarse: a coarser level of what they no longer hold (`coarse_sink`).
    asked: as for `isotherm.monitor`.
    """
    length = None if duration is None else duration_ns(duration)
    sink = recording_sink(Path(path), force=force, every=every, rotate=rotate, keep=keep)
    coarser = coarse_sink(Path(path), coarse, every=every, rotate=rotate, keep=keep)
    with start(Options.of(**asked).lasting(length)) as session:
        run(session, [sink, *coarser], duration=duration)
        return sink.nr_snapshots


def recording_sink(
    output: Path | BinaryIO,
    *,
    force: bool = False,
    every: float | str | None = None,
    rotate: str | None = None,
    keep: int | None = None,
) -> RecordingSink:
    """Return what writes a recording; as for `record`. Raises `BadValueError`."""
    every_ns = None if every is None else duration_ns(every)
    if every_ns == 0:
        raise BadValueError("a snapshot every 0 s is all of them", hint="leave it out, or 10s")
    if keep is not None and rotate is None:
        raise BadValueError("files are kept of those that rotate", hint="--rotate 100M --keep 10")
    if rotate is None:
        return RecordingSink(output, force=force, every_ns=every_ns)
    rotation = Rotation.of(rotate, keep)
    if not isinstance(output, Path):
        raise BadValueError("standard output is one file, and cannot rotate", hint="-o FILE")
    check_series(output, rotation)
    return RecordingSink(output, every_ns=every_ns, rotation=rotation)


def coarse_sink(
    output: Path | BinaryIO,
    coarse: float | str | None,
    *,
    every: float | str | None,
    rotate: str | None,
    keep: int | None,
) -> list[RecordingSink]:
    """
    Return what writes a coarser level of a recording of which only the newest files are kept.

    coarse: keep a snapshot of so much time, seconds or text, in NAME.coarse.0001.isotherm and so
    on; None for no such level: then nothing is returned. They are as large as the others, and as
    many; where those span a time, they span `keep` times that. Raises `BadValueError`.
    """
    if coarse is None:
        return []
    every_ns = duration_ns(coarse)
    if rotate is None or keep is None or not isinstance(output, Path):
        raise BadValueError(
            "a coarser level is of what files that rotate no longer hold",
            hint="--rotate 100M --keep 10 --coarse 1m",
        )
    if every_ns <= (0 if every is None else duration_ns(every)):
        raise BadValueError(
            "a coarser level keeps a snapshot of more time than the recording does",
            hint="--every 10s --coarse 10m",
        )
    of = Rotation.of(rotate, keep)
    rotation = replace(of, max_ns=None if of.max_ns is None else of.max_ns * keep)
    path = output.with_name(f"{output.stem}.coarse{output.suffix}")
    check_series(path, rotation)
    return [RecordingSink(path, every_ns=every_ns, rotation=rotation)]


def open(path: str | Path) -> AnalysedRecording:  # noqa: A001 - isotherm.open, as gzip.open
    """
    Open a recording: iterate it for its snapshots, or ask for `wss()`, `heatmap()`, `summary()`.

    Raises `BadValueError` for what is no recording. A damaged one gives all that is readable,
    then `DamagedRecordingError`.
    """
    return open_recording(Path(path))


def recording_path(session: MonitorSession, directory: Path) -> Path:
    """
    Return a name in `directory` that is not taken yet: NAME.PID.isotherm, NAME.PID.2.isotherm.

    Of the target's name letters, digits and `._+-` are taken, others become "_".
    """
    label = "recording"
    if session.targets:
        first = session.targets[0]
        plain = re.sub(r"[^\w.+-]+", "_", first.name, flags=re.ASCII)
        label = plain.lstrip(".-")[:100] or label
        if first.pid is not None:
            label += f".{first.pid}"
    path, count = directory / f"{label}{SUFFIX}", 1
    while path.exists():
        count += 1
        path = directory / f"{label}.{count}{SUFFIX}"
    return path
