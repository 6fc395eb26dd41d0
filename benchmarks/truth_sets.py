"""Working sets and idle ages as isotherm says them, beside the truth: part of truth.py."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import common
import truth_said
from common import MIB
from truth_programs import Program, Subject
from truth_said import Said
from truth_witness import Used
from truth_workload import Scheduled, idle_by_age, used_since

from isotherm.model.page_use import WINDOWS_NS

#: Before anything is measured: under load, and after backends were started again.
SETTLE_S = 4.0
MIN_ERROR = 1e-9
#: No two windows of a program are alike.
CHANCE = 0.01


@dataclass(frozen=True, slots=True)
class Truth:
    """Bytes used within a window: the range of what witnesses said before and afterwards."""

    window_s: float
    low: float
    high: float
    resident: float

    def error(self, said: float) -> float:
        """How far from it, as a share of it; 0 within it."""
        away = max(self.low - said, said - self.high, 0.0)
        return away / max(self.low, MIN_ERROR)

    def met_by(self, low: float, high: float) -> bool:
        """Whether it meets an interval, but for what chance does between two windows."""
        return low <= self.high * (1 + CHANCE) and high >= self.low * (1 - CHANCE)

    @property
    def known(self) -> bool:
        """Whether the witnesses agree: bounds far apart judge no estimate."""
        return self.high - self.low <= 0.05 * self.high


def united(runs: Sequence[Sequence[Used]]) -> list[Truth]:
    """Of each window the least and most of all runs."""
    return [
        Truth(
            same[0].window_s,
            min(one.low for one in same),
            max(one.high for one in same),
            max(one.resident for one in same),
        )
        for same in zip(*runs, strict=True)
    ]


def row(name: str, truth: Truth, said: Said | None) -> dict[str, Any]:
    """A line of the table of working sets."""
    point = said.at(truth.window_s) if said else None
    found: dict[str, Any] = {
        "program": name,
        "T s": truth.window_s,
        "resident MiB": truth.resident / MIB,
        "truth MiB": truth.low / MIB,
        "to": truth.high / MIB,
    }
    if point is None or said is None:
        return found | dict.fromkeys(("said MiB", "low", "high", "error %", "holds", "cpu %"))
    return found | {
        "said MiB": point.bytes / MIB,
        "low": point.low / MIB,
        "high": point.high / MIB,
        "error %": 100 * truth.error(point.bytes) if truth.known else None,
        "holds": truth.met_by(point.low, point.high),
        "observable": point.high - point.low <= 0.03 * point.high,
        "covered": point.covered,
        "said resident": said.resident / MIB,
        "unknown": said.unknown / MIB,
        "cpu %": None if said.cpu_share is None else 100 * said.cpu_share,
        "later cpu %": None if said.later_share is None else 100 * said.later_share,
    }


def idle_errors(own: Scheduled, account: Any, said: Said, outside: float) -> dict[str, Any]:
    """
    The histogram of idle ages beside the program's own.

    outside: idle bytes outside of the areas, at least, of which the program keeps no account.

    `too idle %`: bytes that isotherm calls idle for an age that they have not, to within a step of
    the scale; `missing %`: that it does not call idle although they are; the largest over all
    ages, as a share of the program's areas. The whole length is no step of the scale.
    """
    ages = [age for age in sorted(said.idle) if age in WINDOWS_NS]
    at_ms = round(said.ended_s * 1000)
    true = dict(zip(ages, idle_by_age(account, at_ms, tuple(ages)), strict=True))
    total = own.area_bytes()
    over, under = 0.0, 0.0
    for i, age in enumerate(ages):
        below = true[ages[i - 1]] if i else total
        above = true[ages[i + 1]] if i + 1 < len(ages) else 0
        over = max(over, said.idle[age] - outside - below)
        under = max(under, above - said.idle[age])
    return {
        "program": own.name,
        "ages": len(ages),
        "from s": ages[0] / 1e9,
        "to s": ages[-1] / 1e9,
        "as of s before": said.lag_s,
        "too idle %": 100 * over / total,
        "missing %": 100 * under / total,
        "right": over <= 0.01 * total and under <= 0.01 * total,
    }


def spread(truths: Sequence[Truth]) -> float:
    return max((one.high - one.low) / max(one.high, MIN_ERROR) for one in truths)


@dataclass
class Plan:
    """
    windows_s: ascending; more_s: of a recording over the longest window; repeat: how often the
    witness measures before and after isotherm: what a program uses may go up and down.
    """

    windows_s: tuple[float, ...]
    more_s: float
    repeat: int = 1
    options: tuple[str, ...] = ()


def one(subject: Subject, plan: Plan, *, witness_only: bool) -> Iterator[dict[str, Any]]:
    """
    Witness, recording, live display, witness: in turn, as all of them clear the same bits.

    Yields dicts of one key each: "set" (a row of working sets), "idle" (of ages), "raw".
    """
    time.sleep(SETTLE_S)
    runs = [subject.truth(plan.windows_s) for _ in range(plan.repeat)]
    said, live, account = None, None, None
    if not witness_only:
        own = subject.schedule
        recorded = truth_said.record(
            subject.pid,
            plan.windows_s[-1] + plan.more_s,
            plan.options,
            own.last_used if own else None,
        )
        said, account = recorded.said, recorded.at_end
        if said is None:
            common.progress("isotherm report has no curve: witnesses only")
        if truth_said.has_wss():
            live = truth_said.wss(subject.pid, plan.windows_s[-1] + plan.more_s, plan.options)
    runs += [subject.truth(plan.windows_s) for _ in range(plan.repeat)]
    truths = united(runs)
    for truth in truths:
        yield {"set": {"by": "report", **row(subject.name, truth, said)}}
        if live is not None:
            yield {"set": {"by": "wss", **row(subject.name, truth, live)}}
    if subject.schedule is not None and said is not None and account is not None:
        outside = subject.idle_outside(subject.schedule)
        yield {"idle": idle_errors(subject.schedule, account, said, outside)}
    if subject.schedule is not None:
        yield {"schedule": schedule_row(subject.schedule, truths)}
    yield {
        "raw": {
            "program": subject.name,
            "witness": [[asdict(used) for used in run] for run in runs],
            "spread": spread(truths),
            "said": said.document if said else None,
            "live": live.document if live else None,
        }
    }


def schedule_row(own: Scheduled, truths: Sequence[Truth]) -> dict[str, Any]:
    """The program's own account of now, beside the kernel's witness, for the longest window."""
    at_ms, last = time.monotonic_ns() // 1_000_000, truths[-1]
    areas = used_since(own.last_used(), at_ms - int(last.window_s * 1000))
    return {
        "program": own.name,
        "T s": last.window_s,
        "areas MiB": own.area_bytes() / MIB,
        "schedule MiB": areas / MIB,
        "kernel MiB": last.low / MIB,
        "to": last.high / MIB,
    }


def sets(programs: Sequence[Program], plan: Plan, *, quick: bool, witness_only: bool) -> Any:
    """All programs, one after the other."""
    found: dict[str, list[Any]] = {"set": [], "idle": [], "schedule": [], "raw": [], "failed": []}
    for program in programs:
        common.progress(f"{program.name}: starts")
        try:
            with program.start(quick) as subject:
                for item in one(subject, plan, witness_only=witness_only):
                    for key, value in item.items():
                        found[key].append(value)
        except SystemExit as err:  # the others are still worth hours
            common.progress(f"{program.name}: {err}")
            found["failed"].append({"program": program.name, "why": str(err)})
    return found
