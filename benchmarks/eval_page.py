"""The page of an evaluation in Markdown, and its pictures, from the JSON of eval.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import eval_figures as figures
import eval_totals
from eval_chart import Group, bars
from eval_figures import Row, told
from eval_measure import ALWAYS, CONDITIONS, ETHP, ETHP_HUGE, NONE, PRCL, RECORD

ABOUT = {
    NONE: "nothing beside it, small pages (THP `madvise`)",
    RECORD: "`isotherm record` as it is by default",
    PRCL: "`isotherm apply prcl`, pages out after 30 s of idleness",
    ETHP: "`isotherm apply ethp`, begun among small pages",
    ALWAYS: "nothing beside it, huge pages wherever they can be (THP `always`)",
    ETHP_HUGE: "`isotherm apply ethp`, begun among huge pages",
}


def write(path: Path, results: dict[str, Any]) -> None:
    """Write the page, and its pictures beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, data in pictures(results["workloads"]):
        path.with_name(f"{path.stem}-{name}.svg").write_bytes(data)
    path.write_text("\n".join(lines(results, path.stem)) + "\n", "utf-8")


def lines(results: dict[str, Any], stem: str = "evaluation") -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Evaluation"
    yield ""
    yield from _about(results)
    yield from _totals(results)
    for name, title in (("memory", "Resident memory with prcl"), ("slower", "What it costs"),
                        ("huge", "Speed with huge pages")):  # fmt: skip
        yield f"![{title}]({stem}-{name}.svg)"
        yield ""
    for condition in CONDITIONS:
        yield from _condition(results["workloads"], condition)
    yield from _huge(results["workloads"])
    yield from _foreseen(results["workloads"])
    yield from _workloads(results)


def _about(results: dict[str, Any]) -> Iterator[str]:
    about = results["machine"]
    quick = results["quick"]
    yield (
        f"Measured on {about['begun']}, commit {about['commit'] or 'unknown'}: "
        f"{about.get('cpu', about['machine'])}, {about['cpus']} CPUs, "
        f"{about.get('memory_bytes', 0) / 2**30:.1f} GiB, Linux {about['kernel']}, "
        f"swap on {about['swap']}. {results['rounds']} round(s), "
        f"{results['took_s'] / 60:.0f} minutes; load {about['load'][0]:.2f} before and "
        f"{about['load at the end'][0]:.2f} after. "
        f"Again: `make eval{' QUICK=1' if quick else ''}`."
    )
    yield ""
    if quick:
        yield (
            "**A quick run: small programs, a second of measurement each, and idle times that are "
            "shorter than the presets'. It shows that everything works; its figures mean little.**"
        )
        yield ""
    yield (
        "Each workload runs in turn without anything, beside isotherm, and without again, in one "
        "process; figures are held against what was measured just before and after. *Noise* is "
        "by how much runs without anything differ from one another at most: a difference below "
        "that is in parentheses, since it cannot be told from noise. *Per CPU time* divides the "
        "program's work by the CPU time of all its processes, which takes out who else had the "
        "CPUs; *by the clock* leaves it in. Memory is the proportional share (Pss) of all "
        "processes of the program."
    )
    yield ""


def _cell(value: float | None, noise: float | None = 0.0, digits: int = 1) -> str:
    if value is None:
        return "-"
    text = f"{value:,.{digits}f}"
    return text if told(value, noise) or not noise else f"({text})"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _totals(results: dict[str, Any]) -> Iterator[str]:
    yield "## Totals"
    yield ""
    if results["quick"]:
        yield "No verdicts: this was a quick run."
        yield ""
    yield from _table(
        ("", "%, or how many", "target", "", "of"),
        [
            (
                one.what,
                _cell(one.value),
                one.target.replace("<=", "≤").replace(">=", "≥"),
                "" if results["quick"] else one.verdict,
                one.of,
            )
            for one in eval_totals.totals(results["workloads"])
        ],
    )


def _condition(workloads: Sequence[dict[str, Any]], condition: str) -> Iterator[str]:
    rows = []
    for one in workloads:
        noise = figures.noise_of(one)
        rows += [_line(row, noise) for row in figures.rows_of(one) if row.condition == condition]
    if not rows:
        return
    yield f"## {condition[0].upper()}{condition[1:]}"
    yield ""
    yield f"{ABOUT[condition][0].upper()}{ABOUT[condition][1:]}."
    yield ""
    yield from _table(
        ("workload", "slower by the clock %", "per CPU time %", "noise: clock, CPU %",
         "p99 ms", "more %", "resident, mean MiB", "end", "saved %", "huge pages MiB",
         "monitor % of a CPU", "refaults/s"),
        rows,
    )  # fmt: skip


