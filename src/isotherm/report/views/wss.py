"""How large the working set is: by how long one looks, and over windows of one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isotherm.analysis.page_use import curve
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.analysis.summary import Summary
from isotherm.analysis.use_windows import EqualWindows
from isotherm.analysis.wss import WorkingSets
from isotherm.errors import BadValueError
from isotherm.model.page_use import PageUse
from isotherm.report import pages
from isotherm.report.view import Option, Options, Page, View
from isotherm.terminal.text import bar, labelled, span
from isotherm.units import duration_ns, format_duration, format_size, percent

PERCENTS = (0, 25, 50, 75, 90, 95, 99, 100)
_BAR_WIDTH = 40
_INDENT = 15
MIN_ACCESS = Option(
    "--min-access",
    "PERCENT",
    "count whole regions accessed in at least so many samples.",
    read=lambda text: float(percent(text) * 100),
    default="0%",
)
WINDOW = Option(
    "--window", "TIME", "percentiles over windows of this length [1s, if known].", duration_ns
)


@dataclass(frozen=True, slots=True)
class ByRegions:
    """Working sets of windows of like length, counted by whole regions with this access rate."""

    found: WorkingSets
    min_access_percent: float
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ByPages:
    """What a map of pages knew at last, and working sets of equal windows; no sizes: of none."""

    use: PageUse
    equal: EqualWindows
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Distribution:
    """The working sets of a recording: by pages where they are known, else by regions."""

    summary: Summary
    by: ByPages | ByRegions


class WssView(View[Distribution]):
    """The curve of the working set, and its percentiles."""

    name = "wss"
    help = "how large the working set is, within which time"
    schema = "isotherm.report.wss/2"
    options = (MIN_ACCESS, WINDOW)

    def analyse(self, recording: AnalysedRecording, options: Options) -> Distribution:
        least: float = options["--min-access"]
        window_ns: int | None = options["--window"]
        summary = recording.summary()
        use, equal = summary.use, summary.equal_use
        if use is None or equal is None or least:
            if window_ns is not None:
                raise BadValueError(
                    "working sets of windows of any length are counted by pages, "
                    + ("not with --min-access" if least else "which nobody did here"),
                    hint="without --window it is the windows that were recorded",
                )
            found = recording.wss(min_access_percent=least) if least else summary.wss
            alike = found.alike()
            return Distribution(summary, ByRegions(alike, least, alike.percentiles(*PERCENTS)))
        if window_ns is not None:
            equal = recording.equal_windows(window_ns)
            if not len(equal):
                raise BadValueError(
                    f"no window of {format_duration(window_ns)} was watched",
                    hint=f"they are {_range(use)} long",
                )
        sizes = equal.percentiles(*PERCENTS) if len(equal) else ()
        return Distribution(summary, ByPages(use, equal, sizes))

    def rows(self, value: Distribution) -> list[dict[str, Any]]:
        return [{"percent": p, "bytes": n} for p, n in zip(PERCENTS, value.by.sizes, strict=False)]

    def document(self, value: Distribution) -> dict[str, Any]:
        known = pages.document(value.summary)
        if isinstance(value.by, ByPages):
            equal = value.by.equal
            return {
                **known,
                "window_ns": equal.window_ns,
                "windows": len(equal),
                "windows_left_out": equal.left_out,
                "mean_bytes": round(equal.mean),
                "percentiles": self.rows(value),
            }
        found = value.by.found
        return {
            **known,
            "by": "regions",
            "min_access_percent": value.by.min_access_percent,
            "window_ns": max(found.weights),
            "windows": len(found),
            "mean_bytes": round(found.mean),
            "max_unobservable_bytes": max(found.unobservable),
            "percentiles": self.rows(value),
        }

    def text(self, value: Distribution, page: Page) -> list[str]:
        if isinstance(value.by, ByPages):
            return _by_pages(value.by, page.width)
        last = value.summary.last
        return _by_regions(value.by, page.width, shares=last is not None and last.shares)


def _range(use: PageUse) -> str:
    first, last = use.windows_ns[0], use.windows_ns[-1]
    return f"{format_duration(first)} to {format_duration(last)}"


def _by_pages(by: ByPages, width: int) -> list[str]:
    points = curve(by.use)
    watched = format_duration(by.use.watched_ns)
    lines = labelled("", f"working set: bytes used within a time, watched for {watched}", width, 0)
    for label, text in pages.headlines(by.use, points):
        lines += labelled(label, text, width, _INDENT)
    most = max([1, *(point.bytes for point in points)])
    beside = max([0, *(len(pages.bounds(point)) for point in points)])
    room = max(1, min(_BAR_WIDTH, width - 20 - beside))
    for point in points:
        drawn = bar(point.bytes / most, room)
        length, size = format_duration(point.window_ns), format_size(point.bytes)
        lines.append(f" {length:>6} {size:>9} {pages.bounds(point):>{beside}} {drawn}")
    lines += labelled("unknown", pages.unknown_text(by.use), width, _INDENT)
    if len(by.equal) > 1:
        left = f", {by.equal.left_out} more left out" if by.equal.left_out else ""
        each = format_duration(by.equal.window_ns)
        head = f"over {len(by.equal)} windows of {each}{left}"
        lines += labelled("", head, width, 0)
        lines += _bars(by.sizes, round(by.equal.mean), width)
    return lines


def _by_regions(by: ByRegions, width: int, *, shares: bool) -> list[str]:
    least = by.min_access_percent
    rate = f" in {least:g}% of the samples or more" if least else ""
    lengths = [round(ns / 1e6) * 1000 for ns in by.found.weights]
    windows = f"{len(lengths)} windows of {span(min(lengths), max(lengths))}"
    what = "shares of mappings" if shares else "whole regions"
    head = f"working set: {what} accessed{rate} in a window; {windows}"
    lines = [*labelled("", head, width, 0), *_bars(by.sizes, round(by.found.mean), width)]
    if blind := max(by.found.unobservable):
        text = f"not counted: up to {format_size(blind)} that could not be observed"
        lines += labelled("", text, width, 1)
    return lines


def _bars(sizes: tuple[int, ...], mean: int, width: int) -> list[str]:
    most = max(1, sizes[-1])
    room = max(1, min(_BAR_WIDTH, width - 20))
    lines = [
        f" p{p:<4} {format_size(size):>9}  {bar(size / most, room)}"
        for p, size in zip(PERCENTS, sizes, strict=True)
    ]
    return [*lines, f" mean  {format_size(mean):>9}"]
