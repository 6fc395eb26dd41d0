"""Makes a recording of a record of damo, or of what tracers print of DAMON."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from isotherm.errors import BadValueError, DamagedRecordingError, quoted
from isotherm.model.target import Target
from isotherm.recording.damo.assemble import Assembly
from isotherm.recording.damo.readers import Found, read
from isotherm.recording.damo.sidecars import Sidecars, read_sidecars
from isotherm.recording.damo.streams import Intervals, Streams
from isotherm.recording.damo.text import Source, open_source
from isotherm.recording.writer import RecordingWriter


@dataclass(frozen=True, slots=True)
class Imported:
    """
    What was imported.

    kind: of the file; targets: whose memory it is; notes: what had to be assumed or left out;
    damage: what is wrong with the file, None if nothing is.
    """

    kind: str
    snapshots: int
    regions: int
    targets: tuple[Target, ...]
    notes: tuple[str, ...]
    damage: DamagedRecordingError | None


def import_record(
    source: str | os.PathLike[str] | BinaryIO,
    output: str | os.PathLike[str] | BinaryIO,
    *,
    intervals: tuple[int, int] | None = None,
    force: bool = False,
) -> Imported:
    """
    Make a recording of a record of damo (JSON, plain or compressed, or binary), or of text that
    `perf script`, `trace-cmd report` or tracefs gives of damon:damon_aggregated.

    source: a path, or an open binary file; output: as `RecordingWriter` takes it; intervals:
    sampling and aggregation interval in us, where the record does not tell them or is wrong;
    force: replace a regular file of ours. What can be read of a damaged file is imported, and
    `Imported.damage` says what is wrong. Raises `BadValueError` for what is no record,
    `DamagedRecordingError` if nothing of it can be read, `OutputError`.
    """
    if isinstance(source, str | os.PathLike):
        name, beside = os.fspath(source), read_sidecars(Path(source))
        with open_source(source) as file:
            return _import(Source(file, name), beside, output, intervals, force=force)
    return _import(Source(source, "the input"), Sidecars(), output, intervals, force=force)


def _import(
    source: Source,
    beside: Sidecars,
    output: str | os.PathLike[str] | BinaryIO,
    intervals: tuple[int, int] | None,
    *,
    force: bool,
) -> Imported:
    with Streams() as streams:
        found = read(source, streams)
        asked = None if intervals is None else Intervals(*intervals)
        assembly = Assembly(streams, beside, asked)
        if not assembly.targets:
            raise _nothing(source, found)
        info = _info(source, assembly, asked)
        writer = RecordingWriter(output, info, force=force, made_here=False)
        try:
            for snapshot in assembly.snapshots():
                writer.write(snapshot)
        except BaseException:
            writer.discard()
            raise
        writer.close()
    notes = assembly.notes
    if found.left_out:
        notes = [*notes, f"{found.left_out} windows are left out: a part of them is missing"]
    return Imported(
        source.kind,
        writer.nr_snapshots,
        writer.nr_regions,
        assembly.targets,
        tuple(notes),
        _damage(source, found, writer.nr_snapshots),
    )


def _info(source: Source, assembly: Assembly, asked: Intervals | None) -> dict[str, Any]:
    known = asked or next((s.intervals for s in assembly.streams if s.intervals), None)
    first = min(min(stream.ends) for stream in assembly.streams)
    return {
        "backend": "damo",
        "start_ns": first,
        "attrs": None if known is None else known._asdict(),
        "targets": assembly.targets[:100],
        "imported_from": os.path.basename(source.name),  # noqa: PTH119 - of any length
        "imported_format": source.kind,
    }


def _damage(source: Source, found: Found, count: int) -> DamagedRecordingError | None:
    if not found.damage:
        return None
    return DamagedRecordingError(
        f"{quoted(source.name)} is damaged: {found.damage}",
        hint=f"{count} snapshots of it were imported",
    )


def _nothing(source: Source, found: Found) -> BadValueError | DamagedRecordingError:
    """Return the error of a file of which nothing can be imported."""
    name = quoted(source.name)
    hint = "files of damo record, perf script and trace-cmd report are imported"
    if source.kind == "json" and found.damage:
        return DamagedRecordingError(f"{name} is damaged: {found.damage}", hint=hint)
    if source.kind == "json":
        return BadValueError(f"{name} is a record of damo without any snapshot", hint=hint)
    if found.left_out or (source.kind == "perf script" and found.damage):
        what = found.damage or "no window of it is complete"
        return DamagedRecordingError(f"{name} is damaged: {what}", hint=hint)
    if source.kind == "perf script":
        return BadValueError(
            f"{name} is text without a line of the tracepoint damon:damon_aggregated", hint=hint
        )
    if found.damage and source.is_versioned:
        return DamagedRecordingError(f"{name} is damaged: {found.damage}", hint=hint)
    return BadValueError(f"{name} is no record of damo", hint=hint)
