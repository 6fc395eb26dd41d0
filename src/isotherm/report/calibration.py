"""What `isotherm calibrate` measured: a table, JSON, and the line that others quote."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from isotherm.model.calibration import Calibration, Digest, Measured, digest
from isotherm.report.output import Report
from isotherm.terminal.table import Column, names, table
from isotherm.terminal.text import labelled

SCHEMA = "isotherm.calibration/1"
_INDENT = 12
#: Slower by less than this is not told from noise.
_NOISE = 0.005


def report(found: Calibration, width: int, notes: Sequence[str] = ()) -> Report:
    """Return it in all forms; rows are the runs. notes: further lines of text."""
    return Report(SCHEMA, document(found), [asdict(run) for run in found.runs], [
        *_lines(found, width), *notes,
    ])  # fmt: skip


def document(found: Calibration) -> dict[str, Any]:
    """Return plain data; times in seconds, shares 0..1."""
    pairs = dict.fromkeys((run.backend, run.policy) for run in found.runs)
    digests = [digest(found, *pair) for pair in pairs]
    return {**asdict(found), "digests": [asdict(one) for one in digests if one is not None]}


def _lines(found: Calibration, width: int) -> list[str]:
    columns = [names("workload"), Column("backend", right=False), Column("policy", right=False)]
    columns += [Column("R@k"), Column("worst", rank=3), Column("used"), Column("found")]
    columns += [Column("again"), Column("cpu"), Column("slower", rank=2)]
    lines = table(columns, [_cells(run) for run in found.runs], width)
    lines += labelled("R@k", _MEANING, width, _INDENT)
    for (backend, policy), told in _digests(found).items():
        lines += labelled(f"{backend}", f"{policy}: {sentence(told)}", width, _INDENT)
    for what, why in found.left_out.items():
        lines += labelled("left out", f"{what}: {why}", width, _INDENT)
    return lines


_MEANING = (
    "of k bytes that are hot, the share among the k bytes called hottest; used: what was called "
    "used over what was, less 1; found, again: until R@k was 0.8, from the beginning and from a "
    "change; slower: what the workload lost of its speed per CPU second"
)


def _digests(found: Calibration) -> dict[tuple[str, str], Digest]:
    pairs = dict.fromkeys((run.backend, run.policy) for run in found.runs)
    told = {pair: digest(found, *pair) for pair in pairs}
    return {pair: one for pair, one in told.items() if one is not None}


def _cells(run: Measured) -> list[str]:
    again = _seconds(run.again_s)
    if run.missed and run.found is not None:
        again = f"{run.missed}/{run.changes} not"
    return [
        run.workload,
        run.backend,
        run.policy,
        _share(run.found),
        _share(run.found_worst),
        "-" if run.used_error is None else f"{run.used_error:+.1%}",
        ("-" if run.found is None else "never") if run.first_s is None else _seconds(run.first_s),
        again,
        f"{run.cpu_share:.2%}",
        "-" if run.slowdown is None else f"{run.slowdown:.1%}",
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}s"


def sentence(told: Digest) -> str:
    """Return a digest in words."""
    parts = []
    if told.found is not None:
        parts.append(f"R@k {told.found:.2f} (worst {_share(told.found_worst)})")
    if told.used_error is not None:
        parts.append(
            f"working set off by {told.used_error:.1%} (worst {told.used_error_worst or 0:.1%})"
        )
    if told.first_s is not None:
        parts.append(f"found in {_seconds(told.first_s)}")
    if told.again_s is not None:
        parts.append(f"after a change in {_seconds(told.again_s)}")
    if told.never:
        parts.append(f"not found {told.never} times of {told.tries}")
    if told.cpu_share is not None:
        worst = f"worst {told.cpu_worst or 0:.2%}, asked for {100 * told.overhead:.2g}%"
        parts.append(f"{told.cpu_share:.2%} of a CPU ({worst})")
    if told.slowdown is not None:
        slow = told.slowdown
        parts.append(f"programs slower by {slow:.1%}" if slow > _NOISE else "programs not slower")
    return ", ".join(parts)


def quote(told: Digest, release: str) -> str:
    """
    Return the sentence with when it was measured, and on which other kernel.

    release: of the kernel that it is quoted for.
    """
    day = time.strftime("%Y-%m-%d", time.gmtime(told.wall_ns / 1e9))
    how = "isotherm calibrate --quick" if told.quick else "isotherm calibrate"
    other = f", under Linux {told.release}" if told.release != release else ""
    return f"{sentence(told)} ({how}, {told.runs} known workloads, {day}{other})"


def as_json(told: Digest | None) -> dict[str, Any] | None:
    """Return plain data."""
    return None if told is None else {one.name: getattr(told, one.name) for one in fields(told)}
