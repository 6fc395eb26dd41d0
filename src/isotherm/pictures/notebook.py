"""A recording in a notebook: its summary in a line, and its heat map, that of the HTML report."""

from __future__ import annotations

import html
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from isotherm.analysis.summary import Summary, SummaryCollector, summary_of
from isotherm.analysis.wanted import Names
from isotherm.errors import BadValueError
from isotherm.pictures.canvas import png
from isotherm.pictures.page.heat import map_data, map_section, page, text
from isotherm.pictures.palette import IDLE, RGB, UNKNOWN, heat_colour
from isotherm.pictures.scale import Scale, scale_of
from isotherm.units import format_duration

if TYPE_CHECKING:
    from isotherm.analysis.heatmap import Heatmap
    from isotherm.analysis.recorded import AnalysedRecording

#: Regions that a notebook keeps for each output; of more it is cells.
_MOST_REGIONS = 200_000
_COLUMNS, _ROWS = 160, 96
_WIDTH, _HEIGHT = 640, 288
_FRAME = 590
_NOTHING: RGB = (255, 255, 255)


def html_of(recording: AnalysedRecording) -> str:
    """
    Return HTML that asks for nothing elsewhere.

    The map is a page in a frame of its own, which can reach nothing of the notebook; where frames
    are not shown there is a still picture.
    """
    seen, names = SummaryCollector(), Names()
    for part in recording.by_blocks():
        seen.take(part)
        names.take(part)
    summary = summary_of(seen, None)
    line = _line(recording, summary)
    try:
        data = map_data(recording, seen.where, names, most=_MOST_REGIONS, regions=summary.regions)
        still = _still(recording.heatmap(_COLUMNS, _ROWS))
    except BadValueError as err:
        return f"<div>{line}<br>{text(err.message)}</div>"
    return f"<div>{line}<br>{_frame(data, still)}</div>"


def _line(recording: AnalysedRecording, summary: Summary) -> str:
    whom = ", ".join(text(target.title) for target in summary.targets[:3])
    line = (
        f"<b>{text(recording.path.name)}</b> {whom} &middot; {summary.snapshots} snapshots in "
        f"{format_duration(summary.duration_ns)}"
    )
    return line if recording.damage is None else f"{line} &middot; <b>damaged</b>"


def _frame(data: dict[str, Any], still: bytes) -> str:
    whole = html.escape(page("heat map", map_section(data)), quote=True)
    picture = b64encode(still).decode()
    return (
        f'<iframe sandbox="allow-scripts" width="100%" height="{_FRAME}" frameborder="0" '
        f'title="heat map" srcdoc="{whole}">'
        f'<img width="{_WIDTH}" height="{_HEIGHT}" alt="heat map" '
        f'src="data:image/png;base64,{picture}"></iframe>'
    )


def _still(grid: Heatmap) -> bytes:
    scale = scale_of((heat for row in grid.heat for heat in row), 64)
    pixels = bytearray()
    for heats, blinds in zip(reversed(grid.heat), reversed(grid.unobservable), strict=True):
        for heat, blind in zip(heats, blinds, strict=True):
            pixels += bytes(_colour(scale, heat, blind))
    return png(grid.columns, grid.rows, bytes(pixels))


def _colour(scale: Scale, heat: float | None, blind: float) -> RGB:
    if heat is None or (not heat and blind >= 0.5):
        return UNKNOWN[0] if blind else _NOTHING
    return heat_colour(scale.place(heat)) if heat else IDLE
