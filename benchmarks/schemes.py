"""
Schemes on real programs: what prcl saves and what ethp keeps, and what each costs.

prcl: redis with 5 % of its keys in use, a Python program that idles on 5 % of what it made at the
start, and SQLite queries on 5 % of a table, each without and with `isotherm apply` in turn (A B A
B ...), with swap on zram, or a file, made and removed here. Between two runs everything is brought
back. ethp: never / always / ethp on one page of each 2 MiB, on a dense array, and on redis.
cold: what `isotherm cold` says would go and come back, beside what `apply` then does.
The scheme runs in a process of its own, as a user would run it. Root; nothing else should run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import common
import scheme_cold
import scheme_ethp
from common import MIB
from scheme_programs import PYTHON, SQLITE, Program, child, redis
from scheme_setup import (
    Apply,
    Swap,
    Watch,
    major_faults,
    missing,
    options_of,
    orderly_end,
    own_group,
    own_swap,
    rollup,
    swap_traffic,
    thp,
)

from isotherm.schemefile.presets import PRESETS

PROGRAMS = ("redis", "python", "sqlite")
SWAP_MIB = 4096
#: As `prcl` was done before pages were judged one by one: whole regions, `--classic` adds it.
CLASSIC = "pageout access=0% age=5s.. quota=128M/s"
#: `--quick` cannot wait for half a minute of idleness.
HURRIED = PRESETS["prcl"].lines.replace("idle:30s", "idle:3s").replace("every=2s", "every=1s")


@dataclass(frozen=True)
class Plan:
    """settle_s: under load, before A; warm_s: before B, from when the scheme began."""

    pairs: int
    settle_s: float
    warm_s: float
    measure_s: float
    paced_s: float
    keys: int
    records: int
    rows: int


FULL = Plan(5, 6, 55, 15, 7, 2_000_000, 640_000, 600_000)
QUICK = Plan(1, 3, 10, 4, 2, 300_000, 150_000, 150_000)


@dataclass(frozen=True)
class Run:
    """One measurement; bytes, and shares of one CPU. `whole_*`: since the scheme began."""

    rate: float
    per_cpu_s: float
    p99_ms: float | None
    rss: float
    pss: float
    swapped: int
    major_faults: int
    whole_rate: float
    whole_rss: float
    whole_major_faults: int
    machine: dict[str, int]
    cpu_share: float | None = None
    whole_cpu_share: float | None = None
    peak: int | None = None
    zram: dict[str, int] | None = None
    account: list[Any] | None = None


def run(program: Program, warm_s: float, measure_s: float, scheme: Apply | None) -> Run:
    """Warm up under load, then measure."""
    with Watch(program.pid) as watch:
        begun, done, faults = time.monotonic(), program.done(), major_faults(program.pid)
        time.sleep(warm_s)
        warm_rate = (program.done() - done) / (time.monotonic() - begun)
        steady, steady_faults = time.monotonic(), major_faults(program.pid)
        traffic, cpu_ns = swap_traffic(), scheme.cpu_ns if scheme else 0
        speed = program.measure(measure_s)
        now = time.monotonic()
        share = (scheme.cpu_ns - cpu_ns) / 1e9 / (now - steady) if scheme else None
        facts = rollup(program.pid)
        faults_now = major_faults(program.pid)
        # A paced client does other work than the load: its time does not count.
        whole = warm_rate * (steady - begun) + speed.rate * (now - steady)
        return Run(
            rate=speed.rate,
            per_cpu_s=speed.per_cpu_s,
            p99_ms=speed.p99_ms,
            rss=watch.mean_since(steady) or facts["Rss"],
            pss=facts["Pss"],
            swapped=facts.get("Swap", 0),
            major_faults=faults_now - steady_faults,
            whole_rate=whole / (now - begun),
            whole_rss=watch.mean_since() or facts["Rss"],
            whole_major_faults=faults_now - faults,
            machine={name: value - traffic[name] for name, value in swap_traffic().items()},
            cpu_share=share,
        )


def with_scheme(
    program: Program, plan: Plan, schemes: str, swap: Swap, options: Sequence[str]
) -> dict[str, Any]:
    """One B: the scheme begins, warms up, is measured, ends; then all is brought back."""
    with Apply(schemes, program.pid, options) as scheme:
        found = asdict(run(program, plan.warm_s, plan.measure_s, scheme))
        found["zram"] = swap.compressed()
        ended = scheme.end()
    swap.bring_back(program.pid)
    return found | {
        "whole_cpu_share": ended["cpu share"],
        "peak": ended["peak bytes"],
        "account": ended["account"],
    }


def pairs_of(
    program: Program, plan: Plan, schemes: dict[str, str], swap: Swap, options: Sequence[str]
) -> list[dict[str, Any]]:
    """A, then each of the schemes, in turn; a row of figures for each scheme."""
    plain: list[dict[str, Any]] = []
    under: dict[str, list[dict[str, Any]]] = {name: [] for name in schemes}
    for number in range(plan.pairs):
        common.progress(f"{program.name}: {number + 1} of {plan.pairs}, without")
        plain.append(asdict(run(program, plan.settle_s, plan.measure_s, None)))
        for name, text in schemes.items():
            common.progress(f"{program.name}: {number + 1} of {plan.pairs}, {name}")
            under[name].append(with_scheme(program, plan, text, swap, options))
    return [
        {"program": program.name, "scheme": name, "without": plain, "with": runs}
        for name, runs in under.items()
    ]


def summary(one: dict[str, Any]) -> dict[str, Any]:
    """Medians over pairs of (with / without) and of plain figures."""
    pairs = list(zip(one["without"], one["with"], strict=True))

    def ratio(key: str) -> float | None:
        return common.median([b[key] / a[key] for a, b in pairs if a[key]])

    def middle(of: Callable[[dict[str, Any], dict[str, Any]], float | None]) -> float | None:
        return common.median([of(a, b) for a, b in pairs])

    speeds = [b["rate"] / a["rate"] for a, b in pairs]
    seconds = one["measure seconds"]
    return {
        "program": one["program"],
        "scheme": one["scheme"],
        "resident MiB": middle(lambda a, _: a["rss"] / MIB),
        "rss saved %": 100 * (1 - (ratio("rss") or 1)),
        "pss saved %": 100 * (1 - (ratio("pss") or 1)),
        "net saved %": middle(net_saved),
        "since begin %": 100 * (1 - (ratio("whole_rss") or 1)),
        "slower %": 100 * (1 - (ratio("rate") or 1)),
        "min": 100 * (1 - max(speeds)),
        "max": 100 * (1 - min(speeds)),
        "per CPU s %": 100 * (1 - (ratio("per_cpu_s") or 1)),
        "whole %": 100 * (1 - (ratio("whole_rate") or 1)),
        "p99 ms": middle(lambda a, _: a["p99_ms"]),
        "p99 with": middle(lambda _, b: b["p99_ms"]),
        "refaults/s": middle(lambda _, b: b["major_faults"] / seconds),
        "cpu %": middle(lambda _, b: 100 * b["cpu_share"]),
        "whole cpu %": middle(lambda _, b: 100 * b["whole_cpu_share"]),
        "peak MiB": middle(lambda _, b: b["peak"] / MIB),
        "pairs": len(pairs),
    }


def net_saved(without: dict[str, Any], under: dict[str, Any]) -> float | None:
    """Percent of resident memory saved, less what zram keeps of it, compressed."""
    if not under["zram"]:
        return None
    left = under["rss"] + under["zram"]["memory for them"]
    return 100 * (1 - left / without["rss"])


def verdict(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over programs beside the targets."""
    found = []
    for scheme in dict.fromkeys(row["scheme"] for row in rows):
        mine = [row for row in rows if row["scheme"] == scheme]
        found.append(
            {
                "scheme": scheme,
                "programs": len(mine),
                "rss saved %": common.mean([row["rss saved %"] for row in mine]),
                "target": ">=30",
                "slower %": common.mean([row["slower %"] for row in mine]),
                "target ": "<=1",
                "per CPU s %": common.mean([row["per CPU s %"] for row in mine]),
                "worst %": max(row["slower %"] for row in mine),
                "target  ": "<=5",
            }
        )
    return found


