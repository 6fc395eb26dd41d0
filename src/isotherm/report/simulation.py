"""What came of a simulation: what was said, beside the truth."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from isotherm.backends.sim.judge import FOUND, Judged, JudgedUse, Verdict
from isotherm.report.output import Report
from isotherm.terminal.text import labelled
from isotherm.units import format_duration, format_size

SCHEMA = "isotherm.simulation/1"
_INDENT = 12


@dataclass(frozen=True, slots=True)
class Simulated:
    """
    One simulation, at its end.

    workload, about: its name, and what it is in words; size: bytes mapped at the beginning;
    policy, costs, overhead, seed: as asked; windows, verdict: of `backends.sim.judge`.
    """

    workload: str
    about: str
    size: int
    policy: str
    costs: str
    overhead: float
    seed: int
    windows: Sequence[Judged]
    verdict: Verdict


def report(simulated: Simulated, width: int) -> Report:
    """Return it in all forms; rows are the windows."""
    return Report(SCHEMA, _document(simulated), _rows(simulated.windows), _lines(simulated, width))


def _document(simulated: Simulated) -> dict[str, Any]:
    verdict = asdict(simulated.verdict)
    return {
        "workload": simulated.workload,
        "mapped_bytes": simulated.size,
        "policy": simulated.policy,
        "costs": simulated.costs,
        "overhead": simulated.overhead,
        "seed": simulated.seed,
        **verdict,
        "again_s": list(simulated.verdict.again_s),
    }


def _rows(windows: Sequence[Judged]) -> list[dict[str, Any]]:
    return [
        {
            "since_ns": one.since_ns,
            "until_ns": one.until_ns,
            "hot_bytes": round(one.hot),
            "found_bytes": round(one.found),
            "found": None if one.found_share is None else round(one.found_share, 6),
            "used_bytes": round(one.used),
            "said_used_bytes": one.said,
        }
        for one in windows
    ]


def _lines(simulated: Simulated, width: int) -> list[str]:
    verdict = simulated.verdict
    title = f"{simulated.workload}, {format_size(simulated.size)}"
    asked = (
        f"{verdict.seconds:.4g} s, policy {simulated.policy}, costs {simulated.costs}, "
        f"{simulated.overhead:.3%} of one CPU to keep to, seed {simulated.seed}"
    )
    facts = [
        ("workload", title + (f": {simulated.about}" if simulated.about else "")),
        ("simulated", asked),
        ("hot", _hot(simulated.windows, verdict)),
        ("found", _when(verdict)),
        ("used", _used(verdict)),
    ]
    if verdict.page_use is not None:
        facts.append(("map", _mapped(verdict.page_use)))
    facts.append(("cost", _cost(verdict)))
    return [line for label, text in facts for line in labelled(label, text, width, _INDENT)]


def _hot(windows: Sequence[Judged], verdict: Verdict) -> str:
    sizes = [one.hot for one in windows if one.hot]
    if not sizes:
        return "nothing"
    size = format_size(round(statistics.median(sizes)))
    if verdict.found is None or verdict.found_worst is None:
        return size
    return (
        f"{size}; of it {verdict.found:.1%} is in as much memory as is called hottest "
        f"(R@k {verdict.found:.3f}, worst window {verdict.found_worst:.3f})"
    )


def _when(verdict: Verdict) -> str:
    first = "never" if verdict.first_s is None else f"after {verdict.first_s:.4g} s"
    told = f"{FOUND:.0%} of what is hot {first}"
    if not verdict.again_s:
        return told
    known = sorted(value for value in verdict.again_s if value is not None)
    never = len(verdict.again_s) - len(known)
    if known:
        told += (
            f"; after a change {statistics.median(known):.4g} s "
            f"(median of {len(known)}, worst {known[-1]:.4g} s)"
        )
    if never:
        told += f"; not before the next change {never} times of {len(verdict.again_s)}"
    return told


def _used(verdict: Verdict) -> str:
    if verdict.working_set is None:
        return "nothing was used"
    return f"regions say {verdict.working_set:.3g} times what was used in their windows"


def _mapped(use: JudgedUse) -> str:
    bounds = "" if use.low == use.high else f" ({format_size(use.low)} to {format_size(use.high)})"
    unseen = f"; {format_size(use.uncovered)} not looked at yet" if use.uncovered else ""
    return (
        f"says {format_size(use.best)}{bounds} used within {format_duration(use.window_ns)}, "
        f"the truth is {format_size(round(use.used))}{unseen}"
    )


def _cost(verdict: Verdict) -> str:
    missed = f", {verdict.missed:,} samples left out" if verdict.missed else ""
    return (
        f"{verdict.cpu_share:.3%} of one CPU by the model ({verdict.cpu_first_share:.3%} in the "
        f"first 5 s), {verdict.clears_per_s:,.0f} clears/s{missed}"
    )
