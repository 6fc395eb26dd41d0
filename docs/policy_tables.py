"""
Tables for docs from what `policies.py` wrote: `docs/policy_tables.py FILE.json... --into PAGE.md`.

They stand between the marks <!-- policies --> and <!-- /policies --> of the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- policies -->\n", "<!-- /policies -->"


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the cells of a file, each with its costs and how many seeds it is of."""
    read = json.loads(path.read_text("utf-8"))
    asked = read["about"]["arguments"]
    for row in read["rows"]:
        yield {**row, "costs": asked["costs"], "seeds": asked["seeds"]}


def lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a table in Markdown."""
    yield (
        "| workload | size | costs | policy | R@k, mean (worst) | found, median (worst) | "
        "after a change | CPU, worst |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        again = _times(row["again s"], row["again worst"], row["missed changes"], row["changes"])
        first = _times(row["found s"], row["slowest s"], row["never"], int(row["seeds"]))
        yield (
            f"| `{row['workload']}` | {row['size']} | {row['costs']} | {row['policy']}, "
            f"{row['budget']} | {row['R@k']:.3f} ({row['worst']:.3f}) | {first} | {again} | "
            f"{row['cpu worst %']:.2f} % |"
        )


def _times(middle: float | None, worst: float | None, never: int, of: int) -> str:
    if not of:
        return ""
    told = "never" if middle is None else f"{middle:.2g} s"
    if worst is not None:
        return f"{told} ({worst:.2g})"
    return told if never == of else f"{told} ({never} of {of} not)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--into", type=Path, required=True)
    args = parser.parse_args()
    rows = [row for path in args.files for row in rows_of(path)]
    page = args.into.read_text("utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    text = "\n".join(lines(rows)) + "\n"
    args.into.write_text(f"{before}{BEGIN}{text}{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
