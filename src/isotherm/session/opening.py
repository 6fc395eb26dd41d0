"""
From what was asked and the facts to a backend at work: choice, operations set, loop, schemes.

`session` keeps what comes out running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from isotherm.backends.choose import Backend as BackendName
from isotherm.backends.choose import Choice, TargetFacts, choose, open_ops
from isotherm.clock import Clock
from isotherm.core.damon.profile import NEWEST, Profile, profile_of
from isotherm.core.look import TargetRanges
from isotherm.core.monitor import Monitor
from isotherm.core.ops import Ops
from isotherm.errors import BadValueError, NotSupportedError
from isotherm.kernel.features import probe
from isotherm.model.attrs import Attrs, IntervalsGoal
from isotherm.model.scheme import Scheme
from isotherm.model.scope import Scope
from isotherm.model.snapshot import Snapshot
from isotherm.schemes.engine import Engine, Event
from isotherm.session.guard import Guard
from isotherm.session.metrics import SystemMetrics
from isotherm.targets.watch import ProcessTargets
from isotherm.units import duration_us, int_range

Observer = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """
    What was asked of the monitoring attributes; None means the backend's own default.

    profile: the Linux release whose rules the user-space engine follows, by default the newest.
    """

    sample: int | str | None = None
    aggr: int | str | None = None
    update: int | str | None = None
    regions: str | tuple[int, int] | None = None
    goal: IntervalsGoal | None = None
    profile: str | None = None

    @property
    def rules(self) -> Profile:
        """The rules to follow; raises `BadValueError` for a profile that does not exist."""
        return NEWEST if self.profile is None else profile_of(self.profile)

    @property
    def fixes_intervals(self) -> bool:
        """Tell whether the intervals were asked for, and so must stay as they are."""
        asked = (self.sample, self.aggr, self.goal)
        return any(one is not None for one in asked)

    def over(self, defaults: Attrs) -> Attrs:
        """Return `defaults` with what was asked put over them; raises `BadValueError`."""
        changes: dict[str, Any] = {}
        for name in ("sample", "aggr", "update"):
            asked = getattr(self, name)
            if asked is not None:
                changes[f"{name}_us"] = duration_us(asked)
        if changes.get("sample_us") == 0 or changes.get("aggr_us") == 0:
            raise BadValueError("an interval of 0 cannot be kept", hint="5ms and 100ms are usual")
        if "sample_us" in changes and "aggr_us" not in changes:
            changes["aggr_us"] = changes["sample_us"] * defaults.samples_per_aggr
        if self.goal is not None:
            changes["goal"] = self.goal
        if self.regions is not None:
            changes["min_nr_regions"], changes["max_nr_regions"] = int_range(self.regions)
        return replace(defaults, **changes)


class Backend(Protocol):
    """What runs the loop: `core.Monitor`, or `Kdamond` with the loop in the kernel."""

    @property
    def attrs(self) -> Attrs:
        """The attributes in force."""

    @property
    def profile(self) -> str | None:
        """The Linux release whose rules are followed; None where the running kernel's are."""

    @property
    def targets(self) -> tuple[TargetRanges, ...]:
        """The targets with their address maps, in the order of `Region.target`."""

    def snapshots(self, until_ns: int | None = None) -> Iterator[Snapshot]:
        """Monitor, and give a snapshot at the end of each window."""

    def commit(self, attrs: Attrs) -> None:
        """Change the attributes while monitoring."""

    def stop(self) -> None:
        """End monitoring soon."""

    def close(self) -> None:
        """Give everything back."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What is to be done to the memory found, and what watches over it."""

    schemes: tuple[Scheme, ...]
    guard: Guard | None
    dry_run: bool
    observe: Observer | None


@dataclass(frozen=True, slots=True)
class Opening:
    """What a backend is opened with, whichever it is; see `monitor`."""

    pids: Sequence[int]
    scope: Scope
    wish: Wish
    seed: int | None
    applied: Applied
    children: bool
    overhead: float
    force_guests: bool


#: What looks at memory and what applies schemes, None where the kernel does; what runs the loop.
Opened = tuple[Ops | None, Backend, Engine | None]


