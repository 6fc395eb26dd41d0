"""A recording that answers questions; what `isotherm.open` returns."""

from __future__ import annotations

import os
from collections.abc import Iterator

from isotherm.analysis.heatmap import Heatmap, heatmap
from isotherm.analysis.summary import Summary, summarize
from isotherm.analysis.use_windows import EqualWindows, WindowUse, equal_windows, window_use
from isotherm.analysis.wss import WorkingSets, working_sets
from isotherm.model.snapshot import Snapshot
from isotherm.recording.reader import Recording


class _Readable:
    """The readable snapshots of a recording, as often as they are wanted."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def __iter__(self) -> Iterator[Snapshot]:
        return self._recording.readable()


class AnalysedRecording(Recording):
    """
    A `Recording` with the usual analyses.

    They take what can be read of a damaged recording; `damage` tells afterwards.
    """

    def wss(self, *, min_access_percent: float = 0) -> WorkingSets:
        """Return the working set sizes of all windows (`analysis.wss`)."""
        return working_sets(self.readable(), min_access_percent)

    def heatmap(self, columns: int, rows: int, *, target_id: int | None = None) -> Heatmap:
        """Return heat by address and time (`analysis.heatmap`)."""
        return heatmap(_Readable(self), columns, rows, target_id=target_id)

    def summary(self) -> Summary:
        """Return the numbers of `isotherm report`."""
        return summarize(self.readable(), swap_free_bytes=self.info.get("swap_free_bytes"))

    def equal_windows(self, window_ns: int) -> EqualWindows:
        """Return the working sets of windows of one length, by pages (`analysis.use_windows`)."""
        return equal_windows(self.readable(), window_ns)

    def window_use(self, start_ns: int, end_ns: int) -> WindowUse:
        """Return the working set of a window, times of day, by pages (`analysis.use_windows`)."""
        return window_use(self.readable(), start_ns, end_ns)


def open_recording(path: str | os.PathLike[str]) -> AnalysedRecording:
    """Open a recording; raises as `isotherm.recording.reader.open_recording`."""
    return AnalysedRecording(path)
