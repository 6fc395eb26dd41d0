"""
Schemes at work: a session, its log, its state file, and what came of it.

`isotherm.apply` and `isotherm apply` are this with and without a screen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from isotherm.analysis.applied import Outcomes
from isotherm.kernel.undo import Change, StateFile, recover
from isotherm.model.scheme import Action, Scheme
from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Snapshot
from isotherm.recording.audit import AuditLog
from isotherm.schemes.engine import Event
from isotherm.session.session import MonitorSession, monitor
from isotherm.units import format_size

#: Between two updates of the state file.
_SAVE_S = 1.0
#: The kind of change that the state file notes: what was done to processes' memory.
KIND = "apply"


@dataclass(frozen=True, slots=True)
class Result:
    """
    What came of `apply`.

    states: of each scheme, at the end; outcomes: bytes by scheme and mapping; resident_before,
    resident_after: of all targets, in bytes, with the first and the last snapshot; snapshots: how
    many there were; seconds: from the first to the last.
    """

    schemes: tuple[Scheme, ...]
    states: tuple[SchemeState, ...]
    outcomes: Outcomes
    resident_before: int
    resident_after: int
    snapshots: int
    seconds: float


class Applying:
    """
    A session that applies schemes; a context manager around its whole life.

    Takes the arguments of `session.monitor`; log: path of an audit log. `notes` tells what an
    earlier, killed run had done, as a sentence each.
    """

    def __init__(
        self,
        schemes: Sequence[Scheme],
        *,
        log: Path | None = None,
        dry_run: bool = False,
        **options: Any,
    ) -> None:
        self.outcomes = Outcomes()
        self.notes: list[str] = []
        self._stack = ExitStack()
        self._session: MonitorSession | None = None
        self._state: StateFile | None = None
        self._change: dict[str, Any] = {}
        self._saved = 0.0
        self._first: Snapshot | None = None
        self._last: Snapshot | None = None
        self._count = 0
        try:
            # Before anything is started: a log that cannot be written is told at once.
            self._log = self._stack.enter_context(AuditLog(log, dry_run=dry_run)) if log else None
            session = monitor(schemes=schemes, dry_run=dry_run, observe=self._observe, **options)
            self._session = self._stack.enter_context(session)
            if not dry_run:
                # Only now: what a failing start is told would be lost.
                recover({KIND: self._was_killed})
                self._note_state(session)
        except BaseException:
            self._stack.close()
            raise

    @property
    def session(self) -> MonitorSession:
        """The session at work."""
        assert self._session is not None  # noqa: S101 - set by __init__ or that raised
        return self._session

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """The schemes in force, default quotas filled in."""
        return self.session.schemes

    def run(
        self,
        duration: float | str | None = None,
        each: Callable[[Snapshot], None] | None = None,
    ) -> None:
        """Apply the schemes until the stream of snapshots ends."""
        for snapshot in self.session.snapshots(duration):
            self._count += 1
            self._first = self._first or snapshot
            self._last = snapshot
            self._save(snapshot)
            if each is not None:
                each(snapshot)

    def result(self) -> Result:
        """Return what came of it so far."""
        first, last = self._first, self._last
        engine = self.session.engine
        told = last.schemes if last is not None else ()
        return Result(
            schemes=self.schemes,
            # Not those of the last snapshot: something may have been done since. The kernel's
            # schemes are stopped with the session; what it told last is what there is.
            states=engine.take_states() if engine is not None else told,
            outcomes=self.outcomes,
            resident_before=resident_bytes(first),
            resident_after=resident_bytes(last),
            snapshots=self._count,
            seconds=(last.end_ns - first.start_ns) / 1e9 if first and last else 0.0,
        )

    def close(self) -> None:
        """End the session, the log and the state file."""
        if self._state is not None:
            self._state.undo_all()
            self._state = None
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _observe(self, event: Event) -> None:
        if event.kind != "done" or self._session is None:
            return
        targets = self._session.monitor.targets
        self.outcomes.take(event, targets)
        if self._log is not None:
            self._log.write(event, self.schemes[event.scheme], targets)

    # The state file: actions change nothing but memory of the targets, which needs no undoing,
    # but a killed run should not stay unknown.

    def _note_state(self, session: MonitorSession) -> None:
        if not any(one.action is not Action.STAT or one.own for one in self.schemes):
            return
        self._state = StateFile(KIND, {KIND: lambda _: None})
        self._change = self._state.note(
            KIND,
            targets=[target.title for target in session.targets],
            schemes=[one.title for one in self.schemes],
            begun=time.time(),
            applied_bytes=[0] * len(self.schemes),
        )

    def _save(self, snapshot: Snapshot) -> None:
        now = time.monotonic()
        if self._state is None or now < self._saved + _SAVE_S:
            return
        self._saved = now
        applied = [state.stats.sz_applied for state in snapshot.schemes]
        if applied != self._change["applied_bytes"]:
            self._change["applied_bytes"] = applied
            self._state.save()

    def _was_killed(self, change: Change) -> None:
        sizes = zip(change["schemes"], change["applied_bytes"], strict=False)
        done = ", ".join(f"{title} {format_size(size)}" for title, size in sizes)
        self.notes.append(
            f"an earlier apply on {', '.join(change['targets'])} was killed after {done}; "
            "nothing is left to undo: pages that went out come back when they are used"
        )


def apply(
    schemes: str | Scheme | Sequence[Scheme],
    *,
    duration: float | str | None = None,
    log: str | Path | None = None,
    dry_run: bool = False,
    guard: str | None = None,
    **target: Any,
) -> Result:
    """
    Apply schemes to processes for `duration`, or until they end; return what came of it.

    schemes: values, or text: a preset's name, a file's path, or scheme lines. Schemes without a
    quota get a careful one (`schemes.defaults`). log, dry_run and guard: as `isotherm apply` has
    them; everything else is as for `isotherm.monitor`.

    Raises `BadValueError`, `TargetGoneError`, `NotPermittedError` or `NotSupportedError`.
    """
    if isinstance(schemes, str):
        # Only here: reading schemes is not needed where they are values.
        from isotherm.schemefile.files import load

        schemes = load(schemes).schemes
    elif isinstance(schemes, Scheme):
        schemes = (schemes,)
    path = None if log is None else Path(log)
    with Applying(schemes, log=path, dry_run=dry_run, guard=guard, **target) as applying:
        applying.run(duration)
        return applying.result()


def resident_bytes(snapshot: Snapshot | None) -> int:
    """Return the resident memory of all targets."""
    targets = snapshot.targets if snapshot is not None else ()
    return sum(target.resident_bytes or 0 for target in targets)
