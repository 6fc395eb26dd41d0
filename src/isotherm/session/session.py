"""
Composition root: target + backend + attributes + sinks become a running session.

`monitor()` is what `isotherm.monitor` is, and what every command uses. It asks for facts
(`kernel.features.probe`), lets `choose` decide, opens the backend and runs `core.Monitor`.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from isotherm.backends.choose import (
    BACKENDS,
    Choice,
    choose,
    target_facts,
)
from isotherm.clock import Clock, SystemClock
from isotherm.core.ops import Ops
from isotherm.core.overhead import Governor
from isotherm.errors import BadValueError, CommandEndedError, NotPermittedError, TargetGoneError
from isotherm.kernel import cgroupfs, procfs
from isotherm.kernel.features import probe
from isotherm.model.attrs import Attrs, IntervalsGoal
from isotherm.model.scheme import Scheme
from isotherm.model.scope import Operations, Scope, scope_of
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Target
from isotherm.schemes.defaults import with_quotas
from isotherm.schemes.engine import Engine
from isotherm.schemes.older import check_profile
from isotherm.session.guard import Guard, guard_of
from isotherm.session.opening import (
    Applied,
    Backend,
    Observer,
    Opening,
    Wish,
    open_best,
    open_monitor,
)
from isotherm.targets.processes import ProcessSet
from isotherm.units import duration_ns


class SnapshotStream:
    """Snapshots as they come: for `for` and for `async for`."""

    def __init__(self, session: MonitorSession, duration_ns: int | None) -> None:
        self._session = session
        self._left = duration_ns

    def __iter__(self) -> Iterator[Snapshot]:
        clock = self._session.clock
        begun, cpu_ns = clock.now_ns(), time.thread_time_ns()
        until_ns = None if self._left is None else begun + self._left
        for snapshot in self._session.monitor.snapshots(until_ns):
            yield snapshot
            before, cpu_ns = cpu_ns, time.thread_time_ns()
            self._session.govern(snapshot, cpu_ns - before)
            if until_ns is not None and clock.now_ns() >= until_ns:
                return

    async def __aiter__(self) -> AsyncIterator[Snapshot]:
        snapshots = iter(self)
        while (snapshot := await asyncio.to_thread(next, snapshots, None)) is not None:
            yield snapshot


class MonitorSession:
    """
    A running monitoring session; a context manager.

    `ops` is what looks at memory, None where the kernel runs the loop; `targets` who was there at
    the start, `choice` says which backend runs and why, `command` is the started command, if any.
    `operations` is DAMON's name of what is monitored, None for an own operations set.
    `schemes` are applied by `engine`, None where the kernel does it; `guard` holds it back.
    """

    def __init__(
        self,
        ops: Ops | None,
        monitor: Backend,
        *,
        targets: Sequence[Target] = (),
        choice: Choice | None = None,
        command: subprocess.Popen[bytes] | None = None,
        clock: Clock | None = None,
        governor: Governor | None = None,
        engine: Engine | None = None,
        guard: Guard | None = None,
        schemes: Sequence[Scheme] = (),
        operations: Operations | None = "vaddr",
    ) -> None:
        self.ops = ops
        self.schemes = tuple(schemes)
        self.engine = engine
        self.guard = guard
        self.governor = governor
        self.clock = clock or SystemClock()
        self.monitor = monitor
        self.targets = tuple(targets)
        self.choice = choice
        self.command = command
        self.operations = operations

    @property
    def attrs(self) -> Attrs:
        """The attributes in force."""
        return self.monitor.attrs

    @property
    def profile(self) -> str | None:
        """The Linux release whose rules the monitor follows; None where the kernel runs it."""
        return self.monitor.profile

    @property
    def backend(self) -> str:
        """The name of the operations set at work, or "kdamond"."""
        return self.ops.name if self.ops is not None else "kdamond"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know: of the backend, and of the schemes here."""
        ops = self.ops
        of_schemes = (
            [text for one in self.schemes for text in ops.warnings_for(one)] if ops else []
        )
        of_choice = self.choice.warnings if self.choice is not None else ()
        return (*of_choice, *dict.fromkeys(of_schemes))

    def snapshots(self, duration: float | str | None = None) -> SnapshotStream:
        """Return the stream of snapshots; it ends after `duration` or when all targets ended."""
        return SnapshotStream(self, None if duration is None else duration_ns(duration))

    def govern(self, snapshot: Snapshot, thread_cpu_ns: int) -> None:
        """After a snapshot: let the guard look, and the governor change the intervals."""
        if self.guard is not None and self.engine is not None:
            pids = [target.pid for target in snapshot.targets if target.pid is not None]
            if self.guard.look(pids, self.clock.now_ns()):
                self.engine.throttle(self.guard.share)
        if self.engine is not None:
            thread_cpu_ns -= self.engine.take_acted_ns()
        if self.governor is None or self.ops is None or self.ops.warming_up():
            return
        changed = self.governor.observe(snapshot, max(0, thread_cpu_ns), self.attrs)
        if changed is not None:
            self.monitor.commit(changed)

    def alive(self) -> bool:
        """Tell whether any target still exists."""
        return self.ops.alive() if self.ops is not None else bool(self.monitor.targets)

    def stop(self) -> None:
        """End the stream soon; may be called from a signal handler or another thread."""
        self.monitor.stop()

    def close(self) -> None:
        """Give back everything that is held. A started command is left to run."""
        if self.guard is not None:
            self.guard.close()
        self.monitor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def find_pids(
    pid: int | Sequence[int] | None, name: str | None, cgroup: str | None = None
) -> list[int]:
    """Return the pids asked for by number, name or cgroup; `TargetGoneError` if there are none."""
    if pid is not None:
        return [pid] if isinstance(pid, int) else list(pid)
    if cgroup is not None:
        return _pids_in(cgroup)
    if name is None:
        raise BadValueError(
            "nothing to monitor",
            hint="say which process: by pid, by name, or a command to run; "
            "or the machine's memory: -a, operations paddr",
        )
    found = [match for match in procfs.find_by_name(name) if match != os.getpid()]
    if not found:
        raise TargetGoneError(f"no process is named {name!r}", hint="`ps -e` lists names")
    return found


