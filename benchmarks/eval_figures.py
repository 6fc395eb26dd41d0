"""From what benchmarks/eval.py measured to its figures: ratios, noise, totals, verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import common
from common import MIB
from eval_measure import ALWAYS, CONDITIONS, ETHP, ETHP_HUGE, NONE, PLAIN, PRCL

#: A gain of huge pages, or what they add to memory, below this share is none.
LEAST = 0.03
#: Least share of resident memory by which a prediction can be wrong or right.
LEAST_SAVED = 0.01

Run = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """
    One workload under one condition, against `none`; percent, MiB, ms, shares of one CPU.

    slower, per_cpu, p99: how much slower it is, by the clock, by its CPU time, in latency; None
    where it has none; saved: resident memory that is gone, on average over the measurement.
    """

    workload: str
    condition: str
    slower: float
    per_cpu: float
    p99: float | None
    p99_ms: float | None
    saved: float
    mean: float
    end: float
    huge: float
    monitor: float | None
    refaults: float


@dataclass(frozen=True)
class Noise:
    """By how many percent runs of `none` differ from one another at most."""

    slower: float
    per_cpu: float
    p99: float | None


def plain_beside(runs: Sequence[Run], place: int) -> list[int]:
    """Where the plain runs just before and after one are, of the same process."""
    mine = [
        at
        for at, one in enumerate(runs)
        if is_plain(one) and one["process"] == runs[place]["process"]
    ]
    return [at for at in mine if at < place][-1:] + [at for at in mine if at > place][:1]


def is_plain(one: Run) -> bool:
    return one["condition"] in PLAIN


def middle(runs: Sequence[Run], key: str) -> float | None:
    return common.median([one[key] for one in runs])


def base_of(runs: Sequence[Run], place: int, key: str = "rate") -> list[Run]:
    """
    What a run is held against: `none` just before and after it; where its process began with huge
    pages, all runs of `none`, which were other processes. Memory only against what nothing was
    paged out of before: what comes back from files comes back when it is used.
    """
    if runs[place]["condition"] in (ALWAYS, ETHP_HUGE):
        found = [at for at, one in enumerate(runs) if one["condition"] == NONE]
    else:
        found = plain_beside(runs, place)
    if key.startswith("pss"):
        found = [at for at in found if not _after_prcl(runs, at)]
    return [runs[at] for at in found]


def _after_prcl(runs: Sequence[Run], place: int) -> bool:
    mine = runs[place]["process"]
    return any(one["condition"] == PRCL and one["process"] == mine for one in runs[:place])


def _percent(of: float | None, base: float | None) -> float | None:
    """By how many percent something is more than a base."""
    return None if of is None or not base else 100 * (of / base - 1)


def rows_of(workload: dict[str, Any]) -> list[Row]:
    """The medians of each condition, over rounds."""
    runs, rows = workload["runs"], []
    for condition in CONDITIONS:
        places = [at for at, one in enumerate(runs) if one["condition"] == condition]
        if not places:
            continue
        mine = [runs[at] for at in places]
        whole = [runs[at] for at in places if not _after_prcl(runs, at) or condition != NONE]

        def less(key: str, places: Sequence[int] = places) -> float:
            """Percent by which it is less than what it is held against."""
            found = [
                _percent(runs[at][key], common.mean([one[key] for one in base_of(runs, at, key)]))
                for at in places
            ]
            return -(common.median(found) or 0.0)

        plain = condition == NONE
        has_p99 = not plain and all(one["p99_ms"] for one in runs)
        rows.append(
            Row(
                workload=workload["name"],
                condition=condition,
                slower=0.0 if plain else less("rate"),
                per_cpu=0.0 if plain else less("per_cpu_s"),
                p99=-less("p99_ms") if has_p99 else None,
                p99_ms=middle(mine, "p99_ms"),
                saved=0.0 if plain else less("pss_mean"),
                mean=(middle(whole, "pss_mean") or 0) / MIB,
                end=(middle(whole, "pss_end") or 0) / MIB,
                huge=(middle(mine, "huge_end") or 0) / MIB,
                monitor=None if is_plain(mine[0]) else 100 * (middle(mine, "monitor") or 0),
                refaults=middle(mine, "refaults") or 0.0,
            )
        )
    return rows


def noise_of(workload: dict[str, Any]) -> Noise:
    """Of runs without anything: the most that two of them differ, of their median."""
    plain = [one for one in workload["runs"] if one["condition"] == NONE]

    def spread(key: str) -> float | None:
        values = [one[key] for one in plain if one[key] is not None]
        if len(values) < 2:
            return None
        return 100 * (max(values) - min(values)) / (common.median(values) or 1)

    return Noise(spread("rate") or 0.0, spread("per_cpu_s") or 0.0, spread("p99_ms"))


def told(value: float | None, noise: float | None) -> bool:
    """Whether a difference can be told from noise."""
    return value is not None and noise is not None and abs(value) > noise


@dataclass(frozen=True)
class Huge:
    """
    What ethp keeps and removes of one workload.

    gain, bloat: percent that huge pages everywhere speed it up by CPU time, and add to memory;
    kept, removed: percent of these, None where there is too little to divide by.
    """

    workload: str
    condition: str
    gain: float
    bloat: float
    kept: float | None
    removed: float | None


def huge_of(workload: dict[str, Any]) -> list[Huge]:
    """For each way that ethp was tried; work per CPU second, and memory at the end."""
    runs, noise, found = workload["runs"], noise_of(workload), []
    none = [one for one in runs if one["condition"] == NONE]
    always = [one for one in runs if one["condition"] == ALWAYS]
    for condition in (ETHP, ETHP_HUGE):
        acting = [one for one in runs if one["condition"] == condition]
        if not (none and always and acting):
            continue
        speeds = [middle(of, "per_cpu_s") or 1.0 for of in (none, always, acting)]
        whole = [one for at, one in enumerate(runs) if one in none and not _after_prcl(runs, at)]
        sizes = [middle(of, "pss_end") or 1.0 for of in (whole, always, acting)]
        gain, bloat = speeds[1] / speeds[0] - 1, sizes[1] / sizes[0] - 1
        gains = gain >= LEAST and told(100 * gain, noise.per_cpu)
        found.append(
            Huge(
                workload["name"],
                condition,
                100 * gain,
                100 * bloat,
                100 * share(speeds[0], speeds[1], speeds[2]) if gains else None,
                100 * (1 - share(sizes[0], sizes[1], sizes[2])) if bloat >= LEAST else None,
            )
        )
    return found


def share(begin: float, end: float, at: float) -> float:
    """How far `at` is on the way from `begin` to `end`."""
    return (at - begin) / (end - begin)


@dataclass(frozen=True)
class Foreseen:
    """What the recording said of prcl beside what came: MiB, pages a second; None: not told."""

    workload: str
    said: float | None
    low: float | None
    high: float | None
    was: float
    bytes_hold: bool | None
    said_back: float | None
    back: float
    back_holds: bool | None
    why_not: str = ""


def foreseen_of(workload: dict[str, Any]) -> Foreseen | None:
    """Of the first round; None if it was not asked."""
    said, runs = workload.get("foreseen"), workload["runs"]
    place = next((at for at, one in enumerate(runs) if one["condition"] == PRCL), None)
    if said is None or place is None:
        return None
    base = common.mean([one["pss_end"] for one in base_of(runs, place, "pss_end")]) or 0.0
    was, back = base - runs[place]["pss_end"], runs[place]["back_per_s"] or 0.0
    name = workload["name"]
    if "saved" not in said:
        return Foreseen(name, None, None, None, was / MIB, None, None, back, None, said["why not"])
    low, best, high = (said["saved"][key] for key in ("low", "best", "high"))
    close = abs(best - was) <= max(0.15 * abs(was), LEAST_SAVED * base)
    rate = said["back_per_s"]["best"] if said["back_per_s"] else None
    near = None if rate is None else _near(rate, back)
    return Foreseen(name, best / MIB, low / MIB, high / MIB, was / MIB, close, rate, back, near)


def _near(said: float, was: float) -> bool:
    """Within a factor of 1.5; less than one page a second is none."""
    return max(said, was) <= 1.5 * max(min(said, was), 1.0)
