"""What schemes would have done to a recording: the half of `isotherm simulate` with a file."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from isotherm.analysis.foreseen import check
from isotherm.cli.workers import Question, workers
from isotherm.errors import BadValueError, DamagedRecordingError, quoted
from isotherm.model.scheme import Action, FilterType, Quota, Scheme
from isotherm.report.foreseen import grid_report, report
from isotherm.report.output import Report
from isotherm.schemefile.files import load
from isotherm.schemefile.lines.key_value import parse_line
from isotherm.schemes.defaults import with_quotas
from isotherm.units import duration_ns, size

_AXES = ("age", "quota")


def told(
    words: Sequence[str], grid: Sequence[str], swap: str | None, width: int
) -> tuple[Report, DamagedRecordingError | None]:
    """
    Return what schemes would have done, and why not all of the recording could be read.

    words: the recording, the schemes, and more axes of a grid; grid: axes, "age=10s,30s".
    """
    if len(words) < 2:
        raise BadValueError("which schemes?", hint="isotherm simulate FILE prcl")
    path, source, *more = words
    axes = [axis(text) for text in (*grid, *more)]
    if more and not grid:
        raise BadValueError(
            f"a recording and schemes are two words: what is {quoted(more[0])}?",
            hint="schemes of several words stand between quotes; --grid age=10s,30s tries several",
        )
    schemes = with_quotas(load(source).schemes)
    swap_bytes = None if swap is None else size(swap)
    check(schemes)
    if not axes:
        found = Question(path, schemes, swap_bytes).answer()
        return report(found, width), found.damage
    points = list(itertools.product(*axes))
    questions = [Question(path, changed(schemes, point), swap_bytes) for point in points]
    for question in questions:
        check(question.schemes)
    with workers(len(questions)) as answered:
        answers = answered(questions)
    return grid_report(list(zip(points, answers, strict=True)), width), answers[0].damage


def axis(text: str) -> list[str]:
    """Return the values of an axis, each with its name: "age=10s"."""
    name, equals, values = text.partition("=")
    if not equals or name not in _AXES or not all(values.split(",")):
        raise BadValueError(
            f"{quoted(text)} is no axis of a grid",
            hint="age=10s,30s,2m or quota=16M/s,128M/s",
        )
    found = [f"{name}={value}" for value in dict.fromkeys(values.split(","))]
    for one in found:
        _changed(Scheme(Action.STAT), one)
    return found


def changed(schemes: Sequence[Scheme], point: Sequence[str]) -> tuple[Scheme, ...]:
    """Return the schemes that act with the values of a point of a grid."""
    found = tuple(schemes)
    for value in point:
        found = tuple(_changed(one, value) if one.action is not Action.STAT else one
                      for one in found)  # fmt: skip
    return found


def _changed(scheme: Scheme, value: str) -> Scheme:
    name, _, text = value.partition("=")
    if name == "quota":
        asked = parse_line(f"stat quota={text}").quota or Quota()
        mine = scheme.quota or Quota()
        return replace(
            scheme,
            quota=replace(
                mine,
                size_bytes=asked.size_bytes,
                time_ms=asked.time_ms,
                reset_ms=asked.reset_ms,
            ),
        )
    age_us = duration_ns(text) // 1000
    if not scheme.idle_us:
        age = replace(scheme.pattern.age, low=age_us, unit="us")
        return replace(scheme, pattern=replace(scheme.pattern, age=age))
    rules = tuple(
        replace(rule, bounds=(age_us, rule.bounds[1]))
        if rule.type is FilterType.IDLE and rule.bounds
        else rule
        for rule in scheme.filters
    )
    return replace(scheme, filters=rules)