def _line(row: Row, noise: figures.Noise) -> list[str]:
    plain = row.condition == NONE
    return [
        row.workload,
        "-" if plain else _cell(row.slower, noise.slower),
        "-" if plain else _cell(row.per_cpu, noise.per_cpu),
        f"{noise.slower:.1f}, {noise.per_cpu:.1f}",
        _cell(row.p99_ms, digits=3),
        _cell(row.p99, noise.p99),
        _cell(row.mean),
        _cell(row.end),
        "-" if plain else _cell(row.saved),
        _cell(row.huge),
        _cell(row.monitor, digits=2),
        _cell(row.refaults),
    ]


def _huge(workloads: Sequence[dict[str, Any]]) -> Iterator[str]:
    found = [one for work in workloads for one in figures.huge_of(work)]
    if not found:
        return
    yield "## What is kept of huge pages, and removed"
    yield ""
    yield (
        "Gain: work per CPU second with huge pages everywhere, over without. Bloat: resident "
        "memory likewise. `-` where there is less than 3 %, or what is told from noise."
    )
    yield ""
    yield from _table(
        ("workload", "condition", "gain %", "kept %", "bloat %", "removed %"),
        [
            (one.workload, one.condition, _cell(one.gain), _cell(one.kept, digits=0),
             _cell(one.bloat), _cell(one.removed, digits=0))
            for one in found
        ],
    )  # fmt: skip


def _foreseen(workloads: Sequence[dict[str, Any]]) -> Iterator[str]:
    found = [one for work in workloads if (one := figures.foreseen_of(work)) is not None]
    if not found:
        return
    yield "## Foreseen and then happened"
    yield ""
    yield (
        "What `isotherm simulate` says that prcl would have done to the recording, and what it "
        "then did in the same process for as long: MiB saved at the end, and pages a second that "
        "came back."
    )
    yield ""
    yield from _table(
        ("workload", "said MiB", "bounds", "was MiB", "within 15 %", "said/s", "was/s",
         "within 1.5 times"),
        [
            (one.workload, one.why_not or _cell(one.said),
             "-" if one.low is None else f"{one.low:.1f} to {one.high:.1f}", _cell(one.was),
             _yes(one.bytes_hold), _cell(one.said_back), _cell(one.back), _yes(one.back_holds))
            for one in found
        ],
    )  # fmt: skip


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _workloads(results: dict[str, Any]) -> Iterator[str]:
    yield "## Workloads"
    yield ""
    yield from _table(
        ("workload", "", "version"),
        [(one["name"], one["about"], one["version"]) for one in results["workloads"]],
    )
    for kind, word in (("absent", "not on this machine"), ("failed", "failed")):
        for name, why in results[kind].items():
            yield f"- {name}, {word}: {why}"
    yield ""
    yield (
        "Not here: the kernel's own DAMON, which is compared in a guest "
        "(`tests/vm/inside_qemu/test_side_by_side.py`)."
    )


def pictures(workloads: Sequence[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """Yield name and data of each picture."""
    rows = {
        (row.workload, row.condition): row for one in workloads for row in figures.rows_of(one)
    }
    noise = {one["name"]: figures.noise_of(one) for one in workloads}

    def of(name: str, condition: str, key: str) -> float | None:
        row = rows.get((name, condition))
        return None if row is None else getattr(row, key)

    yield "memory", bars(
        "Resident memory", "proportional share in MiB, mean over the measurement", (NONE, PRCL),
        [Group(name, [of(name, one, "mean") for one in (NONE, PRCL)]) for name in noise],
    )  # fmt: skip
    yield "slower", bars(
        "Slower per CPU time of the program", "percent; grey: what cannot be told from noise",
        (RECORD, PRCL, ETHP, ETHP_HUGE),
        [
            Group(
                name,
                [of(name, one, "per_cpu") for one in (RECORD, PRCL, ETHP, ETHP_HUGE)],
                noise[name].per_cpu,
            )
            for name in noise
        ],
    )  # fmt: skip
    yield "huge", bars(
        "Faster with huge pages", "percent of work per CPU second, against small pages",
        (ALWAYS, ETHP, ETHP_HUGE),
        [
            Group(
                name,
                [_negative(of(name, one, "per_cpu")) for one in (ALWAYS, ETHP, ETHP_HUGE)],
                noise[name].per_cpu,
            )
            for name in noise
        ],
    )  # fmt: skip


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
