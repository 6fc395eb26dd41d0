"""
The evaluation: what isotherm does to programs that people run, and what that costs them.

Each workload runs without anything, beside `isotherm record`, under prcl and under ethp, from
small pages and from huge ones, in turn; before and after each condition it runs without. Swap is
made here, on zram or in a file, and removed. Raw JSON, a table, and a page with pictures in --out;
`--page docs/evaluation.md` writes the page there. Root; nothing else should run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import common
import eval_figures as figures
import eval_page
import eval_totals
from eval_measure import CONDITIONS, FULL, QUICK, Bench, measured
from eval_workloads import WORKLOADS
from scheme_setup import orderly_end, own_swap, thp_mode

SWAP_MIB, QUICK_SWAP_MIB = 4096, 512


def names(known: Any) -> Any:
    """Take a list of names between commas, all of them known."""

    def some(text: str) -> list[str]:
        found = text.split(",")
        if unknown := [name for name in found if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(known)}")
        return found

    return some


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", type=names(WORKLOADS), default=list(WORKLOADS), help=",".join(WORKLOADS)
    )
    parser.add_argument(
        "--conditions", type=names(CONDITIONS), default=list(CONDITIONS), help=",".join(CONDITIONS)
    )
    parser.add_argument("--rounds", type=int, default=1, help="how often all of it is done")
    parser.add_argument("--page", type=Path, help="write the page and its pictures there, too")
    parser.add_argument("--from", dest="given", type=Path, help="the page of this JSON; no run")


def machine() -> dict[str, Any]:
    """What the figures are of."""
    facts: dict[str, Any] = {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "thp": thp_mode(),
        "load": os.getloadavg(),
        "begun": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            facts["cpu"] = line.split(":", 1)[1].strip()
            break
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        if line.startswith("MemTotal:"):
            facts["memory_bytes"] = int(line.split()[1]) * 1024
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    facts["commit"] = found.stdout.strip()
    return facts


def run(args: Any, path: Path) -> dict[str, Any]:
    """Measure all workloads that are asked for; the JSON grows with each."""
    begun = time.monotonic()
    results: dict[str, Any] = {
        "schema": "isotherm.evaluation/1",
        "machine": machine(),
        "quick": args.quick,
        "rounds": args.rounds,
        "plan": asdict(QUICK if args.quick else FULL),
        "workloads": [],
        "absent": {},
        "failed": {},
    }
    with own_swap(QUICK_SWAP_MIB if args.quick else SWAP_MIB) as swap:
        results["machine"]["swap"] = swap.kind
        for number, name in enumerate(args.only):
            workload = WORKLOADS[name]
            common.progress(f"{name} ({number + 1} of {len(args.only)})")
            if why := workload.why_not():
                common.progress(f"{name} is left out: {why}")
                results["absent"][name] = why
                continue
            bench = Bench(
                name, workload, QUICK if args.quick else FULL, args.quick,
                ["--backend", args.backend], swap, args.conditions,
            )  # fmt: skip
            try:
                results["workloads"].append(measured(bench, args.rounds))
            except (SystemExit, OSError, subprocess.SubprocessError) as err:
                common.progress(f"{name} failed: {err}")
                results["failed"][name] = str(err).splitlines()[0][:300]
            results["took_s"] = time.monotonic() - begun
            results["machine"]["load at the end"] = os.getloadavg()
            path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    return results


def show(results: dict[str, Any]) -> None:
    """Print the table of each condition, the totals, and what is left out."""
    for condition in CONDITIONS:
        rows = [
            asdict(row)
            for one in results["workloads"]
            for row in figures.rows_of(one)
            if row.condition == condition
        ]
        if rows:
            common.table(rows, title=condition)
    common.table([asdict(one) for one in eval_totals.totals(results["workloads"])], title="totals")
    for kind in ("absent", "failed"):
        for name, why in results[kind].items():
            print(f"{kind}: {name}: {why}")


def main() -> None:
    args = common.arguments(__doc__, _options)
    if args.given:
        results = json.loads(args.given.read_text("utf-8"))
    else:
        args.out.mkdir(parents=True, exist_ok=True)
        path = args.out / "eval.json"
        if os.geteuid() != 0:
            raise SystemExit("eval: swap and huge pages are set up by root: sudo make eval")
        with orderly_end():
            results = run(args, path)
        print(f"\nwritten: {path}")
    show(results)
    for page in (args.out / "evaluation.md", args.page):
        if page is not None:
            eval_page.write(page, results)
            print(f"written: {page}")
    if results["failed"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
