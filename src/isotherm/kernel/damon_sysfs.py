"""
The kernel's own DAMON, as its sysfs tells; this module reads only.

Layout: Documentation/admin-guide/mm/damon/usage.rst. Not readable without root.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/kernel/mm/damon/admin/kdamonds")
_MODULES = ("damon_reclaim", "damon_lru_sort", "damon_stat")


@dataclass(frozen=True, slots=True)
class Kdamond:
    """
    One context of the kernel's DAMON.

    operations: "vaddr", "fvaddr" or "paddr"; pids: what vaddr watches; regions: the given
    addresses, physical ones for paddr; sample_us: its sampling interval.
    """

    index: int
    running: bool
    pid: int | None
    operations: str
    pids: tuple[int, ...]
    regions: tuple[tuple[int, int], ...]
    sample_us: int


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
        True, operations, tuple(_kdamond(folder, context) for folder, context in contexts), enabled
    )


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
