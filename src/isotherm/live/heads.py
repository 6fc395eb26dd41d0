"""The first line of the live view: what is watched, what it costs, how the machine is."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from isotherm.errors import shown
from isotherm.kernel.meminfo import meminfo, psi_some_us
from isotherm.kernel.procfs import statm
from isotherm.live.chronicle import Chronicle, Moment
from isotherm.live.layout import small
from isotherm.units import format_duration

#: What this machine and we ourselves do is looked at so often.
_PERIOD_S = 1.0


class Meter:
    """What we cost ourselves, and how the machine is, as of a second ago."""

    def __init__(self) -> None:
        self._due = 0.0
        self._cpu_ns, self._at_ns = time.process_time_ns(), time.monotonic_ns()
        self._stall_us = psi_some_us()
        self._parts: list[str] = []

    def parts(self) -> Sequence[str]:
        """Return the cost first, then memory, swap space and pressure."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _PERIOD_S
            self._parts = self._looked()
        return self._parts

    def _looked(self) -> list[str]:
        cpu_ns, at_ns = time.process_time_ns(), time.monotonic_ns()
        gone_ns = max(1, at_ns - self._at_ns)
        share = (cpu_ns - self._cpu_ns) / gone_ns
        self._cpu_ns, self._at_ns = cpu_ns, at_ns
        parts = [f"cost {share:.1%} CPU {small(statm(os.getpid()).resident_bytes)}"]
        fields = meminfo()
        total, free = fields.get("MemTotal"), fields.get("MemAvailable")
        if total is not None and free is not None:
            parts.append(f"mem {small(total - free)}/{small(total)}")
        if swapped := fields.get("SwapTotal", 0) - fields.get("SwapFree", 0):
            parts.append(f"swap {small(swapped)}")
        stall_us = psi_some_us()
        if stall_us is not None and self._stall_us is not None:
            parts.append(f"psi {100_000 * (stall_us - self._stall_us) / gone_ns:.1f}%")
        self._stall_us = stall_us
        return parts


class LiveHead:
    """backend: its name. Called with the moment shown."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._meter = Meter()

    def __call__(self, moment: Moment) -> Sequence[str]:
        """Return the parts, what is dispensable last."""
        return [
            "isotherm top",
            time_text(moment.at_ns),
            self._backend,
            *self._meter.parts(),
            shown(os.uname().nodename, 30),
        ]


class ReplayHead:
    """path: of a recording; chronicle: of what was read of it by now."""

    def __init__(self, path: Path, chronicle: Chronicle, backend: str) -> None:
        self._name = shown(path.name, 40)
        self._chronicle = chronicle
        self._backend = shown(backend, 20)

    def __call__(self, moment: Moment) -> Sequence[str]:
        """Return the parts, what is dispensable last."""
        start_ns = self._chronicle.start_ns
        end_ns = self._chronicle.moments[-1].at_ns
        gone, whole = (_seconds(ns - start_ns) for ns in (moment.at_ns, end_ns))
        day = time.strftime("%Y-%m-%d ", time.localtime(moment.at_ns / 1e9))
        parts = [self._name, f"{gone} of {whole}", day + time_text(moment.at_ns), self._backend]
        if not moment.usage.by_pages:
            parts.insert(2, "by whole regions")
        return parts


def _seconds(ns: int) -> str:
    return format_duration(round(ns / 1e8) * 100_000_000)


def time_text(at_ns: int) -> str:
    """Return a time of day, "10:42:07"."""
    return time.strftime("%H:%M:%S", time.localtime(at_ns / 1e9))
