"""What can be asked of a session: keywords of `isotherm.monitor`, and their one typed value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypedDict, Unpack

from isotherm.backends import registry
from isotherm.backends.choose import AUTO
from isotherm.backends.opening import MapWish, Observer, Wish, shared_of
from isotherm.clock import Clock
from isotherm.core.look import Look
from isotherm.core.policies import AUTO as POLICY_AUTO
from isotherm.core.policies import policy_named
from isotherm.errors import BadValueError
from isotherm.model.attrs import Attrs, IntervalsGoal
from isotherm.model.page_use import Shared
from isotherm.model.scheme import Scheme
from isotherm.model.scope import Scope, scope_of
from isotherm.schemes.defaults import with_quotas
from isotherm.schemes.older import check_profile
from isotherm.session.guard import parse_guard
from isotherm.targets.sources import (
    CgroupSource,
    ContainerSource,
    EverybodySource,
    NameSource,
    PidSource,
    PodSource,
    TargetSource,
    UnitSource,
    UserSource,
)
from isotherm.units import cpu_share

_DEFAULT_OVERHEAD = 0.01


class MonitorKeywords(TypedDict, total=False):
    """
    The keywords of `isotherm.monitor`, `isotherm.record` and `isotherm.apply`.

    Who and where, one of the first four kinds, none for operations "paddr":

    pid, name, user, cgroup, unit, container, pod: processes by number ("12,34" and texts are
    fine), by name, user, cgroup, systemd unit, container, Kubernetes pod ("namespace/name"), as
    members come and go; one or several each, and mixed.
    all: every process of the machine.
    attach: a kdamond of the kernel that somebody else runs, to be looked at and left as it is:
    "kdamond.0", "damon_stat", or "" for the only one.
    sources: further ones, of any registered kind (`targets.sources`).
    command: a program to start, and its arguments.
    ops: an own operations set, or any `core.look.Look`.
    children: follow child processes (True).
    wait: go on when the last of them ended, and begin before the first: others may come.
    operations: "vaddr" follows address maps, "fvaddr" stays within `ranges` of one process,
    "paddr" within those of physical memory, by default all of it.
    ranges: [start, end) in bytes.

    How:

    sample, aggr, update: intervals, as text with a unit or whole microseconds.
    regions: bounds of their number, "10..1000" or a pair.
    goal: tune the intervals to this share of observed accesses.
    profile: the Linux release whose rules are followed, one of `core.damon.profile.PROFILES` and
    by default the newest; not for the kernel's own DAMON.
    policy: what decides where to look next, a registered name: "damon", "sentinels", which watches
    armed clumps of pages, or "map", which draws no samples and has the map of pages alone; "auto"
    is the one that suits who is monitored, and the session's `choice` says why.
    shared: how memory that others map too may be seen: "auto", by holding the address map of a
    process if that is short, else by the kernel's DAMON; "off"; "clear-refs", by holding it for as
    long as it takes; "damon", never by holding it.
    backend: a name that `isotherm doctor` lists, or "auto".
    seed: of the sampling; the same seed gives the same choices.
    overhead: share of one CPU to keep to, 0.01 or "1%": fewer accessed bits are cleared, and
    intervals that were not asked for are stretched.
    clock: time for an own operations set, which may be simulated.
    force_guests: take processes that run virtual machines, though what guests use is not seen.
    no_thp: start the command with huge pages off, but for those that it or a scheme asks for.
    """

    pid: int | str | Sequence[int | str] | None
    name: str | Sequence[str] | None
    cgroup: str | Sequence[str] | None
    user: str | Sequence[str] | None
    unit: str | Sequence[str] | None
    container: str | Sequence[str] | None
    pod: str | Sequence[str] | None
    all: bool
    attach: str | None
    sources: Sequence[TargetSource]
    command: Sequence[str] | None
    ops: Look | None
    children: bool
    wait: bool
    operations: str | None
    ranges: Sequence[tuple[int, int]] | None
    sample: int | str | None
    aggr: int | str | None
    update: int | str | None
    regions: str | tuple[int, int] | None
    goal: IntervalsGoal | None
    profile: str | None
    policy: str
    shared: Shared
    backend: str
    seed: int | None
    overhead: float | str
    clock: Clock | None
    force_guests: bool
    no_thp: bool


class Keywords(MonitorKeywords, total=False):
    """
    What `isotherm.monitor` takes besides: what is done to the memory found.

    schemes: applied in their order, with a default quota where they have none.
    guard: "psi=10ms/s", "refault=100/s" or "cmd=COMMAND" holds them back.
    dry_run: only tell what they would do.
    observe: called with each `schemes.engine.Event`.
    """

    schemes: Sequence[Scheme]
    guard: str | None
    dry_run: bool
    observe: Observer | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """
    What was asked of a session, checked: the fields are `Keywords` in the project's own terms.

    Invariants: exactly one of sources, command, look and a scope of physical memory says who;
    every value makes sense by itself. What the machine can do is another question. schemes_later:
    others may be committed while it monitors, even if there are none at the start.
    """

    sources: tuple[TargetSource, ...] = ()
    command: tuple[str, ...] = ()
    look: Look | None = None
    children: bool = True
    wait: bool = False
    attach: str | None = None
    scope: Scope = field(default_factory=Scope)
    wish: Wish = field(default_factory=Wish)
    pages: MapWish = field(default_factory=MapWish)
    backend: str = AUTO
    seed: int | None = None
    overhead: float = _DEFAULT_OVERHEAD
    clock: Clock | None = None
    force_guests: bool = False
    schemes: tuple[Scheme, ...] = ()
    schemes_later: bool = False
    guard: str | None = None
    dry_run: bool = False
    no_thp: bool = False
    observe: Observer | None = None

    def lasting(self, duration_ns: int | None) -> Self:
        """Return options of a session that lasts so long: default windows are to fit into it."""
        if duration_ns is None:
            return self
        return replace(self, wish=replace(self.wish, within_us=duration_ns // 1000))

    def __post_init__(self) -> None:
        self._check_who()
        self._check_ranges()
        self.wish.over(Attrs())
        check_profile(self.wish.rules, self.schemes)
        if self.wish.policy != POLICY_AUTO:
            policy_named(self.wish.policy)
        if not isinstance(self.backend, str):
            raise BadValueError("a backend is a name", hint=f"auto, {', '.join(registry.names())}")
        if self.backend != AUTO:
            registry.kind_of(self.backend)
        if self.guard is not None:
            parse_guard(self.guard)
        cpu_share(100 * self.overhead)
        if self.seed is not None and not (isinstance(self.seed, int) and 0 <= self.seed < 1 << 64):
            raise BadValueError("a seed is a whole number from 0 to 2^64-1", hint="--seed 1")
        if self.no_thp and not self.command:
            raise BadValueError(
                "huge pages can be switched off for a command only that is started",
                hint="isotherm apply ethp --no-thp -- COMMAND",
            )
        if self.clock is not None and self.look is None:
            raise BadValueError("processes run in the machine's own time; leave out clock")

    def _check_who(self) -> None:
        attached = self.attach is not None
        ways = [bool(self.sources), bool(self.command), self.look is not None, attached]
        if sum(ways) > 1:
            raise BadValueError(
                "only one of processes (pid, name, cgroup), command and ops can be monitored"
            )
        if self.look is not None and self.scope != Scope():
            raise BadValueError(
                "an own operations set has its own addresses; leave out operations"
            )
        if attached and (self.scope != Scope() or self.schemes or self._wishes()):
            raise BadValueError(
                "a kdamond of somebody else has its own targets, intervals and schemes",
                hint="leave out all that would change them",
            )
        physical = self.scope.operations == "paddr"
        if physical and any(ways):
            raise BadValueError(
                "physical memory belongs to no process",
                hint="leave out the process, or monitor its addresses: vaddr, fvaddr",
            )
        if not physical and not any(ways):
            raise BadValueError(
                "nothing to monitor",
                hint="say which process: by pid, by name, or a command to run; "
                "all processes: -a; or the machine's memory: --ops paddr",
            )

        if self.wait and not any(source.living for source in self.sources):
            raise BadValueError(
                "nobody can be waited for: a process that ended does not come again",
                hint="say who by name, cgroup, unit, container, pod or user",
            )

    def _wishes(self) -> bool:
        """Tell whether anything was asked of how to monitor."""
        return replace(self.wish, within_us=None) != Wish()

    def _check_ranges(self) -> None:
        numbered = [source.pids() for source in self.sources if isinstance(source, PidSource)]
        if self.scope.operations == "fvaddr" and (many := sum(map(len, numbered))) > 1:
            raise BadValueError(
                f"ranges are of one process, and these are {many}", hint="name one by its pid"
            )

    @classmethod
    def of(cls, **asked: Unpack[Keywords]) -> Self:
        """
        Return the options that keywords ask for.

        Raises `BadValueError`, and `TypeError` for what is no keyword.
        """
        for name in asked.keys() - Keywords.__annotations__.keys():
            raise TypeError(f"{name!r} is no keyword of isotherm.monitor")
        guard = asked.get("guard")
        scope = scope_of(asked.get("operations"), asked.get("ranges"))
        sources = (*_sources(asked), *asked.get("sources", ()))
        if scope.operations == "paddr":
            # Everybody's memory is what was asked for.
            sources = tuple(one for one in sources if not isinstance(one, EverybodySource))
        return cls(
            sources=sources,
            command=_words(asked.get("command")),
            look=asked.get("ops"),
            children=asked.get("children", True),
            wait=asked.get("wait", False),
            attach=asked.get("attach"),
            scope=scope,
            wish=Wish(
                sample=asked.get("sample"),
                aggr=asked.get("aggr"),
                update=asked.get("update"),
                regions=asked.get("regions"),
                goal=asked.get("goal"),
                profile=asked.get("profile"),
                policy=asked.get("policy", "damon"),
            ),
            pages=MapWish(shared=shared_of(asked.get("shared", "auto"))),
            backend=asked.get("backend", AUTO),
            seed=asked.get("seed"),
            overhead=_share(asked.get("overhead", _DEFAULT_OVERHEAD)),
            clock=asked.get("clock"),
            force_guests=asked.get("force_guests", False),
            schemes=with_quotas(asked.get("schemes", ())),
            guard=guard,
            dry_run=asked.get("dry_run", False),
            no_thp=asked.get("no_thp", False),
            observe=asked.get("observe"),
        )


def _sources(asked: MonitorKeywords) -> list[TargetSource]:
    found: list[TargetSource] = []
    pid = asked.get("pid")
    if pid is not None:
        pids = list(pid) if isinstance(pid, Iterable) and not isinstance(pid, str) else [pid]
        numbers = [number for one in pids for number in _numbers(one)]
        found.append(PidSource(numbers))
    by_name: tuple[tuple[type[TargetSource], str | Sequence[str] | None], ...] = (
        (NameSource, asked.get("name")),
        (UserSource, asked.get("user")),
        (CgroupSource, asked.get("cgroup")),
        (UnitSource, asked.get("unit")),
        (ContainerSource, asked.get("container")),
        (PodSource, asked.get("pod")),
    )
    found += [kind.parse(text) for kind, texts in by_name for text in _texts(texts)]
    return found + ([EverybodySource()] if asked.get("all") else [])


def _numbers(pid: int | str) -> list[int]:
    return PidSource.parse(pid).pids() if isinstance(pid, str) else [pid]


def _words(command: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(command, str):
        raise BadValueError("a command is a list of words", hint='["sleep", "10"]')
    return tuple(command or ())


def _share(overhead: float | str) -> float:
    return cpu_share(overhead) if isinstance(overhead, str) else overhead


def _texts(value: str | Sequence[str] | None) -> Sequence[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value
