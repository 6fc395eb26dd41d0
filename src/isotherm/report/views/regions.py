"""The regions of one window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.analysis.regions import NamedRegion, WindowRegions, window_regions
from isotherm.report.sorting import REGION_KEYS, SORT, Sort
from isotherm.report.view import TARGET, Option, Options, Page, View
from isotherm.terminal.table import Column, names, table
from isotherm.terminal.text import labelled, short_size
from isotherm.units import duration_ns, format_duration, format_size

AT = Option("--at", "TIME", "so long after the beginning [the end].", duration_ns)


class RegionsView(View[WindowRegions]):
    """Every region: where it is, how often it is accessed, and for how long that has been so."""

    name = "regions"
    help = "the regions of one window"
    schema = "isotherm.report.regions/1"
    options = (AT, TARGET, SORT)

    def analyse(self, recording: AnalysedRecording, options: Options) -> WindowRegions:
        found = window_regions(
            recording.readable(), at_ns=options["--at"], target_id=options["--target"]
        )
        sort: Sort | None = options["--sort"]
        return (
            found
            if sort is None
            else replace(found, regions=sort.ordered(found.regions, REGION_KEYS))
        )

    def rows(self, value: WindowRegions) -> list[dict[str, Any]]:
        return [_row(entry) for entry in value.regions]

    def document(self, value: WindowRegions) -> dict[str, Any]:
        snapshot = value.snapshot
        return {
            "index": snapshot.index,
            "start_ns": snapshot.start_ns,
            "end_ns": snapshot.end_ns,
            "max_nr_accesses": snapshot.max_nr_accesses,
            "targets": [{"id": t.id, "name": t.name, "pid": t.pid} for t in snapshot.targets],
            "regions": self.rows(value),
        }

    def text(self, value: WindowRegions, page: Page) -> list[str]:
        snapshot = value.snapshot
        length = format_duration(snapshot.end_ns - snapshot.start_ns)
        head = (
            f"snapshot {snapshot.index}, {value.offset_ns / 1e9:.1f}s after the beginning, "
            f"a window of {length}"
        )
        several = len(snapshot.targets) > 1
        return [
            *labelled("", head, page.width, 0),
            *_table(value.regions, page.width, several=several),
        ]


def _row(entry: NamedRegion) -> dict[str, Any]:
    region = entry.region
    return {
        "target": entry.target.id,
        "start": region.start,
        "end": region.end,
        "access_percent": None if entry.share is None else round(100 * entry.share, 2),
        "age_ns": entry.age_ns,
        "idle_ns": entry.idle_ns,
        "unobservable_bytes": region.unobservable,
        "used_bytes": region.used,
        "what": entry.what,
    }


def _rate(share: float | None) -> str:
    if share is None:
        return "?"
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _table(regions: list[NamedRegion], width: int, *, several: bool) -> list[str]:
    blind = any(entry.region.unobservable for entry in regions)
    known = any(entry.region.used is not None for entry in regions)
    columns = [Column("target", rank=2)] if several else []
    columns += [Column("start"), Column("end", rank=3)]
    columns += [Column("size"), Column("access"), Column("age")]
    columns += [Column("used", rank=3)] if known else []
    columns += [Column("not seen", rank=4)] if blind else []
    columns += [names("what", rank=1)]
    cells = [
        [
            *([str(entry.target.id)] if several else []),
            f"{entry.region.start:x}",
            f"{entry.region.end:x}",
            format_size(entry.region.size),
            _rate(entry.share),
            format_duration(entry.age_ns),
            *([short_size(entry.region.used or 0)] if known else []),
            *([short_size(entry.region.unobservable)] if blind else []),
            entry.what,
        ]
        for entry in regions
    ]
    return table(columns, cells, width)