def start(stack: ExitStack, name: str, plan: Plan, group: Path | None) -> Program | None:
    """Start a program that is measured; None if it is not installed."""
    common.progress(f"{name}: starts")
    if name == "python":
        return stack.enter_context(
            child(name, PYTHON, plan.records, plan.records // 20, group=group)
        )
    if name == "sqlite":
        return stack.enter_context(child(name, SQLITE, plan.rows, plan.rows // 20, group=group))
    if absent := missing("redis-server", "redis-benchmark"):
        common.progress(f"{', '.join(absent)} not installed: redis is left out")
        return None
    hot = plan.keys // 20
    return stack.enter_context(redis(plan.keys, hot, paced_s=plan.paced_s, group=group))


def prcl(args: Any) -> dict[str, Any]:
    """All programs under the preset, or what was given in its place."""
    plan = QUICK if args.quick else FULL
    plan = replace(plan, pairs=args.pairs or plan.pairs)
    schemes = {"prcl": HURRIED if args.quick else "prcl"}
    if args.schemes:
        schemes = {"given": args.schemes}
    if args.classic:
        schemes["classic"] = CLASSIC
    raw, rows = [], []
    with ExitStack() as outer:
        swap = outer.enter_context(own_swap(SWAP_MIB))
        outer.enter_context(thp("madvise"))
        group = outer.enter_context(own_group())
        for name in args.programs or PROGRAMS:
            with ExitStack() as stack:
                program = start(stack, name, plan, group)
                if program is None:
                    continue
                for one in pairs_of(program, plan, schemes, swap, options_of(args)):
                    one["measure seconds"] = plan.measure_s
                    raw.append(one)
                    rows.append(summary(one))
        kind = swap.kind
    common.table(rows, title=f"prcl: with the scheme against without, swap on {kind}")
    overall = verdict(rows)
    common.table(overall, title="prcl: over programs")
    return {"swap": kind, "schemes": schemes, "summary": rows, "overall": overall, "runs": raw}


def cold(args: Any) -> dict[str, Any]:
    """What `isotherm cold` says of the programs, beside what is then done."""
    plan = QUICK if args.quick else FULL
    return scheme_cold.cold(args, lambda stack, name, group: start(stack, name, plan, group))


def _options(parser: argparse.ArgumentParser) -> None:
    def some(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - {*PROGRAMS, *scheme_cold.PROGRAMS}:
            raise argparse.ArgumentTypeError(f"no program {', '.join(unknown)}")
        return names

    parser.add_argument("--only", choices=("prcl", "ethp", "cold"), help="one part")
    parser.add_argument("--programs", type=some, help="redis,python,sqlite; of cold also postgres")
    parser.add_argument(
        "--workloads", type=lambda text: text.split(","), default=list(scheme_ethp.WORKLOADS),
        help=f"of ethp: {','.join(scheme_ethp.WORKLOADS)}",
    )  # fmt: skip
    parser.add_argument("--schemes", help="in place of the preset, as `isotherm apply` takes them")
    parser.add_argument("--classic", action="store_true", help=f"prcl: also {CLASSIC!r}")
    parser.add_argument("--options", default="", help="more options of `isotherm apply`")
    parser.add_argument("--pairs", type=int, help="runs of each kind")


def main() -> None:
    args = common.arguments(__doc__, _options)
    parts = {"prcl": prcl, "ethp": scheme_ethp.ethp, "cold": cold}
    results = {}
    with orderly_end():
        for name, part in parts.items():
            if args.only in (None, name):
                results[name] = part(args)
    name = f"schemes-{args.only}" if args.only else "schemes"
    common.write(name, args, results)


if __name__ == "__main__":
    main()
