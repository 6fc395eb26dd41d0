"""
A DAMOS scheme: which memory, what to do with it, how much at a time, and when.

What was asked, frozen; what came of it is `model.scheme_state`. Units are the kernel's where the
kernel rounds to them, so that nothing is lost on the way to it: quotas in whole milliseconds,
watermarks and weights in 1/1,000.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Literal, NamedTuple

from isotherm.errors import BadValueError, shown
from isotherm.model.attrs import UINT_MAX, Attrs
from isotherm.model.own import ACTIONS, METRICS, NamedAction, NamedMetric, OwnAction
from isotherm.model.text import check_name, check_path
from isotherm.units import U64_MAX

#: The highest number of a node, either way.
INT_MAX = 2**31 - 1


class Action(StrEnum):
    """DAMOS actions, by the kernel's names."""

    WILLNEED = "willneed"
    COLD = "cold"
    PAGEOUT = "pageout"
    HUGEPAGE = "hugepage"
    NOHUGEPAGE = "nohugepage"
    COLLAPSE = "collapse"
    LRU_PRIO = "lru_prio"
    LRU_DEPRIO = "lru_deprio"
    MIGRATE_HOT = "migrate_hot"
    MIGRATE_COLD = "migrate_cold"
    STAT = "stat"


ACTIONS.reserved.update(Action)


def _check_bounds(what: str, low: Fraction | int, high: Fraction | int | None) -> None:
    _check_numbers(what, low, high or 0)
    if high is not None and low > high:
        raise BadValueError(
            f"{what} {low}..{high} are upside down", hint="the lower bound comes first"
        )


def _check_numbers(what: str, *numbers: Fraction | int) -> None:
    """Raise `BadValueError` for numbers that 64 bits do not hold."""
    if min(numbers) < 0:
        raise BadValueError(f"{what} cannot be negative", hint="0 is the least")
    if max(numbers) > U64_MAX:
        raise BadValueError(f"{what} cannot be above 2^64", hint=f"{U64_MAX} is the most")


def _plain(value: Fraction | int | None) -> Fraction | int | None:
    """Whole fractions as ints, so that equal bounds print alike."""
    return int(value) if value is not None and value == int(value) else value


class Limits(NamedTuple):
    """A pattern in the counts of a monitor: closed bounds of bytes, samples and windows."""

    min_size: int
    max_size: int
    min_accesses: int
    max_accesses: int
    min_age: int
    max_age: int


