"""
Windows by the block: what a pass over a long recording needs, without a value for each region.

Whatever stands in a block is checked as `decode` does it. Where something is wrong, or unusual,
as rates are, the windows are read one by one instead, so that both ways say the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import lt
from typing import Any, Final

from isotherm import _core
from isotherm.model.page_use import PageUse
from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping, Target, Unobservable
from isotherm.recording import format as layout
from isotherm.recording.batch import Batch, Vector
from isotherm.recording.decode import Context2, snapshot_of
from isotherm.recording.flatbuffer import BadMessageError

#: Lists of which a row may have items, but for regions; where they are null, or empty, nothing of
#: them is read.
_NESTED: Final = ("targets", "unobservable", "mappings", "page_use")


class Rows:
    """
    Windows that follow each other in a block, with the same targets and unobservable ranges.

    Iterating gives them as snapshots. targets, unobservable: of each of them; shares: as in
    `Snapshot`; length: how many there are.
    """

    def __init__(self, block: _Block, low: int, high: int, context: dict[str, Any]) -> None:
        self._block = block
        self._low, self._high = low, high
        self._context = context
        self.targets: tuple[Target, ...] = context["targets"]
        self.unobservable: tuple[Unobservable, ...] = context["unobservable"]
        self.shares = block.shares
        self.length = high - low

    def __iter__(self) -> Iterator[Snapshot]:
        return map(self.snapshot, range(self.length))

    def snapshot(self, i: int) -> Snapshot:
        """Return window `i` of these as a snapshot; what changes with it stands in the first."""
        nested = self._context if i == 0 else {**self._context, **_NOTHING_NEW}
        at = self._low + i
        for name in ("monotonic_ns", "running_ns", "explored"):
            nested = {**nested, name: self._block.columns[name].number(at)}
        return snapshot_of(self._block.columns, at, nested, shares=self.shares)

    @property
    def first(self) -> Snapshot:
        """The first of them: the only one with mappings, schemes or what pages were used."""
        return self.snapshot(0)

    @property
    def mappings(self) -> dict[int, Sequence[Mapping]] | None:
        """The address maps that `first` tells of, as in `Snapshot`."""
        found: dict[int, Sequence[Mapping]] | None = self._context["mappings"]
        return found

    @property
    def schemes(self) -> tuple[SchemeState, ...]:
        """What came of schemes by the end of `first`, as in `Snapshot`."""
        found: tuple[SchemeState, ...] = self._context["schemes"]
        return found

    @property
    def page_use(self) -> PageUse | None:
        """What `first` tells of pages, as in `Snapshot`."""
        found: PageUse | None = self._context["page_use"]
        return found

    @property
    def tells_heat(self) -> bool:
        """Whether regions have a `share`, and so are only of what is in memory."""
        return self._block.shares_told is not None

    @property
    def has_more(self) -> bool:
        """Whether `first` has mappings, or tells what pages were used."""
        return self._context["mappings"] is not None or self._context["page_use"] is not None

    def numbers(self, name: str) -> list[int]:
        """Return a column of numbers of the windows (`format.SCALAR_CODES`); null as 0."""
        return self._block.columns[name].values[self._low : self._high].tolist()

    def has_null(self, name: str) -> bool:
        """Whether a number of a window is not known."""
        column = self._block.columns[name]
        return column.valid is not None and any(
            not column.has(i) for i in range(self._low, self._high)
        )

    def counts(self) -> list[int]:
        """Return how many regions each window has."""
        offsets = self._block.offsets[self._low : self._high + 1].tolist()
        return [high - low for low, high in zip(offsets, islice(offsets, 1, None), strict=False)]

    def used(self, least_percent: float) -> tuple[list[int], list[int]]:
        """
        Return used bytes of each window as `analysis.wss.working_set`, and those of regions that
        could not be observed; raises OverflowError.
        """
        both = self._block.scan.used(self._low, self._high, least_percent, self.shares)
        used, unseen = (array("Q", data).tolist() for data in both)
        return used, unseen

    def runs(self) -> tuple[list[array[int]], array[float]]:
        """
        Return adjacent regions as (index of the target, start, end), one after the other, of each
        window where they change; and for each target the byte-samples that were accessed.
        """
        found, heat = self._block.scan.runs(self._low, self._high, len(self.targets))
        return [array("Q", runs) for runs in found], array("d", heat)

    def add_heat(self, target: int, *grid: Any) -> None:
        """Add what falls into the cells of a grid (`_core.Scan.heat`)."""
        self._block.scan.heat(self._low, self._high, target, *grid)


_NOTHING_NEW: Final[dict[str, Any]] = {"mappings": None, "schemes": (), "page_use": None}


class _Block:
    """A batch whose regions can be gone over; raises ValueError where they cannot."""

    def __init__(self, batch: Batch, *, shares: bool) -> None:
        self.columns = batch.columns
        self.length = batch.length
        self.shares = shares
        regions = self.columns["regions"]
        self.offsets = regions.offsets
        of = regions.children
        self.shares_told = _shares_of(batch, self.offsets)
        names = ("target", "start", "end", "nr_accesses", "unobservable")
        self.scan = _core.Scan(
            batch.length,
            self.offsets,
            *(of[name].values for name in names),
            *(self.columns[name].values for name in ("sample_us", "aggr_us", "start", "end")),
            b"" if self.shares_told is None else self.shares_told,
        )


def rows_of(
    batch: Batch, context: Context2, before: int | None, *, shares: bool
) -> tuple[list[Rows], int]:
    """
    Return the windows of a block, and the index of the last.

    context: what nulls in it stand for, which is brought up to date; before: the index of the
    window before. Raises ValueError, or `BadMessageError`, where they have to be read one by one.
    """
    if not 0 < batch.length <= layout.MAX_BLOCK_ROWS:
        raise BadMessageError("a block has an impossible number of snapshots")
    if _tells_rates(batch):
        raise BadMessageError("rates of regions are read window by window")
    block = _Block(batch, shares=shares)
    indices = [-1 if before is None else before, *batch.columns["index"].numbers()]
    if not all(map(lt, indices, islice(indices, 1, None))):
        raise BadMessageError("snapshots are not in order")
    return list(_parts(block, context)), indices[-1]


def _tells_rates(batch: Batch) -> bool:
    told = [one for name in layout.RATES if (one := batch.columns.get(name)) is not None]
    return any(_tells(one, batch.length) for one in told)


def _tells(vector: Vector, length: int) -> bool:
    """Whether any of so many rows is not null."""
    return vector.valid is None or any(i < length for i in _bits(vector.valid))


def _parts(block: _Block, context: Context2) -> Iterator[Rows]:
    columns = block.columns
    begins = [0, *(i for i in _changes(columns, block.length) if i)]
    for low, high in zip(begins, [*begins[1:], block.length], strict=True):
        nested = context.read(columns, low)
        problem = block.scan.check(low, high, len(nested["targets"]))
        if problem is not None:
            raise BadMessageError(problem)
        _check_used(block, low, high)
        yield Rows(block, low, high, nested)


def _shares_of(batch: Batch, offsets: memoryview) -> memoryview | None:
    """Return the heat of regions if all windows tell it, None if none does; else raise."""
    told = batch.columns.get("region_share")
    if told is None or not _tells(told, batch.length):
        return None
    length = batch.length + 1
    if told.offsets[:length].tolist() != offsets[:length].tolist():
        raise BadMessageError("the heat of regions is told in some windows only")
    return told.values


def _check_used(block: _Block, low: int, high: int) -> None:
    used = block.columns.get("region_used")
    if used is None or (used.valid is not None and not any(used.valid)):
        return
    valid = b"" if used.valid is None else used.valid
    if not block.scan.check_used(low, high, valid, used.offsets, used.values):
        raise BadMessageError("what was used of regions makes no sense")


def _changes(columns: dict[str, Vector], length: int) -> list[int]:
    """Return the rows in which something nested is told."""
    found: set[int] = set()
    for name in _NESTED:
        vector = columns.get(name)
        if vector is not None:
            if vector.valid is None:
                return list(range(length))
            found.update(_bits(vector.valid))
    schemes = columns.get("schemes")
    if schemes is not None and length and schemes.offsets[length] > schemes.offsets[0]:
        offsets = schemes.offsets[: length + 1].tolist()
        found.update(i for i in range(length) if offsets[i] < offsets[i + 1])
        # Schemes that are told no more are a change as well.
        found.update(i + 1 for i in tuple(found) if i + 1 < length)
    return sorted(i for i in found if i < length)


def _bits(valid: memoryview) -> list[int]:
    if not int.from_bytes(valid, "little"):
        return []
    return [8 * at + i for at, byte in enumerate(valid) if byte for i in range(8) if byte >> i & 1]
