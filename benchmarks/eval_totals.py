"""Means and worst lines over all workloads of an evaluation, beside their targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import common
from eval_figures import Foreseen, Huge, Row, foreseen_of, huge_of, noise_of, rows_of
from eval_measure import ETHP, ETHP_HUGE, PRCL, RECORD


@dataclass(frozen=True)
class Total:
    """
    One line; value in percent, or a count.

    target: "" where none was set; verdict: "" where there is none to tell; of: how many, or who.
    """

    what: str
    value: float | None
    target: str
    verdict: str
    of: str


def at_most(value: float | None, limit: float, noise: float) -> str:
    """Whether a cost keeps to its limit; beyond by less than noise cannot be told."""
    if value is None:
        return "not measured"
    if value <= limit:
        return "met"
    return "missed" if value - limit > noise else "cannot be told from noise"


def at_least(value: float | None, limit: float) -> str:
    """Whether a gain is as large as it should be."""
    if value is None:
        return "nothing to measure it by"
    return "met" if value >= limit else "missed"


def totals(workloads: Sequence[dict[str, Any]]) -> list[Total]:
    """All lines, of the conditions that were measured."""
    counted = _Totals(workloads)
    return [
        *counted.of_record(),
        *counted.of_prcl(),
        *counted.of_ethp(ETHP),
        *counted.of_ethp(ETHP_HUGE),
        *counted.of_foreseen(),
    ]


class _Totals:
    def __init__(self, workloads: Sequence[dict[str, Any]]) -> None:
        self.workloads = workloads
        self.noise = {one["name"]: noise_of(one) for one in workloads}
        self.rows = [row for one in workloads for row in rows_of(one)]

    def _rows(self, condition: str) -> list[Row]:
        return [row for row in self.rows if row.condition == condition]

    def _worst(
        self, rows: Sequence[Row], key: str, what: str, limit: float | None = None
    ) -> Total:
        """The line of the row whose cost is highest."""
        known = [row for row in rows if getattr(row, key) is not None]
        if not known:
            return Total(what, None, "", "not measured", "")
        row = max(known, key=lambda one: getattr(one, key))
        value, noise = getattr(row, key), getattr(self.noise[row.workload], key) or 0.0
        if limit is None:
            return Total(what, value, "", "", row.workload)
        return Total(what, value, f"<= {limit:g} %", at_most(value, limit, noise), row.workload)

    def of_record(self) -> list[Total]:
        rows = self._rows(RECORD)
        if not rows:
            return []
        return [
            *_means("record", rows),
            self._worst(rows, "per_cpu", "record: slower per CPU time, worst"),
            self._worst(rows, "p99", "record: p99 higher, worst"),
        ]

    def of_prcl(self) -> list[Total]:
        rows = self._rows(PRCL)
        if not rows:
            return []
        saved = common.mean([row.saved for row in rows])
        clock, cpu = _means("prcl", rows)
        # The noise of a mean of so many.
        around = (common.mean([self.noise[row.workload].per_cpu for row in rows]) or 0.0) / (
            len(rows) ** 0.5
        )
        return [
            Total("prcl: resident memory saved, mean", saved, ">= 30 %", at_least(saved, 30),
                  _count(rows)),
            clock,
            Total(cpu.what, cpu.value, "<= 1 %", at_most(cpu.value, 1, around), cpu.of),
            self._worst(rows, "per_cpu", "prcl: slower per CPU time, worst", 3),
            self._worst(rows, "p99", "prcl: p99 higher, worst", 5),
        ]  # fmt: skip

    def of_ethp(self, condition: str) -> list[Total]:
        found = [one for work in self.workloads for one in huge_of(work)]
        mine = [one for one in found if one.condition == condition]
        if not mine:
            return []
        kept = [one for one in mine if one.kept is not None]
        removed = [one for one in mine if one.removed is not None]
        gainless = {one.workload for one in mine if one.kept is None}
        rows = [row for row in self._rows(condition) if row.workload in gainless]
        return [
            _of_huge(f"{condition}: gain of huge pages kept, mean", kept, "kept", common.mean, 80),
            _of_huge(f"{condition}: gain of huge pages kept, worst", kept, "kept", min, 50),
            _of_huge(f"{condition}: bloat removed, mean", removed, "removed", common.mean, 90),
            self._worst(rows, "per_cpu", f"{condition}: slower where they gain nothing, worst", 1),
        ]

    def of_foreseen(self) -> list[Total]:
        asked = [found for one in self.workloads if (found := foreseen_of(one)) is not None]
        return [
            _of_foreseen("simulate: bytes within 15 %", asked, "bytes_hold"),
            _of_foreseen("simulate: refaults within a factor of 1.5", asked, "back_holds"),
        ]


def _count(rows: Sequence[Any]) -> str:
    return f"{len(rows)} workloads"


def _means(name: str, rows: Sequence[Row]) -> list[Total]:
    """By the clock, and per CPU time."""
    return [
        Total(f"{name}: slower {what}, mean", common.mean([getattr(row, key) for row in rows]),
              "", "", _count(rows))
        for key, what in (("slower", "by the clock"), ("per_cpu", "per CPU time"))
    ]  # fmt: skip


def _of_huge(
    what: str, found: Sequence[Huge], key: str, of: Callable[[Any], Any], limit: float
) -> Total:
    value = of([getattr(one, key) for one in found]) if found else None
    with_it = f"{len(found)} with 3 % or more of it"
    return Total(what, value, f">= {limit:g} %", at_least(value, limit), with_it)


def _of_foreseen(what: str, asked: Sequence[Foreseen], key: str) -> Total:
    right = sum(getattr(one, key) is True for one in asked)
    if not asked:
        return Total(what, None, "8 of 12", "not measured", "")
    verdict = at_least(right, len(asked) * 8 / 12)
    return Total(what, right, "8 of 12", verdict, f"of {_count(asked)}")
