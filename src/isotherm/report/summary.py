"""`isotherm report`: the page that says what is worth knowing first."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from isotherm.analysis.heatmap import heatmap
from isotherm.analysis.hotness import UNKNOWN, Heat, total
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.analysis.summary import Summary
from isotherm.errors import escaped
from isotherm.report.output import Report
from isotherm.terminal.heatmap import heat_line
from isotherm.terminal.style import WIDTH
from isotherm.terminal.table import Column, names, table
from isotherm.terminal.text import elide, short_size, target_title
from isotherm.units import format_duration, format_size

SCHEMA = "isotherm.report.summary/1"
#: Rows of the table of mappings; the rest is summed up in one.
MAX_ROWS = 12
_HEAT_CELLS = 62
_NAME_WIDTH = 26
#: A suggestion must be worth it: this much memory, and this share of what was monitored.
_WORTH_BYTES = 16 << 20
_WORTH_SHARE = 0.1
#: With more of the samples missed than this, idle may only mean that nobody looked.
_MISSED_SHARE = 0.5


def report_summary(recording: AnalysedRecording) -> Report:
    """Return the summary of a recording; reads it twice."""
    summary = recording.summary()
    line = ""
    if summary.last is not None:
        grid = heatmap(recording.readable(), 1, _HEAT_CELLS, where=summary.where)
        line = heat_line(grid)
    return Report(SCHEMA, _document(summary), _rows(summary), _text(summary, line))


def _known(values: list[int | None]) -> int | None:
    """Return the sum, or None where nothing is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _blindness(summary: Summary) -> float:
    """Return the share of samples that were asked for and not looked at."""
    return summary.missed / summary.checks if summary.checks else 0.0


def suggestion(summary: Summary) -> dict[str, Any] | None:
    """Return the mapping from which the most could be paged out, if that is worth saying."""
    best = max(summary.what, key=lambda heat: heat.idle_long, default=None)
    everything = total(summary.what)
    resident = _known([target.resident_bytes for target in summary.targets])
    if best is None or resident is None or _blindness(summary) > _MISSED_SHARE:
        return None  # how much of it is in memory, and whose, is not known
    if best.idle_long < max(_WORTH_BYTES, _WORTH_SHARE * everything.size):
        return None
    in_use = everything.hot + everything.warm
    freed = min(best.idle_long, resident - in_use)
    if freed < _WORTH_BYTES:
        return None
    age = format_duration(summary.idle_after_ns)
    return {"what": best.name, "scheme": f"pageout access=0% age={age}..", "bytes": freed}


def _rows(summary: Summary) -> list[dict[str, Any]]:
    return [
        {
            "what": heat.name,
            "size_bytes": heat.size,
            "hot_bytes": heat.hot,
            "warm_bytes": heat.warm,
            "idle_bytes": heat.idle,
            "idle_long_bytes": heat.idle_long,
            "unobservable_bytes": heat.unobservable,
        }
        for heat in summary.what
    ]


def _document(summary: Summary) -> dict[str, Any]:
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
        "regions": len(summary.last.columns) if summary.last else 0,
        "max_regions": summary.max_regions,
        "monitored_bytes": everything.size,
        "unobservable_bytes": everything.unobservable,
        "working_set": wss,
        "idle_after_ns": summary.idle_after_ns,
        "idle_bytes": everything.idle_long,
        "idle_ages": [{"from_ns": low, "bytes": size} for low, size in summary.idle_ages()],
        "what": _rows(summary),
        "suggestion": suggestion(summary),
        "cost": {
            "cpu_share": summary.cost,
            "cpu_ns": summary.cpu_ns,
            "checks": summary.checks,
            "missed": summary.missed,
            "missed_share": _blindness(summary),
        },
    }


def _text(summary: Summary, line: str) -> list[str]:
    out = [_headline(summary), *_sizes(summary)]
    if summary.lost_snapshots:
        out.append(f" {summary.lost_snapshots} snapshots are missing")
    if summary.last is None:
        return [*out, " no region was ever monitored"]
    everything = total(summary.what)
    p50, p95, most = summary.wss.percentiles(50, 95, 100)
    out.append(
        f" working set   p50 {format_size(p50)}   p95 {format_size(p95)}   max {format_size(most)}"
    )
    observed = everything.size - everything.unobservable
    if summary.duration_ns >= summary.idle_after_ns and observed:
        out.append(
            f" idle > {format_duration(summary.idle_after_ns):<6} "
            f"{format_size(everything.idle_long)} ({everything.idle_long / observed:.0%})"
        )
    out += [f" heat          {line}", *_what_table(summary)]
    if (advice := suggestion(summary)) is not None:
        out.append(
            f" suggestion    {elide(advice['what'], 18)}: {advice['scheme']} "
            f"could free {format_size(advice['bytes'])}"
        )
    blindness = _blindness(summary)
    if blindness > _MISSED_SHARE:
        out.append(
            f" warning       {blindness:.1%} of the samples were missed: "
            "idle may mean not looked at"
        )
    missed = f", {blindness:.1%} of samples missed" if summary.missed else ""
    out.append(f" monitoring    {summary.cost:.1%} of one CPU{missed}")
    return out


def _headline(summary: Summary) -> str:
    return (
        f"{target_title(summary.targets)}   {summary.duration_ns / 1e9:.1f}s   "
        f"{summary.snapshots} snapshots   {summary.max_regions} regions at most"
    )


def _sizes(summary: Summary) -> list[str]:
    mapped = _known([target.mapped_bytes for target in summary.targets])
    resident = _known([target.resident_bytes for target in summary.targets])
    parts = [
        f"{format_size(size)} {name}"
        for size, name in ((mapped, "mapped"), (resident, "resident"))
        if size is not None
    ]
    everything = total(summary.what)
    parts.append(f"{format_size(everything.size)} monitored")
    lines = [" " + ", ".join(parts)]
    if everything.unobservable:
        why = {escaped(u.reason) for u in summary.last.unobservable} if summary.last else set()
        reason = f" ({', '.join(sorted(why))})" if 0 < len(why) <= 2 else ""
        lines.append(f" {format_size(everything.unobservable)} not observable{reason}")
    return lines


def _what_table(summary: Summary) -> list[str]:
    shown = summary.what[:MAX_ROWS]
    if rest := summary.what[MAX_ROWS:]:
        shown = [*shown, total(rest, f"{len(rest)} others")]
    blind = any(heat.unobservable for heat in shown)
    columns = [
        names("what"),
        *(
            Column(title, rank=rank)
            for title, rank in (("size", 1), ("hot", 0), ("warm", 2), ("idle", 0))
        ),
        *([Column("not seen", rank=3)] if blind else []),
    ]

    def row(heat: Heat) -> list[str]:
        sizes = [heat.size, heat.hot, heat.warm, heat.idle]
        sizes += [heat.unobservable] if blind else []
        name = "memory" if heat.name == UNKNOWN else heat.name
        return [elide(name, _NAME_WIDTH), *(short_size(size) for size in sizes)]

    return table(columns, [row(heat) for heat in shown], WIDTH)
