"""
The kernel's own DAMON, as its sysfs tells; this module reads only.

Layout: Documentation/admin-guide/mm/damon/usage.rst. Not readable without root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isotherm.kernel.tracefs import ROOTS as TRACEFS
from isotherm.kernel.undo import living

ROOT = Path("/sys/kernel/mm/damon/admin/kdamonds")
_MODULES = ("damon_reclaim", "damon_lru_sort", "damon_stat")
#: Environment variable: if set, the kernel's DAMON is never configured.
LEAVE_DAMON = "ISOTHERM_LEAVE_DAMON"


@dataclass(frozen=True, slots=True)
class Kdamond:
    """
    One context of the kernel's DAMON.

    operations: "vaddr", "fvaddr" or "paddr"; pids: what vaddr watches; regions: the given
    addresses, physical ones for paddr; sample_us, aggr_us: its sampling and aggregation interval.
    """

    index: int
    running: bool
    pid: int | None
    operations: str
    pids: tuple[int, ...]
    regions: tuple[tuple[int, int], ...]
    sample_us: int
    aggr_us: int = 0


@dataclass(frozen=True, slots=True)
class KernelDamon:
    """
    What the kernel has of DAMON.

    readable: False if we may not look; operations: operations sets it has, None where that
    cannot be seen (no context is configured); modules: enabled modules that run DAMON themselves.
    """

    readable: bool
    operations: tuple[str, ...] | None
    kdamonds: tuple[Kdamond, ...]
    modules: tuple[str, ...]
    slots: int = 0
    ours: tuple[int, ...] = ()
    features: tuple[str, ...] | None = None
    events: tuple[str, ...] = ()

    @property
    def foreign(self) -> tuple[Kdamond, ...]:
        """Contexts that are not isotherm's."""
        return tuple(one for one in self.kdamonds if one.index not in self.ours)

    @property
    def free(self) -> bool:
        """Whether there is a kdamond to be had, without taking one from anybody."""
        return self.slots == 0 or len({one.index for one in self.kdamonds}) < self.slots


#: What newer kernels have: short name -> a file or directory below a kdamond that tells.
_FEATURES = {
    "automatic refresh": "refresh_ms",
    "interval tuning": "contexts/0/monitoring_attrs/intervals/intervals_goal",
    "address units": "contexts/0/addr_unit",
    "pause": "contexts/0/pause",
    "probes": "contexts/0/monitoring_attrs/probes",
    "tried regions": "contexts/0/schemes/*/tried_regions",
    "filters": "contexts/0/schemes/*/filters",
    "filters by layer": "contexts/0/schemes/*/core_filters",
    "apply intervals": "contexts/0/schemes/*/apply_interval_us",
    "quota goals": "contexts/0/schemes/*/quotas/goals",
    "goal tuners": "contexts/0/schemes/*/quotas/goal_tuner",
    "effective quotas": "contexts/0/schemes/*/quotas/effective_bytes",
    "destinations": "contexts/0/schemes/*/dests",
    "snapshot limits": "contexts/0/schemes/*/stats/max_nr_snapshots",
}


def read(root: Path = ROOT, modules: Path = Path("/sys/module")) -> KernelDamon | None:
    """Return what the kernel has of DAMON, or None if it has none."""
    enabled = enabled_modules(modules)
    if not root.exists():
        present = any((modules / name).exists() for name in _MODULES)
        return KernelDamon(False, None, (), enabled) if present else None
    if _text(root / "nr_kdamonds") is None:
        return KernelDamon(False, None, (), enabled)
    contexts = [
        (folder, context)
        for folder in _numbered(root)
        for context in _numbered(folder / "contexts")
    ]
    operations: tuple[str, ...] | None = None
    for _, context in contexts:
        operations = tuple((_text(context / "avail_operations") or "").split())
    return KernelDamon(
        True,
        operations,
        tuple(_kdamond(folder, context) for folder, context in contexts),
        enabled,
        slots=len(list(_numbered(root))),
        ours=tuple(change["index"] for change in living("kdamond") if "index" in change),
        features=_features(root) if contexts else None,
        events=_events(),
    )


def _features(root: Path) -> tuple[str, ...]:
    return tuple(name for name, path in _FEATURES.items() if any(root.glob(f"*/{path}")))


def _events() -> tuple[str, ...]:
    root = next((one for one in TRACEFS if (one / "events/damon").is_dir()), None)
    if root is None:
        return ()
    return tuple(sorted(one.parent.name for one in root.glob("events/damon/*/enable")))


def left_alone() -> str:
    """Say that the kernel's DAMON must not be touched, where the user wished so; else ""."""
    if os.environ.get(LEAVE_DAMON):
        return f"the kernel's DAMON is to be left alone: {LEAVE_DAMON} is set"
    return ""


def enabled_modules(modules: Path = Path("/sys/module")) -> tuple[str, ...]:
    """Return the modules of the kernel that run DAMON themselves, and exclude all others."""
    return tuple(name for name in _MODULES if _text(modules / name / "parameters/enabled") == "Y")


def _kdamond(folder: Path, context: Path) -> Kdamond:
    pids, regions = [], []
    operations = _text(context / "operations") or ""
    for target in _numbered(context / "targets"):
        if operations != "paddr":
            pids.append(_number(target / "pid_target"))
        for region in _numbered(target / "regions"):
            regions.append((_number(region / "start"), _number(region / "end")))  # noqa: PERF401
    pid = _number(folder / "pid")
    return Kdamond(
        index=int(folder.name),
        running=_text(folder / "state") == "on",
        pid=pid if pid > 0 else None,
        operations=operations,
        pids=tuple(pids),
        regions=tuple(regions),
        sample_us=_number(context / "monitoring_attrs/intervals/sample_us"),
        aggr_us=_number(context / "monitoring_attrs/intervals/aggr_us"),
    )


def _numbered(folder: Path) -> Iterator[Path]:
    try:
        names = sorted(
            (p for p in folder.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name)
        )
    except OSError:
        return
    yield from names


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _number(path: Path) -> int:
    try:
        return int(_text(path) or "0")
    except ValueError:
        return 0
