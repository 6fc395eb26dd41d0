"""One file for a browser: heat map, curves, tables; it works without a network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from isotherm.analysis.extent import Extent
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.analysis.summary import Summary, SummaryCollector, summary_of
from isotherm.analysis.timeline import Timeline
from isotherm.analysis.wanted import Names, Wanted
from isotherm.errors import BadValueError
from isotherm.model.snapshot import Snapshot
from isotherm.pictures.page.heat import MOST_REGIONS, map_data, map_section, page, text
from isotherm.recording.blocks import Rows
from isotherm.report import html_parts as parts
from isotherm.report.parts import HOTTEST
from isotherm.report.view import TARGET, Options, Page, View
from isotherm.terminal.text import target_title
from isotherm.units import format_duration


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a page is made of; map: what its script draws, or why there is nothing to draw."""

    name: str
    summary: Summary
    timeline: Timeline
    info: dict[str, Any]
    map: dict[str, Any] | str
    damaged: bool


class HtmlView(View[Gathered]):
    """A page: the heat map with zoom, how much is used within which time, of what, the cost."""

    name = "html"
    help = "one file for a browser: heat map, curves, tables"
    schema = "isotherm.report.html/1"
    options = (TARGET, HOTTEST)
    files = (".html", ".htm")
    only_file = True

    def analyse(self, recording: AnalysedRecording, options: Options) -> Gathered:
        part = Wanted(options["--target"], hottest_bytes=options["--hottest"])
        return gathered(recording, part)

    def document(self, value: Gathered) -> dict[str, Any]:
        if isinstance(value.map, str):
            return {"why_no_map": value.map}
        return {"targets": [target["title"] for target in value.map["targets"]]}

    def rows(self, value: Gathered) -> list[dict[str, Any]]:
        return [self.document(value)]

    def text(self, value: Gathered, page: Page) -> list[str]:
        del page
        return [f"{value.name}: a page is written to a file (-o FILE.html)"]

    def file(self, recording: AnalysedRecording, options: Options, suffix: str) -> bytes:
        del suffix
        return html_page(self.analyse(recording, options)).encode("utf-8", "replace")


def gathered(recording: AnalysedRecording, part: Wanted) -> Gathered:
    """Read a recording for a page: once for the figures, and again for the map."""
    seen, names, timeline = SummaryCollector(), Names(), Timeline()

    def take(windows: Snapshot | Rows) -> None:
        seen.take(windows)
        names.take(windows)
        timeline.take(windows)

    for windows in recording.by_blocks():
        take(windows)
    summary = summary_of(seen, recording.info.get("swap_free_bytes"))
    try:
        drawn = _map(recording, seen.where, names, part, summary.regions)
    except BadValueError as err:
        if not part.is_all or part.target_id is not None:
            raise
        drawn = err.message
    return Gathered(
        recording.path.name, summary, timeline, recording.info, drawn, recording.damage is not None
    )


def _map(
    recording: AnalysedRecording, where: Extent, names: Names, part: Wanted, regions: int
) -> dict[str, Any] | str:
    extent = recording.part(where, part)
    only = part.target_id
    if only is None and not part.is_all:
        only = where.busiest()
    return map_data(recording, extent, names, target_id=only, most=MOST_REGIONS, regions=regions)


def html_page(value: Gathered) -> str:
    """Return the page."""
    summary = value.summary
    title = target_title(summary.targets)
    began = datetime.fromtimestamp(summary.start_ns / 1e9, UTC) if summary.start_ns else None
    about = [value.name, format_duration(round(summary.duration_ns / 1e7) * 10_000_000)]
    about += [f"from {began:%Y-%m-%d %H:%M:%S} UTC"] if began else []
    head = f'<h1>{text(title)}</h1><p class="facts">{text("   ".join(about))}</p>'
    if value.damaged:
        head += "<p><b>The recording is damaged: this is what can be read of it.</b></p>"
    body = [
        f"<header>{head}{parts.tiles(summary)}</header>",
        parts.section("Heat by address and time", _map_part(value.map)),
        parts.section(
            "How much is used, and what is not",
            f'<div class="charts">{parts.use_curves(summary)}</div>',
        ),
        parts.section(
            "Over time", f'<div class="charts">{parts.time_curves(summary, value.timeline)}</div>'
        ),
        parts.section("Schemes", parts.schemes_table(value.timeline.last_schemes)),
        parts.tables(summary),
        parts.section("Cost and accuracy", parts.facts(summary, value.info)),
    ]
    return page(f"{title} - isotherm", "\n".join(part for part in body if part))


def _map_part(drawn: dict[str, Any] | str) -> str:
    if isinstance(drawn, str):
        return f"<p>{text(drawn)}</p>"
    notes = []
    if not drawn["exact"]:
        notes.append(
            "The recording has more regions than a page holds: this is a grid, and zooming in "
            "shows its cells. --time and --address make a page of a part."
        )
    if drawn["left_out"]:
        notes.append(f"{drawn['left_out']} processes that were accessed less are left out.")
    said = "".join(f'<p class="note">{text(note)}</p>' for note in notes)
    return map_section(drawn) + said
