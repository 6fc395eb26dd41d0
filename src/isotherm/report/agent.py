"""What an agent answers, as lines for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from isotherm.errors import BadValueError
from isotherm.schemefile.documents.document import decode_document
from isotherm.schemefile.documents.json_tree import read_json
from isotherm.schemefile.lines.key_value import format_line
from isotherm.terminal.table import Column, names, table
from isotherm.units import format_duration, format_size


def status_lines(told: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing that the agent says of itself."""
    width = max(map(len, told), default=0)
    return [f"{name:{width}}  {_text(value)}" for name, value in told.items()]


def _text(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def schemes_lines(told: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return schemes as lines that can be given again, each with what came of it below."""
    lines = []
    for one in told:
        lines.append(_line(one))
        tried, applied = one["tried_bytes"], one["applied_bytes"]
        came = "not applied yet"
        if tried is not None:
            what = "would have treated" if one["dry_run"] else "treated"
            came = f"matched {format_size(tried)}, {what} {format_size(applied)}"
        lines.append(f"  {came}{', held back by the guard' if one['held'] else ''}")
    return lines or ["no schemes"]


def _line(one: Mapping[str, Any]) -> str:
    try:
        (scheme,) = decode_document(read_json(json.dumps([one["scheme"]]), "the agent")).schemes
        return format_line(scheme)
    except BadValueError:  # of a newer agent, or more than lines can say
        return str(one["title"])


def groups_table(told: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """Return groups in their order, as a table of so many columns of text."""
    if not told:
        return ["nothing is known yet: the first sum is about to be made"]
    windows = list(dict.fromkeys(key for one in told for key in one["used_bytes"]))
    columns = [
        names("group"),
        Column("procs", rank=2),
        Column("resident"),
        Column("unknown", rank=1),
        *(Column(f"used {_window(key)}", rank=3 + i) for i, key in enumerate(windows)),
    ]
    rows = [
        [
            "/".join(one["labels"].values()),
            str(one["processes"]),
            format_size(one["resident_bytes"]),
            format_size(one["unknown_bytes"]),
            *(_size(one["used_bytes"].get(key)) for key in windows),
        ]
        for one in told
    ]
    return table(columns, rows, width)


def _size(size: int | None) -> str:
    return "-" if size is None else format_size(size)


def _window(key: str) -> str:
    return format_duration(int(key.removesuffix("ms")) * 1_000_000)
