"""How large the working set is: by how long one looks, and over windows of one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from isotherm.analysis.page_use import Used, curve
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
    "--window",
    "TIME[,TIME]",
    "percentiles over windows of these lengths [1s, if known].",
    read=lambda text: tuple(map(duration_ns, text.split(","))),
)
OVER_TIME = Option("--over-time", "", "the working set of each window.", flag=True)
#: Lines of a working set over time; where there are more windows, each is of several.
_TIME_LINES = 24


class Moment(NamedTuple):
    """A window, in ns after the beginning, and what was used in it: best, least, most."""

    start_ns: int
    end_ns: int
    bytes: int
    low_bytes: int
    high_bytes: int


@dataclass(frozen=True, slots=True)
class ByRegions:
    """Working sets of windows of like length, counted by whole regions with this access rate."""

    found: WorkingSets
    min_access_percent: float
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ByPages:
    """
    What a map of pages knew at last, and working sets of equal windows.

    sizes: percentiles, of each length; of none where no window of it is known.
    """

    use: PageUse
    windows: tuple[EqualWindows, ...]

    @property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(equal.percentiles(*PERCENTS) if len(equal) else () for equal in self.windows)


@dataclass(frozen=True, slots=True)
class Distribution:
    """
    The working sets of a recording: by pages where they are known, else by regions.

    over_time: whether those of the windows are told, too.
    """

    summary: Summary
    by: ByPages | ByRegions
    over_time: bool = False

    @property
    def moments(self) -> list[Moment]:
        """The windows, by their time; of the first length, where several were asked for."""
        begin = self.summary.start_ns
        if isinstance(self.by, ByRegions):
            found = self.by.found
            columns = (found.times_ns, found.weights, found.sizes, found.unobservable)
            return [
                Moment(start - begin, start + length - begin, size, size, size + unseen)
                for start, length, size, unseen in zip(*columns, strict=True)
            ]
        equal = self.by.windows[0]
        return [
            Moment(
                end - equal.window_ns - begin,
                end - begin,
                used.bytes,
                used.low_bytes,
                used.high_bytes,
            )
            for end, used in zip(equal.ends_ns, equal.used, strict=True)
        ]


class WssView(View[Distribution]):
    """The curve of the working set, and its percentiles."""

    name = "wss"
    help = "how large the working set is, within which time"
    schema = "isotherm.report.wss/2"
    options = (MIN_ACCESS, WINDOW, OVER_TIME)

    def analyse(self, recording: AnalysedRecording, options: Options) -> Distribution:
        least: float = options["--min-access"]
        lengths: tuple[int, ...] | None = options["--window"]
        over_time: bool = options["--over-time"]
        summary = recording.summary()
        use, equal = summary.use, summary.equal_use
        if use is None or equal is None or least:
            if lengths is not None:
                why = "not with --min-access" if least else "which nobody did here"
                if not least and recording.no_pages_because:
                    why = f"and {recording.no_pages_because}"
                raise BadValueError(
                    f"working sets of windows of any length are counted by pages, {why}",
                    hint="without --window it is the windows that were recorded",
                )
            found = recording.wss(min_access_percent=least) if least else summary.wss
            alike = found.alike()
            by = ByRegions(alike, least, alike.percentiles(*PERCENTS))
            return Distribution(summary, by, over_time)
        windows = (equal,) if lengths is None else tuple(map(recording.equal_windows, lengths))
        for found_ in windows if lengths is not None else ():
            if not len(found_):
                raise BadValueError(
                    f"no window of {format_duration(found_.window_ns)} was watched",
                    hint=f"they are {_range(use)} long",
                )
        return Distribution(summary, ByPages(use, windows), over_time)

    def rows(self, value: Distribution) -> list[dict[str, Any]]:
        if value.over_time:
            return [moment._asdict() for moment in value.moments]
        if isinstance(value.by, ByRegions):
            return _percentiles(value.by.sizes)
        lengths = [equal.window_ns for equal in value.by.windows]
        many = len(lengths) > 1
        return [
            {**({"window_ns": length} if many else {}), **row}
            for length, sizes in zip(lengths, value.by.sizes, strict=True)
            for row in _percentiles(sizes)
        ]

    def document(self, value: Distribution) -> dict[str, Any]:
        known = pages.document(value.summary)
        if value.over_time:
            known["over_time"] = [moment._asdict() for moment in value.moments]
        if isinstance(value.by, ByPages):
            each = [
                {
                    "window_ns": equal.window_ns,
                    "windows": len(equal),
                    "windows_left_out": equal.left_out,
                    "mean_bytes": round(equal.mean),
                    "percentiles": _percentiles(sizes),
                }
                for equal, sizes in zip(value.by.windows, value.by.sizes, strict=True)
            ]
            return {**known, **each[0], "by_window": each}
        found = value.by.found
        return {
            **known,
            "by": "regions",
            "min_access_percent": value.by.min_access_percent,
            "window_ns": max(found.weights),
            "windows": len(found),
            "mean_bytes": round(found.mean),
            "max_unobservable_bytes": max(found.unobservable),
            "percentiles": _percentiles(value.by.sizes),
        }

    def text(self, value: Distribution, page: Page) -> list[str]:
        if value.over_time:
            return _over_time(value, page.width)
        if isinstance(value.by, ByPages):
            return _by_pages(value.by, page.width, value.summary.late_ns)
        last = value.summary.last
        return _by_regions(value.by, page.width, shares=last is not None and last.shares)


def _percentiles(sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    return [{"percent": p, "bytes": n} for p, n in zip(PERCENTS, sizes, strict=False)]


def _over_time(value: Distribution, width: int) -> list[str]:
    """Return a line for each window, or for some that follow each other: their largest."""
    moments = value.moments
    if not moments:
        return labelled("", "no window of this length was watched", width, 0)
    step = -(-len(moments) // _TIME_LINES)
    length = format_duration(max(one.end_ns - one.start_ns for one in moments))
    most_of = f", the largest of {step} on a line" if step > 1 else ""
    by = "by pages" if isinstance(value.by, ByPages) else "by regions"
    head = f"working set over time, windows of {length}{most_of}, {by}"
    lines = labelled("", head, width, 0)
    most = max(1, *(one.bytes for one in moments))
    shown = [max(moments[i : i + step], key=_size) for i in range(0, len(moments), step)]
    sure = [pages.bounds(Used(0, *one[2:], 1)) for one in shown]
    beside = max(map(len, sure))
    room = max(1, min(_BAR_WIDTH, width - 22 - beside))
    for one, bounds in zip(shown, sure, strict=True):
        at, size = f"{one.end_ns / 1e9:.1f}s", format_size(one.bytes)
        lines.append(f" {at:>8} {size:>9} {bounds:>{beside}} {bar(one.bytes / most, room)}")
    return lines


def _size(moment: Moment) -> int:
    return moment.bytes


def _range(use: PageUse) -> str:
    first, last = use.windows_ns[0], use.windows_ns[-1]
    return f"{format_duration(first)} to {format_duration(last)}"


def _by_pages(by: ByPages, width: int, late_ns: int) -> list[str]:
    points = curve(by.use)
    watched = format_duration(by.use.watched_ns)
    lines = labelled("", f"working set: bytes used within a time, watched for {watched}", width, 0)
    for label, text in pages.headlines(by.use, points, late_ns):
        lines += labelled(label, text, width, _INDENT)
    most = max([1, *(point.bytes for point in points)])
    beside = max([0, *(len(pages.bounds(point)) for point in points)])
    room = max(1, min(_BAR_WIDTH, width - 20 - beside))
    for point in points:
        drawn = bar(point.bytes / most, room)
        length, size = format_duration(point.window_ns), format_size(point.bytes)
        lines.append(f" {length:>6} {size:>9} {pages.bounds(point):>{beside}} {drawn}")
    lines += labelled("unknown", pages.unknown_text(by.use), width, _INDENT)
    for equal, sizes in zip(by.windows, by.sizes, strict=True):
        if len(equal) > 1:
            left = f", {equal.left_out} more left out" if equal.left_out else ""
            head = f"over {len(equal)} windows of {format_duration(equal.window_ns)}{left}"
            lines += labelled("", head, width, 0)
            lines += _bars(sizes, round(equal.mean), width)
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
