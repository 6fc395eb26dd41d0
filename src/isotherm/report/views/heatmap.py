"""Heat by address and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isotherm.analysis.heatmap import Heatmap
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.report.view import TARGET, Option, Options, Page, View, headline, whole_number
from isotherm.terminal.heatmap import plot_size, render
from isotherm.terminal.style import Style
from isotherm.terminal.text import target_title

HEIGHT = Option("--height", "LINES", "lines of the picture.", whole_number(4, 1000), "20")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A grid, and the lines that it is to be drawn on."""

    grid: Heatmap
    height: int

    @property
    def times_ns(self) -> list[int]:
        """Where columns begin, and the last one ends."""
        step = (self.grid.end_ns - self.grid.start_ns) / self.grid.columns
        return [round(self.grid.start_ns + i * step) for i in range(self.grid.columns + 1)]


def _halves(style: Style) -> bool:
    """Whether two cells fit into a character, one above the other."""
    return style.colour and style.unicode


class HeatmapView(View[Drawing]):
    """A picture of one target, with folds where nothing was monitored."""

    name = "heatmap"
    help = "heat by address and time"
    schema = "isotherm.report.heatmap/1"
    options = (TARGET, HEIGHT)

    def analyse(self, recording: AnalysedRecording, options: Options) -> Drawing:
        page, height = options.page, options["--height"]
        columns, rows = plot_size(page.width, height, colour=_halves(page.style))
        grid = recording.heatmap(columns, rows, target_id=options["--target"])
        return Drawing(grid, height)

    def rows(self, value: Drawing) -> list[dict[str, Any]]:
        grid, times = value.grid, value.times_ns
        return [
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

    def document(self, value: Drawing) -> dict[str, Any]:
        grid = value.grid
        return {
            "target": {"id": grid.target.id, "name": grid.target.name, "pid": grid.target.pid},
            "times_ns": value.times_ns,
            "rows": [{"start": row.start, "end": row.end} for row in grid.row_ranges],
            "heat": grid.heat,
            "unobservable": grid.unobservable,
        }

    def text(self, value: Drawing, page: Page) -> list[str]:
        title = target_title([value.grid.target])
        head = headline(title, ["heat by address ↑ and time →"], page.width)
        height = value.height - len(head)
        return [*head, *render(value.grid, page.width, height, colour=_halves(page.style))]
