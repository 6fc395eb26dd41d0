"""The agent at work: a session in a thread, and one that serves who asks, and obeys signals."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isotherm.agent.config import Settings, check_change, committed
from isotherm.agent.control import Questions
from isotherm.agent.exposition import agent_families
from isotherm.agent.groups import WatchedGroups
from isotherm.agent.http import Scrapes
from isotherm.agent.lock import Lock
from isotherm.agent.metrics import MetricsSink
from isotherm.agent.notify import Notifier, Pulse
from isotherm.agent.on_demand import OnDemand
from isotherm.agent.openmetrics import Family
from isotherm.agent.reclaim import GroupReclaim, check_here, reclaim_families
from isotherm.agent.reload import PATIENCE_S, Reading
from isotherm.agent.ring import RingSink
from isotherm.agent.server import Server, tcp_socket, unix_socket
from isotherm.agent.wish import options_of
from isotherm.errors import BadValueError, IsothermError, escaped, quoted
from isotherm.kernel.undo import state_folder
from isotherm.schemefile.documents.scheme import encode_scheme
from isotherm.schemefile.source import Node
from isotherm.schemes.defaults import with_quotas
from isotherm.session.run import Run, Sink
from isotherm.session.start import start

METRICS_SOCKET, CONTROL_SOCKET = "metrics.sock", "ctl.sock"
_STEP_S = 60.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def say(text: str) -> None:
    """Tell whoever reads the log, on one line whatever is in it; a log that is gone is no harm."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"isotherm agent: {escaped(text)}\n")
        sys.stderr.flush()


@dataclass(slots=True)
class _Reloads:
    """How often the configuration was read again, and what came of the last time."""

    count: int = 0
    failed: str = ""
    at: float = 0.0


