"""
Schemes at work: a session, its log, its state file, and what came of it.

`isotherm.apply` and `isotherm apply` are this with and without a screen.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, Unpack

from isotherm.analysis.applied import Outcomes
from isotherm.errors import TargetGoneError
from isotherm.kernel import procfs
from isotherm.kernel.undo import Change, StateFile, recover
from isotherm.model.scheme import Action, Scheme
from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Snapshot
from isotherm.recording.audit import AuditLog
from isotherm.schemes.engine import Event
from isotherm.session.options import MonitorKeywords, Options
from isotherm.session.run import Sink, run
from isotherm.session.session import MonitorSession
from isotherm.session.start import start
from isotherm.units import duration_ns, format_size

#: Between two updates of the state file.
_SAVE_S = 1.0
#: The kind of change that the state file notes: what was done to processes' memory.
KIND = "apply"


@dataclass(frozen=True, slots=True)
class Result:
    """
    What came of `apply`.

    schemes: those in force; states: of each of them, at the end; outcomes: bytes by scheme and
    mapping; resident_before, resident_after: of all targets, in bytes, with the first and the last
    snapshot; snapshots: how many there were; seconds: from the first to the last.
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

    options: what was asked, with the schemes; log: path of an audit log. `notes` tells what an
    earlier, killed run had done, as a sentence each.
    """

    def __init__(self, options: Options, *, log: Path | None = None) -> None:
        self.outcomes = Outcomes()
        self.notes: list[str] = []
        self._stack = ExitStack()
        self._ends = _Ends()
        self._state: _StateSink | None = None
        self._session: MonitorSession | None = None
        self._observer = options.observe
        try:
            # Before anything is started: a log that cannot be written is told at once.
            audit = AuditLog(log, dry_run=options.dry_run) if log else None
            self._log = self._stack.enter_context(audit) if audit else None
            session = start(replace(options, observe=self._observe))
            self._session = self._stack.enter_context(session)
            if not options.dry_run:
                # Only now: what a failing start is told would be lost.
                recover({KIND: self._was_killed})
                if any(one.action is not Action.STAT or one.own for one in session.schemes):
                    self._state = _StateSink(session)
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

    def run(self, duration: float | str | None = None, *sinks: Sink) -> None:
        """Apply the schemes until the stream of snapshots ends, which `sinks` take as well."""
        own: tuple[Sink, ...] = (self._ends,) if self._state is None else (self._ends, self._state)
        run(self.session, (*own, *sinks), duration=duration)

    def result(self) -> Result:
        """Return what came of it so far."""
        first, last = self._ends.first, self._ends.last
        return Result(
            schemes=self.schemes,
            # Not those of the last snapshot: something may have been done since.
            states=self.session.monitor.scheme_states(),
            outcomes=self.outcomes,
            resident_before=resident_bytes(first),
            resident_after=_resident_now(last),
            snapshots=self._ends.count,
            seconds=(last.end_ns - first.start_ns) / 1e9 if first and last else 0.0,
        )

    def close(self) -> None:
        """End the session and the log; what is noted of a run that ends well is taken back."""
        if self._state is not None:
            self._state.forget()
            self._state = None
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _observe(self, event: Event) -> None:
        if self._observer is not None:
            self._observer(event)
        if event.kind != "done" or self._session is None:
            return
        targets = self._session.monitor.targets
        self.outcomes.take(event, targets)
        if self._log is not None:
            self._log.write(event, self.schemes[event.scheme], targets)

    def _was_killed(self, change: Change) -> None:
        sizes = zip(change["schemes"], change["applied_bytes"], strict=False)
        done = ", ".join(f"{title} {format_size(size)}" for title, size in sizes)
        self.notes.append(
            f"an earlier apply on {', '.join(change['targets'])} was killed after {done}; "
            "nothing is left to undo: pages that went out come back when they are used"
        )


class _Ends:
    """A sink that keeps the first and the last snapshot."""

    def __init__(self) -> None:
        self.first: Snapshot | None = None
        self.last: Snapshot | None = None
        self.count = 0

    def open(self, session: MonitorSession) -> None:
        """Nothing is needed."""

    def take(self, snapshot: Snapshot) -> None:
        """Keep it."""
        self.first = self.first or snapshot
        self.last = snapshot
        self.count += 1

    def close(self) -> None:
        """Nothing is held."""


class _StateSink:
    """
    A sink that notes in a state file what is being done.

    Actions change nothing but memory of the targets, which needs no undoing, but a killed run
    should not stay unknown.
    """

    def __init__(self, session: MonitorSession) -> None:
        self._saved = 0.0
        self._state = StateFile(KIND, {KIND: lambda _: None})
        self._change: dict[str, Any] = self._state.note(
            KIND,
            targets=[target.title for target in session.targets],
            schemes=[scheme.title for scheme in session.schemes],
            begun=time.time(),
            applied_bytes=[0] * len(session.schemes),
        )

    def open(self, session: MonitorSession) -> None:
        """It was opened when the session was."""

    def take(self, snapshot: Snapshot) -> None:
        """Note how far it came, once a second."""
        now = time.monotonic()
        if now < self._saved + _SAVE_S:
            return
        self._saved = now
        applied = [state.stats.sz_applied for state in snapshot.schemes]
        if applied != self._change["applied_bytes"]:
            self._change["applied_bytes"] = applied
            self._state.save()

    def close(self) -> None:
        """It stays until the session is closed."""

    def forget(self) -> None:
        """Take the note back: the run ended well."""
        self._state.undo_all()


def apply(
    schemes: str | Scheme | Sequence[Scheme],
    *,
    duration: float | str | None = None,
    log: str | Path | None = None,
    dry_run: bool = False,
    guard: str | None = None,
    **asked: Unpack[MonitorKeywords],
) -> Result:
    """
    Apply schemes to processes for `duration`, or until they end; return what came of it.

    schemes: values, or text: a preset's name, a file's path, or scheme lines; those without a
    quota get a careful one (`schemes.defaults`). duration: seconds, or text with a unit. log: path
    of an audit log, JSON lines. dry_run: only tell what would be done. guard: holds back on harm,
    "psi=10ms/s", "refault=100/s" or "cmd=COMMAND". asked: as for `isotherm.monitor`.

    Raises `BadValueError`, `TargetGoneError`, `NotPermittedError` or `NotSupportedError`.
    """
    if isinstance(schemes, str):
        # Only here: reading schemes is not needed where they are values.
        from isotherm.schemefile.files import load

        schemes = load(schemes).schemes
    elif isinstance(schemes, Scheme):
        schemes = (schemes,)
    length = None if duration is None else duration_ns(duration)
    wanted = Options.of(**asked, schemes=schemes, dry_run=dry_run, guard=guard)
    options = wanted.lasting(length)
    with Applying(options, log=None if log is None else Path(log)) as applying:
        applying.run(duration)
        return applying.result()


def _resident_now(last: Snapshot | None) -> int:
    """Return what is resident of the last targets now: something was done since the snapshot."""
    total = 0
    for target in last.targets if last is not None else ():
        now = target.resident_bytes or 0
        if target.pid is not None:
            with suppress(TargetGoneError):
                now = procfs.statm(target.pid).resident_bytes or now
        total += now
    return total


def resident_bytes(snapshot: Snapshot | None) -> int:
    """Return the resident memory of all targets."""
    targets = snapshot.targets if snapshot is not None else ()
    return sum(target.resident_bytes or 0 for target in targets)
