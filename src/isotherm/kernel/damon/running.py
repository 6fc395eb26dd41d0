"""Which kdamonds run, whoever runs them, as far as reading tells: to be attached to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isotherm.kernel import procfs
from isotherm.kernel.damon import sysfs

#: Modules of the kernel that run a kdamond of their own.
_MODULES = ("damon_stat", "damon_reclaim", "damon_lru_sort")
#: Intervals where nothing tells them: DAMON's own defaults.
_SAMPLE_US, _AGGR_US = 5_000, 100_000


@dataclass(frozen=True, slots=True)
class Running:
    """
    A kdamond at work.

    name: "kdamond.0" of sysfs, or of the module, "damon_stat"; thread: the kernel's thread;
    operations: "paddr" where only that is known; pids: of vaddr and fvaddr, by number of target;
    sample_us, aggr_us: its intervals as it was told.
    """

    name: str
    thread: int
    operations: str
    pids: tuple[int, ...]
    sample_us: int
    aggr_us: int


def running(root: Path = sysfs.ROOT, modules: Path = Path("/sys/module")) -> tuple[Running, ...]:
    """Return the kdamonds that run now; reads only, and as much as one may."""
    damon = sysfs.read(root, modules)
    found = [
        Running(
            f"kdamond.{one.index}",
            one.pid,
            one.operations,
            one.pids,
            one.sample_us or _SAMPLE_US,
            one.aggr_us or _AGGR_US,
        )
        for one in (damon.kdamonds if damon else ())
        if one.running and one.pid is not None
    ]
    known = {one.thread for one in found}
    for name in _MODULES:
        parameters = modules / name / "parameters"
        if _text(parameters / "enabled") != "Y":
            continue
        thread = _number(parameters / "kdamond_pid") or _nameless(known)
        if thread is not None and thread > 0 and thread not in known:
            known.add(thread)
            found.append(_of_module(name, thread, parameters))
    return tuple(found)


def _of_module(name: str, thread: int, parameters: Path) -> Running:
    sample = _number(parameters / "sample_interval") or _SAMPLE_US
    aggr = _number(parameters / "aggr_interval") or _number(parameters / "aggr_interval_us")
    return Running(name, thread, "paddr", (), sample, aggr or _AGGR_US)


def _nameless(known: set[int]) -> int | None:
    """Return a kdamond that is not known yet, where a module does not tell its own."""
    for pid in procfs.pids():
        if pid in known:
            continue
        try:
            facts = procfs.parse_stat(procfs.read_file(f"/proc/{pid}/stat"))
        except OSError:
            continue
        if facts.is_kernel_thread and facts.name.startswith("kdamond."):
            return pid
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None
