"""What schemes would have done to a recording: one answer, and a grid of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isotherm.analysis.foreseen import Bounds, Foreseen
from isotherm.model.ranges import PAGE
from isotherm.model.scheme import Action
from isotherm.report.output import Report
from isotherm.schemefile.lines.key_value import format_line
from isotherm.terminal.table import Column, table
from isotherm.terminal.text import labelled
from isotherm.units import format_duration, format_size

SCHEMA = "isotherm.foreseen/1"
GRID_SCHEMA = "isotherm.foreseen-grid/1"
_INDENT = 12
_SIMULATED = (Action.PAGEOUT, Action.STAT)


def report(found: Foreseen, width: int) -> Report:
    """Return one answer in all forms; rows are the looks at the pages."""
    rows = [
        {
            "since_ns": one.since_ns,
            **_flat("saved", one.saved),
            **_flat("refaulted", one.refaulted if found.refaulted is not None else None),
        }
        for one in found.moments
    ]
    lines = [
        line for label, text in _facts(found) for line in labelled(label, text, width, _INDENT)
    ]
    return Report(SCHEMA, {**document(found), "moments": rows}, rows, lines)


def grid_report(found: Sequence[tuple[Sequence[str], Foreseen]], width: int) -> Report:
    """Return the answers of a grid, each with its values ("age=10s"), in all forms."""
    points = [{"point": point_of(values), **document(one)} for values, one in found]
    rows = [row_of(values, one) for values, one in found]
    axes = [value.partition("=")[0] for value in found[0][0]]
    columns = [*map(Column, axes), Column("saved, mean"), Column("peak"), Column("came back")]
    cells = [
        [
            *(value.partition("=")[2] for value in values),
            sizes(one.saved_mean),
            sizes(one.saved_peak),
            rate(one),
        ]
        for values, one in found
    ]
    text = table(columns, cells, width)
    text += labelled("unknown", unknown(found[0][1]), width, _INDENT)
    return Report(GRID_SCHEMA, {"points": points}, rows, text)


def row_of(values: Sequence[str], found: Foreseen) -> dict[str, Any]:
    """Return a point of a grid as a row."""
    return {
        **point_of(values),
        **_flat("saved_mean", found.saved_mean),
        **_flat("saved_peak", found.saved_peak),
        **_flat("refaulted", found.refaulted),
        "nr_applied": sum(state.stats.nr_applied for state in found.states),
    }


def point_of(values: Sequence[str]) -> dict[str, str]:
    """Return the values of a point by their names."""
    return dict(value.split("=", 1) for value in values)


def document(found: Foreseen) -> dict[str, Any]:
    """Return an answer for JSON, without its moments."""
    return {
        "length_ns": found.length_ns,
        "resident_bytes": found.resident,
        "unknown_bytes": found.unknown,
        "swap_free_bytes": found.swap_bytes,
        "saved_mean_bytes": _bounds(found.saved_mean),
        "saved_peak_bytes": _bounds(found.saved_peak),
        "saved_end_bytes": _bounds(found.saved_end),
        "paged_out_bytes": _bounds(found.applied),
        "refaulted_bytes": None if found.refaulted is None else _bounds(found.refaulted),
        "schemes": [
            {
                "scheme": format_line(scheme),
                "title": state.title,
                "action": state.action,
                "effect_known": scheme.action in _SIMULATED,
                "nr_tried": state.stats.nr_tried,
                "tried_bytes": state.stats.sz_tried,
                "nr_applied": state.stats.nr_applied if scheme.action is Action.PAGEOUT else None,
                "quota_bytes": state.effective_bytes,
                "quota_windows_used_up": state.stats.qt_exceeds,
                "goal_score": state.score,
            }
            for scheme, state in zip(found.schemes, found.states, strict=True)
        ],
    }


def _bounds(value: Bounds) -> dict[str, int]:
    return {"low": value.low, "best": value.best, "high": value.high}


def _flat(name: str, value: Bounds | None) -> dict[str, int | None]:
    if value is None:
        return dict.fromkeys((f"{name}_low", f"{name}_bytes", f"{name}_high"))
    return {
        f"{name}_low": value.low,
        f"{name}_bytes": value.best,
        f"{name}_high": value.high,
    }


def sizes(value: Bounds) -> str:
    """Return a size and its bounds, where there are any."""
    best, low, high = map(format_size, (value.best, value.low, value.high))
    return best if low == high else f"{best} ({low} to {high})"


def rate(found: Foreseen) -> str:
    """Return what came back, in pages a second."""
    if found.refaulted is None:
        return "not counted"
    low, best, high = (
        f"{nbytes / PAGE * 1e9 / found.length_ns:,.0f}"
        for nbytes in (found.refaulted.low, found.refaulted.best, found.refaulted.high)
    )
    return f"{best} pages/s" if low == high else f"{best} pages/s ({low} to {high})"


def _facts(found: Foreseen) -> list[tuple[str, str]]:
    length = format_duration(found.length_ns)
    facts = [("recording", f"{length}, {format_size(found.resident)} resident at its end")]
    for scheme, state in zip(found.schemes, found.states, strict=True):
        facts.append(("scheme", format_line(scheme)))
        said = f"{state.stats.nr_tried:,} times on {format_size(state.stats.sz_tried)}"
        if scheme.action is Action.PAGEOUT:
            said += f", {state.stats.nr_applied:,} times something was paged out"
        elif scheme.action not in _SIMULATED:
            said += "; what that would do to the memory is not in a recording"
        facts.append(("tried", said))
        if state.effective_bytes is not None:
            limit = format_size(state.effective_bytes)
            used_up = f"{limit} each time at last, used up {state.stats.qt_exceeds:,} times"
            facts.append(("quota", used_up))
        if scheme.quota is not None and scheme.quota.time_ms:
            facts.append(
                ("", "how long actions take is not in a recording: time is no limit here")
            )
        if state.score is not None:
            facts.append(("goal", f"{state.score:.0%} of it is met"))
    if any(scheme.action is Action.PAGEOUT for scheme in found.schemes):
        facts += [
            ("saved", f"{sizes(found.saved_mean)} on average"),
            ("", f"{sizes(found.saved_peak)} at most, {sizes(found.saved_end)} at the end"),
            ("paged out", f"{sizes(found.applied)} in all"),
            ("came back", rate(found)),
            ("swap", _swap(found)),
        ]
    facts.append(("unknown", unknown(found)))
    return facts


def _swap(found: Foreseen) -> str:
    if found.swap_bytes is None:
        return "how much there was is not known: as much as is needed"
    if not found.swap_bytes:
        return "none, so anonymous memory stays; --swap 1G tells what there would be with it"
    return f"{format_size(found.swap_bytes)}"


def unknown(found: Foreseen) -> str:
    """Say of how much nobody knows."""
    if not found.unknown:
        return "nothing; of memory in () is not known where in a mapping it lies"
    size = format_size(found.unknown)
    return f"{size} of which nobody knows when they were used: none of it is counted as saved"
