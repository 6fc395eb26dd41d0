"""Heat by address and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from isotherm.analysis.heatmap import Heatmap
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.analysis.wanted import describe
from isotherm.errors import BadValueError, quoted
from isotherm.pictures.heat_figure import COLUMNS, FORMATS, ROWS, heat_figure
from isotherm.pictures.scale import KINDS, Kind
from isotherm.report.parts import PART, wanted
from isotherm.report.view import Option, Options, Page, View, headline, whole_number
from isotherm.terminal import heatmap as upwards
from isotherm.terminal import heatmap_across as across
from isotherm.terminal.style import Style
from isotherm.terminal.text import target_title
from isotherm.units import format_size


def one_of(*words: str) -> Callable[[str], str]:
    """Return a reader of one of some words, for `Option.read`."""

    def read(text: str) -> str:
        if text not in words:
            raise BadValueError(
                f"{quoted(text)} is not possible", hint=f"one of {', '.join(words)}"
            )
        return text

    return read


HEIGHT = Option("--height", "LINES", "lines of the picture.", whole_number(4, 1000), "20")
SCALE = Option("--scale", "KIND", "log, quantile or linear steps of heat.", one_of(*KINDS), "log")
GO = Option(
    "--addresses",
    "UP|ACROSS",
    "which way addresses go [that of the longer side].",
    one_of("up", "across"),
)


@dataclass(frozen=True, slots=True)
class Drawing:
    """
    A grid, what the memory of its rows is, and the lines that it is to be drawn on.

    across: whether addresses go to the right.
    """

    grid: Heatmap
    names: tuple[str, ...]
    height: int
    across: bool
    scale: Kind

    @property
    def times_ns(self) -> list[int]:
        """Where columns begin, and the last one ends."""
        step = (self.grid.end_ns - self.grid.start_ns) / self.grid.columns
        return [round(self.grid.start_ns + i * step) for i in range(self.grid.columns + 1)]


def goes_across(width: int, height: int, style: Style, asked: str | None) -> bool:
    """Whether addresses go to the right: as asked, else where there are more cells for them."""
    if asked is not None:
        return asked == "across"
    return across.plot_size(width, height, style)[1] > upwards.plot_size(width, height, style)[1]


class HeatmapView(View[Drawing]):
    """A picture of one target, with folds where nothing was monitored."""

    name = "heatmap"
    help = "heat by address and time"
    schema = "isotherm.report.heatmap/1"
    options = (*PART, HEIGHT, GO, SCALE)

    files = tuple(FORMATS)

    def file(self, recording: AnalysedRecording, options: Options, suffix: str) -> bytes:
        part = wanted(options)
        grid, names = recording.named_heatmap(COLUMNS, ROWS, part)
        return heat_figure(grid, names, suffix, kind=options["--scale"], note=describe(part, grid))

    def analyse(self, recording: AnalysedRecording, options: Options) -> Drawing:
        page, height = options.page, options["--height"]
        to_right = goes_across(page.width, height, page.style, options["--addresses"])
        size = across.plot_size if to_right else upwards.plot_size
        columns, rows = size(page.width, height - 1, page.style)
        grid, names = recording.named_heatmap(columns, rows, wanted(options))
        return Drawing(grid, names, height, to_right, options["--scale"])

    def rows(self, value: Drawing) -> list[dict[str, Any]]:
        grid, times = value.grid, value.times_ns
        return [
            {
                "start": addresses.start,
                "end": addresses.end,
                "start_ns": times[column],
                "end_ns": times[column + 1],
                "heat": heat[column],
                "peak": peak[column],
                "unobservable": blind[column],
                "what": name,
            }
            for addresses, heat, peak, blind, name in zip(
                grid.row_ranges, grid.heat, grid.peak, grid.unobservable, value.names, strict=True
            )
            for column in range(grid.columns)
        ]

    def document(self, value: Drawing) -> dict[str, Any]:
        grid = value.grid
        return {
            "target": {"id": grid.target.id, "name": grid.target.name, "pid": grid.target.pid},
            "times_ns": value.times_ns,
            "rows": [
                {"start": row.start, "end": row.end, "what": name}
                for row, name in zip(grid.row_ranges, value.names, strict=True)
            ],
            "heat": grid.heat,
            "peak": grid.peak,
            "unobservable": grid.unobservable,
        }

    def text(self, value: Drawing, page: Page) -> list[str]:
        title = target_title([value.grid.target])
        size = format_size(sum(row.size for row in value.grid.row_ranges))
        ways = "address → and time ↓" if value.across else "address ↑ and time →"
        head = headline(title, [size, f"heat by {ways}"], page.width)
        draw = across.render if value.across else upwards.render
        height = value.height - len(head)
        picture = draw(
            value.grid, page.width, height, page.style, names=value.names, kind=value.scale
        )
        return [*head, *picture]
