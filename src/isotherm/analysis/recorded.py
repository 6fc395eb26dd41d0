"""A recording that answers questions; what `isotherm.open` returns."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, cast, overload

from isotherm.analysis.extent import Extent, extent
from isotherm.analysis.heatmap import Heatmap, accumulator, heatmap
from isotherm.analysis.idleness import ages_of_regions
from isotherm.analysis.page_use import Ages
from isotherm.analysis.page_use import idle_ages as ages_of_pages
from isotherm.analysis.summary import Summary, SummaryCollector, summarize, summary_of
from isotherm.analysis.use_windows import EqualWindows, WindowUse, equal_windows, window_use
from isotherm.analysis.wanted import Names, Wanted, clipped, hottest
from isotherm.analysis.wss import WorkingSets, working_sets
from isotherm.errors import BadValueError, NotSupportedError, shown
from isotherm.model.snapshot import Snapshot
from isotherm.recording.blocks import Rows
from isotherm.recording.flat import Readable, flat_stream
from isotherm.recording.reader import Recording
from isotherm.units import duration_ns, format_duration, format_size

#: Blocks that are looked at for the extent of a recording.
_SAMPLES = 9
_ALL: Final = Wanted()


class _Readable:
    """The readable snapshots of a recording, as often as they are wanted."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def __iter__(self) -> Iterator[Snapshot | Rows]:
        return self._recording.by_blocks()


