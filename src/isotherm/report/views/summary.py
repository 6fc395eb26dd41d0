"""The page that says what is worth knowing first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from isotherm.analysis.heatmap import Heatmap, heatmap
from isotherm.analysis.hotness import UNKNOWN, Heat, total
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.analysis.suggestion import MISSED_SHARE, Suggestion, known_sum, suggest
from isotherm.analysis.summary import Summary
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
    """The numbers, and heat by address over the whole time; None where there are no regions."""

    summary: Summary
    heat: Heatmap | None
    suggestion: Suggestion | None


class SummaryView(View[Overview]):
    """How much memory is used, which, what it costs to know, and what could be done."""

    name = "summary"
    help = "what is worth knowing first"
    schema = "isotherm.report.summary/1"

    def analyse(self, recording: AnalysedRecording, options: Options) -> Overview:
        summary = recording.summary()
        heat = None
        if summary.last is not None:
            cells = min(_HEAT_CELLS, max(10, options.page.width - _INDENT - 3))
            heat = heatmap(recording.readable(), 1, cells, where=summary.where)
        return Overview(summary, heat, suggest(summary))

    def rows(self, value: Overview) -> list[dict[str, Any]]:
        return [_row(heat) for heat in value.summary.what]

    def document(self, value: Overview) -> dict[str, Any]:
        return _document(value)

    def text(self, value: Overview, page: Page) -> list[str]:
        lines = _headline(value.summary, page.width)
        for label, text in _facts(value):
            if label or text:
                lines += labelled(label, text, page.width, _INDENT if label else 1)
            else:
                lines += _what_table(value.summary, page.width)
        return lines


def _row(heat: Heat) -> dict[str, Any]:
    return {
        "what": heat.name,
        "size_bytes": heat.size,
        "hot_bytes": heat.hot,
        "warm_bytes": heat.warm,
        "idle_bytes": heat.idle,
        "idle_long_bytes": heat.idle_long,
        "unobservable_bytes": heat.unobservable,
    }


def _document(value: Overview) -> dict[str, Any]:
    summary = value.summary
    wss: dict[str, Any] | None = None
    if len(summary.wss):
        p50, p95, most = summary.wss.percentiles(50, 95, 100)
        wss = {"p50_bytes": p50, "p95_bytes": p95, "max_bytes": most}
    everything = total(summary.what)
    return {
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
        "working_set": wss,
        "idle_after_ns": summary.idle_after_ns,
        "idle_bytes": everything.idle_long,
        "idle_ages": [{"from_ns": low, "bytes": size} for low, size in summary.idle_ages()],
        "what": [_row(heat) for heat in summary.what],
        "suggestion": asdict(value.suggestion) if value.suggestion else None,
        "cost": {
            "cpu_share": summary.cost,
            "cpu_ns": summary.cpu_ns,
            "checks": summary.checks,
            "missed": summary.missed,
            "missed_share": summary.missed_share,
        },
    }


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
        return
    every = f"{span(*summary.aggr_us)} each, sampled every {span(*summary.sample_us)}"
    yield "windows", every
    p50, p95, most = summary.wss.percentiles(50, 95, 100)
    sizes = f"p50 {format_size(p50)}   p95 {format_size(p95)}   max {format_size(most)}"
    yield "working set", sizes
    everything = total(summary.what)
    observed = everything.size - everything.unobservable
    if 5 * summary.watched_ns >= 6 * summary.idle_after_ns and observed:
        share = f"({everything.idle_long / observed:.0%} of what could be observed)"
        idle = f"{format_size(everything.idle_long)} {share}"
        yield f"idle > {format_duration(summary.idle_after_ns)}", idle
    yield "heat", heat_line(value.heat)
    yield "", ""
    if (advice := value.suggestion) is not None:
        freed = format_size(advice.bytes)
        yield "suggestion", f"{elide(advice.what, 18)}: {advice.scheme} could free {freed}"
    missed = summary.missed_share
    if missed > MISSED_SHARE:
        warning = f"{missed:.1%} of the samples were missed: idle may mean not looked at"
        yield "warning", warning
    told = f", {missed:.1%} of samples missed" if missed >= _TOLD_SHARE else ""
    yield "monitoring", f"{summary.cost:.1%} of one CPU{told}"


def _sizes(summary: Summary) -> Iterator[tuple[str, str]]:
    everything = total(summary.what)
    sizes = (
        (known_sum(target.mapped_bytes for target in summary.targets), "mapped"),
        (known_sum(target.resident_bytes for target in summary.targets), "resident"),
        (everything.size, "monitored"),
    )
    known = [f"{format_size(size)} {name}" for size, name in sizes if size is not None]
    yield "", ", ".join(known)
    if everything.unobservable:
        why = {known.reason for known in summary.last.unobservable} if summary.last else set()
        reason = f" ({', '.join(sorted(why))})" if 0 < len(why) <= 2 else ""
        yield "", f"{format_size(everything.unobservable)} not observable{reason}"


def _what_table(summary: Summary, width: int) -> list[str]:
    shown = summary.what[:MAX_ROWS]
    if rest := summary.what[MAX_ROWS:]:
        shown = [*shown, total(rest, f"{len(rest)} others")]
    blind = any(heat.unobservable for heat in shown)
    columns = [names("what"), Column("size", rank=1), Column("hot"), Column("warm", rank=2)]
    columns += [Column("idle"), *([Column("not seen", rank=3)] if blind else [])]
    cells = []
    for heat in shown:
        sizes = [heat.size, heat.hot, heat.warm, heat.idle]
        sizes += [heat.unobservable] if blind else []
        name = "memory" if heat.name == UNKNOWN else heat.name
        cells.append([name, *map(short_size, sizes)])
    return table(columns, cells, width)
