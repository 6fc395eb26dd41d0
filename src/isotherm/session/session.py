"""A session: one backend at work for what was asked, its targets, its guard, its command."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from isotherm.backends.choose import Choice
from isotherm.clock import Clock, SystemClock
from isotherm.core.backend import Backend
from isotherm.errors import IsothermError
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Scheme
from isotherm.model.scope import Operations
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Target
from isotherm.session.guard import Guard
from isotherm.session.stream import SnapshotStream
from isotherm.targets.refusals import left_out
from isotherm.targets.target_set import TargetSet
from isotherm.units import duration_ns


class MonitorSession:
    """
    A running monitoring session; a context manager.

    monitor: the backend at work. targets: who was there at the start. choice: which backend runs
    and why, None for an own operations set. command: the started command, if any. operations:
    DAMON's name of what is monitored, None for an own operations set. schemes: those in force at
    the start; guard: holds them back. clock: the backend's.

    Iterate `snapshots` in one thread. `stop` and `close` may be called from any thread, more than
    once, and from signal handlers: closing waits until nobody is inside the backend.
    """

    def __init__(
        self,
        monitor: Backend,
        *,
        members: TargetSet | None = None,
        targets: Sequence[Target] = (),
        choice: Choice | None = None,
        command: subprocess.Popen[bytes] | None = None,
        clock: Clock | None = None,
        guard: Guard | None = None,
        schemes: Sequence[Scheme] = (),
        operations: Operations | None = "vaddr",
    ) -> None:
        self.monitor = monitor
        self.targets = tuple(targets)
        self.choice = choice
        self.command = command
        self.clock = clock or SystemClock()
        self.guard = guard
        self.schemes = tuple(schemes)
        self.operations = operations
        self._members = members
        self._left_out = self.news()
        self._gate = threading.Lock()
        self._inside: int | None = None
        self._closing = self._closed = False

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
        """The name of the backend at work."""
        return self.monitor.name

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know: of the backend, and of the schemes here."""
        of_choice = self.choice.warnings if self.choice is not None else ()
        of_schemes = [text for one in self.schemes for text in self.monitor.warnings_for(one)]
        return (*of_choice, *dict.fromkeys(of_schemes), *self._left_out)

    def news(self) -> tuple[str, ...]:
        """Return what the user should know that was not known before; each is told once."""
        refused = self._members.take_refused() if self._members is not None else []
        return (left_out(refused),) if refused else ()

    def snapshots(self, duration: float | str | None = None) -> SnapshotStream:
        """
        Return the stream of snapshots, for `for` and `async for`.

        duration: seconds, or text with a unit; the stream ends then, or when all targets ended,
        or at `stop`. A window that is not complete by then is not given.
        """
        return SnapshotStream(self, None if duration is None else duration_ns(duration))

    def account(self, snapshot: Snapshot, thread_cpu_ns: int) -> None:
        """After a snapshot was taken: let the guard look, and the backend keep to its share."""
        if self.guard is not None:
            pids = [target.pid for target in snapshot.targets if target.pid is not None]
            if self.guard.look(pids, self.clock.now_ns()):
                self.monitor.throttle(self.guard.share)
        self.monitor.charge(snapshot, thread_cpu_ns)

    def alive(self) -> bool:
        """Tell whether any target still exists; not after `close`."""
        return not self._closed and self.monitor.alive()

    def stop(self) -> None:
        """End the stream soon; may be called from a signal handler or another thread."""
        self.monitor.stop()

    def close(self) -> None:
        """
        Give back everything that is held. A started command is left to run.

        Waits for the thread that is inside `snapshots`, after telling it to stop; called from
        within (a signal handler, an own action), it is done when that returns.
        """
        self._closing = True
        self.stop()
        if self._inside == threading.get_ident():
            return
        with self._gate:
            self._close()

    def enter(self) -> None:
        """Keep the backend open until `leave`; raises `IsothermError` if it is closed."""
        self._gate.acquire()
        if self._closed:
            self._gate.release()
            raise IsothermError("the session is closed")
        self._inside = threading.get_ident()

    def leave(self) -> None:
        """End what `enter` began; who wanted to close meanwhile may do so."""
        try:
            self._inside = None
            if self._closing:
                self._close()
        finally:
            self._gate.release()

    @property
    def closed(self) -> bool:
        """Whether the session was closed, or is about to be."""
        return self._closing

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if self.guard is not None:
                self.guard.close()
            self.monitor.close()
        finally:
            if self._members is not None:
                self._members.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
