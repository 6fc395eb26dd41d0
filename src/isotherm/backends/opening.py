"""What a backend is opened with, and the loop over a Look that most of them are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from isotherm.clock import Clock
from isotherm.core import map_policy
from isotherm.core.act import Act
from isotherm.core.damon.profile import NEWEST, Profile, profile_of
from isotherm.core.look import Look
from isotherm.core.monitor import Monitor
from isotherm.core.overhead import Governor
from isotherm.core.page_map import PageMap
from isotherm.core.policies import MAP, SENTINELS
from isotherm.core.sentinels import policy as sentinel_policy
from isotherm.errors import BadValueError, quoted
from isotherm.model.attrs import Attrs, IntervalsGoal
from isotherm.model.page_use import CLEAR_REFS, DAMON, Shared
from isotherm.model.scheme import Scheme
from isotherm.schemes.engine import Engine, Event
from isotherm.schemes.goals import Metrics
from isotherm.targets.target_set import ProcessTargets, TargetSet
from isotherm.units import duration_us, int_range

Observer = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """
    What was asked of the monitoring attributes; None means the backend's own default.

    sample, aggr, update: intervals, as text with a unit or whole microseconds; regions: bounds of
    their number; goal: what to tune the intervals to; profile: the Linux release whose rules the
    user-space engine follows, by default the newest; policy: what decides where to look next;
    within_us: how long it will last: windows of default length are made to fit.
    """

    sample: int | str | None = None
    aggr: int | str | None = None
    update: int | str | None = None
    regions: str | tuple[int, int] | None = None
    goal: IntervalsGoal | None = None
    profile: str | None = None
    policy: str = "damon"
    within_us: int | None = None

    @property
    def rules(self) -> Profile:
        """The rules to follow; raises `BadValueError` for a profile that does not exist."""
        return NEWEST if self.profile is None else profile_of(self.profile)

    @property
    def fixes_intervals(self) -> bool:
        """Tell whether the intervals were asked for, and so must stay as they are."""
        return not (self.sample is None and self.aggr is None and self.goal is None)

    def over(self, defaults: Attrs) -> Attrs:
        """Return `defaults` with what was asked put over them; raises `BadValueError`."""
        changes: dict[str, Any] = {}
        if self.within_us is not None and not self.fixes_intervals:
            defaults = _fitting(defaults, self.within_us)
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


def _fitting(attrs: Attrs, within_us: int) -> Attrs:
    """Return attributes whose windows are not longer than a given time, in whole samples."""
    if attrs.aggr_us <= within_us:
        return attrs
    sample_us = max(1, min(attrs.sample_us, within_us))
    return replace(attrs, sample_us=sample_us, aggr_us=within_us // sample_us * sample_us)


#: For how long an address map may be held, by estimate.
_STALL_NS: dict[Shared, int] = {
    "auto": 20_000_000,
    "off": 0,
    CLEAR_REFS: 3_600_000_000_000,
    DAMON: 0,
}


def shared_of(text: str) -> Shared:
    """Return what is to be done about shared memory; raises `BadValueError` for another word."""
    for word in _STALL_NS:
        if word == text:
            return word
    raise BadValueError(
        f"{quoted(str(text))} says nothing about shared memory",
        hint=f"one of {', '.join(_STALL_NS)}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MapWish:
    """
    What was asked of the map of pages.

    beside: follow all pages beside the policy's regions, where the backend can; shared: whether a
    process' address map may be held to see memory that others map too ("auto": for 20 ms at most),
    or the kernel's DAMON may be used for it; titles: sums tell the memory of a target apart by the
    names of its mappings, which of hundreds of targets is most of what a sum costs.
    """

    beside: bool = True
    shared: Shared = "auto"
    titles: bool = True

    @property
    def stall_ns(self) -> int:
        """For how long an address map may be held."""
        return _STALL_NS[self.shared]

    @property
    def by_damon(self) -> bool:
        """Whether the kernel's DAMON may be used."""
        return self.shared in ("auto", DAMON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """
    What a backend is opened with, whichever it is.

    targets: who is monitored, held by the session; wish: the attributes asked for; seed: of the
    sampling; overhead: share of one CPU to keep to; schemes: to be applied; metrics: what their
    goals are read from; guarded: something will hold schemes back (`Backend.throttle`); dry_run:
    only tell what they would do; observe: called with each event; force_guests: take processes
    that run a virtual machine; pages: the map of pages; later: schemes may come while it monitors.
    """

    targets: TargetSet
    metrics: Metrics
    wish: Wish = field(default_factory=Wish)
    seed: int | None = None
    overhead: float = 0.01
    schemes: tuple[Scheme, ...] = ()
    guarded: bool = False
    dry_run: bool = False
    observe: Observer | None = None
    force_guests: bool = False
    pages: MapWish = field(default_factory=MapWish)
    later: bool = False

    @property
    def processes(self) -> ProcessTargets:
        """The targets, for who looks at processes; others are kept away by the choice."""
        assert isinstance(self.targets, ProcessTargets)  # noqa: S101 - `only_processes`
        return self.targets


def open_monitor(
    look: Look,
    act: Act,
    *,
    wish: Wish,
    metrics: Metrics,
    seed: int | None = None,
    clock: Clock | None = None,
    overhead: float | None = None,
    share: float = 0.01,
    schemes: tuple[Scheme, ...] = (),
    later: bool = False,
    dry_run: bool = False,
    observe: Observer | None = None,
    page_map: PageMap | None = None,
) -> Monitor:
    """
    Return a monitor over `look`, `act` and `page_map`.

    It closes them, here already if it cannot be made.

    Attributes that nothing was asked for are those that the look recommends. act: does what the
    schemes want; page_map: follows all pages beside the regions; overhead: share of one CPU to
    stretch intervals for that were not asked for, None leaves them alone; share: the one that a
    policy keeps to by itself; everything else is as in `Opening`. Raises `NotSupportedError` for a
    scheme that cannot be done here.
    """
    try:
        attrs = wish.over(_defaults(look, wish, share))
        engine = None
        if schemes or later:
            engine = Engine(
                schemes,
                look.min_region_bytes,
                metrics,
                clock=clock,
                observe=observe,
                dry=dry_run,
                profile=wish.rules,
            )
            engine.check(act, schemes)
        # These cost the same whatever the intervals: they keep to their share by themselves.
        alone = wish.policy in (MAP, SENTINELS)
        stretch = overhead is not None and not wish.fixes_intervals and not alone
        return Monitor(
            look,
            attrs,
            act=act,
            clock=clock,
            seed=seed,
            profile=wish.rules.name,
            policy=wish.policy,
            schemes=engine,
            governor=(
                Governor(overhead, attrs, turns=look.takes_turns)
                if stretch and overhead is not None
                else None
            ),
            page_map=page_map,
            overhead=share,
        )
    except BaseException:
        act.close()
        if page_map is not None:
            page_map.close()
        look.close()
        raise


def _defaults(look: Look, wish: Wish, share: float) -> Attrs:
    attrs = look.recommended_attrs
    if wish.policy == SENTINELS:
        return sentinel_policy.recommended(attrs, share)
    return map_policy.recommended(attrs) if wish.policy == MAP else attrs


def open_look(
    look: Look, act: Act, opening: Opening, *, page_map: PageMap | None = None
) -> Monitor:
    """Return the monitor of a backend that looks at processes; as `open_monitor`."""
    return open_monitor(
        look,
        act,
        wish=opening.wish,
        metrics=opening.metrics,
        seed=opening.seed,
        overhead=opening.overhead,
        share=opening.overhead,
        schemes=opening.schemes,
        later=opening.later,
        dry_run=opening.dry_run,
        observe=opening.observe,
        page_map=page_map,
    )
