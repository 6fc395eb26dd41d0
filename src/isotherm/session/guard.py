"""
Guards: what tells that acting on memory does harm, so that it is held back.

`parse_guard` makes one of "psi=10ms/s", "refault=100/s" or "cmd=./healthy".
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from isotherm.errors import BadValueError, TargetGoneError
from isotherm.kernel import meminfo, procfs
from isotherm.schemes.backoff import SECOND_NS, Backoff
from isotherm.units import duration_us, exact_duration

#: Between two looks.
PERIOD_NS = SECOND_NS
#: A major fault waits about this long, where pressure cannot be read: from zram 20 µs,
#: from an SSD 100 µs.
FAULT_US = 100
#: A command that tells of harm has to answer within this time.
COMMAND_SECONDS = 10.0

_HINT = "one of psi=10ms/s, refault=100/s, cmd='COMMAND' (harm if it fails)"


class Sensor(Protocol):
    """Something that tells of harm."""

    def describe(self) -> str:
        """Say what counts as harm."""

    def harmed(self, pids: Iterable[int], now_ns: int) -> bool | None:
        """Look; None if there is nothing to say yet."""


class RateSensor:
    """Harm is a counter that grows faster than `limit` per second."""

    def __init__(self, what: str, limit: float, read: Callable[[Iterable[int]], int]) -> None:
        self._what = what
        self._limit = limit
        self._read = read
        self._before: tuple[int, int] | None = None

    def describe(self) -> str:
        return self._what

    def harmed(self, pids: Iterable[int], now_ns: int) -> bool | None:
        before, self._before = self._before, (self._read(pids), now_ns)
        if before is None or now_ns <= before[1]:
            return None
        # Counters of processes that ended are gone, so the sum may shrink.
        grown = max(0, self._before[0] - before[0])
        return grown * SECOND_NS > self._limit * (now_ns - before[1])


class CommandSensor:
    """Harm is a command that fails, or does not answer in time."""

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)
        self._running: subprocess.Popen[bytes] | None = None
        self._begun_ns = 0

    def describe(self) -> str:
        return f"{shlex.join(self._command)} fails"

    def harmed(self, pids: Iterable[int], now_ns: int) -> bool | None:
        del pids
        if self._running is None:
            try:
                self._running = subprocess.Popen(
                    self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                )
            except OSError:  # it was there at the start: who cannot ask holds back
                return True
            self._begun_ns = now_ns
            return None
        status = self._running.poll()
        if status is not None:
            self._running = None
            return status != 0
        if now_ns - self._begun_ns < COMMAND_SECONDS * SECOND_NS:
            return None
        self.close()
        return True

    def close(self) -> None:
        """End the command if it runs."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None


def major_faults(pids: Iterable[int]) -> int:
    """Return how often processes waited for a page to be read since they began."""
    total = 0
    for pid in pids:
        with suppress(TargetGoneError):
            total += procfs.stat(pid).major_faults
    return total


def _psi(pids: Iterable[int]) -> int:
    del pids
    return meminfo.psi_some_us() or 0


def parse_guard(text: str) -> Sensor:
    """Return the sensor that `text` names; `BadValueError` if it names none."""
    kind, equals, value = text.partition("=")
    if not equals or not value:
        raise BadValueError(f"{text!r} is not a guard", hint=_HINT)
    if kind == "cmd":
        try:
            words = shlex.split(value)
        except ValueError as err:  # a quote that is not closed
            raise BadValueError(f"guard {text!r}: {err}", hint=_HINT) from None
        if not words or shutil.which(words[0]) is None:
            raise BadValueError(f"guard {text!r}: there is no such command", hint=_HINT)
        return CommandSensor(value)
    amount, slash, per = value.partition("/")
    if not slash or per.strip() not in ("s", "1s"):
        raise BadValueError(f"{value!r} is not a rate per second", hint=_HINT)
    if kind == "psi":
        return _pressure(duration_us(amount))
    if kind == "refault":
        if not amount.strip().isdecimal():
            raise BadValueError(f"{amount!r} is not a number of faults", hint=_HINT)
        return RateSensor(f"more than {amount} major faults a second", int(amount), major_faults)
    raise BadValueError(f"no guard {kind!r}", hint=_HINT)


def _pressure(limit_us: int) -> Sensor:
    """Stalls by PSI; where that is off, by the major faults that would take as long."""
    limit = exact_duration(limit_us)
    if meminfo.psi_some_us() is not None:
        return RateSensor(f"memory pressure above {limit} a second", limit_us, _psi)
    faults = max(1, limit_us // FAULT_US)
    what = f"more than {faults} major faults a second (pressure is not measured here: psi=1)"
    return RateSensor(what, faults, major_faults)


class Guard:
    """A sensor and what follows from it; `share` is what it leaves of the quotas."""

    def __init__(self, sensor: Sensor) -> None:
        self.sensor = sensor
        self._backoff = Backoff()
        self._next_ns = 0

    @property
    def share(self) -> float:
        return self._backoff.share

    def look(self, pids: Iterable[int], now_ns: int) -> bool:
        """Look if it is time; tell whether the share has changed."""
        if now_ns < self._next_ns:
            return False
        self._next_ns = now_ns + PERIOD_NS
        harmed = self.sensor.harmed(pids, now_ns)
        if harmed is None:
            return False
        before = self._backoff.share
        return self._backoff.observe(harmed=harmed, now_ns=now_ns) != before

    def close(self) -> None:
        """End what the sensor runs."""
        if isinstance(self.sensor, CommandSensor):
            self.sensor.close()


def guard_of(text: str | None) -> Guard | None:
    """Return the guard that `text` names, None for None."""
    return None if text is None else Guard(parse_guard(text))