@dataclass(frozen=True, slots=True)
class Access:
    """
    Closed bounds of the access rate; high None has no bound.

    unit "percent": of the samples of a window; "samples": a count, as the kernel has it.
    """

    low: Fraction | int = 0
    high: Fraction | int | None = None
    unit: Literal["percent", "samples"] = "percent"

    def __post_init__(self) -> None:
        _check_bounds("access rates", self.low, self.high)
        if self.unit == "percent" and max(self.low, self.high or 0) > 100:
            raise BadValueError("an access rate above 100% cannot be")
        object.__setattr__(self, "low", _plain(self.low))
        object.__setattr__(self, "high", _plain(self.high))

    def counts(self, samples: int) -> tuple[int, int]:
        """
        Return the bounds in accesses of a window of `samples`.

        Rounded inwards: "access=1%.." of 20 samples means one access, not none.
        """
        scale = Fraction(samples, 100) if self.unit == "percent" else Fraction(1)
        low = -int(-self.low * scale // 1)
        high = UINT_MAX if self.high is None else int(self.high * scale // 1)
        return min(low, UINT_MAX), min(high, UINT_MAX)


@dataclass(frozen=True, slots=True)
class Age:
    """
    Closed bounds of how long a region kept its access rate; high None has no bound.

    unit "us": microseconds; "windows": aggregation intervals, as the kernel counts.
    """

    low: int = 0
    high: int | None = None
    unit: Literal["us", "windows"] = "us"

    def __post_init__(self) -> None:
        _check_bounds("ages", self.low, self.high)

    def counts(self, aggr_us: int) -> tuple[int, int]:
        """Return the bounds in windows of `aggr_us`, rounded inwards."""
        scale = max(1, aggr_us) if self.unit == "us" else 1
        high = UINT_MAX if self.high is None else self.high // scale
        return min(-(-self.low // scale), UINT_MAX), min(high, UINT_MAX)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which regions a scheme is for: by size in bytes (closed bounds), access rate and age."""

    min_size_bytes: int = 0
    max_size_bytes: int = U64_MAX
    access: Access = Access()
    age: Age = Age()

    def __post_init__(self) -> None:
        _check_bounds("sizes", self.min_size_bytes, self.max_size_bytes)

    def limits(self, attrs: Attrs) -> Limits:
        """Return the pattern in the samples and windows of these attributes."""
        return Limits(
            self.min_size_bytes,
            self.max_size_bytes,
            *self.access.counts(attrs.samples_per_aggr),
            *self.age.counts(attrs.aggr_us),
        )


class Metric(StrEnum):
    """What a quota goal aims at, by the kernel's names; OWN is a Python callable's value."""

    USER_INPUT = "user_input"
    SOME_MEM_PSI_US = "some_mem_psi_us"
    NODE_MEM_USED_BP = "node_mem_used_bp"
    NODE_MEM_FREE_BP = "node_mem_free_bp"
    NODE_MEMCG_USED_BP = "node_memcg_used_bp"
    NODE_MEMCG_FREE_BP = "node_memcg_free_bp"
    ACTIVE_MEM_BP = "active_mem_bp"
    INACTIVE_MEM_BP = "inactive_mem_bp"
    NODE_ELIGIBLE_MEM_BP = "node_eligible_mem_bp"
    OWN = "own"


METRICS.reserved.update(Metric)
METRICS.reserved.update(metric.removesuffix("_bp").removesuffix("_us") for metric in Metric)


@dataclass(frozen=True, slots=True)
class Goal:
    """
    What the quota is tuned for: the metric's `target`, in the metric's unit (µs, 1/10,000).

    current: value of USER_INPUT so far; nid: node of the NODE_ metrics; memcg: path of the cgroup
    of the MEMCG ones; read: of OWN, returns the present value, a `NamedMetric` if it has a name;
    complement: aim at all but the target (damo knows it, no release of the kernel does).
    """

    metric: Metric
    target: int
    current: int = 0
    nid: int = 0
    memcg: str = ""
    read: Callable[[], float] | None = None
    complement: bool = False

    def __post_init__(self) -> None:
        _check_numbers(f"values of goal {self.metric}", self.target, self.current)
        check_path(f"goal {self.metric}: cgroup", self.memcg)
        if self.target <= 0:
            raise BadValueError(
                f"goal {self.metric}: a target of {self.target} cannot be aimed at",
                hint="targets are above 0",
            )
        if (self.read is not None) != (self.metric is Metric.OWN):
            raise BadValueError(f"goal {self.metric}: only an own goal has a callable to read it")

    @property
    def title(self) -> str:
        """The metric's name, that of its own one if it has a name."""
        return self.own.name if self.own is not None else str(self.metric)

    def measured(self) -> tuple[int, str]:
        """
        Return the present value of an own goal, and "".

        Where its callable fails or returns no number, the target, as if it was met, and why.
        """
        try:
            value = self.read() if self.read is not None else self.current
            return max(0, min(int(value), U64_MAX)), ""
        except Exception as err:  # noqa: BLE001 - it is the user's, and must not end the loop
            return self.target, shown(f"{type(err).__name__}: {err}", 100)

    @property
    def own(self) -> NamedMetric | None:
        """The registered metric that it aims at, if it is one."""
        return self.read if isinstance(self.read, NamedMetric) else None


Tuner = Literal["consist", "temporal"]


class Weights(NamedTuple):
    """Of size, access rate and age in the priority of a region; only their ratio matters."""

    size: int = 0
    access: int = 0
    age: int = 0


NO_WEIGHTS = Weights()


@dataclass(frozen=True, slots=True)
class Quota:
    """
    How much a scheme may do per `reset_ms`; 0 is no limit of that kind.

    time_ms: of the machine's time; size_bytes: of memory; goals: tune the size by feedback, by the
    rules of `tuner`; weights: which regions come first; fail_charge: share (numerator,
    denominator) of the bytes of failed work that counts, all of them with denominator 0.
    """

    time_ms: int = 0
    size_bytes: int = 0
    reset_ms: int = 1000
    weights: Weights = NO_WEIGHTS
    goals: tuple[Goal, ...] = ()
    tuner: Tuner = "consist"
    fail_charge: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        numbers = (self.time_ms, self.size_bytes, self.reset_ms, *self.weights, *self.fail_charge)
        _check_numbers("a quota", *numbers)

    @property
    def limits(self) -> bool:
        """Whether anything is limited at all."""
        return bool(self.time_ms or self.size_bytes or self.goals)


class FilterType(StrEnum):
    """What a filter looks at, by the kernel's names where it has them."""

    ADDR = "addr"
    TARGET = "target"
    ANON = "anon"
    ACTIVE = "active"
    MEMCG = "memcg"
    YOUNG = "young"
    HUGEPAGE_SIZE = "hugepage_size"
    UNMAPPED = "unmapped"
    PROBE_HITS_WSUM = "probe_hits_wsum"
    #: Ours alone: pages that were not accessed for so long, each for itself.
    IDLE = "idle"
    #: Ours alone: memory of mappings that reports call so.
    NAME = "name"
    #: Ours alone: huge pages, by the share of their small pages that are nothing but zeros.
    UNDERUSED = "underused"


#: Decided from the region alone, before memory is looked at (core filters); the others by the ops.
CORE_FILTERS = frozenset({FilterType.ADDR, FilterType.TARGET})
#: That no kernel has, nor any other program.
OWN_FILTERS = frozenset({FilterType.IDLE, FilterType.NAME, FilterType.UNDERUSED})
#: Those that need bounds.
_RANGED = (
    FilterType.ADDR,
    FilterType.HUGEPAGE_SIZE,
    FilterType.PROBE_HITS_WSUM,
    FilterType.IDLE,
    FilterType.UNDERUSED,
)


@dataclass(frozen=True, slots=True)
class Filter:
    """
    One filter: memory whose test equals `matching` is let through (allow) or kept out.

    bounds: addresses [start, end) of ADDR, closed sizes in bytes of HUGEPAGE_SIZE, closed counts
    of PROBE_HITS_WSUM, µs and no bound of IDLE, closed shares in 1/1,000 of UNDERUSED; memcg:
    path of the cgroup; target: index of the target; name: of NAME, a `NamePattern`.
    """

    type: FilterType
    matching: bool = True
    allow: bool = False
    bounds: tuple[int, int] | None = None
    memcg: str = ""
    target: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        if (self.bounds is not None) != (self.type in _RANGED):
            raise BadValueError(f"filter {self.type}: bounds are needed for {', '.join(_RANGED)}")
        _check_numbers(f"filter {self.type}: bounds", self.target, *(self.bounds or ()))
        check_path(f"filter {self.type}: cgroup", self.memcg)
        if self.bounds is not None and self.bounds[0] > self.bounds[1]:
            raise BadValueError(f"filter {self.type}: the bounds are upside down")
        if (
            self.type is FilterType.IDLE
            and self.bounds
            and not 0 < self.bounds[0] < self.bounds[1]
        ):
            raise BadValueError("filter idle: a time above 0 is needed", hint="30s is usual")
        if self.type is FilterType.UNDERUSED and self.bounds and self.bounds[1] > 1000:
            raise BadValueError("filter underused: a share above 100% cannot be")
        if bool(self.memcg) != (self.type is FilterType.MEMCG):
            raise BadValueError(
                f"filter {self.type}: a cgroup is needed for memcg, and only there"
            )
        check_name(f"filter {self.type}: the name", self.name)
        if bool(self.name) != (self.type is FilterType.NAME):
            raise BadValueError(f"filter {self.type}: a name is needed for name, and only there")

    @property
    def is_core(self) -> bool:
        """Whether the region alone decides."""
        return self.type in CORE_FILTERS


@dataclass(frozen=True, slots=True)
class Watermarks:
    """
    When a scheme is active, by the free share of the machine's memory, in 1/1,000.

    Above `high` and below `low` it rests; it starts again below `mid`. interval_us: between two
    looks at the metric while it rests.
    """

    metric: Literal["none", "free_mem_rate"] = "none"
    interval_us: int = 0
    high: int = 0
    mid: int = 0
    low: int = 0

    def __post_init__(self) -> None:
        _check_numbers("watermarks", self.interval_us, self.high)
        if self.low < 0 or not self.low <= self.mid <= self.high:
            raise BadValueError(
                f"watermarks {self.high}/{self.mid}/{self.low} permil are out of order",
                hint="high, middle, low",
            )
        if self.metric != "none" and not self.interval_us:
            raise BadValueError("watermarks need an interval above 0", hint="5s is usual")


class Destination(NamedTuple):
    """A node to migrate to, and its share among the destinations."""

    nid: int
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Scheme:
    """
    Memory of this pattern gets this action.

    quota None: none was asked for, so that `apply` may take a careful default; apply_interval_us 0
    is the aggregation interval; target_nid and destinations: of the migrations; max_nr_snapshots:
    rest after so many, 0 never; own: does the work in place of an action that isotherm knows (a
    `NamedAction` if it has a name), then `action` only tells the priority of regions.
    """

    action: Action
    pattern: Pattern = Pattern()
    name: str = ""
    apply_interval_us: int = 0
    quota: Quota | None = None
    watermarks: Watermarks = Watermarks()
    filters: tuple[Filter, ...] = ()
    target_nid: int | None = None
    destinations: tuple[Destination, ...] = ()
    max_nr_snapshots: int = 0
    own: OwnAction | None = None

    def __post_init__(self) -> None:
        migrates = self.action in (Action.MIGRATE_HOT, Action.MIGRATE_COLD)
        if not migrates and (self.target_nid is not None or self.destinations):
            raise BadValueError(
                f"{self.action} has no destination", hint="migrate_hot and _cold do"
            )
        numbers = (self.apply_interval_us, self.max_nr_snapshots)
        _check_numbers("intervals and counts of a scheme", *numbers)
        check_name("the name of a scheme", self.name)
        _check_numbers("weights of nodes", 0, *(node.weight for node in self.destinations))
        nodes = (self.target_nid or 0, *(node.nid for node in self.destinations))
        if max(map(abs, nodes)) > INT_MAX:
            raise BadValueError("there is no node of this number", hint="as in node1")

    @property
    def core_filters(self) -> tuple[Filter, ...]:
        return tuple(rule for rule in self.filters if rule.is_core)

    @property
    def ops_filters(self) -> tuple[Filter, ...]:
        return tuple(rule for rule in self.filters if not rule.is_core)

    @property
    def idle_us(self) -> int:
        """How long pages must have been idle for the scheme, in µs; 0 if no filter asks."""
        asked = (
            rule.bounds[0] for rule in self.filters if rule.type is FilterType.IDLE and rule.bounds
        )
        return max(asked, default=0)

    @property
    def judges_pages(self) -> bool:
        """Whether filters judge pages one by one, whatever their region is like."""
        own = (FilterType.IDLE, FilterType.UNDERUSED)
        return any(rule.type in own for rule in self.filters)

    @property
    def title(self) -> str:
        """The name, or what it does."""
        return self.name or self.does

    @property
    def does(self) -> str:
        """The name of its action, of its own one if that has a name."""
        return self.own.name if isinstance(self.own, NamedAction) else str(self.action)


def rejects_rest(filters: Sequence[Filter]) -> bool:
    """Whether memory that no filter of a list matches is kept out: if the last one allows."""
    return bool(filters) and filters[-1].allow
