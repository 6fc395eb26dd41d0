"""A recording in a notebook: its summary in a line, and its heat map as a picture."""

from __future__ import annotations

import html
import struct
import zlib
from base64 import b64encode
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from isotherm.errors import BadValueError, escaped
from isotherm.units import format_duration, format_size

if TYPE_CHECKING:
    from isotherm.analysis.heatmap import Heatmap
    from isotherm.analysis.recorded import AnalysedRecording

_COLUMNS, _ROWS = 160, 96
_WIDTH, _HEIGHT = 640, 288
#: Colours of heat 0, 1/4, ... 1 (inferno), of what could not be observed, and of nothing.
_RAMP: Final = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
_UNSEEN: Final = (110, 130, 160)
_NOTHING: Final = (255, 255, 255)


def html_of(recording: AnalysedRecording) -> str:
    """Return HTML without scripts and without addresses of other places."""
    summary = recording.summary()
    title = html.escape(escaped(str(recording.path.name)))
    whom = ", ".join(html.escape(escaped(target.title)) for target in summary.targets[:3])
    line = (
        f"<b>{title}</b> {whom} &middot; {summary.snapshots} snapshots in "
        f"{format_duration(summary.duration_ns)}"
    )
    if recording.damage is not None:
        line += " &middot; <b>damaged</b>"
    try:
        grid = recording.heatmap(_COLUMNS, _ROWS)
    except BadValueError as err:
        return f"<div>{line}<br>{html.escape(err.message)}</div>"
    picture = b64encode(_png(grid)).decode()
    size = format_size(sum(rows.size for rows in grid.row_ranges))
    about = html.escape(
        escaped(f"{grid.target.title}: {size} of addresses upwards, time rightwards")
    )
    return (
        f'<div>{line}<br><img width="{_WIDTH}" height="{_HEIGHT}" alt="heat map" '
        f'style="image-rendering:pixelated" src="data:image/png;base64,{picture}">'
        f"<br><small>{about}</small></div>"
    )


def _colour(heat: float | None, unseen: float) -> tuple[int, int, int]:
    if heat is None or unseen >= 0.5:
        return _UNSEEN if unseen else _NOTHING
    # As the eye sees it: half of the steps are for the lowest quarter of rates.
    place = min(1.0, max(0.0, heat)) ** 0.5 * (len(_RAMP) - 1)
    low = min(int(place), len(_RAMP) - 2)
    share = place - low
    below, above = _RAMP[low], _RAMP[low + 1]
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(below, above, strict=True))
    return red, green, blue


def _png(grid: Heatmap) -> bytes:
    lines = bytearray()
    for heat, unseen in zip(reversed(grid.heat), reversed(grid.unobservable), strict=True):
        lines.append(0)  # no filter
        for cell in zip(heat, unseen, strict=True):
            lines += bytes(_colour(*cell))
    head = struct.pack(">IIBBBBB", grid.columns, grid.rows, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(lines), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunks(chunks))


def _chunks(chunks: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
    for kind, data in chunks:
        yield struct.pack(">I", len(data)) + kind + data
        yield struct.pack(">I", zlib.crc32(kind + data))
