"""Guards of one cgroup each: its own pressure, or, where that is not measured, its refaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from isotherm.agent.cgroup_counts import refaults_of
from isotherm.errors import BadValueError, quoted
from isotherm.kernel.meminfo import psi_some_us
from isotherm.kernel.procfs import read_file
from isotherm.session.guard import FAULT_US, Guard, RateSensor
from isotherm.units import duration_us, exact_duration

PSI, REFAULTS = "psi", "refault"
DEFAULT = "psi=10ms/s"
_HINT = "psi=10ms/s, or refault=100/s"


def parse_limit(text: str) -> tuple[str, int]:
    """Return the kind of a guard, and its limit a second in µs or pages; `BadValueError`."""
    kind, _, value = text.partition("=")
    amount, slash, per = value.partition("/")
    if kind not in (PSI, REFAULTS) or not slash or per.strip() != "s":
        raise BadValueError(f"{quoted(text)} is no guard of a group", hint=_HINT)
    if kind == PSI:
        return kind, duration_us(amount)
    if not (amount.isascii() and amount.isdecimal() and len(amount) < 10):
        raise BadValueError(f"{quoted(amount)} is not a number of pages", hint=_HINT)
    return kind, int(amount)


def group_guard(folder: Path, text: str) -> Guard:
    """
    Return the guard of the cgroup in `folder` that `text` names; `sensor.describe()` says it.

    Where pressure is not measured (psi=0, or cgroup v1) refaults that would take as long stand
    for it: a page that comes back counts `FAULT_US`.
    """
    kind, limit = parse_limit(text)
    if kind == REFAULTS:
        what = f"more than {limit} pages a second come back to it"
        return Guard(RateSensor(what, limit, _reader(folder, _refaults)))
    said = exact_duration(limit)
    if psi_some_us(folder) is not None:
        what = f"its memory pressure is above {said} a second"
        return Guard(RateSensor(what, limit, _reader(folder, psi_some_us)))
    pages = max(1, limit // FAULT_US)
    what = f"more than {pages} pages a second come back to it (its pressure is not measured)"
    return Guard(RateSensor(what, pages, _reader(folder, _refaults)))


def _reader(folder: Path, read: Callable[[Path], int | None]) -> Callable[[Iterable[int]], int]:
    def counter(pids: Iterable[int]) -> int:
        del pids
        return read(folder) or 0

    return counter


def _refaults(folder: Path) -> int:
    """Return how many pages came back to a cgroup since it began."""
    try:
        return sum(refaults_of(read_file(f"{folder}/memory.stat")).values())
    except OSError:
        return 0
