"""Monitor a known workload with a backend and a policy, and compare with what it really did."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from isotherm.analysis.accuracy import HotPhase, Score, Truth, score
from isotherm.backends import registry
from isotherm.backends.choose import choose
from isotherm.core import policies
from isotherm.demo.known import Known
from isotherm.demo.runner import Workload
from isotherm.errors import IsothermError
from isotherm.kernel.features import KernelSupport
from isotherm.kernel.procfs import thread_cpu_ns
from isotherm.model.calibration import Measured
from isotherm.model.ranges import Range, intersect, total
from isotherm.model.snapshot import Snapshot
from isotherm.session.options import Options
from isotherm.session.session import MonitorSession
from isotherm.session.start import start
from isotherm.targets.target_set import TargetFacts

#: So much of the hot memory means that it was found.
FOUND = 0.8
#: Less used memory than this is not told from what the workload's own process needs.
_LEAST_USED = 8 << 20
_SECOND_NS = 1_000_000_000
#: For so long the workload runs alone, before and afterwards.
_ALONE_S = 0.4


@dataclass(frozen=True, slots=True)
class How:
    """A backend and a policy; seconds: to watch; overhead: share of one CPU to keep to."""

    backend: str
    policy: str
    seconds: float
    overhead: float
    seed: int = 1


@dataclass(slots=True)
class _Watched:
    """What was seen. phases: when each began, time of day in ns, and when the last one ended."""

    snapshots: list[Snapshot] = field(default_factory=list)
    phases: list[int] = field(default_factory=list)
    end_ns: int = 0
    #: Accesses per second of the workload's own CPU time: alone, and while it was watched.
    alone: list[float] = field(default_factory=list)
    speed: float | None = None


def ways(kernel: KernelSupport) -> Iterator[tuple[str, str, str]]:
    """Yield each backend and policy, and why they cannot be used here: "" if they can."""
    facts = TargetFacts()
    for kind in registry.kinds():
        why = ""
        try:
            choose(kernel, kind.name, facts)
        except IsothermError as err:
            why = err.message
        for policy in (policies.DEFAULT, policies.SENTINELS, policies.MAP):
            if policy == policies.SENTINELS and not kind.watches_clumps:
                continue
            if policy != policies.DEFAULT and (kind.whole_mappings or not kind.maps_pages):
                continue
            yield kind.name, policy, why


def measure(known: Known, how: How) -> Measured:
    """
    Run a workload in a child process, and watch it.

    Raises `IsothermError` where it cannot be monitored so, or there is not memory enough for it.
    """
    with Workload(known.spec) as workload:
        begun = workload.go()
        watched = _Watched(alone=[_speed(workload, lambda: time.sleep(_ALONE_S))])
        began_ns = time.time_ns()
        options = Options.of(
            pid=workload.pid,
            backend=how.backend,
            policy=how.policy,
            overhead=how.overhead,
            seed=how.seed,
        )
        with start(options.lasting(int(how.seconds * _SECOND_NS))) as session:
            _watch(workload, session, how.seconds, began_ns, watched)
            policy = session.choice.policy if session.choice is not None else how.policy
            whole = session.choice is not None and session.choice.whole_mappings
        watched.alone.append(_speed(workload, lambda: time.sleep(_ALONE_S)))
        truth = _truth(begun, watched)
        pid = workload.pid
    return replace(
        _judged(known, watched, truth, pid, whole=whole),
        backend=how.backend,
        policy=policy or how.policy,
    )


def _watch(
    workload: Workload, session: MonitorSession, seconds: float, began_ns: int, into: _Watched
) -> None:
    """Go through all phases, in equal times; the first begins before the session did."""
    stream, count = iter(session.snapshots()), len(workload.spec.phases)
    into.phases.append(began_ns)
    for step in range(count):
        if step:
            into.phases.append(workload.next_phase())
        _take(stream, seconds / count / 3, into)
        into.speed = _speed(workload, lambda: _take(stream, seconds / count * 2 / 3, into))
    into.end_ns = time.time_ns()


def _take(stream: Iterator[Snapshot], seconds: float, into: _Watched) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (snapshot := next(stream, None)) is None:
            raise IsothermError("the workload ended while it was watched")
        into.snapshots.append(snapshot)


def _speed(workload: Workload, wait: Callable[[], None]) -> float:
    ops, cpu_ns = workload.ops, thread_cpu_ns(workload.pid) or 0
    wait()
    return (workload.ops - ops) / max(1, (thread_cpu_ns(workload.pid) or 0) - cpu_ns)


def _truth(begun: Truth, watched: _Watched) -> Truth:
    """When the phases really were."""
    ends = [*watched.phases[1:], watched.end_ns]
    return Truth(
        tuple(
            HotPhase(begin, end, phase.hot)
            for begin, end, phase in zip(watched.phases, ends, begun.phases, strict=True)
        ),
        begun.areas,
    )


# ---- judging ----


def _judged(known: Known, watched: _Watched, truth: Truth, pid: int, *, whole: bool) -> Measured:
    """Return all but by what it was measured."""
    areas = {area.name: at.start for area, at in zip(known.spec.areas, truth.areas, strict=True)}
    settled, found, judged = [], [], 0
    for number, phase in enumerate(truth.phases):
        hot = tuple(
            Range(areas[part.area] + part.offset, areas[part.area] + part.offset + part.nbytes)
            for part in known.hot(number)
        )
        rows = list(_scores(watched.snapshots, replace(phase, hot=hot), truth, pid))
        judged += len(rows)
        middle = (phase.start_ns + phase.end_ns) // 2
        known_rows = [] if whole else [(at, value) for at, value in rows if value is not None]
        settled += [value for at, value in known_rows if at > middle]
        first = next((at for at, value in known_rows if value >= FOUND), None)
        found.append(None if first is None else (first - phase.start_ns) / _SECOND_NS)
    again = [at for at in found[1:] if at is not None]
    alone = statistics.fmean(watched.alone)
    return Measured(
        workload=known.name,
        backend="",
        policy="",
        seconds=(watched.end_ns - watched.phases[0]) / _SECOND_NS,
        windows=judged,
        found=statistics.fmean(settled) if settled else None,
        found_worst=min(settled, default=None),
        used_error=_used_error(known, watched, len(truth.phases) - 1),
        first_s=found[0],
        again_s=statistics.fmean(again) if again else None,
        changes=len(found) - 1,
        missed=len(found) - 1 - len(again),
        cpu_share=_cpu_share(watched),
        slowdown=1 - watched.speed / alone if known.is_busy and watched.speed else None,
    )


def _scores(
    snapshots: Sequence[Snapshot], phase: HotPhase, truth: Truth, pid: int
) -> Iterator[tuple[int, float | None]]:
    """Yield the end of each window in a phase, and its R@k; None where the hot is not seen."""
    for snapshot in snapshots:
        if snapshot.start_ns < phase.start_ns or snapshot.end_ns > phase.end_ns:
            continue
        target = next((i for i, one in enumerate(snapshot.targets) if one.pid == pid), None)
        if target is None:
            continue
        told: Score = score(snapshot, phase.hot, truth.areas, target=target)
        blind = not told.hot or 2 * _unseen(snapshot, phase.hot, target) > told.hot
        yield snapshot.end_ns, None if blind else told.recall_at_k


def _unseen(snapshot: Snapshot, hot: Sequence[Range], target: int) -> int:
    """Return the hot bytes in regions of which most is unknown."""
    blind = [
        Range(region.start, region.end)
        for region in snapshot.regions
        if region.target == target and region.nr_accesses is None
    ]
    return total(intersect(blind, sorted(hot)))


def _used_error(known: Known, watched: _Watched, phase: int) -> float | None:
    """Compare what was called used in the last phase with what was: by pages, else by regions."""
    begin_ns = watched.phases[phase]
    middle_ns = (begin_ns + watched.end_ns) // 2
    mapped = any(one.page_use is not None for one in watched.snapshots)
    told = _used_by_pages if mapped else _used_by_regions
    errors = []
    for snapshot in watched.snapshots:
        if snapshot.start_ns < begin_ns or snapshot.end_ns < middle_ns:
            continue
        if (said := told(snapshot)) is None:
            continue
        truth = known.used_bytes(phase, said[1] // 1000)
        if truth >= _LEAST_USED:
            errors.append(said[0] / truth - 1)
    return statistics.median(errors) if errors else None


def _used_by_pages(snapshot: Snapshot) -> tuple[int, int] | None:
    """Return what a map says was used within a time, and that time; None where it does not."""
    use = snapshot.page_use
    if use is None or _SECOND_NS not in use.windows_ns:
        return None
    place = use.windows_ns.index(_SECOND_NS)
    return sum(row.used[place] for row in use.rows), _SECOND_NS


def _used_by_regions(snapshot: Snapshot) -> tuple[int, int] | None:
    """Return what regions say was used in their window, and its length; None: most is unknown."""
    if 2 * snapshot.unobservable_bytes > snapshot.monitored_bytes:
        return None
    return snapshot.working_set_bytes, snapshot.end_ns - snapshot.start_ns


def _cpu_share(watched: _Watched) -> float:
    middle = (watched.phases[0] + watched.end_ns) // 2
    later = [one for one in watched.snapshots if one.start_ns >= middle] or watched.snapshots
    wall = sum(one.end_ns - one.start_ns for one in later)
    return sum(one.cost.cpu_ns for one in later) / wall if wall else 0.0
