"""One kdamond of the admin tree, as typed values: what it is to do, its state, its results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isotherm.errors import BadValueError
from isotherm.kernel.damon.files import DamonFiles
from isotherm.kernel.damon.scheme import get_schemes, get_stats, put_goal_value, put_schemes
from isotherm.model.attrs import Attrs, IntervalsGoal
from isotherm.model.ranges import Range
from isotherm.model.scheme import Filter, FilterType, Metric, Scheme
from isotherm.model.scheme_state import SchemeStats, TriedRegion
from isotherm.model.scope import OPERATIONS, Operations

#: What the kernel itself starts with.
DEFAULT_ATTRS = Attrs(update_us=60_000_000, min_nr_regions=10)
_GOAL = ("access_bp", "aggrs", "min_sample_us", "max_sample_us")


@dataclass(frozen=True, slots=True)
class DamonTarget:
    """
    What a context watches.

    pid: the process, None for paddr; regions: address ordered ranges in bytes, needed by fvaddr
    and paddr; obsolete: to be removed at the next commit.
    """

    pid: int | None = None
    regions: tuple[Range, ...] = ()
    obsolete: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """A data attribute to count, of pages that pass the filters: anon, memcg (damon-spec 1.9)."""

    filters: tuple[Filter, ...] = ()
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """
    All inputs of a DAMON context.

    addr_unit: bytes per unit of paddr's addresses; refresh_ms: how often the kernel brings its
    result files up to date by itself, 0 never; pause: keep all, but do not monitor.
    """

    operations: Operations = "vaddr"
    attrs: Attrs = DEFAULT_ATTRS
    targets: tuple[DamonTarget, ...] = ()
    schemes: tuple[Scheme, ...] = ()
    addr_unit: int = 1
    pause: bool = False
    probes: tuple[Probe, ...] = ()
    refresh_ms: int = 0


class KdamondFiles:
    """
    The directory of kdamond number `index`; raises as `DamonFiles` does.

    Nothing here looks at who uses it: that is the caller's duty.
    """

    def __init__(self, files: DamonFiles, index: int) -> None:
        self.files = files
        self.index = index
        self._context = f"{index}/contexts/0"

    @property
    def running(self) -> bool:
        return self.files.read(f"{self.index}/state") == "on"

    @property
    def pid(self) -> int | None:
        """The kernel thread's pid, None while there is none."""
        pid = self.files.number(f"{self.index}/pid")
        return pid if pid > 0 else None

    @property
    def contexts(self) -> int:
        return self.files.number(f"{self.index}/contexts/nr_contexts")

    @property
    def refreshes(self) -> bool:
        """Whether this kernel can keep its result files up to date by itself."""
        return self.files.has(f"{self.index}/refresh_ms")

    @property
    def removes_targets(self) -> bool:
        """Whether this kernel can remove a target and leave the others in place; needs one."""
        return self.files.has(f"{self._context}/targets/0/obsolete_target")

    def resize(self, contexts: int) -> None:
        """Have 0 or 1 contexts; a new one has the kernel's defaults."""
        self.files.resize(f"{self.index}/contexts", "contexts", contexts)

    def command(self, keyword: str) -> None:
        """
        Write a keyword to `state`: on, off, commit, update_schemes_tried_regions, ...

        Updates of tried regions block until every scheme was due once. `BadValueError` is what the
        kernel says to settings that it refuses, and to a command that needs a running kdamond.
        """
        self.files.write(f"{self.index}/state", keyword)

    def available_operations(self) -> tuple[str, ...]:
        """Return the operations sets of this kernel; needs a context."""
        path = f"{self._context}/avail_operations"
        return tuple(self.files.read(path).split()) if self.files.has(path) else ()

    # Inputs.

    def put(self, context: Context) -> None:
        """Write all of a context; the kernel takes it at `on` or `commit`."""
        files, at = self.files, self._context
        self.resize(1)
        files.write(f"{at}/operations", context.operations)
        files.put(f"{at}/addr_unit", context.addr_unit, 1)
        files.put(f"{at}/pause", context.pause, default=False)
        files.put(f"{self.index}/refresh_ms", context.refresh_ms, 0)
        self._put_attrs(context.attrs)
        self._put_probes(context.probes)
        self.put_targets(context.targets)
        put_schemes(files, f"{at}/schemes", context.schemes, context.attrs)

    def _put_attrs(self, attrs: Attrs) -> None:
        files, at = self.files, f"{self._context}/monitoring_attrs"
        for name in ("sample_us", "aggr_us", "update_us"):
            files.write(f"{at}/intervals/{name}", getattr(attrs, name))
        goal = attrs.goal or IntervalsGoal(0, 0, 0, 0)
        for name in _GOAL:
            files.put(f"{at}/intervals/intervals_goal/{name}", getattr(goal, name), 0)
        files.write(f"{at}/nr_regions/min", attrs.min_nr_regions)
        files.write(f"{at}/nr_regions/max", attrs.max_nr_regions)

    def _put_probes(self, probes: Sequence[Probe]) -> None:
        files, at = self.files, f"{self._context}/monitoring_attrs/probes"
        files.resize(at, "probes", len(probes))
        for index, probe in enumerate(probes):
            files.put(f"{at}/{index}/weight", probe.weight, 0)
            files.resize(f"{at}/{index}/filters", "filters", len(probe.filters))
            for number, one in enumerate(probe.filters):
                where = f"{at}/{index}/filters/{number}"
                files.write(f"{where}/type", one.type.value)
                files.write(f"{where}/matching", one.matching)
                files.write(f"{where}/allow", one.allow)
                if one.memcg:
                    files.write(f"{where}/path", one.memcg)

    def put_targets(self, targets: Sequence[DamonTarget]) -> None:
        """Write what the context watches, and leave all else."""
        files, at = self.files, f"{self._context}/targets"
        files.resize(at, "targets", len(targets))
        for index, target in enumerate(targets):
            if target.pid is not None:
                files.write(f"{at}/{index}/pid_target", target.pid)
            files.put(f"{at}/{index}/obsolete_target", target.obsolete, default=False)
            files.resize(f"{at}/{index}/regions", "regions", len(target.regions))
            for number, region in enumerate(target.regions):
                files.write(f"{at}/{index}/regions/{number}/start", region.start)
                files.write(f"{at}/{index}/regions/{number}/end", region.end)

    def put_goal_values(self, schemes: Sequence[Scheme]) -> bool:
        """Write present values of own goals; True if there are any to commit."""
        found = False
        for index, scheme in enumerate(schemes):
            for number, goal in enumerate(scheme.quota.goals if scheme.quota else ()):
                if goal.metric is Metric.OWN:
                    at = f"{self._context}/schemes/{index}/quotas/goals/{number}"
                    put_goal_value(self.files, at, goal)
                    found = True
        return found

    def get(self) -> Context:
        """Read all inputs of the context; `BadValueError` if they make no sense."""
        files, at = self.files, self._context
        operations = files.read(f"{at}/operations")
        if operations not in OPERATIONS:
            raise BadValueError(f"operations {operations!r} of the kernel's DAMON are unknown")
        unit, pause, refresh = f"{at}/addr_unit", f"{at}/pause", f"{self.index}/refresh_ms"
        return Context(
            operations=operations,
            attrs=self._get_attrs(),
            targets=tuple(self._get_targets(operations)),
            schemes=get_schemes(files, f"{at}/schemes"),
            addr_unit=files.number(unit) if files.has(unit) else 1,
            pause=files.has(pause) and files.flag(pause),
            probes=tuple(self._get_probes()),
            refresh_ms=files.number(refresh) if files.has(refresh) else 0,
        )

    def _get_attrs(self) -> Attrs:
        files, at = self.files, f"{self._context}/monitoring_attrs"
        goal = None
        folder = f"{at}/intervals/intervals_goal"
        if files.has(folder) and files.number(f"{folder}/aggrs"):
            goal = IntervalsGoal(*(files.number(f"{folder}/{name}") for name in _GOAL))
        return Attrs(
            sample_us=files.number(f"{at}/intervals/sample_us"),
            aggr_us=files.number(f"{at}/intervals/aggr_us"),
            update_us=files.number(f"{at}/intervals/update_us"),
            min_nr_regions=files.number(f"{at}/nr_regions/min"),
            max_nr_regions=files.number(f"{at}/nr_regions/max"),
            goal=goal,
        )

    def _get_targets(self, operations: Operations) -> Iterator[DamonTarget]:
        files, folder = self.files, f"{self._context}/targets"
        for index in files.numbered(folder):
            at = f"{folder}/{index}"
            obsolete = f"{at}/obsolete_target"
            yield DamonTarget(
                None if operations == "paddr" else files.number(f"{at}/pid_target"),
                tuple(
                    Range(
                        files.number(f"{at}/regions/{number}/start"),
                        files.number(f"{at}/regions/{number}/end"),
                    )
                    for number in files.numbered(f"{at}/regions")
                ),
                files.has(obsolete) and files.flag(obsolete),
            )

    def _get_probes(self) -> Iterator[Probe]:
        files, folder = self.files, f"{self._context}/monitoring_attrs/probes"
        for index in files.numbered(folder):
            weight = f"{folder}/{index}/weight"
            filters = []
            for number in files.numbered(f"{folder}/{index}/filters"):
                at = f"{folder}/{index}/filters/{number}"
                kind = FilterType(files.read(f"{at}/type"))
                filters.append(
                    Filter(
                        kind,
                        files.flag(f"{at}/matching"),
                        files.flag(f"{at}/allow"),
                        memcg=files.read(f"{at}/path") if kind is FilterType.MEMCG else "",
                    )
                )
            yield Probe(tuple(filters), files.number(weight) if files.has(weight) else 0)

    # Results, as of the last command that updates them.

    def intervals(self) -> tuple[int, int]:
        """Return sampling and aggregation interval in µs."""
        at = f"{self._context}/monitoring_attrs/intervals"
        return self.files.number(f"{at}/sample_us"), self.files.number(f"{at}/aggr_us")

    def stats(self, scheme: int) -> SchemeStats:
        return get_stats(self.files, f"{self._context}/schemes/{scheme}")

    def effective_bytes(self, scheme: int) -> int | None:
        """Return what the quota allows per reset interval; None where the kernel does not tell."""
        path = f"{self._context}/schemes/{scheme}/quotas/effective_bytes"
        return self.files.number(path) if self.files.has(path) else None

    def tried_bytes(self, scheme: int) -> int:
        """Return the bytes a scheme was tried on, as of update_schemes_tried_bytes or _regions."""
        path = f"{self._context}/schemes/{scheme}/tried_regions/total_bytes"
        return self.files.number(path)

    def probe_hits(self, scheme: int) -> list[tuple[int, ...]]:
        """Return the hits of each probe, for each of `tried_regions`; none without probes."""
        folder = f"{self._context}/schemes/{scheme}/tried_regions"
        found = []
        for number in self.files.numbered(folder):
            probes = f"{folder}/{number}/probes"
            hits = [self.files.number(f"{probes}/{p}/hits") for p in self.files.numbered(probes)]
            found.append(tuple(hits))
        return found

    def require_tried_regions(self, scheme: int) -> None:
        """Raise `NotSupportedError` if this kernel does not show what schemes were tried on."""
        path = f"{self._context}/schemes/{scheme}/tried_regions"
        if not self.files.has(path):
            raise self.files.missing(path)

    def tried_regions(self, scheme: int) -> list[TriedRegion]:
        """
        Return what a scheme was tried on, in the kernel's order.

        The files do not tell the target (0 here) nor what was applied (0 here).
        """
        files, folder = self.files, f"{self._context}/schemes/{scheme}/tried_regions"
        numbers = files.numbered(folder)
        passed = bool(numbers) and files.has(f"{folder}/{numbers[0]}/sz_filter_passed")
        found = []
        for number in numbers:
            at = f"{folder}/{number}"
            start, end, accesses, age = (
                files.number(f"{at}/{name}") for name in ("start", "end", "nr_accesses", "age")
            )
            size = files.number(f"{at}/sz_filter_passed") if passed else 0
            found.append(TriedRegion(0, start, end, accesses, age, size, 0))
        return found


def free_slot(files: DamonFiles) -> int | None:
    """Return the index of a kdamond directory that nobody configured, or None."""
    for index in files.numbered(""):
        kdamond = KdamondFiles(files, index)
        if not kdamond.running and kdamond.contexts == 0:
            return index
    return None
