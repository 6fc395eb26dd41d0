"""A recording as moments, read by and by; and which of them is meant."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from isotherm.errors import BadValueError, DamagedRecordingError, quoted
from isotherm.live.chronicle import MOST_MOMENTS, Chronicle
from isotherm.live.stage import Stage
from isotherm.model.snapshot import Snapshot
from isotherm.recording.reader import Recording
from isotherm.units import duration_ns

#: For so long it is read before something is drawn again.
_SLICE_S = 0.1
_AGO = "ago"


class Replay:
    """
    Reads a recording into a chronicle that has all of it, of a long one every so many windows.

    `damage` says afterwards what could not be read.
    """

    def __init__(self, recording: Recording) -> None:
        self.chronicle = Chronicle(2 * MOST_MOMENTS, thin=True)
        self._recording = recording
        self._rest: Iterator[Snapshot] = recording.readable()

    @property
    def damage(self) -> DamagedRecordingError | None:
        """What could not be read, None where nothing is amiss."""
        return self._recording.damage

    @property
    def info(self) -> dict[str, Any]:
        """What the recording says of itself."""
        return self._recording.info

    def read(self) -> bool:
        """Read on for a moment; tell whether there is more."""
        until = time.monotonic() + _SLICE_S
        for snapshot in self._rest:
            self.chronicle.take(snapshot)
            if time.monotonic() >= until:
                return True
        self.chronicle.end()
        return False

    def read_all(self) -> None:
        """Read to the end."""
        while self.read():
            pass


class Player:
    """
    Lets the time of a recording go by as it was recorded, where it is played: for `TopApp`.

    when: where to begin, as `moment_of`; None is the end.
    """

    def __init__(self, stage: Stage, replay: Replay, when: str | None) -> None:
        self._stage, self._replay, self._when = stage, replay, when
        self._more = True
        self._before_ns = time.monotonic_ns()

    def tick(self) -> bool:
        """Tell whether there is something new to be drawn."""
        now_ns = time.monotonic_ns()
        gone_ns, self._before_ns = now_ns - self._before_ns, now_ns
        if not self._more:
            return self._stage.play(gone_ns)
        self._more = self._replay.read()
        if not self._more:
            if self._when is not None and len(self._replay.chronicle):
                self._stage.go_to(moment_of(self._when, self._replay.chronicle))
            if (damage := self._replay.damage) is not None:
                self._stage.notes.append(damage.message)
        return True


def check_when(text: str) -> None:
    """Raise `BadValueError` for what is no time as `moment_of` takes it."""
    _length_of(text)


def moment_of(text: str, chronicle: Chronicle) -> int:
    """
    Return the time of day that is meant: "90s" after the beginning, "3m ago" before the end.

    chronicle: has a moment at least. Raises `BadValueError`.
    """
    length_ns, ago = _length_of(text)
    return chronicle.moments[-1].at_ns - length_ns if ago else chronicle.start_ns + length_ns


def _length_of(text: str) -> tuple[int, bool]:
    words = text.split()
    ago = words[-1:] == [_AGO]
    try:
        return duration_ns(" ".join(words[:-1] if ago else words)), ago
    except BadValueError as err:
        raise BadValueError(
            f"{quoted(text)} is no time of a recording",
            hint="90s: so long after its beginning; '3m ago': before its end",
        ) from err