class Agent:
    """
    Watches groups until it is told to end; `run` it once.

    settings: what to do; config: the file that they are from, None without one; run_folder: where
    lock and sockets are, by default /run/isotherm. Raises `IsothermError` where it cannot begin.
    """

    def __init__(
        self, settings: Settings, config: Path | None = None, run_folder: Path | None = None
    ) -> None:
        self._settings = replace(settings, schemes=with_quotas(settings.schemes))
        self._config = config
        self._stack = ExitStack()
        self._reloads = _Reloads()
        self._reading: tuple[Reading, float] | None = None
        self._again = self._ending = False
        self._began = time.monotonic()
        self._notifier = Notifier()
        try:
            self._open(run_folder)
        except BaseException:
            self._stack.close()
            raise

    def run(self) -> int:
        """Serve until a signal says to end, or monitoring fails; return the exit status."""
        self._stack.callback(self._end_run)
        self._run.start()
        self._reclaim.start()
        self._notifier.ready()
        try:
            while not self._ending:
                self._server.step(self._until())
                self._hurry()
                self._pulse.beat()
                self._notifier.status(self._in_a_line())
        finally:
            self._notifier.stopping()
            self._stack.close()
        error = self._run.error
        if error is None:
            return 0
        if not isinstance(error, IsothermError):
            raise error
        say(f"{error.message}{f' ({error.hint})' if error.hint else ''}")
        return error.exit_code

    # How it begins, and ends.

    def _open(self, run_folder: Path | None) -> None:
        settings, stack = self._settings, self._stack
        folder = run_folder or state_folder()
        group = _group_id(settings.group)
        stack.enter_context(Lock(folder))
        if settings.ring is not None:
            _make(settings.ring.folder)
            stack.enter_context(Lock(settings.ring.folder))
        if group is not None and run_folder is None:
            os.chown(folder, -1, group)
            folder.chmod(0o710)
        self._groups = WatchedGroups(settings.sources())
        if settings.apply and settings.reclaim:
            check_here()
        self._reclaim = GroupReclaim(settings.reclaim, apply=settings.apply)
        stack.callback(self._reclaim.close)
        self._metrics = MetricsSink(settings, self._groups, self._more, self._reclaim.learn)
        self._scrapes = Scrapes(self._metrics.text)
        self._asked = OnDemand(folder if settings.ring is None else settings.ring.folder)
        self._server = Server()
        stack.callback(self._server.close)
        self._listen(folder, group)
        self._session = stack.enter_context(start(options_of(settings, self._groups)))
        self._ring = RingSink(settings.ring, say) if settings.ring is not None else None
        rings = () if self._ring is None else (self._ring,)
        sinks: list[Sink] = [self._metrics, *rings, self._asked]
        self._take_signals()
        self._run = Run(self._session, sinks, ended=self._wake)
        self._pulse = Pulse(
            self._notifier, lambda: self._run.count, lambda: self._session.attrs.aggr_us / 1e6
        )
        self._greet()

    def _listen(self, folder: Path, group: int | None) -> None:
        settings = self._settings
        self.listen = settings.listen or f"unix:{folder / METRICS_SOCKET}"
        self.control = settings.socket or str(folder / CONTROL_SOCKET)
        answers: dict[str, Callable[[], object]] = {
            "status": self._status,
            "targets": self._metrics.targets,
            "schemes": self._schemes,
            "recording": self._asked.told,
        }
        changes = {"commit": self._commit, "record": self._record}
        try:
            if self.listen.startswith("unix:"):
                path = self.listen[len("unix:") :]
                self._server.listen(unix_socket(path, group), self._scrapes)
                self._stack.callback(_remove, path)
            else:
                host, _, port = self.listen.rpartition(":")
                made = tcp_socket(host.strip("[]").replace("localhost", "127.0.0.1"), int(port))
                self.listen = f"{host}:{made.getsockname()[1]}"
                self._server.listen(made, self._scrapes)
        except OSError as err:
            raise _cannot_listen(self.listen, err) from None
        try:
            questions = Questions(answers, group, changes)
            self._server.listen(unix_socket(self.control, group), questions)
        except OSError as err:
            raise _cannot_listen(self.control, err) from None
        self._stack.callback(_remove, self.control)

    def _greet(self) -> None:
        session, settings = self._session, self._settings
        say(f"watching, backend {session.backend}; metrics at {self.listen}")
        for text in session.warnings:
            say(f"warning: {text}")
        if settings.schemes:
            say("schemes act" if settings.apply else "schemes only tell what they would do")

    def _end_run(self) -> None:
        if self._reading is not None:
            self._reading[0].stop()
        self._session.stop()
        if self._run.ident is not None:
            self._run.join()

    # Signals, which are told through a pipe: nothing is done in a handler.

    def _take_signals(self) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._stack.callback(os.close, reading)
        self._stack.callback(os.close, writing)
        self._wake_fd = writing
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._stack.callback(signal.set_wakeup_fd, before)
        for number in _SIGNALS:
            handler = signal.signal(number, lambda *_: None)
            self._stack.callback(signal.signal, number, handler)
        self._server.watch(reading, lambda: self._obey(os.read(reading, 4096)))

    def _wake(self) -> None:
        """Let the serving thread know that monitoring has ended."""
        try:
            os.write(self._wake_fd, bytes([signal.SIGTERM]))
        except OSError:  # it is awake
            return

    def _obey(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGHUP:
                self._reload()
            else:
                self._ending = True

    # A configuration that is read again.

    def _reload(self) -> None:
        if self._config is None:
            say("there is no configuration to read again: the agent was started without one")
            self._notifier.reloading()
            self._notifier.ready()
        elif self._reading is not None:
            self._again = True
        else:
            until = time.monotonic() + PATIENCE_S
            self._notifier.reloading()
            self._reading = Reading(self._config, self._server, self._read), until

    def _until(self) -> float:
        times = [_STEP_S]
        if self._reading is not None:
            times.append(self._reading[1] - time.monotonic())
        if (beat := self._pulse.until()) is not None:
            times.append(beat)
        return max(0.0, min(times))

    def _hurry(self) -> None:
        if self._reading is not None and time.monotonic() >= self._reading[1]:
            self._reading[0].give_up("the configuration takes too long to read")

    def _read(self, found: Settings | BadValueError) -> None:
        """Take what was read, or go on as before and say why."""
        self._reading = None
        failed = ""
        try:
            if isinstance(found, BadValueError):
                raise found
            self._change(found)
        except IsothermError as err:
            failed = f"{err.message}{f' ({err.hint})' if err.hint else ''}"
            say(f"the configuration stays as it was: {failed}")
        else:
            say("the configuration was read again")
        self._reloads = _Reloads(self._reloads.count + 1, failed, time.time())
        self._notifier.ready()
        if self._again:
            self._again = False
            self._reload()

    def _change(self, new: Settings) -> None:
        """Go on with other settings, all of them or none; what is known of memory stays."""
        old, session = self._settings, self._session
        new = replace(new, schemes=with_quotas(new.schemes))
        check_change(old, new)
        sources = new.sources() if new.targets != old.targets else self._groups.sources
        attrs = new.monitor.attrs(session.attrs) if new.monitor != old.monitor else None
        if attrs is not None or new.schemes != old.schemes:
            session.monitor.commit(attrs, new.schemes if new.schemes != old.schemes else None)
        self._groups.sources = sources
        self._metrics.change(new)
        self._settings = new

    # What root asks it to do.

    def _commit(self, document: Node) -> object:
        """Go on with other schemes, until the configuration is read again."""
        self._change(replace(self._settings, schemes=committed(document)))
        say(f"{len(self._settings.schemes)} schemes were committed")
        return self._schemes()

    def _record(self, document: Node) -> object:
        """Record for a while."""
        pairs = document.known("a request", ("seconds",))
        if "seconds" not in pairs:
            raise document.word.error("for how many seconds?")
        word = pairs["seconds"].scalar("seconds")
        try:
            seconds = float(word.text)
        except ValueError:
            raise word.error("seconds are a number") from None
        return self._asked.ask(seconds)

    # What it tells of itself.

    def _schemes(self) -> list[dict[str, Any]]:
        states, told = self._metrics.states, []
        for place, scheme in enumerate(self._settings.schemes):
            found = [one for one in states[place : place + 1] if one.title == scheme.title]
            told.append(
                {
                    "title": scheme.title,
                    "scheme": encode_scheme(scheme),
                    "dry_run": not self._settings.apply,
                    "tried_bytes": found[0].stats.sz_tried if found else None,
                    "applied_bytes": found[0].stats.sz_applied if found else None,
                    "held": found[0].held if found else None,
                }
            )
        return told

    def _more(self) -> Sequence[Family]:
        ring, scrapes = self._ring, self._scrapes
        told = agent_families(
            scrapes.served,
            scrapes.refused,
            reload_failed=bool(self._reloads.failed),
            ring=None if ring is None else (ring.written_bytes, ring.failed),
        )
        given, dry_run = self._reclaim.told(), not self._settings.apply
        return [*told, *reclaim_families(given, dry_run=dry_run)]

    def _in_a_line(self) -> str:
        """Return what a service manager shows of it."""
        last = self._metrics.last
        if self._pulse.stuck:
            return "no window has ended for long: stuck"
        failed = "; the configuration is wrong and stays as it was" if self._reloads.failed else ""
        groups = "the first look is not over" if last is None else f"{len(last.sums)} groups"
        return f"watching, backend {self._session.backend}: {groups}{failed}"

    def _status(self) -> dict[str, Any]:
        last, ring, session = self._metrics.last, self._settings.ring, self._session
        return {
            "pid": os.getpid(),
            "seconds": round(time.monotonic() - self._began, 1),
            "backend": session.backend,
            "warnings": list(session.warnings),
            "metrics": self.listen,
            "groups": None if last is None else len(last.sums),
            "sum_age_seconds": (
                None if last is None else round((time.monotonic_ns() - last.taken_ns) / 1e9, 1)
            ),
            "cpu_seconds": round(time.process_time(), 3),
            "ring": None if ring is None else str(ring.folder),
            "ring_failed": self._ring is not None and self._ring.failed,
            "schemes": [scheme.title for scheme in self._settings.schemes],
            "reclaim": self._reclaim.lines(),
            "dry_run": not self._settings.apply,
            "reloads": self._reloads.count,
            "reload_failed": self._reloads.failed or None,
        }


def _group_id(name: str) -> int | None:
    import grp

    try:
        return grp.getgrnam(name).gr_gid if name else None
    except KeyError:
        raise BadValueError(
            f"there is no group {quoted(name)}", hint="groupadd --system"
        ) from None


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise IsothermError(f"cannot make {quoted(str(folder))}: {err.strerror}") from None


def _remove(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except OSError:
        return


def _cannot_listen(where: str, err: OSError) -> IsothermError:
    return IsothermError(f"cannot listen at {quoted(where)}: {err.strerror or err}")
