"""What `isotherm apply` shows: live lines, and the result."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from isotherm.model.scheme import Quota, Scheme
from isotherm.model.scheme_state import SchemeState
from isotherm.report.output import Report
from isotherm.session.applying import Result
from isotherm.terminal.style import width_of
from isotherm.terminal.table import Column, names, table
from isotherm.terminal.text import labelled, short_size
from isotherm.units import (
    U64_MAX,
    exact_duration,
    exact_size,
    format_duration,
    format_size,
)

SCHEMA = "isotherm.apply/1"
_MAX_MAPPINGS = 8
_MAX_ERRORS = 3


def quota_text(quota: Quota | None) -> str:
    """Return "128M,50ms/s", or "none"."""
    if quota is None or not quota.limits:
        return "none"
    parts = [exact_size(quota.size_bytes)] if quota.size_bytes else []
    parts += [exact_duration(quota.time_ms * 1000)] if quota.time_ms else []
    parts += ["goal"] if quota.goals else []
    per = "s" if quota.reset_ms == 1000 else exact_duration(quota.reset_ms * 1000)
    return f"{','.join(parts)}/{per}"


def state_row(scheme: Scheme, state: SchemeState) -> list[str]:
    """Return a scheme's line of the live table."""
    stats, allowed = state.stats, state.effective_bytes
    if state.held:
        how = "held back"
    elif not state.active:
        how = "resting"
    else:
        how = f"{stats.qt_exceeds}x full" if stats.qt_exceeds else "-"
    limit = "-" if allowed is None or allowed >= U64_MAX // 10_000 else short_size(allowed)
    return [
        state.title,
        short_size(stats.sz_tried),
        short_size(stats.sz_applied),
        str(sum(stats.errors.values()) or "-"),
        limit if scheme.quota is not None and scheme.quota.limits else "none",
        "-" if state.score is None else f"{state.score:.2f}",
        how,
    ]


#: Which columns are left out first where there is no room.
_RANK = {"quota": 1, "goal": 2}
HEADER = ["scheme", "tried", "applied", "errors", "quota", "goal", "state"]


def _state_table(
    schemes: Sequence[Scheme], states: Sequence[SchemeState], width: int
) -> list[str]:
    rows = [state_row(scheme, state) for scheme, state in zip(schemes, states, strict=False)]
    columns = [
        names(HEADER[0]),
        *(Column(title, rank=_RANK.get(title, 0)) for title in HEADER[1:]),
    ]
    return table(columns, rows, width)


def live_lines(
    schemes: Sequence[Scheme],
    states: Sequence[SchemeState],
    footer: str,
    width: int | None = None,
) -> list[str]:
    """Return the table of schemes, and a line about the targets; width: of the standard error."""
    width = width_of(sys.stderr) if width is None else width
    return [*_state_table(schemes, states, width), *labelled("", footer, width, indent=1)]


def report_applied(result: Result, *, dry_run: bool, width: int | None = None) -> Report:
    """Return what came of it; width: columns of the text, those of the standard output."""
    width = width_of(sys.stdout) if width is None else width
    rows = [
        {
            "scheme": scheme.title,
            "action": scheme.does,
            "quota": quota_text(scheme.quota),
            **{k: v for k, v in asdict(state.stats).items() if k != "errors"},
            "errors": dict(state.stats.errors),
        }
        for scheme, state in zip(result.schemes, result.states, strict=False)
    ]
    document: dict[str, Any] = {
        "dry_run": dry_run,
        "seconds": round(result.seconds, 3),
        "snapshots": result.snapshots,
        "resident_before": result.resident_before,
        "resident_after": result.resident_after,
        "schemes": rows,
        "mappings": _mappings(result),
    }
    return Report(SCHEMA, document, rows, _text(result, width, dry_run=dry_run))


def _mappings(result: Result) -> list[dict[str, Any]]:
    """What was done, by scheme and mapping, the most first."""
    found = []
    for index, outcome in result.outcomes.by_scheme.items():
        found += [
            {
                "scheme": result.schemes[index].title,
                "mapping": name,
                "asked": asked,
                "done": outcome.done[name],
                "different": outcome.different[name].size if name in outcome.different else 0,
            }
            for name, asked in outcome.asked.items()
        ]
    return sorted(found, key=lambda row: (-row["done"], -row["asked"], row["mapping"]))


def _text(result: Result, width: int, *, dry_run: bool) -> list[str]:
    lines = _state_table(result.schemes, result.states, width)
    rows = _mappings(result)
    if rows:
        done = "would be done" if dry_run else "done"
        lines += ["", *_mapping_table(rows, done, width)]
    for error in _errors(result):
        lines += labelled("", error, width, indent=1)
    return [*lines, "", *labelled("", _summary(result, dry_run=dry_run), width, indent=1)]


def _summary(result: Result, *, dry_run: bool) -> str:
    before, after = result.resident_before, result.resident_after
    tried = any(state.stats.nr_tried for state in result.states)
    what = "done" if tried else "nothing was done"
    if dry_run:
        what = "nothing was done: a dry run"
    unit_ns = 10**9 if result.seconds >= 1 else 10**8
    seconds = format_duration(int(result.seconds * 1e9) // unit_ns * unit_ns)
    count = f"{result.snapshots} snapshot{'' if result.snapshots == 1 else 's'}"
    moved = ""
    if before and not dry_run:
        share = f"{(after - before) / before:+.0%}"
        moved = f", resident {format_size(before)} before, {format_size(after)} now ({share})"
    return f"{what}; {seconds}, {count}{moved}"


def _mapping_table(rows: Sequence[dict[str, Any]], done: str, width: int) -> list[str]:
    shown = rows[:_MAX_MAPPINGS]
    cells = [
        [
            row["mapping"],
            row["scheme"],
            short_size(row["asked"]),
            short_size(row["done"]),
            short_size(row["different"]),
        ]
        for row in shown
    ]
    columns = [names("mapping"), names("scheme", least=8)]
    columns += [Column("tried"), Column(done), Column("different", rank=1)]
    more = len(rows) - len(shown)
    return [*table(columns, cells, width), *([f" and {more} more"] if more else [])]


def _errors(result: Result) -> list[str]:
    lines = []
    for scheme, state in zip(result.schemes, result.states, strict=False):
        worst = sorted(state.stats.errors.items(), key=lambda item: -item[1])
        for reason, count in worst[:_MAX_ERRORS]:
            lines.append(f"{scheme.title}: {_times(count)} {reason}")
        if len(worst) > _MAX_ERRORS:
            lines.append(f"{scheme.title}: and {len(worst) - _MAX_ERRORS} more kinds of errors")
    return lines


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
