"""The page that says what is worth knowing first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from isotherm.analysis.heatmap import Heatmap
from isotherm.analysis.hotness import UNKNOWN, Heat, total
from isotherm.analysis.idleness import is_reached
from isotherm.analysis.page_use import by_mapping, curve, idle_ages
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.analysis.smallest import smallest_hot
from isotherm.analysis.suggestion import MISSED_SHARE, Suggestion, suggest
from isotherm.analysis.summary import Summary, known_sum
from isotherm.model.calibration import Digest
from isotherm.model.page_use import PageUse
from isotherm.recording.calibration import parsed_digest
from isotherm.report import calibration, pages
from isotherm.report.sorting import HEAT_KEYS, SORT, Sort
from isotherm.report.view import Options, Page, View, headline
from isotherm.terminal.heatmap import heat_line
from isotherm.terminal.table import Column, names, table
from isotherm.terminal.text import elide, labelled, short_size, span, target_title
from isotherm.units import format_duration, format_size

#: Rows of the table of mappings; the rest is summed up in one.
MAX_ROWS = 12
#: Missing less than this is not worth a word.
_TOLD_SHARE = 0.0005
#: Where values begin.
_INDENT = 15
#: The longest line of heat.
_HEAT_CELLS = 62


@dataclass(frozen=True, slots=True)
class Overview:
    """
    The numbers, and heat by address over the whole time; None where there are no regions.

    sort: in which order mappings and groups stand, None: the largest first; measured: what
    `isotherm calibrate` had measured where it was recorded, under a kernel of `release`.
    """

    summary: Summary
    heat: Heatmap | None
    suggestion: Suggestion | None
    sort: Sort | None = None
    measured: Digest | None = None
    release: str = ""


class SummaryView(View[Overview]):
    """How much memory is used, which, what it costs to know, and what could be done."""

    name = "summary"
    help = "what is worth knowing first"
    schema = "isotherm.report.summary/2"
    options = (SORT,)

    def analyse(self, recording: AnalysedRecording, options: Options) -> Overview:
        cells = min(_HEAT_CELLS, max(10, options.page.width - _INDENT - 3))
        summary, heat = recording.summary_and_heat(cells)
        advice, sort = suggest(summary), options["--sort"]
        if sort is not None:
            what = sort.ordered(summary.what, HEAT_KEYS)
            groups = sort.ordered(summary.group_heat, HEAT_KEYS)
            summary = replace(summary, what=what, group_heat=groups)
        measured = parsed_digest(recording.info.get("calibration"))
        release = str(recording.info.get("kernel", ""))
        if summary.last is None:
            heat = None
        return Overview(summary, heat, advice, sort, measured, release)

    def rows(self, value: Overview) -> list[dict[str, Any]]:
        if (use := value.summary.use) is not None:
            parts = pages.in_order(use, by_mapping(use), value.sort)
            return [pages.part_row(use, part) for part in parts]
        return [_row(heat) for heat in value.summary.what]

    def document(self, value: Overview) -> dict[str, Any]:
        return _document(value)

    def text(self, value: Overview, page: Page) -> list[str]:
        lines = _headline(value.summary, page.width)
        if value.summary.use is not None:
            lines += _by_pages(value.summary, value.summary.use, page.width)
        for label, text in _facts(value):
            if label or text:
                lines += labelled(label, text, page.width, _INDENT if label else 1)
            elif value.summary.use is None:
                lines += _heat_table("what", value.summary.what, page.width)
                lines += _groups_table(value.summary, page.width)
            else:
                targets = value.summary.use_targets
                lines += pages.tables(value.summary.use, targets, page.width, value.sort)
        return lines


def _by_pages(summary: Summary, use: PageUse, width: int) -> list[str]:
    """Return what a map of pages knows: what was used, what not, what nobody knows."""
    points = curve(use)
    lines = []
    for label, text in pages.headlines(use, points, summary.late_ns):
        lines += labelled(label, text, width, _INDENT)
    lines += pages.listed("used within", pages.curve_items(points), width, _INDENT)
    equal = summary.equal_use
    if equal is not None and len(equal) > 1:
        p50, p95, most = map(format_size, equal.percentiles(50, 95, 100))
        each = f"{len(equal)} windows of {format_duration(equal.window_ns)}"
        items = [f"p50 {p50}", f"p95 {p95}", f"max {most}", f"of {each}"]
        lines += pages.listed("", items, width, _INDENT)
    lines += pages.listed("not used for", pages.age_items(idle_ages(use)), width, _INDENT)
    lines += labelled("unknown", pages.unknown_text(use), width, _INDENT)
    if (found := summary.could_free) is not None:
        lines += labelled("could free", pages.could_free_text(found), width, _INDENT)
    return lines


def _row(heat: Heat) -> dict[str, Any]:
    return {"what": heat.name, **pages.heat_document(heat)}


def _document(value: Overview) -> dict[str, Any]:
    summary = value.summary
    everything = total(summary.what)
    smallest = smallest_hot(summary.last, summary.use)
    return {
        **pages.document(summary),
        "targets": [asdict(target) for target in summary.targets],
        "start_ns": summary.start_ns,
        "duration_ns": summary.duration_ns,
        "snapshots": summary.snapshots,
        "lost_snapshots": summary.lost_snapshots,
        "sample_us": list(summary.sample_us),
        "aggr_us": list(summary.aggr_us),
        "regions": len(summary.last.columns) if summary.last else 0,
        "max_regions": summary.max_regions,
        "monitored_bytes": everything.size,
        "unobservable_bytes": everything.unobservable,
        "working_set": _working_set(summary),
        "idle_after_ns": summary.idle_after_ns,
        "idle_bytes": summary.idle_bytes,
        "what": [_row(heat) for heat in summary.what],
        "smallest_hot": asdict(smallest) if smallest else None,
        "suggestion": asdict(value.suggestion) if value.suggestion else None,
        "calibration": calibration.as_json(value.measured),
        "cost": {
            "cpu_share": summary.cost,
            "cpu_ns": summary.cpu_ns,
            "checks": summary.checks,
            "missed": summary.missed,
            "missed_share": summary.missed_share,
        },
    }


def _working_set(summary: Summary) -> dict[str, Any] | None:
    """Return percentiles over equal windows, None where there were none."""
    equal = summary.equal_use
    if equal is not None and len(equal):
        window_ns, count, sizes = equal.window_ns, len(equal), equal.percentiles(50, 95, 100)
    elif len(alike := summary.wss.alike()):
        window_ns, count = max(alike.weights), len(alike)
        sizes = alike.percentiles(50, 95, 100)
    else:
        return None
    named = dict(zip(("p50_bytes", "p95_bytes", "max_bytes"), sizes, strict=True))
    return {"window_ns": window_ns, "windows": count, **named}


def _headline(summary: Summary, width: int) -> list[str]:
    facts = (
        f"{summary.duration_ns / 1e9:.1f}s",
        f"{summary.snapshots} snapshots",
        f"{summary.max_regions} regions at most",
    )
    return headline(target_title(summary.targets), facts, width)


def _facts(value: Overview) -> Iterator[tuple[str, str]]:
    """Yield labels and texts; no label: a line of its own; neither: here goes the table."""
    summary = value.summary
    yield from _sizes(summary)
    if summary.lost_snapshots:
        yield "", f"{summary.lost_snapshots} snapshots are missing"
    if summary.last is None or value.heat is None:
        yield "", "no region was ever monitored"
        if summary.use is None:
            return
    else:
        every = f"{span(*summary.aggr_us)} each, sampled every {span(*summary.sample_us)}"
        yield "windows", every
        if summary.use is None:
            yield from _by_regions(summary)
        yield "heat", heat_line(value.heat)
        if (smallest := smallest_hot(summary.last, summary.use)) is not None:
            yield "would find", f"95% of hot spots of {format_size(smallest.bytes)} or more"
    yield "", ""
    if (advice := value.suggestion) is not None:
        yield (
            "suggestion",
            f"{elide(advice.what, 18)}: {advice.scheme} could free {_freed(advice)}",
        )
    missed = summary.missed_share
    if missed > MISSED_SHARE:
        warning = f"{missed:.1%} of the samples were missed: idle may mean not looked at"
        yield "warning", warning
    told = f", {missed:.1%} of samples missed" if missed >= _TOLD_SHARE else ""
    if summary.cpu_ns or summary.checks:  # neither is known of what damo recorded
        yield "monitoring", f"{summary.cost:.1%} of one CPU{told}"
    if value.measured is not None:
        yield "calibrated", calibration.quote(value.measured, value.release)


def _by_regions(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield what whole regions say of the working set and of idle memory."""
    alike = summary.wss.alike()
    sizes = "   ".join(
        f"{name} {format_size(size)}"
        for name, size in zip(("p50", "p95", "max"), alike.percentiles(50, 95, 100), strict=True)
    )
    each = span(*(round(ns / 1e6) * 1000 for ns in (min(alike.weights), max(alike.weights))))
    shares = summary.last is not None and summary.last.shares
    counted = "shares of mappings" if shares else "whole regions"
    yield "working set", f"{sizes}   in {each}, {counted}"
    everything = total(summary.what)
    observed = everything.size > everything.unobservable
    if is_reached(summary.idle_after_ns, summary.watched_ns) and observed:
        idle = f"{format_size(summary.idle_bytes)}, by {counted}"
        yield f"idle > {format_duration(summary.idle_after_ns)}", idle


