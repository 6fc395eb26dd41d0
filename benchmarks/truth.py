"""
What isotherm says of memory beside the truth, from witnesses that are not isotherm's.

sets: the working set over 1, 10 and 60 s, and idle ages, of programs with known use and of
services, by `isotherm record` and `isotherm wss`, between two runs of the witness. free: what a
report says could be freed, and what `apply` then frees. map: how long until every page is known.
speed: the program's own speed with isotherm over without, split huge pages, and the longest page
fault. memory: bytes of isotherm's memory per page of the target. `--witness-only` leaves isotherm
out of `sets`. Root; nothing else should run.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import common
import truth_costs
import truth_free
from scheme_setup import orderly_end
from truth_costs import verdict
from truth_programs import PROGRAMS, chosen
from truth_sets import Plan, sets

PARTS = ("sets", "free", "map", "speed", "memory")


def set_verdicts(found: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Errors where all is observable; where not, how often the interval leaves the truth out."""
    said = [one for one in found["set"] if one.get("said MiB") is not None]
    errors = [one["error %"] for one in said if one["observable"] and one["error %"] is not None]
    left_out = [one for one in said if not one["holds"] and not one["observable"]]
    idle = [max(one["too idle %"], one["missing %"]) for one in found["idle"]]
    shares = [one["later cpu %"] for one in said if one["later cpu %"] is not None]
    return [
        verdict("working set, median error", common.median(errors), 3, "%"),
        verdict("working set, worst error", max(errors, default=None), 10, "%"),
        verdict("programs where isotherm failed", float(len(found["failed"])), 0, ""),
        verdict("intervals without the truth", float(len(left_out)) if said else None, 0, ""),
        verdict("idle ages, worst wrong share", max(idle, default=None), 1, "%"),
        verdict("CPU of isotherm after 5 s, median", common.median(shares), 1, "%"),
        verdict("CPU of isotherm after 5 s, most", max(shares, default=None), 1, "%"),
    ]


def run_sets(args: Any) -> dict[str, Any]:
    plan = Plan(
        args.windows, 2.0 if args.quick else 10.0, args.repeat, tuple(args.options.split())
    )
    found = sets(
        list(chosen(args.only, args.quick)),
        plan,
        quick=args.quick,
        witness_only=args.witness_only,
    )
    common.table(found["set"], title="working sets: the truth, before to afterwards, and said")
    common.table(found["schedule"], title="the programs' own account beside the kernel's witness")
    if not args.witness_only:
        common.table(found["idle"], title="idle ages beside the programs' own account")
        found["verdicts"] = set_verdicts(found)
    return found


def parts(args: Any) -> dict[str, Callable[[Any], dict[str, Any]]]:
    return {
        "sets": run_sets,
        "free": truth_free.free,
        "map": truth_costs.coverage,
        "speed": truth_costs.speed,
        "memory": truth_costs.memory,
    }


def _windows(text: str) -> tuple[float, ...]:
    return tuple(sorted(float(word) for word in text.split(",")))


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def some(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(
                f"no {', '.join(sorted(unknown))}; there are: {', '.join(known)}"
            )
        return names

    return some


def _options(parser: argparse.ArgumentParser) -> None:
    names = [one.name for one in PROGRAMS]
    parser.add_argument("--part", type=_names(PARTS), default=list(PARTS), help=",".join(PARTS))
    parser.add_argument(
        "--only", type=_names(names), default=[], help="programs of `sets`, `free`"
    )
    parser.add_argument("--witness-only", action="store_true", help="`sets` without isotherm")
    parser.add_argument("--windows", type=_windows, help="of `sets`, in s [1,10,60; quick: 1,2]")
    parser.add_argument("--repeat", type=int, default=1, help="of the witness of `sets` [1]")
    parser.add_argument("--pairs", type=int, help="of `speed` [10; quick: 2]")
    parser.add_argument("--json", type=Path, help="also write the JSON there")
    parser.add_argument("--options", default="", help="more options of `isotherm record`, `wss`")


def main() -> None:
    args = common.arguments(__doc__, _options)
    args.windows = args.windows or ((1.0, 2.0) if args.quick else (1.0, 10.0, 60.0))
    args.pairs = args.pairs or (2 if args.quick else 10)
    wanted = ["sets"] if args.witness_only else args.part
    results: dict[str, Any] = {}
    with orderly_end():
        for name, part in parts(args).items():
            if name in wanted:
                results[name] = part(args)
    verdicts = [one for found in results.values() for one in found.get("verdicts", ())]
    common.table(verdicts, title="figures and their targets")
    written = common.write("truth", args, results | {"verdicts": verdicts})
    if args.json:
        shutil.copyfile(written, args.json)


if __name__ == "__main__":
    main()