def open_best(
    backend: str, facts: TargetFacts, opening: Opening
) -> tuple[Choice, Ops | None, Backend, Engine | None]:
    """Choose a backend and open it; with "auto", another one if the kernel's DAMON will not do."""
    support, force = probe(), opening.force_guests
    failed: dict[BackendName, str] = {}
    if backend == "auto" and (why := _not_for_the_kernel(opening)):
        failed["kdamond"] = why
    choice = choose(support, backend, facts, failed=failed, force_guests=force)
    try:
        return choice, *open_backend(choice, opening)
    except NotSupportedError as err:
        # What the kernel's DAMON can do is seen only with a context of one's own.
        if backend != "auto" or choice.backend != "kdamond":
            raise
        failed["kdamond"] = err.message
    choice = choose(support, backend, facts, failed=failed, force_guests=force)
    return choice, *open_backend(choice, opening)


def _not_for_the_kernel(opening: Opening) -> str:
    """Say why the kernel's DAMON, though it may work here, is no choice for this; "" if it is."""
    if opening.wish.profile is not None:
        return (
            f"it has the running kernel's rules, and profile {opening.wish.profile} was asked for"
        )
    if opening.applied.schemes and opening.scope.operations != "paddr":
        return "the kernel does not tell what came of a region, nor can be held back"
    return ""


def open_backend(choice: Choice, opening: Opening) -> Opened:
    """Open the chosen backend; raises as it does."""
    if choice.backend == "kdamond":
        return None, open_kdamond(opening), None
    ops = open_ops(
        choice,
        opening.pids,
        follow_children=opening.children,
        ranges=opening.scope.ranges,
        overhead=opening.overhead,
        force_guests=opening.force_guests,
    )
    try:
        return ops, *open_monitor(ops, opening.wish, opening.seed, applied=opening.applied)
    except BaseException:
        ops.close()
        raise


def open_monitor(
    ops: Ops,
    wish: Wish,
    seed: int | None,
    clock: Clock | None = None,
    applied: Applied | None = None,
) -> tuple[Monitor, Engine | None]:
    """
    Return a monitor over `ops` and the engine of its schemes, None without schemes.

    Attributes that nothing was asked for are those that the ops recommends. Raises
    `NotSupportedError` for a scheme that cannot be done here.
    """
    attrs = wish.over(ops.recommended_attrs)
    engine: Engine | None = None
    if applied is not None and applied.schemes:
        engine = Engine(
            applied.schemes,
            ops.min_region_bytes,
            SystemMetrics(),
            clock=clock,
            observe=applied.observe,
            dry=applied.dry_run,
            profile=wish.rules,
        )
        engine.check(ops, applied.schemes)
    monitor = Monitor(ops, attrs, clock=clock, seed=seed, profile=wish.rules.name, schemes=engine)
    return monitor, engine


def open_kdamond(opening: Opening) -> Backend:
    """Let the kernel's DAMON monitor; raises as `backends.kdamond.Kdamond` does."""
    # Only here: it is not needed by the other backends.
    from isotherm.backends.kdamond.kdamond import Kdamond, Watched
    from isotherm.targets.physical import PhysicalMemory

    applied = opening.applied
    if opening.seed is not None:
        raise BadValueError(
            "the kernel draws its samples itself: it takes no seed",
            hint="leave out the seed, or choose another backend",
        )
    if opening.wish.profile is not None:
        raise BadValueError(
            "the kernel's DAMON has the running kernel's own rules: it takes no profile",
            hint="leave out the profile, or choose another backend",
        )
    if applied.guard is not None:
        raise NotSupportedError(
            "the kernel's schemes cannot be held back by a guard",
            hint="choose another backend, or give the schemes a goal, as some_mem_psi_us",
        )
    scope = opening.scope
    watched: Watched
    if scope.operations == "paddr":
        watched = PhysicalMemory(scope.ranges)
    else:
        watched = ProcessTargets(
            opening.pids, follow_children=opening.children, ranges=scope.ranges
        )
    try:
        return Kdamond(
            watched,
            opening.wish.over(Attrs()),
            applied.schemes,
            operations=scope.operations,
            dry_run=applied.dry_run,
            observe=applied.observe,
        )
    except BaseException:
        watched.close()
        raise