class AnalysedRecording(Recording):
    """
    A `Recording` with the usual analyses.

    They take what can be read of a damaged recording; `damage` tells afterwards. In a notebook it
    shows itself as a heat map; to Arrow, DuckDB, Polars and pandas it is a table with a row for
    each region of each window (`to_arrow`). no_pages_because: why there is nothing of a map of
    pages, where that is not for want of one.
    """

    no_pages_because = ""

    def __repr__(self) -> str:
        size = format_size(self.nbytes)
        return f"<isotherm recording {shown(str(self.path))}: {_of_whom(self)}, {size}>"

    def _repr_html_(self) -> str:
        from isotherm.pictures.notebook import html_of

        return html_of(self)

    @overload
    def wss(self, *, window: None = None, min_access_percent: float = 0) -> WorkingSets: ...
    @overload
    def wss(self, *, window: float | str, min_access_percent: float = 0) -> EqualWindows: ...
    def wss(
        self, *, window: float | str | None = None, min_access_percent: float = 0
    ) -> WorkingSets | EqualWindows:
        """
        Return working set sizes, with `percentiles` and `mean`.

        window: "1s", or seconds: of windows of this length, counted page by page
        (`analysis.use_windows`); without it of the windows that were recorded, counted by whole
        regions (`analysis.wss`), and of those only what was accessed in at least
        `min_access_percent` of the samples. Raises `BadValueError` for a window where no map of
        pages was kept.
        """
        if window is None:
            return working_sets(self.by_blocks(), min_access_percent)
        if min_access_percent:
            raise BadValueError("pages have no access rate: window= or min_access_percent=")
        found = self.equal_windows(duration_ns(window))
        if not len(found):
            raise BadValueError(
                f"no window of {format_duration(found.window_ns)} is known page by page",
                hint="without window= it is the windows that were recorded",
            )
        return found

    def ages(self) -> Ages:
        """
        Return what is in memory by how long it was not used, as of the end.

        By pages where a map of them was kept, else by regions (`analysis.idleness`).
        """
        summary = self.summary()
        if summary.use is not None:
            return ages_of_pages(summary.use)
        return ages_of_regions(summary.last)

    def heatmap(
        self,
        columns: int = 60,
        rows: int = 24,
        *,
        target_id: int | None = None,
        wanted: Wanted | None = None,
    ) -> Heatmap:
        """
        Return heat by address and time (`analysis.heatmap`).

        target_id: the busiest where it is None; wanted: draws a part of the recording, and names
        the target as well.
        """
        wanted = Wanted(target_id) if wanted is None else wanted
        return self.named_heatmap(columns, rows, wanted)[0]

    def named_heatmap(
        self, columns: int, rows: int, wanted: Wanted = _ALL
    ) -> tuple[Heatmap, tuple[str, ...]]:
        """Return a heat map, and what the memory of each of its rows is; "" where unknown."""
        where, names = Extent(), Names()

        def take(part: Snapshot | Rows) -> None:
            where.take(part)
            names.take(part)

        grid = None
        if wanted.is_all:
            grid = self._grid_in_one_pass(take, where, columns, rows, wanted.target_id)
        else:
            for part in self.by_blocks():
                take(part)
        if grid is None:
            grid = heatmap(
                _Readable(self),
                columns,
                rows,
                target_id=wanted.target_id,
                where=self.part(where, wanted),
            )
        return grid, names.of_rows(grid)

    def part(self, where: Extent, wanted: Wanted) -> Extent:
        """Return the extent of what is wanted; raises as `analysis.wanted.clipped`."""
        if wanted.is_all:
            return where
        part = clipped(where, wanted)
        if wanted.hottest_bytes is None:
            return part
        id_ = part.busiest() if wanted.target_id is None else wanted.target_id
        found = hottest(self.by_blocks, part, id_, wanted.hottest_bytes)
        return replace(part, ranges={**part.ranges, id_: found})

    def summary_and_heat(self, cells: int) -> tuple[Summary, Heatmap | None]:
        """
        Return `summary()`, and a heat map of one column and so many rows of the busiest target.

        None without regions.
        """
        seen = SummaryCollector()
        grid = self._grid_in_one_pass(seen.take, seen.where, 1, cells, None)
        summary = summary_of(seen, self.info.get("swap_free_bytes"), thinned=self.is_thinned)
        if grid is None and seen.where.ranges:
            grid = heatmap(_Readable(self), 1, cells, where=seen.where)
        return summary, grid

    def _grid_in_one_pass(
        self,
        take: Callable[[Snapshot | Rows], None],
        where: Extent,
        columns: int,
        rows: int,
        target_id: int | None,
    ) -> Heatmap | None:
        """
        Hand all windows to `take`, and return the grid if it could be drawn in the same pass.

        where: is what `take` fills in. The grid is drawn for the extent that some blocks have;
        mostly that is the extent of all of them, and if not there is no grid.
        """
        guess = extent(self.samples(_SAMPLES))
        try:
            sums = accumulator(guess, columns, rows, target_id)
        except BadValueError:
            sums = None
        for part in self.by_blocks():
            take(part)
            if sums is not None:
                sums.take(part)
        if sums is None or not where.ranges:
            return None
        wanted = where.busiest() if target_id is None else target_id
        same = (guess.start_ns, guess.end_ns, sums.target_id, guess.ranges.get(wanted)) == (
            where.start_ns,
            where.end_ns,
            wanted,
            where.ranges.get(wanted),
        )
        return sums.result(where) if same else None

    def to_arrow(self) -> Any:
        """
        Return what is readable as a `nanoarrow.ArrayStream`: a row for each region of a window.

        Columns: docs/recording-format.md. Batches are made as they are asked for. Raises
        `NotSupportedError` without nanoarrow.
        """
        try:
            nanoarrow = cast("Any", importlib.import_module("nanoarrow"))
        except ImportError as err:
            raise NotSupportedError(
                "Arrow's interface is made by nanoarrow, which is not installed",
                hint="pip install 'isotherm[arrow]'",
            ) from err
        stream = Readable(flat_stream(self.readable()))
        return nanoarrow.ArrayStream.from_readable(stream)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Export `to_arrow` by the Arrow PyCapsule interface."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def summary(self) -> Summary:
        """Return the numbers of `isotherm report`."""
        swap = self.info.get("swap_free_bytes")
        return summarize(self.by_blocks(), swap_free_bytes=swap, thinned=self.is_thinned)

    @property
    def is_thinned(self) -> bool:
        """Whether only some of the windows were kept (`record --every`)."""
        return isinstance(self.info.get("every_ns"), int)

    def equal_windows(self, window_ns: int) -> EqualWindows:
        """Return the working sets of windows of one length, by pages (`analysis.use_windows`)."""
        return equal_windows(self.readable(), window_ns)

    def window_use(self, start_ns: int, end_ns: int) -> WindowUse:
        """Return the working set of a window, times of day, by pages (`analysis.use_windows`)."""
        return window_use(self.readable(), start_ns, end_ns)


def _of_whom(recording: Recording) -> str:
    """Return whose memory it is, and how much there is of it: as quickly as it can be told."""
    first = recording.first()
    targets = () if first is None else first.targets
    names = [shown(target.title, 30) for target in targets[:3]]
    more = [f"{len(targets) - 3} more"] if len(targets) > 3 else []
    return f"{', '.join(names + more) or 'of nobody'}, {len(recording)} snapshots"


def open_recording(path: str | os.PathLike[str]) -> AnalysedRecording:
    """Open a recording; raises as `isotherm.recording.reader.open_recording`."""
    return AnalysedRecording(path)
