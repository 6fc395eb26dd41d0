"""The monitor: DAMON's loop over a Look and a policy, giving a Snapshot per aggregation window."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from operator import is_
from types import TracebackType
from typing import TYPE_CHECKING, Self

from isotherm.clock import Clock, SystemClock, cpu_ns_of
from isotherm.core.act import Act, CountOnly
from isotherm.core.damon.profile import ProfileName, profile_of
from isotherm.core.look import Look, TargetRanges
from isotherm.core.map_beside import MapBeside
from isotherm.core.overhead import Governor
from isotherm.core.page_map import PageMap
from isotherm.core.policies import DEFAULT, policy_named
from isotherm.core.policy import PolicyFactory, RngKind, Setting
from isotherm.core.schedule import Due, Schedule, left_window_bp, tuned
from isotherm.core.scheme_runner import Round, SchemeRunner
from isotherm.core.turns import Turns
from isotherm.errors import BadValueError, TargetGoneError
from isotherm.model.attrs import Attrs
from isotherm.model.page_use import PageUse
from isotherm.model.scheme import Scheme
from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Columns, Cost, Snapshot
from isotherm.model.target import Mapping

#: A control call, and the count of passed samples from which on it is due.
_Control = tuple[int, Callable[[], None]]
#: Longest sleep while schemes rest: signals, `stop` and control calls are served in between.
_REST_NS = 100_000_000
#: By so much a window may end after its time, if half of it is over.
_GRACE_NS = 500_000_000


class Monitor:
    """
    Monitors the targets of a Look, a `core.backend.Backend`.

    look: where memory is looked at; closed with the monitor. attrs: intervals and bounds. policy:
    what is worth looking at next, a name that `core.policies` knows or what makes one. clock: the
    machine's by default. seed: of the random numbers (random by default): with the same look,
    policy, clock and seed, the snapshots are the same. profile: the Linux release whose rules
    hold, a key of `core.damon.profile.PROFILES`. native, prng: see `core.policy.Setting`.
    schemes: what is done to the regions found, by an engine of the same profile; act: does it to
    memory, by default the look itself if it can. governor: keeps the cost that `charge` is told.
    page_map: follows all pages between the samples, and is closed with the monitor. overhead: the
    share of one CPU for a policy that keeps to it by itself.

    Iterate `snapshots()` in one thread. `commit`, `throttle` and `stop` may be called from
    anywhere, signal handlers included. Use as a context manager, or `close` it.
    """

    def __init__(
        self,
        look: Look,
        attrs: Attrs | None = None,
        *,
        policy: str | PolicyFactory = DEFAULT,
        clock: Clock | None = None,
        seed: int | None = None,
        native: bool | None = None,
        profile: ProfileName = "7.3",
        prng: RngKind = "splitmix",
        schemes: SchemeRunner | None = None,
        act: Act | None = None,
        governor: Governor | None = None,
        page_map: PageMap | None = None,
        overhead: float = 0.01,
    ) -> None:
        self._profile = profile_of(profile)
        self.look = look
        self._act: Act = act or (look if isinstance(look, Act) else CountOnly(look.name))
        self._looks_and_acts = id(self._act) == id(look)
        self._attrs = attrs or Attrs()
        self._clock = clock or SystemClock()
        self.policy = (policy_named(policy) if isinstance(policy, str) else policy)(
            Setting(
                look=look,
                clock=self._clock,
                attrs=self._attrs,
                seed=int.from_bytes(os.urandom(8), "little") if seed is None else seed,
                prng=prng,
                native=native is None or native,
                profile=self._profile,
                page_map=page_map,
                overhead=overhead,
            )
        )
        self._schedule = Schedule(self._attrs)
        self._schemes = schemes
        self._governor = governor
        self._turns, self._resting = Turns(), False
        self._map = MapBeside(page_map, look, self._clock, overhead)
        self._targets: dict[int, TargetRanges] = {}
        self._looked: tuple[TargetRanges, ...] = ()
        self._known: tuple[TargetRanges, ...] = ()
        self._mappings: dict[int, Sequence[Mapping]] = {}
        self._fresh_mappings: dict[int, Sequence[Mapping]] = {}
        self._control: list[_Control] = []
        self._stopping = False
        self._closed = False
        self._index = 0
        self._window_start_ns = self._cpu_ns = 0

    # The backend's face.

    def snapshots(self, until_ns: int | None = None) -> Iterator[Snapshot]:
        """
        Monitor, and give a snapshot at the end of each window, until `stop` or no target is left.

        until_ns: when to end, by the clock's monotonic time, amid a window if need be; one that is
        over within half of its length and half a second, or a twentieth of it, is still given.

        A vanished target is a normal outcome; what its last window saw is not reported. While all
        schemes rest, by their watermarks, there are no windows. Where a map of pages is kept, and
        `stop` comes amid a window, a last snapshot without regions says what it knows.
        """
        schedule, policy = self._schedule, self.policy
        self._start()
        while (self._targets or self.look.waits) and not self._stopping:
            due = schedule.latch()
            if not self._wait_for_schemes(until_ns) or not self._sample(due, until_ns):
                break
            self._map.step()
            window_ended = schedule.sis >= due.aggr
            if window_ended:
                policy.end_window(self._attrs)
            self._run_control_calls()
            self._apply_schemes()
            if window_ended:
                self._tune(due)
                schedule.end_window(due, self._attrs)
                snapshot = self._publish(policy.columns(), self._use(until_ns))
                given_ns = cpu_ns_of(self._clock)
                yield snapshot
                # What the reader does with a snapshot is not a cost of monitoring.
                self._cpu_ns += cpu_ns_of(self._clock) - given_ns
                policy.begin_window(self._attrs)
                self._take_turns()
            if schedule.sis >= due.update or self._map.wants_update():
                policy.update(self._look_for_targets(), self._attrs)
                rest = self._map.ticks_to_update(self._attrs.sample_us)
                schedule.end_update(self._attrs, rest)
            if window_ended and not self.look.alive():
                break
        yield from self._last_use()

    @property
    def name(self) -> str:
        """The short name of the look."""
        return self.look.name

    @property
    def targets(self) -> tuple[TargetRanges, ...]:
        """The living targets with their address maps, in the order of `Region.target`."""
        return tuple(self._targets.values())

    @property
    def attrs(self) -> Attrs:
        """The attributes in force; interval tuning changes them."""
        return self._attrs

    @property
    def profile(self) -> ProfileName:
        """The Linux release whose rules hold."""
        return self._profile.name

    def why_not(self, scheme: Scheme) -> str:
        """Say why a scheme cannot be done here; "" if it can."""
        return self._act.why_not(scheme)

    def warnings_for(self, scheme: Scheme) -> list[str]:
        """Return what the user should know before a scheme runs here."""
        return self._act.warnings_for(scheme)

    @property
    def stretches(self) -> bool:
        """Tell whether intervals become longer where the share of CPU asks for it."""
        return self._governor is not None

    def commit(self, attrs: Attrs | None = None, schemes: Sequence[Scheme] | None = None) -> None:
        """
        Change attributes, schemes (by position), or both while monitoring; acts within a tick.

        Other attributes begin a new window. All or nothing: what cannot be done raises
        `BadValueError` or `NotSupportedError` here, and nothing has changed.
        """
        if schemes is not None:
            if self._schemes is None:
                raise BadValueError("this monitor was started without schemes")
            self._schemes.check(self._act, schemes)
        self._control.append((0, lambda: self._take(attrs, schemes)))
        self.policy.stop()

    def charge(self, snapshot: Snapshot, thread_cpu_ns: int) -> None:
        """
        Account for CPU time since the snapshot before, and stretch the intervals if need be.

        What acting cost is no cost of looking, and work of the start says nothing of what follows.
        """
        if self._schemes is not None:
            thread_cpu_ns -= self._schemes.take_acted_ns()
        if self.look.warming_up() or self._map.warms_up():
            return
        if self._governor is None:
            return  # of intervals that were asked for the map does not pay the cost
        self._map.charge(thread_cpu_ns, snapshot.end_ns - snapshot.start_ns)
        changed = self._governor.observe(snapshot, max(0, thread_cpu_ns), self._attrs)
        if changed is not None:
            self.commit(changed)

    def throttle(self, share: float) -> None:
        """Let schemes use this share (0..1) of their quotas from now on."""
        if self._schemes is not None:
            self._schemes.throttle(share)

    def scheme_states(self) -> tuple[SchemeState, ...]:
        """Return what came of each scheme so far, without the regions tried."""
        return self._schemes.states() if self._schemes is not None else ()

    def alive(self) -> bool:
        """Tell whether any target still exists."""
        return self.look.alive()

    def stop(self) -> None:
        """End monitoring soon, without a snapshot of the unfinished window."""
        self._stopping = True
        self.policy.stop()

    def close(self) -> None:
        """Give everything back; after the last snapshot, in the thread that iterated."""
        self._stopping = True
        if not self._closed:
            self._closed = True
            with ExitStack() as stack:
                stack.callback(self.look.close)
                stack.callback(self._map.close)
                if not self._looks_and_acts:
                    stack.callback(self._act.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # The steps, in their order.

    def _start(self) -> None:
        self._cpu_ns = cpu_ns_of(self._clock)
        self.policy.begin(self._look_for_targets(), self._attrs)
        if self._schemes is not None:
            self._schemes.begin(self._attrs, self._schedule.sis)
        self._window_start_ns = self._clock.wall_ns()

    def _take_turns(self) -> None:
        """Have some targets rest in the window that begins, if all of them are too dear."""
        if self._governor is not None and self.look.takes_turns:
            resting = self._turns.next(list(self._targets), self._governor.turns)
            if resting is not None or self._resting:
                self.look.rest(resting or bytes(len(self._targets)))
            self._resting = resting is not None

    def _wait_for_schemes(self, until_ns: int | None) -> bool:
        """Wait while all schemes rest by their watermarks; False if going on is of no use."""
        while self._schemes is not None and (wait_us := self._schemes.wait_us()):
            wake_ns = self._clock.now_ns() + 1000 * wait_us
            while (now_ns := self._clock.now_ns()) < wake_ns:
                if self._stopping or (until_ns is not None and now_ns >= until_ns):
                    return False
                self._clock.sleep_until(min(wake_ns, now_ns + _REST_NS))
                self._run_control_calls()
            if not self.look.alive():
                return False
        return True

    def _apply_schemes(self) -> None:
        """Apply the schemes that are due: regions are merged and aged, counters not yet reset."""
        if self._schemes is None:
            return
        attrs, sis = self._attrs, self._schedule.sis
        self._schemes.apply(
            Round(
                table=self.policy.table,
                act=self._act,
                attrs=attrs,
                sis=sis,
                left_bp=left_window_bp(sis, self._schedule.next_aggr, attrs.samples_per_aggr),
                size_limit=self.policy.size_limit,
                now_ms=self._clock.now_ns() // 1_000_000,
            )
        )

    def _sample(self, due: Due, until_ns: int | None) -> bool:
        """Prepare, sleep, check: all ticks until something is due; False if there is no more."""
        at = [sis for sis, _ in self._control if sis > self._schedule.sis]
        if self._schemes is not None and (next_due := self._schemes.next_due(self._schedule.sis)):
            at.append(max(self._schedule.sis + 1, next_due))
        if until_ns is not None:
            left = self._ticks_until(until_ns, due)
            if not left:
                return False
            at.append(self._schedule.sis + left)
        if (ticks := self._map.ticks(self._attrs.sample_us)) is not None:
            at.append(self._schedule.sis + ticks)
        until = min(due.aggr, due.update, *at)
        try:
            self._schedule.sis += self.policy.sample(
                max(0, until - self._schedule.sis), self._attrs.sample_us
            )
        except TargetGoneError:
            if not self.look.alive() or not self._await_others():
                return False
        return not self._stopping

    def _await_others(self) -> bool:
        """
        Let a tick go by after all known targets ended, and look who is there.

        False if nobody is who was not known, such as one that shared their memory, nor may come.
        """
        known = self._targets.keys()
        sample_ns = self._attrs.sample_us * 1000
        self._clock.sleep_until(self._clock.now_ns() + sample_ns)
        self._schedule.sis += 1
        targets = self._look_for_targets()
        if not (self.look.waits or self._targets.keys() - known):
            return False
        self.policy.update(targets, self._attrs)
        return True

    def _ticks_until(self, until_ns: int, due: Due) -> int:
        """Return how many ticks there are left; a window that is almost over may end."""
        sample_ns = self._attrs.sample_us * 1000
        left_ns, to_end = until_ns - self._clock.now_ns(), due.aggr - self._schedule.sis
        if to_end * sample_ns <= left_ns + self._grace_ns():
            return to_end
        return max(0, -(-left_ns // sample_ns))

    def _grace_ns(self) -> int:
        sample_ns, aggr_ns = self._attrs.sample_us * 1000, self._attrs.aggr_us * 1000
        return max(sample_ns, aggr_ns // 20, min(aggr_ns // 2, _GRACE_NS))

    def _use(self, until_ns: int | None) -> PageUse | None:
        """Return what the map of pages knows if it is time; it is if this is the end."""
        # Of who has ended nothing is in memory: what was known before stands.
        if not self._map.is_kept or not self.look.alive():
            return None
        # No other window fits in: see _ticks_until().
        left_ns = None if until_ns is None else until_ns - self._clock.now_ns()
        last = left_ns is not None and left_ns + self._grace_ns() < self._attrs.aggr_us * 1000
        return self._map.take(last=last)

    def _last_use(self) -> Iterator[Snapshot]:
        """Give what the map of pages knows when all is stopped, if that is news; no regions."""
        if self._index and self._stopping and self.look.alive():
            use = self._map.news()
            if use is not None:
                yield self._publish(Columns(), use)

    def _run_control_calls(self) -> None:
        for call in [call for call in self._control if call[0] <= self._schedule.sis]:
            self._control.remove(call)
            call[1]()

    def _take(self, attrs: Attrs | None, schemes: Sequence[Scheme] | None = None) -> None:
        """Take what was committed: schemes first, as damon_commit_ctx()."""
        if schemes is not None and self._schemes is not None:
            self._schemes.commit(schemes, self._attrs, self._schedule.sis)
        if attrs is not None:
            aggregating = self._schedule.aggregating
            self._schedule.commit(attrs)
            self._set_attrs(attrs, aggregating=aggregating)

    def _set_attrs(self, new: Attrs, *, aggregating: bool) -> None:
        old, self._attrs = self._attrs, new
        self.policy.rescale(old, new, aggregating=aggregating)
        if self._schemes is not None:
            self._schemes.begin(new, self._schedule.sis)

    def _tune(self, due: Due) -> None:
        schedule = self._schedule
        if not schedule.tune_due(due, self._attrs):
            return
        events, size_bytes = self.policy.access_events()
        new = tuned(self._attrs, schedule.aggr_samples, events, size_bytes)
        if new is not None:
            schedule.retime(self._attrs, new)
            self._set_attrs(new, aggregating=False)

    def _publish(self, columns: Columns, use: PageUse | None) -> Snapshot:
        started, self._window_start_ns = self._window_start_ns, self._clock.wall_ns()
        cpu_ns, self._cpu_ns = self._cpu_ns, cpu_ns_of(self._clock)
        columns = self._map.known(columns, self._attrs)
        snapshot = Snapshot(
            index=self._index,
            start_ns=started,
            end_ns=self._window_start_ns,
            sample_us=self._attrs.sample_us,
            aggr_us=self._attrs.aggr_us,
            targets=tuple(known.target for known in self._targets.values()),
            columns=columns,
            unobservable=tuple(u for known in self._targets.values() for u in known.unobservable),
            # Negative if the iterating thread changed.
            cost=Cost(max(0, self._cpu_ns - cpu_ns), *self.policy.take_cost()),
            mappings=self._fresh_mappings or None,
            schemes=self._schemes.take_states() if self._schemes is not None else (),
            monotonic_ns=self._clock.now_ns(),
            running_ns=None if use is None else use.running_ns,
            page_use=use,
            shares=self.look.whole_mappings,
            explored=getattr(self.policy, "explored", None),
        )
        self._index += 1
        self._fresh_mappings = {}
        return snapshot

    def _look_for_targets(self) -> tuple[TargetRanges, ...]:
        """Take the living targets and their address maps from the look, by target id."""
        # What is paced costs no more if this is done more often.
        begun_ns = cpu_ns_of(self._clock) - self.look.paced_ns
        self._map.forget()
        looked = tuple(self.look.targets())
        begun_ns += self.look.paced_ns
        if len(looked) != len(self._looked) or not all(map(is_, looked, self._looked)):
            self._take_targets(looked)
        self._map.update(self._known, max(0, cpu_ns_of(self._clock) - begun_ns))
        return self._known

    def _take_targets(self, looked: tuple[TargetRanges, ...]) -> None:
        self._looked = looked
        self._targets = {found.target.id: found for found in looked}
        self._known = tuple(self._targets.values())
        before = self._mappings
        self._mappings = {key: found.told for key, found in self._targets.items()}
        self._fresh_mappings |= {
            key: mappings
            for key, mappings in self._mappings.items()
            if key not in before or before[key] != mappings
        }


if TYPE_CHECKING:
    from isotherm.core.backend import Backend

    def _is_a_backend(monitor: Monitor) -> Backend:
        return monitor
