"""Two recordings beside each other, and limits that the second one is to keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from isotherm.analysis.compare import (
    RANKS,
    Change,
    Comparison,
    Condition,
    Judged,
    Metric,
    growth,
    parse_conditions,
)
from isotherm.analysis.figures import ALL, Figure, figures
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.errors import BadValueError, ThresholdError, shown
from isotherm.report.view import Option, Options, Page, PairView
from isotherm.terminal.table import Column, names, table
from isotherm.terminal.text import labelled, short_size, target_title
from isotherm.units import duration_ns, format_duration, format_size

#: Rows of the tables of groups and of mappings.
MAX_ROWS = 12
_INDENT = 12
#: Mappings that changed by less of all memory are not worth a line.
_TOLD_SHARE = 0.001


def _lengths(text: str) -> tuple[int, ...]:
    return tuple(map(duration_ns, text.split(",")))


FAIL_IF = Option(
    "--fail-if", "CONDITION", "exit 6 if so, e.g. 'wss.p95>+10%'; may be repeated.",
    read=parse_conditions, many=True,
)  # fmt: skip
STRICT = Option(
    "--unsure", "keep|fail", "what a condition does that cannot be told.",
    read=lambda text: _one_of(text, ("keep", "fail")), default="keep",
)  # fmt: skip
WINDOWS = Option(
    "--window", "TIME[,TIME]", "working sets of windows of these lengths [1s, if known].", _lengths
)


def _one_of(text: str, known: Sequence[str]) -> str:
    if text not in known:
        raise BadValueError(f"{shown(text)} is neither {' nor '.join(known)}")
    return text


@dataclass(frozen=True, slots=True)
class MappingChange:
    """
    Mappings of a title and kind, in bytes before and after.

    size: resident, or monitored by regions; used: within a window, at last.
    """

    what: str
    kind: str
    size: tuple[int, int]
    used: tuple[int, int]

    @property
    def most(self) -> int:
        """The larger one of both changes."""
        return max(abs(after - before) for before, after in (self.size, self.used))


@dataclass(frozen=True, slots=True)
class Difference:
    """
    What changed.

    titles: of both recordings, and facts of them; changes: of all and of each group; mappings:
    those that changed most first; unsure_fails: whether a condition that cannot be told is as
    good as crossed.
    """

    titles: tuple[tuple[str, str], tuple[str, str]]
    found: Comparison
    changes: tuple[Change, ...]
    mappings: tuple[MappingChange, ...]
    judged: tuple[Judged, ...]
    unsure_fails: bool

    @property
    def failed(self) -> list[Judged]:
        """The conditions that let it fail."""
        bad = ("crossed", "unsure") if self.unsure_fails else ("crossed",)
        return [one for one in self.judged if one.verdict in bad]


class DiffView(PairView[Difference]):
    """What became more or less from one recording to the other."""

    name = "diff"
    help = "what changed from a recording A to a recording B; limits for CI"
    schema = "isotherm.report.diff/1"
    options = (FAIL_IF, STRICT, WINDOWS)

    def compare(
        self, before: AnalysedRecording, after: AnalysedRecording, options: Options
    ) -> Difference:
        found = Comparison(figures(before), figures(after))
        windows: tuple[int | None, ...] = options["--window"] or (None,)
        changes = [found.change(metric) for metric in _metrics(windows)]
        if len(found.groups) > 1:
            per_group = [
                Metric("resident"), Metric("wss", windows[0], "p50"), Metric("idle"),
            ]  # fmt: skip
            changes += [
                found.change(replace(metric, group=group))
                for group in found.groups
                for metric in per_group
            ]
        conditions: list[Condition] = [one for many in options["--fail-if"] for one in many]
        judged = [result for one in conditions for result in found.judge(one)]
        return Difference(
            (_title(before, found, 0), _title(after, found, 1)),
            found,
            tuple(changes),
            tuple(_mappings(found)),
            tuple(judged),
            options["--unsure"] == "fail",
        )

    def verdict(self, value: Difference) -> ThresholdError | None:
        """Return the failure that CI is to see, if any."""
        if not value.failed:
            return None
        told = [f"{_quoted(one)} ({_how_much(one.change)})" for one in value.failed]
        return ThresholdError("; ".join(told), hint="what grew is in the table of mappings")

    def document(self, value: Difference) -> dict[str, Any]:
        return {
            "by": "pages" if value.found.by_pages else "regions",
            "window_ns": value.found.window_ns,
            "idle_age_ns": value.found.age_ns,
            "changes": self.rows(value),
            "mappings": [
                {
                    "what": row.what,
                    "kind": row.kind or None,
                    "before_bytes": row.size[0],
                    "after_bytes": row.size[1],
                    "used_before_bytes": row.used[0],
                    "used_after_bytes": row.used[1],
                }
                for row in value.mappings
            ],
            "conditions": [
                {
                    "condition": one.condition.text,
                    "group": one.change.metric.group or None,
                    "verdict": one.verdict,
                    **_numbers(one.change),
                }
                for one in value.judged
            ],
            "failed": bool(value.failed),
        }

    def rows(self, value: Difference) -> list[dict[str, Any]]:
        return [
            {
                "metric": replace(change.metric, group=ALL).title,
                "group": change.metric.group or None,
                **_numbers(change),
            }
            for change in value.changes
        ]

    def text(self, value: Difference, page: Page) -> list[str]:
        lines: list[str] = []
        for letter, (title, facts) in zip("AB", value.titles, strict=True):
            lines += labelled(letter, f"{title}   {facts}", page.width, 3)
        if not value.found.by_pages:
            told = "by whole regions, as there is no map of pages in both"
            lines += labelled("", told, page.width, 1)
        of_all = [change for change in value.changes if change.metric.group == ALL]
        lines += _table(of_all, page.width)
        groups = [change for change in value.changes if change.metric.group != ALL]
        if groups:
            lines += _table(groups, page.width, grouped=True)
        lines += _mapping_table(value, page.width)
        for one in value.judged:
            text = f"{_quoted(one)}: {_how_much(one.change)}"
            lines += labelled(_VERDICTS[one.verdict], text, page.width, _INDENT)
        return lines


_VERDICTS = {"crossed": "CROSSED", "kept": "kept", "unsure": "unsure"}


def _metrics(windows: Sequence[int | None]) -> Iterator[Metric]:
    for window in windows:
        for rank in RANKS:
            yield Metric("wss", window, rank)
    yield from (Metric("resident"), Metric("idle"), Metric("unknown"))


def _title(recording: AnalysedRecording, found: Comparison, side: int) -> tuple[str, str]:
    summary = (found.before, found.after)[side].summary
    facts = [target_title(summary.targets), format_duration(summary.duration_ns)]
    if found.window_ns is not None:
        count = (found.before, found.after)[side].nr_windows(found.window_ns)
        facts.append(f"{count} window{'s'[: count != 1]} of {format_duration(found.window_ns)}")
    if isinstance(backend := recording.info.get("backend"), str):
        facts.append(f"backend {shown(backend, 20)}")
    return shown(recording.path.name, 40), ", ".join(facts)


def _mappings(found: Comparison) -> list[MappingChange]:
    """Return all mappings of both, those that changed most first."""
    window_ns = found.window_ns or 0
    before, after = (side.mappings(window_ns) for side in (found.before, found.after))
    rows = []
    for what, kind in {**before, **after}:
        (size, used), (size_after, used_after) = (
            one.get((what, kind), (0, 0)) for one in (before, after)
        )
        rows.append(MappingChange(what, kind, (size, size_after), (used, used_after)))
    return sorted(rows, key=lambda row: (-row.most, row.what, row.kind))


def _numbers(change: Change) -> dict[str, Any]:
    before, after = change.before, change.after
    known: dict[str, Any] = {}
    for name, figure in (("before", before), ("after", after)):
        known[f"{name}_bytes"] = None if figure is None else figure.bytes
        known[f"{name}_low_bytes"] = None if figure is None else figure.low
        known[f"{name}_high_bytes"] = None if figure is None else figure.high
    share: float | None = None
    if before is not None and after is not None and before.bytes:
        share = round(100 * float(growth(before.bytes, after.bytes)), 4)
    return {**known, "change_percent": share, "told": change.told}


def _table(changes: Sequence[Change], width: int, *, grouped: bool = False) -> list[str]:
    doubtful = any(change.told == "unsure" for change in changes)
    columns = [*([names("group")] if grouped else []), names("", least=8)]
    columns += [Column("A"), Column("B"), Column("change"), Column("", right=False, rank=2)]
    columns += [Column("between", right=False, rank=1)] if doubtful else []
    cells = []
    for change in changes[: 3 * MAX_ROWS]:
        row = [*([change.metric.group] if grouped else []), _name(change.metric)]
        row += [_size(change.before), _size(change.after), *_changed(change)]
        cells.append([*row, *([_between(change)] if doubtful else [])])
    more = len(changes) - len(cells)
    return [*table(columns, cells, width), *([f" and {more} more"] if more else [])]


def _name(metric: Metric) -> str:
    return replace(metric, group=ALL).title


def _size(figure: Figure | None) -> str:
    return "?" if figure is None else format_size(figure.bytes)


def signed_size(change: int) -> str:
    """Return "+2.0 MiB", "-2.0 MiB", or "0 B"."""
    sign = "+" if change > 0 else "-" if change < 0 else ""
    return f"{sign}{format_size(abs(change))}"


def _changed(change: Change) -> tuple[str, str]:
    """Return what changed in bytes and in percent; of what cannot be told only that."""
    before, after = change.before, change.after
    if before is None or after is None:
        return "?", ""
    if change.told == "unsure":
        return "unsure", ""
    share = growth(before.bytes, after.bytes)
    worth = isinstance(share, Fraction) and abs(share) >= _TOLD_SHARE / 2
    percent = f"{float(share):+.1%}" if worth else ""
    return signed_size(after.bytes - before.bytes), percent


def _between(change: Change) -> str:
    """Return between which bounds a change is, where they are two."""
    before, after = change.before, change.after
    if before is None or after is None:
        return ""
    low, high = after.low - before.high, after.high - before.low
    return "" if low == high else f"{signed_size(low)} to {signed_size(high)}"


def _how_much(change: Change) -> str:
    """Return "64.8 MiB, then 71.2 MiB: +6.4 MiB +9.9%" for a condition."""
    pair = f"{_size(change.before)}, then {_size(change.after)}"
    between = _between(change)
    if change.told == "unsure":
        return f"{pair}, cannot be told: {between}"
    changed = " ".join(filter(None, _changed(change)))
    return f"{pair}: {changed}" + (f" ({between})" if between else "")


def _quoted(one: Judged) -> str:
    group = one.change.metric.group
    named = f" [{group}]" if group and f"[{group}]" not in one.condition.text else ""
    return f"{one.condition.text}{named}"


def _mapping_table(value: Difference, width: int) -> list[str]:
    """Return what changed worth telling."""
    whole = max(1, *(sum(row.size[i] for row in value.mappings) for i in (0, 1)))
    rows = [row for row in value.mappings if row.most > _TOLD_SHARE * whole]
    cells = [
        [
            row.what,
            row.kind or "-",
            *map(short_size, row.used),
            signed_size(row.used[1] - row.used[0]),
            signed_size(row.size[1] - row.size[0]),
        ]
        for row in rows[:MAX_ROWS]
    ]
    if not cells:
        return []
    window = value.found.window_ns
    used = "used" if window is None else f"used {format_duration(window)}"
    columns = [names("what"), Column("kind", right=False, rank=3)]
    columns += [Column(f"{used} A", rank=1), Column("B", rank=1), Column("change")]
    columns += [Column("resident" if value.found.by_pages else "monitored")]
    more = len(rows) - len(cells)
    return [*table(columns, cells, width), *([f" and {more} more"] if more else [])]
