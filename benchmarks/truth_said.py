"""What isotherm says, read from its commands as a user would run them, and what it costs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import common
from scheme_setup import status_bytes

from isotherm.recording.reader import open_recording

ISOTHERM = [sys.executable, "-m", "isotherm"]
#: After so many seconds the first pass over all memory is over.
WARM_S = 5.0


@dataclass(frozen=True, slots=True)
class Point:
    """W(T) as isotherm says it; bytes, share covered."""

    window_s: float
    bytes: int
    low: int
    high: int
    covered: float


@dataclass(frozen=True)
class Said:
    """
    A report, read.

    idle: bytes by age in ns; ended_s: `time.monotonic` of when it stopped watching; lag_s: how
    long before that the map of pages was summed up; cpu_share and later_share of one CPU, by the
    kernel's account of the process, since it said that it began, and from WARM_S after that on.
    """

    curve: list[Point]
    resident: int
    unknown: int
    could_free: int | None
    idle: dict[int, int]
    document: dict[str, Any]
    ended_s: float = 0.0
    lag_s: float = 0.0
    cpu_share: float | None = None
    later_share: float | None = None

    def at(self, window_s: float) -> Point | None:
        """The point of this window, if there is one."""
        return next((one for one in self.curve if abs(one.window_s - window_s) < 1e-6), None)


def read(document: dict[str, Any], **more: Any) -> Said | None:
    """Of the JSON of `report` or `wss`; None if it has no curve."""
    if not document.get("curve"):
        return None
    points = [
        Point(
            one["window_ns"] / 1e9,
            one["bytes"],
            one["low_bytes"],
            one["high_bytes"],
            one["covered"],
        )
        for one in document["curve"]
    ]
    return Said(
        curve=points,
        resident=document["resident_bytes"],
        unknown=document["unknown_bytes"],
        could_free=document.get("could_free_bytes"),
        idle={one["age_ns"]: one["bytes"] for one in document["idle"]},
        document=document,
        **more,
    )


class Watcher:
    """`isotherm record -p PID` in a process of its own; a context manager."""

    def __init__(self, pid: int, file: Path, options: Sequence[str] = ()) -> None:
        self.command = [*ISOTHERM, "record", "-p", str(pid), "-o", str(file), *options]

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(
            self.command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._child.stderr is not None
        said: list[str] = []
        for line in self._child.stderr:
            said.append(line)
            if line.startswith("recording"):
                break
        else:
            raise SystemExit(f"isotherm did not start: {''.join(said)}")
        self.pid, self.begun_s = self._child.pid, time.monotonic()
        self._cpu = self.spent()
        return self

    def spent(self) -> tuple[float, float]:
        """The moment, and CPU time of the process until then, in s."""
        return time.monotonic(), common.cpu_ns_of(self.pid) / 1e9

    def share(self, since: tuple[float, float] | None = None) -> float:
        """Of one CPU since it began, or since what `spent` said."""
        (from_s, had_s), (now_s, has_s) = since or self._cpu, self.spent()
        return (has_s - had_s) / (now_s - from_s)

    def peak_bytes(self) -> int:
        return status_bytes(self.pid, "VmHWM")

    def end(self) -> float:
        """Stop it as ctrl-c does; the moment of that."""
        at = time.monotonic()
        with suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGINT)
        _, err = self._child.communicate(timeout=120)
        if self._child.returncode:
            raise SystemExit(f"isotherm record failed: {err}")
        return at

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.communicate()


def report(file: Path) -> dict[str, Any]:
    """`isotherm report FILE --format json`."""
    command = [*ISOTHERM, "report", str(file), "--format", "json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def as_of_s(file: Path) -> float | None:
    """The moment (`time.monotonic`) that the last map of pages in a recording is of."""
    found = [one.page_use for one in open_recording(file) if one.page_use is not None]
    return found[-1].monotonic_ns / 1e9 if found else None


@dataclass
class Recorded:
    """A recording of a while: what it says, and what `at_end` returned when it ended."""

    said: Said | None
    at_end: Any
    document: dict[str, Any]
    cpu_share: float
    later_share: float
    peak_bytes: int


def record(
    pid: int, seconds: float, options: Sequence[str] = (), at_end: Callable[[], Any] | None = None
) -> Recorded:
    """Record so long; `at_end` is called at the moment of the end."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "r.isotherm"
        with Watcher(pid, file, options) as watcher:
            time.sleep(min(WARM_S, seconds / 2))
            warm = watcher.spent()
            time.sleep(max(seconds - WARM_S, seconds / 2))
            share, later, peak = watcher.share(), watcher.share(warm), watcher.peak_bytes()
            found = at_end() if at_end is not None else None
            ended = watcher.end()
        document = report(file)
        lag_s = ended - (as_of_s(file) or ended)
    said = read(document, ended_s=ended, lag_s=lag_s, cpu_share=share, later_share=later)
    return Recorded(said, found, document, share, later, peak)


def has_wss() -> bool:
    done = subprocess.run([*ISOTHERM, "wss", "--help"], capture_output=True, check=False)
    return done.returncode == 0


def wss(pid: int, seconds: float, options: Sequence[str] = ()) -> Said | None:
    """`isotherm wss -p PID -d SECONDS --format json`: the last curve it prints."""
    command = [*ISOTHERM, "wss", "-p", str(pid), "-d", f"{seconds:g}s", "--format", "json"]
    done = subprocess.run(
        [*command, *options],
        check=True,
        capture_output=True,
        text=True,
    )
    return read(json.loads(done.stdout))
