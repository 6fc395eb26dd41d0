"""`isotherm report`: what a recording says."""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path

import click

from isotherm.analysis.recorded import AnalysedRecording, open_recording
from isotherm.cli import did_you_mean
from isotherm.errors import BadValueError, IsothermError
from isotherm.recording.format import SUFFIX
from isotherm.report.output import FORMATS, Report
from isotherm.units import duration_ns, percent

VIEWS = ("summary", "regions", "heatmap", "wss", "info")
MAX_WIDTH = 80


def sort_arguments(words: tuple[str, ...]) -> tuple[Path | None, str]:
    """
    Tell the file from the view, in either order.

    A word of `VIEWS` is the view; "./wss" is a file of that name. Raises `BadValueError` for a
    word that is neither a view nor a file, and for too many words.
    """
    view: str | None = None
    path: Path | None = None
    for word in words:
        if word in VIEWS and view is None:
            view = word
        elif path is None:
            path = Path(word)
        else:
            raise BadValueError(
                f"one file and one view are enough; what is {word!r}?",
                hint=f"the views are {', '.join(VIEWS)}",
            )
    if path is not None and not path.exists():
        known = did_you_mean(str(path), VIEWS).strip() if view is None else ""
        raise BadValueError(
            f"there is no recording {str(path)!r}",
            hint=known or f"ls *{SUFFIX} shows the recordings here",
        )
    return path, view or "summary"


def newest_recording(directory: Path) -> Path:
    """Return the most recently changed recording; raises `BadValueError` if there is none."""
    found = [path for path in directory.glob(f"*{SUFFIX}") if path.is_file()]
    if not found:
        raise BadValueError(
            f"no recording (*{SUFFIX}) in {directory.absolute()}",
            hint="make one: isotherm record -p PID -d 30s",
        )
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def wants_colour() -> bool:
    """Say whether stdout is a terminal that shows colour (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in {None, "", "dumb"}
    return sys.stdout.isatty() and not plain


def make_report(
    recording: AnalysedRecording,
    view: str,
    *,
    at: str | None,
    target: int | None,
    min_access: str,
    width: int,
    height: int,
    colour: bool,
) -> Report:
    """Return one view of a recording."""
    from isotherm.report import summary, views

    if view == "regions":
        at_ns = None if at is None else duration_ns(at)
        return views.report_regions(recording, at_ns=at_ns, target=target)
    if view == "heatmap":
        return views.report_heatmap(recording, width, height, colour=colour, target=target)
    if view == "wss":
        least = float(percent(min_access) * 100)
        return views.report_wss(recording, min_access_percent=least)
    if view == "info":
        return views.report_info(recording)
    return summary.report_summary(recording)


@click.command(
    epilog="""\b
Views: summary (default), regions, heatmap, wss, info.
FILE defaults to the newest recording in this directory.
\b
Examples:
  isotherm report
  isotherm report run.isotherm heatmap
  isotherm report wss --min-access 50%
  isotherm report regions --at 12s
  isotherm report --format json | jq .working_set"""
)
@click.argument("words", metavar="[FILE] [VIEW]", nargs=-1)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
@click.option("--at", metavar="TIME", help="regions: this long after the beginning [the end].")
@click.option("--target", type=int, metavar="ID", help="regions, heatmap: only this target.")
@click.option(
    "--min-access", default="0%", show_default=True, metavar="PERCENT",
    help="wss: count regions accessed in at least so many samples.",
)  # fmt: skip
@click.option("--width", type=click.IntRange(23), help="heatmap: columns [terminal, 80 at most].")
@click.option("--height", type=click.IntRange(4), default=20, show_default=True, help="heatmap.")
def command(
    *,
    words: tuple[str, ...],
    form: str,
    at: str | None,
    target: int | None,
    min_access: str,
    width: int | None,
    height: int,
) -> None:
    """Show what a recording says."""
    path, view = sort_arguments(words)
    if path is None:
        path = newest_recording(Path())
        print(f"reading {path}", file=sys.stderr)
    recording = open_recording(path)
    colour = form == "table" and wants_colour()
    try:
        report = make_report(
            recording,
            view,
            at=at,
            target=target,
            min_access=min_access,
            width=width or min(MAX_WIDTH, shutil.get_terminal_size().columns),
            height=height,
            colour=colour,
        )
    except IsothermError:
        # An empty view of a damaged recording: the damage is the news.
        if recording.damage is not None:
            raise recording.damage from None
        raise
    # Neither an old locale nor a name that is no text keeps the report from being read.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.write(report.render(form))
    sys.stdout.flush()
    if recording.damage is not None:
        raise recording.damage
