"""What can go: idle memory by age and name, what freeing it gives and costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isotherm.analysis.cold import Cold, cold, known_ages
from isotherm.analysis.filtered import FilteredRecording
from isotherm.analysis.recorded import AnalysedRecording
from isotherm.errors import BadValueError
from isotherm.report import cold as told
from isotherm.report.view import Option, Options, Page, View
from isotherm.terminal.text import labelled
from isotherm.units import duration_ns, format_duration

IDLE = Option("--idle", "TIME", "only what was not used for so long.", duration_ns)


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What can go, and what was known of swap space.

    found: None where no map of pages tells; why: it does not, where one was kept.
    """

    found: Cold | None
    swap: told.Swap
    why: str = ""


def names_of(recording: AnalysedRecording) -> str | None:
    """Return which names are meant, as a `NamePattern`; None for all."""
    wanted = recording.selection.names if isinstance(recording, FilteredRecording) else ()
    return "|".join(wanted) or None


class ColdView(View[Answer]):
    """Idle memory by age and name, and what paging it out would give and cost."""

    name = "cold"
    help = "what can go, what that would cost, and how"
    schema = "isotherm.cold/1"
    options = (IDLE,)

    def analyse(self, recording: AnalysedRecording, options: Options) -> Answer:
        summary = recording.summary()
        swap = told.Swap(summary.swap_free_bytes)
        if summary.use is None:
            return Answer(None, swap, recording.no_pages_because)
        age_ns: int | None = options["--idle"]
        if age_ns is not None and age_ns not in (known := known_ages(summary.use)):
            ages = ", ".join(map(format_duration, known)) or "none"
            raise BadValueError(
                f"what was not used for {format_duration(age_ns)} is not known",
                hint=f"known ages: {ages}",
            )
        found = cold(
            summary.use,
            summary.use_targets,
            summary.mappings,
            swap_free_bytes=swap.usable_bytes,
            cost=swap.cost,
            names=names_of(recording),
            age_ns=age_ns,
            before=summary.returns,
        )
        return Answer(found, swap)

    def document(self, value: Answer) -> dict[str, Any]:
        if value.found is None:
            return {"by": "regions", "ages": []}
        return {"by": "pages", **told.document(value.found, value.swap)}

    def rows(self, value: Answer) -> list[dict[str, Any]]:
        return [] if value.found is None else told.rows(value.found)

    def text(self, value: Answer, page: Page) -> list[str]:
        if value.found is None:
            why = value.why or "no map of pages was kept"
            said = f"{why}, so nobody knows what could go: `isotherm report` has what regions tell"
            return labelled("", said, page.width, 0)
        return told.lines(value.found, value.swap, page.width)