def _pids_for(
    scope: Scope, pid: int | Sequence[int] | None, name: str | None, cgroup: str | None
) -> list[int]:
    """Return the pids asked for, none for physical memory; raises as `find_pids`."""
    if scope.operations == "paddr":
        return []
    pids = find_pids(pid, name, cgroup)
    if scope.operations == "fvaddr" and len(pids) > 1:
        raise BadValueError(
            f"ranges are of one process, and these are {len(pids)}", hint="name one by its pid"
        )
    return pids


def _pids_in(cgroup: str) -> list[int]:
    inside = cgroupfs.group_pids(cgroup)
    if inside is None:
        raise TargetGoneError(
            f"no cgroup {cgroup!r}", hint="its path below the memory controller, such as /app"
        )
    found = [pid for pid in inside if pid != os.getpid()]
    if not found:
        raise TargetGoneError(f"no process is in cgroup {cgroup!r}")
    return found


def start_command(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a command to monitor; raises `TargetGoneError` or `NotPermittedError`."""
    try:
        return subprocess.Popen(list(command))
    except FileNotFoundError:
        raise TargetGoneError(
            f"cannot run {command[0]!r}: no such program", hint="is it on the PATH?"
        ) from None
    except PermissionError:
        raise NotPermittedError(f"cannot run {command[0]!r}: permission denied") from None
    except OSError as err:
        raise TargetGoneError(f"cannot run {shlex.join(command)!r}: {err.strerror}") from None


def monitor(
    *,
    pid: int | Sequence[int] | None = None,
    name: str | None = None,
    cgroup: str | None = None,
    command: Sequence[str] | None = None,
    ops: Ops | None = None,
    sample: int | str | None = None,
    aggr: int | str | None = None,
    update: int | str | None = None,
    regions: str | tuple[int, int] | None = None,
    goal: IntervalsGoal | None = None,
    profile: str | None = None,
    operations: str | None = None,
    ranges: Sequence[tuple[int, int]] | None = None,
    backend: str = "auto",
    children: bool = True,
    seed: int | None = None,
    overhead: float = 0.01,
    clock: Clock | None = None,
    schemes: Sequence[Scheme] = (),
    guard: str | None = None,
    dry_run: bool = False,
    force_guests: bool = False,
    observe: Observer | None = None,
) -> MonitorSession:
    """
    Start to monitor processes, a command, physical memory, or an own operations set.

    pid, name, cgroup (path below the memory controller; its processes at the start and their
    children), command, ops: exactly one of them, none for operations "paddr". operations: "vaddr"
    follows address maps, "fvaddr" stays within `ranges` of one process, "paddr" within those of
    physical memory, by default all of it; ranges: [start, end) in bytes. sample, aggr, update:
    intervals as text with a unit or whole microseconds; regions: bounds as "10..1000" or a pair;
    goal: tune the intervals to this share of observed accesses; profile: the Linux release whose
    rules are followed, one of `core.profile.PROFILES` and by default the newest, not for the
    kernel's own DAMON; backend: a name that `isotherm doctor` lists, or "auto"; children: follow
    child processes; seed: of the sampling (the same seed gives the same choices); overhead: share
    of one CPU to keep to: fewer accessed bits are cleared, and intervals that were not asked for
    are stretched; clock: time for an own operations set, which may be simulated. schemes: applied
    in their order, with a default quota where they have none (`schemes.defaults`); guard:
    "psi=10ms/s", "refault=100/s" or "cmd=COMMAND" holds them back; dry_run: only tell what they
    would do; force_guests: take processes that run virtual machines, though what guests use cannot
    be seen; observe: called with each `schemes.engine.Event`.

    Raises `BadValueError`, `TargetGoneError`, `NotPermittedError` or `NotSupportedError`.
    """
    given = [what for what in (pid, name, cgroup, command, ops) if what is not None]
    if len(given) > 1:
        raise BadValueError("only one of pid, name, cgroup, command and ops can be monitored")
    scope = scope_of(operations, ranges)
    if ops is not None and scope != Scope():
        raise BadValueError("an own operations set has its own addresses; leave out operations")
    if given and scope.operations == "paddr":
        raise BadValueError(
            "physical memory belongs to no process",
            hint="leave out the process, or monitor its addresses: vaddr, fvaddr",
        )
    wish = Wish(sample, aggr, update, regions, goal, profile)
    # A bad value is told before anything is started.
    wish.over(Attrs())
    check_profile(wish.rules, schemes)
    applied = Applied(with_quotas(schemes), guard_of(guard), dry_run=dry_run, observe=observe)
    if ops is not None:
        monitoring, engine = open_monitor(ops, wish, seed, clock, applied)
        return MonitorSession(
            ops,
            monitoring,
            clock=clock,
            engine=engine,
            guard=applied.guard,
            schemes=applied.schemes,
            operations=None,
        )
    if clock is not None:
        raise BadValueError("processes run in the machine's own time; leave out clock")
    if backend not in ("auto", *BACKENDS):
        choose(probe(), backend)  # raises
    process = start_command(command) if command is not None else None
    try:
        pids = [process.pid] if process else _pids_for(scope, pid, name, cgroup)
        with closing(ProcessSet(pids, follow_children=False)) as processes:
            members = processes.members
            targets = [Target(member.target_id, member.name, member.pid) for member in members]
            facts = replace(target_facts(members), operations=scope.operations)
        follow = children and scope.operations == "vaddr"  # the ranges of others are others
        choice, opened, running, engine = open_best(
            backend,
            facts,
            Opening(pids, scope, wish, seed, applied, follow, overhead, force_guests),
        )
    except BaseException as err:
        if process is None:
            raise
        if isinstance(err, TargetGoneError):
            status = process.wait()
            what = shlex.join(command or ())
            message = f"{what!r} ended with status {status} before it could be monitored"
            raise CommandEndedError(message, status) from err
        process.kill()
        process.wait()
        raise
    governed = opened is not None and not wish.fixes_intervals
    return MonitorSession(
        opened,
        running,
        targets=targets or [one.target for one in running.targets],
        choice=choice,
        operations=scope.operations,
        command=process,
        governor=Governor(overhead, running.attrs) if governed else None,
        engine=engine,
        guard=applied.guard,
        schemes=applied.schemes,
    )


def default_path(session: MonitorSession, directory: Path) -> Path:
    """Return a name that is not taken yet: NAME.PID.isotherm, then NAME.PID.2.isotherm."""
    targets = session.targets
    label = targets[0].name.replace("/", "_").replace(" ", "_") if targets else "recording"
    if targets and targets[0].pid is not None:
        label += f".{targets[0].pid}"
    path, count = directory / f"{label}.isotherm", 1
    while path.exists():
        count += 1
        path = directory / f"{label}.{count}.isotherm"
    return path
