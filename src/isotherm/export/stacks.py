"""Parts of memory as stacks: group, process, kind and name of the mappings, with bytes."""

from __future__ import annotations

from dataclasses import dataclass

from isotherm.analysis.memory_parts import MemoryParts, memory_parts
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.errors import BadValueError, escaped
from isotherm.units import format_duration


@dataclass(frozen=True, slots=True)
class Stacks:
    """
    names: of the figures, in the order of `values`; about: what each of them is, as a sentence;
    rows: stacks from the outside in, and their bytes; start_ns, end_ns: time of day.
    """

    names: tuple[str, ...]
    about: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]
    start_ns: int
    end_ns: int


def stacks(recording: AnalysedRecording) -> Stacks:
    """Return the memory of a recording as stacks; raises `BadValueError` if it has none."""
    summary = recording.summary()
    found = memory_parts(summary)
    if not found.parts:
        raise BadValueError("the recording holds no regions, so there is nothing to export")
    first = "mapped" if any(part.resident is None for part in found.parts) else "resident"
    return Stacks(
        (first, "working_set", "idle", "unknown"),
        _about(found, first),
        tuple(
            (
                tuple(map(escaped, part.frames)),
                (
                    part.mapped if first == "mapped" else part.resident or 0,
                    part.used,
                    part.idle,
                    part.unknown,
                ),
            )
            for part in found.parts
        ),
        summary.start_ns,
        summary.end_ns,
    )


def _about(found: MemoryParts, first: str) -> tuple[str, ...]:
    how = "page by page" if found.by_pages else "by whole regions of the last window"
    return (
        f"{first}: bytes {'in memory' if first == 'resident' else 'that were monitored'}",
        f"working_set: bytes used within {format_duration(found.used_ns)}, {how}",
        f"idle: bytes not used for {format_duration(found.idle_ns)} or longer",
        "unknown: bytes whose accesses could not be seen",
    )
