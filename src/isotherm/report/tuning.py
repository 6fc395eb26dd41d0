"""What a search found: the scheme, the trade-off, the curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isotherm.analysis.tuning import Tried, Tuned, Wish, measured
from isotherm.model.scheme import Scheme
from isotherm.report.foreseen import document, point_of, rate, row_of, sizes, unknown
from isotherm.report.output import Report
from isotherm.schemefile.lines.key_value import format_line
from isotherm.terminal.table import Column, table
from isotherm.terminal.text import labelled
from isotherm.units import format_duration, format_size

SCHEMA = "isotherm.tuned/1"
_INDENT = 12
_MET, _PERHAPS, _MISSED = "met", "perhaps", "missed"


def report(tuned: Tuned, width: int) -> Report:
    """Return what was found in all forms; rows are all that was tried."""
    trials = [
        {
            "point": point_of(one.point),
            "goal": met(tuned.wish, one),
            "trade_off": one.front,
            "refaults_per_s": _rates(one),
            **document(one.found),
        }
        for one in tuned.tried
    ]
    best = tuned.best
    found = {
        "goal": tuned.wish.text,
        "seed": tuned.seed,
        "best": None
        if best is None
        else {"point": point_of(best.point), "schemes": _lines_of(best.found.schemes)},
        "trials": trials,
    }
    rows = [
        {**row_of(one.point, one.found), "goal": met(tuned.wish, one), "trade_off": one.front}
        for one in tuned.tried
    ]
    return Report(SCHEMA, found, rows, _text(tuned, width))


def met(wish: Wish, one: Tried) -> str:
    """Say whether the limits are met: "perhaps" by best estimate, but not by all bounds."""
    if wish.excess(one.found):
        return _MISSED
    return _PERHAPS if wish.excess(one.found, surely=True) else _MET


def _rates(one: Tried) -> dict[str, float] | None:
    if one.found.refaulted is None:
        return None
    return dict(zip(("low", "best", "high"), measured("refaults", one.found), strict=True))


def _lines_of(schemes: Sequence[Scheme]) -> list[str]:
    return [format_line(scheme) for scheme in schemes]


def _text(tuned: Tuned, width: int) -> list[str]:
    first = tuned.tried[0].found
    length = format_duration(first.length_ns)
    facts: list[tuple[str, str]] = [
        ("recording", f"{length}, {format_size(first.resident)} resident at its end"),
        ("goal", tuned.wish.text),
        ("tried", f"{len(tuned.tried)} values, seed {tuned.seed}"),
    ]
    best = tuned.best
    if best is None:
        facts.append(("found", "nothing that was tried meets it"))
    else:
        facts += [("found", line) for line in _lines_of(best.found.schemes)]
        facts += [
            ("saved", f"{sizes(best.found.saved_mean)} on average"),
            ("came back", rate(best.found)),
        ]
        if met(tuned.wish, best) == _PERHAPS:
            facts.append(("", "the goal is met by best estimate, not within all bounds"))
    facts.append(("unknown", unknown(first)))
    lines = [part for name, text in facts for part in labelled(name, text, width, _INDENT)]
    front = [one for one in tuned.tried if one.front]
    if front:
        lines += ["", "trade-off: nothing that was tried saves as much for less that comes back"]
        lines += _table(tuned, front, width)
    if len(tuned.params) == 1:
        lines += ["", f"curve: all that was tried, by {tuned.params[0].name}"]
        lines += _table(tuned, tuned.tried, width)
    return lines


def _table(tuned: Tuned, some: Sequence[Tried], width: int) -> list[str]:
    columns = [
        *(Column(param.name) for param in tuned.params),
        Column("saved, mean"),
        Column("came back"),
        Column("goal"),
        Column("", right=False),
    ]
    cells = [
        [
            *(value.partition("=")[2] for value in one.point),
            sizes(one.found.saved_mean),
            rate(one.found),
            met(tuned.wish, one),
            "found" if tuned.best is not None and one.point == tuned.best.point else "",
        ]
        for one in some
    ]
    found: list[Any] = table(columns, cells, width)
    return found
