"""The ticks of a window: prepare, sleep, check, for any Look, clock and choice of samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from isotherm.clock import Clock
from isotherm.core.look import Check, Look, Samples


class Tally(NamedTuple):
    """What ticks cost; the fields are those of `model.snapshot.Cost`."""

    ticks: int = 0
    checks: int = 0
    missed: int = 0
    cleared: int = 0
    late_ns: int = 0


class Ticks:
    """
    Runs sampling intervals: what `choose` gives is prepared, and what is found given to `count`.

    Each batch is chosen before the results of the one before are counted. Nothing is asked of the
    look while there is nothing to choose.
    """

    def __init__(
        self,
        look: Look,
        clock: Clock,
        choose: Callable[[], Samples],
        count: Callable[[bytes], None],
    ) -> None:
        self._look = look
        self._clock = clock
        self._choose = choose
        self._count = count
        self._prepared = 0
        self._deadline_ns = 0
        self._stop = False
        self._ticks = self._checks = self._missed = self._late_ns = 0

    def run(self, ticks: int, sample_ns: int, /) -> int:
        """
        Do `ticks` sampling intervals and return how many were completed, fewer after `stop`.

        Deadlines are absolute, so that the work does not shift them; a tick that is late by more
        than an interval starts a new schedule instead of a burst. Raises `TargetGoneError` when
        every target is gone.
        """
        done = self._prepared = 0
        if ticks and not self._stop:
            self._prepare(self._choose())
        while done < ticks and not self._stop:
            self._next_tick(sample_ns)
            if self._stop:
                break
            if self._prepared:
                self._turn(prepare=done + 1 < ticks)
            self._ticks += 1
            done += 1
        if done < ticks:
            self._stop = False
        return done

    def stop(self) -> None:
        """Have the run return early: the running one, or the next. From any thread."""
        self._stop = True

    def take(self) -> Tally:
        """Return what the ticks since the last call cost."""
        cost = Tally(self._ticks, self._checks, self._missed, self._look.cleared(), self._late_ns)
        self._ticks = self._checks = self._missed = self._late_ns = 0
        return cost

    def _next_tick(self, sample_ns: int) -> None:
        now = self._clock.now_ns()
        self._deadline_ns += sample_ns
        # The first tick ever, one that is overdue, or one after a tick that was given up.
        if not now <= self._deadline_ns <= now + sample_ns:
            if sample_ns < self._deadline_ns < now:
                self._late_ns += now - self._deadline_ns
            self._deadline_ns = now + sample_ns
        self._late_ns += self._clock.sleep_until(self._deadline_ns)

    def _turn(self, *, prepare: bool) -> None:
        """Check what was prepared, and prepare the next batch, chosen before the check."""
        batch = self._choose() if prepare else None
        results = bytes(self._look.check())
        if len(results) != self._prepared:
            raise ValueError(f"check() gave {len(results)} results for {self._prepared} samples")
        if batch is not None:
            self._prepare(batch)
        self._count(results)
        self._missed += results.count(Check.MISSED)
        self._checks += len(results) - results.count(Check.RESTING)

    def _prepare(self, batch: Samples) -> None:
        self._prepared = len(batch)
        if batch:
            self._look.prepare(batch)
