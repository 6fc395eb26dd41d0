"""How the working set size is distributed over the windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.analysis.wss import WorkingSets
from isotherm.report.view import Option, Options, Page, View
from isotherm.terminal.text import bar, labelled, span
from isotherm.units import format_size, percent

PERCENTS = (0, 25, 50, 75, 90, 95, 99, 100)
_BAR_WIDTH = 40
MIN_ACCESS = Option(
    "--min-access",
    "PERCENT",
    "count regions accessed in at least so many samples.",
    read=lambda text: float(percent(text) * 100),
    default="0%",
)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Working sets of regions with at least this access rate, and their `PERCENTS`."""

    found: WorkingSets
    min_access_percent: float
    sizes: tuple[int, ...]


class WssView(View[Distribution]):
    """Percentiles of the working set size."""

    name = "wss"
    help = "how the working set size is distributed"
    schema = "isotherm.report.wss/1"
    options = (MIN_ACCESS,)

    def analyse(self, recording: AnalysedRecording, options: Options) -> Distribution:
        least: float = options["--min-access"]
        found = recording.wss(min_access_percent=least)
        return Distribution(found, least, found.percentiles(*PERCENTS))

    def rows(self, value: Distribution) -> list[dict[str, Any]]:
        return [{"percent": p, "bytes": n} for p, n in zip(PERCENTS, value.sizes, strict=True)]

    def document(self, value: Distribution) -> dict[str, Any]:
        return {
            "min_access_percent": value.min_access_percent,
            "windows": len(value.found),
            "mean_bytes": round(value.found.mean),
            "max_unobservable_bytes": max(value.found.unobservable),
            "percentiles": self.rows(value),
        }

    def text(self, value: Distribution, page: Page) -> list[str]:
        most = max(1, value.sizes[-1])
        width = max(1, min(_BAR_WIDTH, page.width - 20))
        least = value.min_access_percent
        rate = f" in {least:g}% of the samples or more" if least else ""
        lengths = [round(ns / 1e6) * 1000 for ns in value.found.weights]
        windows = f"{len(lengths)} windows of {span(min(lengths), max(lengths))}"
        head = f"working set: bytes accessed{rate} in a window; {windows}"
        lines = labelled("", head, page.width, 0)
        lines += [
            f" p{p:<4} {format_size(size):>9}  {bar(size / most, width)}"
            for p, size in zip(PERCENTS, value.sizes, strict=True)
        ]
        lines.append(f" mean  {format_size(round(value.found.mean)):>9}")
        if blind := max(value.found.unobservable):
            text = f"not counted: up to {format_size(blind)} that could not be observed"
            lines += labelled("", text, page.width, 1)
        return lines
