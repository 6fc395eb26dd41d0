"""Where a recording comes from, and how complete it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.report.view import Options, Page, View
from isotherm.terminal.text import columns_of, elide, labelled
from isotherm.units import format_duration

#: Labels are no longer than this: they come from the file as well.
_LABEL = 24


class InfoView(View[dict[str, Any]]):
    """What the recording says of itself."""

    name = "info"
    help = "where the recording comes from, and whether it is complete"
    schema = "isotherm.report.info/1"

    def analyse(self, recording: AnalysedRecording, options: Options) -> dict[str, Any]:
        del options
        summary = recording.summary()
        return {
            "path": str(recording.path),
            "bytes": recording.nbytes,
            "complete": recording.damage is None,
            "snapshots": summary.snapshots,
            "region_rows": summary.regions,
            "start_ns": summary.start_ns,
            "duration_ns": summary.duration_ns,
            "info": recording.info,
        }

    def document(self, value: dict[str, Any]) -> dict[str, Any]:
        return value

    def rows(self, value: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"name": key, "value": inner} for key, inner in _flat(value).items()]

    def text(self, value: dict[str, Any], page: Page) -> list[str]:
        flat = {elide(_label(key), _LABEL): _plain(key, v) for key, v in _flat(value).items()}
        indent = max(map(columns_of, flat)) + 3
        lines = []
        for label, text in flat.items():
            lines += labelled(label, text, page.width, indent)
        return lines


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    """Return the same without nesting, but for what lies deeper than two levels."""
    flat = {key: inner for key, inner in value.items() if key != "info"}
    for key, inner in value["info"].items():
        if isinstance(inner, dict):
            flat.update({f"{key}.{name}": deeper for name, deeper in inner.items()})
        elif isinstance(inner, list):
            flat.update({f"{key}.{i}": deeper for i, deeper in enumerate(inner)})
        else:
            flat.setdefault(key, inner)
    return flat


def _label(key: str) -> str:
    return key.removesuffix("_ns") if key in {"start_ns", "duration_ns"} else key


def _plain(key: str, value: Any) -> str:
    """Return a value as people read it; only times need help."""
    if key == "start_ns" and isinstance(value, int):
        return _time_of_day(value)
    if key == "duration_ns" and isinstance(value, int):
        return format_duration(value)
    if isinstance(value, dict):
        return "  ".join(f"{k}={v}" for k, v in value.items() if v is not None)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def _time_of_day(ns: int) -> str:
    try:
        local = datetime.fromtimestamp(ns / 1e9, tz=UTC).astimezone()
    except (OverflowError, ValueError, OSError):
        return f"{ns} ns since 1970"  # beyond what calendars have
    return local.isoformat(" ", "milliseconds")
