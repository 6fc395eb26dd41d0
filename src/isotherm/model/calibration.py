"""What monitoring known workloads on a machine came to: how near the truth, how soon, how dear."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """
    One run of a known workload under a backend and a policy.

    found, found_worst: mean and least R@k of the settled windows, 0..1, None where hot memory is
    not seen apart; used_error: what was called used over what was, less 1, None where the workload
    uses too little to tell; first_s, again_s: seconds until R@k was 0.8, from the beginning and,
    on average, from each change, None: never, or not asked; changes: how often it changed;
    missed: after how many changes it was not found; cpu_share: of one CPU, in the second half;
    slowdown: the share of its speed that the workload lost by CPU time, None where it does not
    work as fast as it can; seconds: how long it was watched; windows: how many were judged.
    """

    workload: str
    backend: str
    policy: str
    seconds: float
    windows: int
    found: float | None
    found_worst: float | None
    used_error: float | None
    first_s: float | None
    again_s: float | None
    changes: int
    missed: int
    cpu_share: float
    slowdown: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """
    All that was measured on a machine.

    release: of its kernel; version: of isotherm; wall_ns: when it ended, time of day; quick: by
    few and short runs; overhead: the share of one CPU to keep to; load: of the machine at the
    beginning; left_out: why combinations of backend and policy were not measured.
    """

    release: str
    version: str
    wall_ns: int
    quick: bool
    overhead: float
    load: float
    runs: tuple[Measured, ...]
    left_out: dict[str, str]


@dataclass(frozen=True, slots=True)
class Digest:
    """
    The runs of one backend and policy together.

    Medians and worst of `Measured`: used_error without its sign, times of those that found it,
    never: beginnings and changes, of `tries`, where it was not. None: nobody knows.
    """

    backend: str
    policy: str
    release: str
    version: str
    wall_ns: int
    quick: bool
    runs: int
    found: float | None
    found_worst: float | None
    used_error: float | None
    used_error_worst: float | None
    first_s: float | None
    again_s: float | None
    never: int
    tries: int
    overhead: float
    cpu_share: float | None
    cpu_worst: float | None
    slowdown: float | None
    slowdown_worst: float | None


def digest(calibration: Calibration, backend: str, policy: str) -> Digest | None:
    """Return what is known of a backend and a policy; None if they were not measured."""
    runs = [run for run in calibration.runs if (run.backend, run.policy) == (backend, policy)]
    if not runs:
        return None
    found = _known(run.found for run in runs)
    errors = [abs(error) for error in _known(run.used_error for run in runs)]
    cpu = [run.cpu_share for run in runs]
    slow = _known(run.slowdown for run in runs)
    judged = [run for run in runs if run.found is not None]
    return Digest(
        backend=backend,
        policy=policy,
        release=calibration.release,
        version=calibration.version,
        wall_ns=calibration.wall_ns,
        quick=calibration.quick,
        runs=len(runs),
        found=_median(found),
        found_worst=min(found, default=None),
        used_error=_median(errors),
        used_error_worst=max(errors, default=None),
        first_s=_median(_known(run.first_s for run in judged)),
        again_s=_median(_known(run.again_s for run in judged)),
        never=sum((run.first_s is None) + run.missed for run in judged),
        tries=sum(1 + run.changes for run in judged),
        overhead=calibration.overhead,
        cpu_share=_median(cpu),
        cpu_worst=max(cpu),
        slowdown=_median(slow),
        slowdown_worst=max(slow, default=None),
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None