def _freed(advice: Suggestion) -> str:
    """Return how much a suggestion would free, and what swap space has to do with it."""
    if not advice.with_swap:
        return format_size(advice.bytes)
    more = f"{format_size(advice.with_swap)} with swap or zram"
    return f"{format_size(advice.bytes)}, and {more}" if advice.bytes else more


def _sizes(summary: Summary) -> Iterator[tuple[str, str]]:
    everything = total(summary.what)
    sizes = (
        (known_sum(target.mapped_bytes for target in summary.targets), "mapped"),
        (summary.resident_bytes, "resident"),
        (everything.size, "monitored"),
    )
    known = [f"{format_size(size)} {name}" for size, name in sizes if size is not None]
    yield "", ", ".join(known)
    if everything.unobservable and summary.use is None:
        why = {known.reason for known in summary.last.unobservable} if summary.last else set()
        reason = f" ({', '.join(sorted(why))})" if 0 < len(why) <= 2 else ""
        yield "", f"{format_size(everything.unobservable)} not observable{reason}"


def _groups_table(summary: Summary, width: int) -> list[str]:
    found = [
        replace(heat, name=pages.numbered(heat.name, summary.targets))
        for heat in summary.group_heat
    ]
    return _heat_table("group", found, width) if found else []


def _heat_table(title: str, found: Sequence[Heat], width: int) -> list[str]:
    shown = list(found[:MAX_ROWS])
    if rest := found[MAX_ROWS:]:
        shown = [*shown, total(rest, f"{len(rest)} others")]
    blind = any(heat.unobservable for heat in shown)
    columns = [names(title), Column("size", rank=1), Column("hot"), Column("warm", rank=2)]
    columns += [Column("idle"), *([Column("not seen", rank=3)] if blind else [])]
    cells = []
    for heat in shown:
        sizes = [heat.size, heat.hot, heat.warm, heat.idle]
        sizes += [heat.unobservable] if blind else []
        name = "memory" if heat.name == UNKNOWN else heat.name
        cells.append([name, *map(short_size, sizes)])
    return table(columns, cells, width)
