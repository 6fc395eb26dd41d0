"""The other views of a recording: regions, heatmap, working set, information."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from isotherm.analysis.hotness import display_name, idle_ns
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.errors import BadValueError, escaped
from isotherm.model.ranges import parts
from isotherm.model.snapshot import Region, Snapshot
from isotherm.model.target import Mapping
from isotherm.report.output import Report
from isotherm.terminal.heatmap import plot_size, render
from isotherm.terminal.style import WIDTH
from isotherm.terminal.table import Column, names, table
from isotherm.terminal.text import bar, short_size, target_title
from isotherm.units import format_duration, format_size

PERCENTS = (0, 25, 50, 75, 90, 95, 99, 100)
_BAR_WIDTH = 40


def report_wss(recording: AnalysedRecording, *, min_access_percent: float = 0) -> Report:
    """Return the distribution of the working set size over the windows."""
    found = recording.wss(min_access_percent=min_access_percent)
    sizes = found.percentiles(*PERCENTS)
    rows = [{"percent": p, "bytes": size} for p, size in zip(PERCENTS, sizes, strict=True)]
    document: dict[str, Any] = {
        "min_access_percent": min_access_percent,
        "windows": len(found),
        "mean_bytes": round(found.mean),
        "max_unobservable_bytes": max(found.unobservable),
        "percentiles": rows,
    }
    most = max(1, sizes[-1])
    text = [
        f" p{p:<4} {format_size(size):>9}  {bar(size / most, _BAR_WIDTH)}"
        for p, size in zip(PERCENTS, sizes, strict=True)
    ]
    least = f" in {min_access_percent:g}% of the samples or more" if min_access_percent else ""
    head = f"working set: bytes accessed{least} in a window; {len(found)} windows"
    text = [head, *text, f" mean  {format_size(round(found.mean)):>9}"]
    if blind := document["max_unobservable_bytes"]:
        text.append(f" not counted: up to {format_size(blind)} that could not be observed")
    return Report("isotherm.report.wss/1", document, rows, text)


def report_heatmap(
    recording: AnalysedRecording, width: int, height: int, *, colour: bool, target: int | None
) -> Report:
    """Return heat by address and time, as large as the given terminal space."""
    columns, rows = plot_size(width, height, colour=colour)
    grid = recording.heatmap(columns, rows, target_id=target)
    step = (grid.end_ns - grid.start_ns) / grid.columns
    times = [round(grid.start_ns + i * step) for i in range(grid.columns + 1)]
    document: dict[str, Any] = {
        "target": {"id": grid.target.id, "name": grid.target.name, "pid": grid.target.pid},
        "times_ns": times,
        "rows": [{"start": r.start, "end": r.end} for r in grid.row_ranges],
        "heat": grid.heat,
        "unobservable": grid.unobservable,
    }
    cells = [
        {
            "start": addresses.start,
            "end": addresses.end,
            "start_ns": times[column],
            "end_ns": times[column + 1],
            "heat": heat[column],
            "unobservable": blind[column],
        }
        for addresses, heat, blind in zip(
            grid.row_ranges, grid.heat, grid.unobservable, strict=True
        )
        for column in range(grid.columns)
    ]
    head = f"{target_title([grid.target])}   heat by address ↑ and time →"
    text = [head, *render(grid, width, height - 1, colour=colour)]
    return Report("isotherm.report.heatmap/1", document, cells, text)


def _pick(
    recording: AnalysedRecording, at_ns: int | None
) -> tuple[Snapshot, dict[int, tuple[Mapping, ...]], int]:
    """Return the last snapshot with regions (begun by `at_ns`), its maps and the first time."""
    chosen: Snapshot | None = None
    mappings: dict[int, tuple[Mapping, ...]] = {}
    begin = None
    for snapshot in recording.readable():
        begin = snapshot.start_ns if begin is None else begin
        late = at_ns is not None and snapshot.start_ns - begin > at_ns
        if late and chosen is not None:
            continue  # reading on finds damage further back
        if snapshot.mappings:
            mappings.update(snapshot.mappings)
        if len(snapshot.columns):
            chosen = snapshot
    if chosen is None or begin is None:
        raise BadValueError("the recording holds no regions")
    return chosen, mappings, begin


def report_regions(
    recording: AnalysedRecording, *, at_ns: int | None = None, target: int | None = None
) -> Report:
    """Return the regions of the last window, or of the one at `at_ns` after the beginning."""
    snapshot, mappings, begin = _pick(recording, at_ns)
    maps = {id_: sorted(entries, key=lambda m: m.start) for id_, entries in mappings.items()}
    rows = []
    for region in snapshot.columns:
        owner = snapshot.targets[region.target]
        if target is not None and owner.id != target:
            continue
        found = parts(maps.get(owner.id, []), region.start, region.end)
        widest = max(found, key=lambda piece: piece[1].size, default=None)
        what = display_name(widest[0]) if widest else ""
        rows.append(_region_row(snapshot, region, what))
    offset = snapshot.start_ns - begin
    document = {
        "index": snapshot.index,
        "start_ns": snapshot.start_ns,
        "end_ns": snapshot.end_ns,
        "max_nr_accesses": snapshot.max_nr_accesses,
        "targets": [{"id": t.id, "name": t.name, "pid": t.pid} for t in snapshot.targets],
        "regions": rows,
    }
    head = f"snapshot {snapshot.index}, {offset / 1e9:.1f}s after the beginning"
    text = [head, *_regions_table(rows, several=len(snapshot.targets) > 1)]
    return Report("isotherm.report.regions/1", document, rows, text)


def _region_row(snapshot: Snapshot, region: Region, what: str) -> dict[str, Any]:
    rate = None
    if region.nr_accesses is not None:
        rate = round(100 * region.nr_accesses / snapshot.max_nr_accesses, 2)
    return {
        "target": snapshot.targets[region.target].id,
        "start": region.start,
        "end": region.end,
        "access_percent": rate,
        "age_ns": region.age * snapshot.aggr_us * 1000,
        "idle_ns": idle_ns(region, snapshot.aggr_us),
        "unobservable_bytes": region.unobservable,
        "what": what,
    }


def _regions_table(rows: list[dict[str, Any]], *, several: bool) -> list[str]:
    blind = any(row["unobservable_bytes"] for row in rows)
    columns = [
        *([Column("target", rank=2)] if several else []),
        Column("start"),
        Column("end", rank=3),
        *(Column(title) for title in ("size", "access", "age")),
        *([Column("not seen", rank=4)] if blind else []),
        names("what", least=8, rank=1),
    ]
    cells = [
        [
            *([str(row["target"])] if several else []),
            f"{row['start']:x}",
            f"{row['end']:x}",
            format_size(row["end"] - row["start"]),
            "?" if row["access_percent"] is None else f"{row['access_percent']:.0f}%",
            format_duration(row["age_ns"]) if row["age_ns"] else "0s",
            *([short_size(row["unobservable_bytes"])] if blind else []),
            row["what"],
        ]
        for row in rows
    ]
    return table(columns, cells, WIDTH)


def report_info(recording: AnalysedRecording) -> Report:
    """Return where a recording comes from and how complete it is."""
    summary = recording.summary()
    document: dict[str, Any] = {
        "path": str(recording.path),
        "bytes": recording.path.stat().st_size,
        "complete": recording.damage is None,
        "snapshots": summary.snapshots,
        "region_rows": summary.regions,
        "start_ns": summary.start_ns,
        "duration_ns": summary.duration_ns,
        "info": recording.info,
    }
    flat: dict[str, Any] = {k: v for k, v in document.items() if k != "info"}
    for key, value in recording.info.items():
        if isinstance(value, dict):
            flat.update({f"{key}.{name}": inner for name, inner in value.items()})
        elif isinstance(value, list):
            flat.update({f"{key}.{i}": inner for i, inner in enumerate(value)})
        else:
            flat.setdefault(key, value)
    rows = [{"name": key, "value": value} for key, value in flat.items()]
    width = max(len(key) for key in flat)
    text = [
        f" {_label(key):<{width}}  {escaped(_plain(key, value))}" for key, value in flat.items()
    ]
    return Report("isotherm.report.info/1", document, rows, text)


def _label(key: str) -> str:
    return key.removesuffix("_ns") if key in {"start_ns", "duration_ns"} else key


def _plain(key: str, value: Any) -> str:
    """Return a value as people read it; only times need help."""
    if key == "start_ns" and isinstance(value, int):
        local = datetime.fromtimestamp(value / 1e9, tz=UTC).astimezone()
        return local.isoformat(" ", "milliseconds")
    if key == "duration_ns" and isinstance(value, int):
        return format_duration(value)
    if isinstance(value, dict):
        return "  ".join(f"{k}={v}" for k, v in value.items() if v is not None)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
