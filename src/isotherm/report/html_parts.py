"""Parts of the HTML report but for the heat map: figures, curves, tables. All text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from isotherm.analysis.could_free import idle_age_ns
from isotherm.analysis.hotness import UNKNOWN, Heat, total
from isotherm.analysis.page_use import (
    Part,
    by_group,
    by_mapping,
    by_node,
    covered,
    curve,
    idle_ages,
    joined,
    within,
)
from isotherm.analysis.summary import Summary
from isotherm.analysis.timeline import WINDOW_NS, Timeline, binned
from isotherm.model.page_use import PageUse
from isotherm.model.scheme_state import SchemeState
from isotherm.pictures.page.charts import Line, Point, chart, share_text
from isotherm.pictures.page.heat import text
from isotherm.report import pages
from isotherm.terminal.text import span
from isotherm.units import format_duration, format_size

#: Rows of a table; the rest is summed up in one.
_ROWS = 40
_S = 1_000_000_000


class Cell(NamedTuple):
    """What a cell says, and what rows are sorted by; None: the text itself."""

    said: str
    value: float | None = None


def size_cell(nbytes: int | None) -> Cell:
    """Return a size, "?" where it is not known."""
    if nbytes is None:
        return Cell("?", -1)
    return Cell(format_size(nbytes) if nbytes else "-", nbytes)


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a table that is sorted by a click on a head; the first column is text."""
    lines = ["".join(f"<th>{text(head)}</th>" for head in heads)]
    for row in rows:
        cells = []
        for said, value in row:
            key = "" if value is None else f' data-value="{value:.17g}"'
            cells.append(f"<td{key}>{text(said)}</td>")
        lines.append("".join(cells))
    head, *body = (f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="wide"><table class="sortable"><thead>{head}</thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def section(title: str, *parts: str) -> str:
    """Return parts under a heading; nothing where there is nothing in it."""
    inner = "\n".join(part for part in parts if part)
    return f"<section><h2>{text(title)}</h2>\n{inner}\n</section>" if inner else ""


def tiles(summary: Summary) -> str:
    """Return the few figures that come first."""
    found = []
    use = summary.use
    if use is not None and (points := curve(use)):
        point = within(points, min(10 * _S, points[-1].window_ns))
        label = f"used within {format_duration(point.window_ns)}"
        found.append((format_size(point.bytes), f"{label} {pages.bounds(point)}".strip()))
    elif len(alike := summary.wss.alike()):
        size = format_size(alike.percentiles(50)[0])
        found.append((size, f"working set (p50) in {format_duration(max(alike.weights))}"))
    if summary.resident_bytes is not None:
        found.append((format_size(summary.resident_bytes), "resident"))
    if use is None or idle_age_ns(use) is not None:
        idle = f"idle for {format_duration(summary.idle_after_ns)} or longer"
        found.append((format_size(summary.idle_bytes), idle))
    unknown = use.unseen + use.uncovered if use else total(summary.what).unobservable
    found.append((format_size(unknown), "unknown"))
    if (free := summary.could_free) is not None:
        frees = f"pageout after {format_duration(free.age_ns)} frees"
        if lacking := free.lacking_bytes:
            frees += f"; {format_size(lacking)} more with swap or zram"
        found.append((format_size(free.bytes), frees))
    if summary.cpu_ns:
        found.append((f"{summary.cost:.2%}", "of one CPU for monitoring"))
    items = "".join(
        f"<li><b>{text(said)}</b><span>{text(what)}</span></li>" for said, what in found
    )
    return f'<ul class="tiles">{items}</ul>'


def use_curves(summary: Summary) -> str:
    """Return W(T) and idle ages, with what they lie between."""
    if (use := summary.use) is None:
        ages = [Point(age, size, size, size) for age, size in summary.idle_ages()]
        return chart(
            "Idle ages", "not accessed for so long or longer, whole regions",
            [Line("idle", ages, dots=True)], logarithmic=True,
        )  # fmt: skip
    used = [Point(p.window_ns, p.bytes, p.low_bytes, p.high_bytes) for p in curve(use)]
    ages = [Point(p.age_ns, p.bytes, p.low_bytes, p.high_bytes) for p in idle_ages(use).ages]
    return chart(
        "Working set W(T)", "used within the last time of this length; shaded: at least, at most",
        [Line("used", used, dots=True)], logarithmic=True,
    ) + chart(
        "Idle ages", "not used for so long or longer; shaded: surely, at most",
        [Line("idle", ages, dots=True)], logarithmic=True,
    )  # fmt: skip


def time_curves(summary: Summary, timeline: Timeline) -> str:
    """Return what changes over time: memory, what schemes did, cost."""
    ends = (summary.start_ns, summary.end_ns)

    def points(found: Iterable[tuple[int, float]]) -> list[Point]:
        return [Point(*one) for one in binned(found, *ends)]

    if timeline.by_pages:
        best, low, high = (
            points((at, sizes[i]) for at, *sizes in timeline.used) for i in range(3)
        )
        bounded = [
            Point(a.at, a.value, b.low, c.high) for a, b, c in zip(best, low, high, strict=True)
        ]
        lines = [Line(f"used within {format_duration(WINDOW_NS)}", bounded)]
    else:
        sizes = summary.wss
        used = points(
            (start + weight, size)
            for start, size, weight in zip(sizes.times_ns, sizes.sizes, sizes.weights, strict=True)
        )
        lines = [Line("accessed in a window, whole regions", used)]
    lines.append(Line("resident", points(timeline.resident)))
    applied = [
        Line(title or f"scheme {number}", points(found))
        for (number, title), found in timeline.schemes.items()
    ]
    return (
        chart("Memory", "over time; shaded: least and most", lines)
        + chart("Schemes", "bytes they were applied to so far", applied)
        + chart("Monitor", "share of one CPU", [Line("CPU", points(timeline.cpu_shares()))],
                spelled=share_text)
    )  # fmt: skip


def tables(summary: Summary) -> str:
    """Return tables of mappings, groups, processes and NUMA nodes."""
    if (use := summary.use) is None:
        return section("By mapping", _heat_table("mapping", summary.what)) + section(
            "By group", _heat_table("group", summary.group_heat)
        )
    targets = summary.use_targets
    groups = [
        replace(part, name=pages.numbered(part.name, targets)) for part in by_group(use, targets)
    ]
    processes = [part for _, part in pages.named_targets(use, targets)]
    nodes = [part for _, part in by_node(use)]
    made = section("By group", _parts_table(use, "group", groups))
    if len(processes) > 1:
        made += section("By process", _parts_table(use, "process", processes))
    made += section("By mapping", _parts_table(use, "mapping", by_mapping(use)))
    if len(nodes) > 1:
        made += section("By NUMA node", _parts_table(use, "node", nodes))
    return made


def _parts_table(use: PageUse, what: str, parts: Sequence[Part]) -> str:
    if not parts:
        return ""
    shown = sorted(parts, key=lambda part: -part.row.resident)
    if rest := shown[_ROWS:]:
        others = joined(f"{len(rest)} others", rest)
        shown = [*shown[:_ROWS], others]
    windows = [ns for ns in (_S, 10 * _S, 60 * _S) if ns in use.windows_ns]
    windows = windows or list(use.windows_ns[-1:])
    age = idle_age_ns(use)
    kinds = any(part.kind for part in parts)
    heads = [
        what,
        *(["kind"] if kinds else []),
        "resident",
        *(f"used {format_duration(ns)}" for ns in windows),
    ]
    heads += [f"idle {format_duration(age)}"] if age is not None else []
    heads += ["unknown"]
    rows = []
    for part in shown:
        at = [use.windows_ns.index(ns) for ns in windows]
        row = [Cell(part.name), *([Cell(part.kind or "")] if kinds else [])]
        row.append(size_cell(part.row.resident))
        row += [size_cell(part.row.used[i]) for i in at]
        if age is not None:
            row.append(size_cell(part.idle[use.windows_ns.index(age)]))
        rows.append([*row, size_cell(part.unknown)])
    return table(heads, rows)


def _heat_table(what: str, found: Sequence[Heat]) -> str:
    if not found:
        return ""
    shown = list(found[:_ROWS])
    if rest := found[_ROWS:]:
        shown.append(total(rest, f"{len(rest)} others"))
    rows = [
        [
            Cell("memory" if heat.name == UNKNOWN else heat.name),
            *map(size_cell, (heat.size, heat.hot, heat.warm, heat.idle, heat.unobservable)),
        ]
        for heat in shown
    ]
    return table([what, "size", "hot", "warm", "idle", "unknown"], rows)


def schemes_table(states: Sequence[SchemeState]) -> str:
    """Return what came of schemes by the end."""
    if not states:
        return ""
    rows = [
        [
            Cell(state.title),
            Cell(state.action),
            size_cell(state.stats.sz_tried),
            size_cell(state.stats.sz_applied),
            Cell(str(state.stats.nr_applied), state.stats.nr_applied),
            Cell(str(state.stats.qt_exceeds), state.stats.qt_exceeds),
            Cell(", ".join(f"{count} {why}" for why, count in state.stats.errors.items()) or "-"),
        ]
        for state in states
    ]
    heads = ["scheme", "action", "tried", "applied", "regions", "quota exceeded", "not done"]
    return table(heads, rows)


def facts(summary: Summary, info: dict[str, Any]) -> str:
    """Return cost and accuracy, and how it was recorded, as a list."""
    found: list[tuple[str, str]] = []
    if summary.cpu_ns:
        found.append(("monitoring", f"{summary.cost:.2%} of one CPU"))
    if summary.checks:
        missed = f"{summary.missed} missed ({summary.missed_share:.2%}), imputed from the others"
        found.append(("samples", f"{summary.checks}, {missed}"))
    if (use := summary.use) is not None:
        found.append(("looked at", f"{covered(use):.1%} of what is resident"))
        found.append(("unknown", pages.unknown_text(use)))
        found += pages.headlines(use, curve(use), summary.late_ns)
    elif everything := total(summary.what):
        found.append(("unknown", f"{format_size(everything.unobservable)} not observable"))
    every = f"{span(*summary.aggr_us)} each, sampled every {span(*summary.sample_us)}"
    found.append(("windows", f"{summary.snapshots}, {every}"))
    if summary.lost_snapshots:
        found.append(("missing", f"{summary.lost_snapshots} windows"))
    regions = f"{summary.regions} in all, {summary.max_regions} at most in a window"
    found.append(("regions", regions))
    for key in ("backend", "policy", "profile", "kernel", "isotherm"):
        if isinstance(said := info.get(key), str) and said:
            found.append((key, said))
    items = "".join(f"<dt>{text(key)}</dt><dd>{text(fact)}</dd>" for key, fact in found)
    return f"<dl>{items}</dl>"
