"""
Policies on simulated machines of any size: how near to the truth, how soon, at what price.

Each cell is a policy on a workload of a size within a share of CPU, over several seeds; the worst
of them stands beside the mean. CPU time is that of the cost model; nothing of this machine takes
part, so that the figures are the same everywhere. Policies are those registered; NAME+map has the
map of pages beside it, under the same share.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from common import arguments, progress, table, write

from isotherm.backends.opening import Wish
from isotherm.backends.sim.costs import costs_named
from isotherm.backends.sim.judge import Judge, Verdict
from isotherm.backends.sim.patterns import RECIPES, workload_named
from isotherm.core import policies
from isotherm.core.policies import MAP
from isotherm.session.simulated import Simulation
from isotherm.units import cpu_share, duration_ns, size

#: Of --quick.
FEW = ("hotspot", "phases", "scat2M", "zipfO")


class Cell(NamedTuple):
    """What is simulated with each seed."""

    policy: str
    workload: str
    size: str
    budget: str
    costs: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """One seed of a cell."""

    cell: Cell
    seed: int
    verdict: Verdict


def simulate(cell: Cell, seed: int) -> Run:
    """Run one seed of a cell."""
    name, _, beside = cell.policy.partition("+")
    simulation = Simulation(
        workload=workload_named(cell.workload, size(cell.size), seed=seed),
        costs=costs_named(cell.costs),
        wish=Wish(policy=name),
        overhead=0.0 if cell.budget == "none" else cpu_share(cell.budget),
        seed=seed,
        beside=bool(beside),
    )
    session, look = simulation.start()
    judge = Judge(look)
    with session:
        for snapshot in session.snapshots(cell.seconds):
            judge.take(snapshot)
    return Run(cell, seed, judge.verdict())


def summary(cell: Cell, runs: Sequence[Run]) -> dict[str, Any]:
    """What the runs of a cell have in common, and the worst of them."""
    verdicts = [run.verdict for run in runs]
    found = [one.found for one in verdicts if one.found is not None]
    first = [one.first_s for one in verdicts]
    again = [after for one in verdicts for after in one.again_s]
    ratios = [one.working_set for one in verdicts if one.working_set is not None]
    uses = [
        one.page_use.best / one.page_use.used
        for one in verdicts
        if one.page_use is not None and one.page_use.used > 0
    ]
    cpu = [one.cpu_share for one in verdicts]
    return {
        "policy": cell.policy,
        "workload": cell.workload,
        "size": cell.size,
        "budget": cell.budget,
        "R@k": statistics.fmean(found) if found else None,
        "worst": min(found, default=None),
        "found s": _middle(first),
        "slowest s": _last(first),
        "never": sum(one is None for one in first),
        "again s": _middle(again),
        "again worst": _last(again),
        "missed changes": sum(one is None for one in again),
        "changes": len(again),
        "wss ratio": statistics.median(ratios) if ratios else None,
        "wss 1s map": statistics.median(uses) if uses else None,
        "cpu %": 100 * statistics.fmean(cpu),
        "cpu worst %": 100 * max(cpu),
        "cpu 5s %": 100 * max(one.cpu_first_share for one in verdicts),
        "clears/s": statistics.fmean(one.clears_per_s for one in verdicts),
    }


def _middle(values: Sequence[float | None]) -> float | None:
    """The median, never counting as later than all others; None: that is never."""
    known = sorted(value for value in values if value is not None)
    return known[len(values) // 2] if len(values) // 2 < len(known) else None


def _last(values: Sequence[float | None]) -> float | None:
    """The latest; None if one of them is never."""
    if not values or None in values:
        return None
    return max(value for value in values if value is not None)


def means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """R@k over all workloads in which something is hot, by policy, budget and size."""
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    found: list[dict[str, Any]] = []
    for key in dict.fromkeys((row["policy"], row["budget"]) for row in rows):
        line: dict[str, Any] = {"policy": key[0], "budget": key[1]}
        for nbytes in sizes:
            known = [
                row["R@k"]
                for row in rows
                if (row["policy"], row["budget"], row["size"]) == (*key, nbytes)
                and row["R@k"] is not None
            ]
            line[nbytes] = statistics.fmean(known) if known else None
        found.append(line)
    return found


def cells(args: Any) -> Iterator[Cell]:
    """Yield what was asked for."""
    for nbytes in args.sizes.split(","):
        for workload in args.workloads.split(","):
            for budget in args.budgets.split(","):
                for policy in args.policies.split(","):
                    yield Cell(policy, workload, nbytes, budget, args.costs, args.seconds)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    names = [name for name in policies.names() if name != MAP]
    parser.add_argument("--policies", default=",".join([*names, MAP]), help="NAME or NAME+map")
    parser.add_argument("--workloads", help="by name, as `isotherm simulate --list` has them")
    parser.add_argument("--sizes", help="of memory")
    parser.add_argument("--budgets", help="shares of one CPU; none: no bound")
    parser.add_argument("--costs", default="cold", help="as `isotherm simulate --costs`")
    parser.add_argument("--seconds", type=lambda text: duration_ns(text) / 1e9, help="simulated")
    parser.add_argument("--seeds", type=int, help="how many")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--name", default="policies", help="of the JSON file")


def main() -> None:
    args = arguments(__doc__, add)
    args.workloads = args.workloads or ",".join(FEW if args.quick else RECIPES)
    args.sizes = args.sizes or ("1G,64G" if args.quick else "1G,16G,64G,1T,5T")
    args.budgets = args.budgets or ("1%" if args.quick else "0.1%,0.3%,1%")
    args.seconds = args.seconds or (6.0 if args.quick else 25.0)
    args.seeds = args.seeds or (2 if args.quick else 6)
    rows, runs = [], []
    with ProcessPoolExecutor(args.jobs) as pool:
        waiting = [
            (cell, [pool.submit(simulate, cell, seed) for seed in range(args.seeds)])
            for cell in cells(args)
        ]
        for cell, futures in waiting:
            progress(" ".join(map(str, cell[:4])))
            found = [future.result() for future in futures]
            runs += found
            rows.append(summary(cell, found))
    table(rows, title=f"costs {args.costs}, {args.seconds:g} s, {args.seeds} seeds")
    table(means(rows), title="R@k, mean over workloads")
    details = [{**run.cell._asdict(), "seed": run.seed, **asdict(run.verdict)} for run in runs]
    write(args.name, args, {"rows": rows, "means": means(rows), "runs": details})


if __name__ == "__main__":
    main()
