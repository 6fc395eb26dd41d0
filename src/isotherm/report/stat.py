"""A line for each interval, of what a map of pages knew by then: `isotherm stat`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isotherm.analysis.page_use import TOLD_NS, Ages, Used, curve, idle_ages
from isotherm.model.page_use import PageUse
from isotherm.report import pages
from isotherm.terminal.text import pad
from isotherm.units import format_duration, format_size

SCHEMA = "isotherm.stat/1"
_S = 1_000_000_000
_USED_NS = (_S, 10 * _S, 60 * _S)
_IDLE_NS = (10 * _S, 60 * _S)
#: Columns of the terminal for the time, a number of processes, a size, a share.
_TIME, _COUNT, _SIZE, _SHARE, _OLD = 8, 6, 9, 6, 6
_WIDTHS = (_TIME, _COUNT, *[_SIZE] * 7, _SHARE, _OLD)
#: The place of how old figures are; where there is no room for it, the time is theirs.
_AS_OF = len(_WIDTHS) - 1
#: Figures that are older than the interval by this much are told to be.
_OLD_NS = 500_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """
    What was known at the end of an interval.

    at_ns, interval_ns: time of day of its end, and its length; targets: how many there were. use:
    the newest sum of the map of pages, made at `use_ns`; unlooked: resident bytes of who is not in
    it, as nobody had a look at their memory yet; cpu_share: of one CPU, what the monitor
    took in the interval, the kernel's share for it included.
    """

    at_ns: int
    interval_ns: int
    targets: int
    use: PageUse
    use_ns: int
    cpu_share: float
    unlooked: int = 0


def document(line: Line) -> dict[str, Any]:
    """Return a line as JSON has it."""
    return {
        "time_ns": line.at_ns,
        "interval_ns": line.interval_ns,
        "targets": line.targets,
        "cpu_share": round(line.cpu_share, 6),
        "known_ns": line.use_ns,
        "unlooked_bytes": line.unlooked,
        **pages.sums_document(line.use),
    }


def record(line: Line) -> dict[str, Any]:
    """Return a line as a flat record; of lengths of time that were not reached there is None."""
    used, idle = _used(curve(line.use)), _idle(idle_ages(line.use))
    return {
        "time_ns": line.at_ns,
        "interval_ns": line.interval_ns,
        "targets": line.targets,
        "cpu_share": round(line.cpu_share, 6),
        "known_ns": line.use_ns,
        "resident_bytes": line.use.resident,
        "unseen_bytes": line.use.unseen,
        "uncovered_bytes": line.use.uncovered,
        "unlooked_bytes": line.unlooked,
        **{f"used_{ns // 1_000_000}ms_bytes": used.get(ns) for ns in TOLD_NS},
        **{f"idle_{ns // 1_000_000}ms_bytes": idle.get(ns) for ns in TOLD_NS},
    }


def _used(points: Sequence[Used]) -> dict[int, int]:
    return {point.window_ns: point.bytes for point in points}


def _idle(ages: Ages) -> dict[int, int]:
    return {idle.age_ns: idle.bytes for idle in ages.ages}


def header(width: int) -> str:
    """Return the titles over the lines."""
    used = [f"used {format_duration(ns)}" for ns in _USED_NS]
    idle = [f"idle {format_duration(ns)}" for ns in _IDLE_NS]
    titles = ["time", "procs", "resident", *used, *idle, "unknown", "cpu", "as of"]
    return _laid_out(titles, width)


def text(line: Line, width: int) -> str:
    """Return a line for people, within `width` columns from 60 on."""
    used, idle = _used(curve(line.use)), _idle(idle_ages(line.use))
    at_ns = line.at_ns if _AS_OF in _shown(width) else line.use_ns
    cells = [
        time.strftime("%H:%M:%S", time.localtime(at_ns / 1e9)),
        str(line.targets),
        format_size(line.use.resident + line.unlooked),
        *(_size(used.get(ns)) for ns in _USED_NS),
        *(_size(idle.get(ns)) for ns in _IDLE_NS),
        format_size(line.use.unseen + line.use.uncovered + line.unlooked),
        f"{line.cpu_share:.1%}" if line.cpu_share < 1 else f"{line.cpu_share:.0%}",
        _old(line.at_ns - line.use_ns),
    ]
    return _laid_out(cells, width)


def _old(late_ns: int) -> str:
    """Return "-27s" for figures that are so old, "" for new ones."""
    if late_ns <= _OLD_NS:
        return ""
    seconds = max(1, round(late_ns / _S))
    return f"-{seconds}s" if seconds < 1000 else f"-{seconds // 60}m"


def _size(size: int | None) -> str:
    return "-" if size is None else format_size(size)


def _shown(width: int) -> list[int]:
    """Return which columns fit: first the longest windows go, then the number, and "as of"."""
    shown = list(range(len(_WIDTHS)))
    for gone in (7, 5, 1, _AS_OF):
        if sum(_WIDTHS[i] for i in shown) > width:
            shown.remove(gone)
    return shown


def _laid_out(cells: Sequence[str], width: int) -> str:
    """Return cells in columns, as many as fit."""
    return "".join(pad(cells[i], _WIDTHS[i], right=True) for i in _shown(width)).rstrip()
