"""The heat map of a page: its data, its controls, and the page around it."""

from __future__ import annotations

import html
import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from isotherm.analysis.extent import Extent
from isotherm.analysis.wanted import Names
from isotherm.errors import BadValueError, escaped
from isotherm.pictures.page.columns import of_grids, of_windows
from isotherm.pictures.palette import IDLE, UNKNOWN, css, heat_colours

if TYPE_CHECKING:
    from isotherm.analysis.recorded import AnalysedRecording

#: Regions that a page holds; of more it holds cells.
MOST_REGIONS: Final = 1_000_000
#: Targets that can be chosen: as they were recorded, and by cells.
_TARGETS, _GRIDS = 64, 4


def text(value: str) -> str:
    """Return text from outside as HTML may have it, in an attribute as well."""
    return html.escape(escaped(value))


def map_data(
    recording: AnalysedRecording,
    where: Extent,
    names: Names,
    *,
    target_id: int | None = None,
    most: int = MOST_REGIONS,
    regions: int = 0,
) -> dict[str, Any]:
    """
    Return what the script draws: of the busiest targets, the busiest first, or of one.

    where: the extent to draw; regions: how many there are at least. Of more than `most` it is
    cells. Raises `BadValueError` where there are none.
    """
    if target_id is not None:
        ids = [target_id]
    else:
        where.busiest()
        ids = sorted(where.ranges, key=lambda id_: (-where.heat.get(id_, 0.0), id_))[:_TARGETS]
    ids = [id_ for id_ in ids if where.ranges.get(id_)]
    if not ids:
        raise BadValueError("no region of this target was recorded, so there is nothing to draw")
    found = None
    if regions <= most:
        found = of_windows(recording.readable(), where, ids, most)
    exact = found is not None
    if found is None:
        found = of_grids(recording.by_blocks(), where, ids[:_GRIDS])
    return {
        "targets": [one.document(names) for one in found],
        "left_out": len(where.ranges) - len(found) if target_id is None else 0,
        "duration_ms": max(1, where.end_ns - where.start_ns) / 1e6,
        "what": "region" if exact else "cells",
        "exact": exact,
        "colours": [css(colour) for colour in heat_colours()],
        "idle": css(IDLE),
        "idle_is_there": all(one.idle_is_there for one in found),
        "unknown": [css(colour) for colour in UNKNOWN],
    }


def data_script(name: str, value: object) -> str:
    """Return data for scripts: JSON that ends no element, and that no browser runs."""
    said = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    safe = said.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script type="application/json" id="{name}">{safe}</script>'


def map_section(data: dict[str, Any]) -> str:
    """Return the elements that the script fills."""
    known = data["idle_is_there"]
    made = _own("map.html").replace("IDLE", "idle" if known else "idle or absent")
    made = made.replace("ABSENT", "not in memory" if known else "not mapped")
    return made + data_script("map-data", data)


@cache
def _own(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def page(title: str, body: str) -> str:
    """
    Return a whole page.

    title: from outside; body: HTML, in which everything from outside is escaped. Only our own
    script and style run, as their hashes say: whatever else stood in it would not, and nothing is
    asked for anywhere.
    """
    script, style = _own("map.js"), _own("page.css") + _colour_rules()
    rules = (
        "default-src 'none'; "
        f"script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{html.escape(rules, quote=True)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{text(title)}</title>
<style>{style}</style></head>
<body>
{body}
<script>{script}</script>
</body></html>
"""


def _colour_rules() -> str:
    dark, light = map(css, UNKNOWN)
    stripes = f"repeating-linear-gradient(45deg,{dark} 0 3px,{light} 3px 6px)"
    return f".idle{{background:{css(IDLE)}}}.unknown{{background:{stripes}}}\n"


def _hash(content: str) -> str:
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"
