"""How much came back lately, and how much before: a load that begins is none that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import sub

from isotherm.model.page_use import Kind, PageUse, UseRow
from isotherm.model.target import Target

#: So many moments are kept at most; then every second one of them.
_MOST_MOMENTS = 32
#: A moment parts the time well enough if at least this share of it is on either side.
_LEAST_SHARE = 0.25

_Key = tuple[int, str, Kind]


@dataclass(frozen=True, slots=True)
class _Moment:
    """What had come back after `running_ns` of the targets, by row and by window."""

    running_ns: int
    windows_ns: tuple[int, ...]
    returned: dict[_Key, tuple[int, ...]]

    def of(self, key: _Key, age_ns: int) -> int:
        """What of a row had come back by then after such an age."""
        returned = self.returned.get(key)
        return returned[self.windows_ns.index(age_ns)] if returned else 0


@dataclass(frozen=True, slots=True)
class Lately:
    """
    What came back in two parts of the time in which it could be seen.

    use: the map's, with what came back in the later part in `UseRow.returned`; earlier: the same
    with the earlier part. later_ns, earlier_ns: how long the parts are, for each of `windows_ns`;
    where nothing parts the time, all of it is the later part.
    """

    use: PageUse
    earlier: PageUse
    later_ns: tuple[int, ...]
    earlier_ns: tuple[int, ...]


@dataclass(slots=True)
class Returns:
    """Keeps what had come back by a few moments, spread over all the time."""

    _moments: list[_Moment] = field(default_factory=list)
    _apart_ns: int = 0
    _known: dict[tuple[int, ...], tuple[int, ...]] = field(default_factory=dict)

    def add(self, use: PageUse, targets: Sequence[Target]) -> None:
        """Take note of what a map says; targets: those that its rows speak of."""
        now = running_ns(use)
        if self._moments and now - self._moments[-1].running_ns < self._apart_ns:
            return
        kept = self._known
        of: dict[_Key, tuple[int, ...]] = {}
        for row in use.rows:
            if any(row.returned):
                of[_key(row, targets)] = kept.setdefault(row.returned, row.returned)
        self._moments.append(_Moment(now, use.windows_ns, of))
        if len(self._moments) > _MOST_MOMENTS:
            del self._moments[::2]
            self._apart_ns = now // len(self._moments)
            self._known = {one: one for of in self._moments for one in of.returned.values()}

    def lately(self, use: PageUse, targets: Sequence[Target]) -> Lately:
        """
        Part what had come back by the end into halves of the time in which that could be seen.

        use: the newest, of `targets`.
        """
        end_ns = running_ns(use)
        moments = [self._halfway(age, end_ns) for age in use.windows_ns[:-1]]
        seen = [max(0, end_ns - age) for age in use.windows_ns]
        later = [
            whole if moment is None else end_ns - moment.running_ns
            for whole, moment in zip(seen, [*moments, None], strict=True)
        ]

        def before(row: UseRow) -> tuple[int, ...]:
            told = zip(row.returned, use.windows_ns, [*moments, None], strict=True)
            return tuple(
                0 if moment is None else min(whole, moment.of(_key(row, targets), age))
                for whole, age, moment in told
            )

        rows = [(row, before(row) if row.returned else ()) for row in use.rows]
        return Lately(
            replace(use, rows=tuple(row._replace(returned=_less(row, of)) for row, of in rows)),
            replace(use, rows=tuple(row._replace(returned=of) for row, of in rows)),
            tuple(later),
            tuple(whole - part for whole, part in zip(seen, later, strict=True)),
        )

    def _halfway(self, age_ns: int, end_ns: int) -> _Moment | None:
        """Return the moment nearest to half of the time in which `age_ns` could be seen."""
        whole = end_ns - age_ns
        good = [
            moment
            for moment in self._moments
            if _LEAST_SHARE <= (moment.running_ns - age_ns) / max(whole, 1) <= 1 - _LEAST_SHARE
            and age_ns in moment.windows_ns[:-1]
        ]
        return min(good, key=lambda one: abs(one.running_ns - age_ns - whole // 2), default=None)


def running_ns(use: PageUse) -> int:
    """Return how long targets ran while they were watched; as far as anybody looked."""
    return use.watched_ns if use.running_ns is None else use.running_ns


def _key(row: UseRow, targets: Sequence[Target]) -> _Key:
    # What came back stands in the row of any NUMA node.
    return targets[row.target].id, row.what, row.kind


def _less(row: UseRow, before: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(sub, row.returned, before))
