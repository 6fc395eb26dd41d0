"""The map of pages on the C core: which memory is followed, and what is summed up of it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from isotherm import _core
from isotherm.clock import Clock
from isotherm.core.look import Bulk, TargetRanges
from isotherm.core.page_map import Run
from isotherm.errors import TargetGoneError
from isotherm.kernel.pages.pagemap import next_populated, opened
from isotherm.model.page_use import CLEAR_REFS, WINDOWS_NS, Kind, PageUse, UseRow
from isotherm.model.ranges import Range, aligned, intersect, union
from isotherm.model.snapshot import Columns
from isotherm.model.target import Mapping

#: A share of the map's CPU time that sums may cost; one a second at the most, and one in a minute
#: at the least.
_SUM_SHARE = 0.2
_SUM_NS = 900_000_000
_SELDOM_NS = 60_000_000_000
#: Reserved addresses that nobody may access are looked through for pages up to this size.
_MOST_RESERVED = 1 << 30
#: Of mappings larger than that it is asked first where they have pages, in stretches of this size.
_VAST = 64 << 30
_STRETCH = 128 << 20
_NO_MEMORY = ("[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]")
_SHMEM = ("/dev/shm/", "/dev/zero", "/memfd:", "/SYSV")  # noqa: S108 - a name in an address map
_KINDS: tuple[Kind, ...] = ("anon", "file", "shmem")
#: Rows of a target at most; further mappings are summed up as one.
_MOST_ROWS = 500
_OTHERS = "(others)"
_ANON, _FILE = 0, 1
_PRIVATE_FILE, _KEPT = 1, 2


#: What has its own face for the map in C.
_NATIVE = (_core.AccessBpf, _core.SimWorld)


class _TimedBulk:
    """A `Bulk` as `_core.PageMap` wants it: with the time."""

    def __init__(self, bulk: Bulk, clock: Clock) -> None:
        self.read = bulk.read
        self.clear = bulk.clear
        self.now_ns = clock.now_ns


class NativePageMap:
    """
    Follows all pages of the targets of a look; a `core.page_map.PageMap`.

    source: the access check of the backend bpf, a simulated world, or a `Bulk`; clock: its time.
    share: of one CPU to keep to; first: likewise until all was looked at once, if that is more.
    stall_ns: an address map may be held for so long, by estimate, to see shared memory, 0 is
    never. nodes: (first frame, end, node) of each NUMA node's memory, () for a machine with one.
    scope: keep to these addresses. shared_by: how shared memory is seen if not by holding address
    maps.
    """

    def __init__(
        self,
        source: _core.AccessBpf | _core.SimWorld | Bulk,
        clock: Clock,
        *,
        share: float,
        first: float = 0.0,
        stall_ns: int = 0,
        nodes: Sequence[tuple[int, int, int]] = (),
        scope: Sequence[Range] = (),
        shared_by: str = "",
    ) -> None:
        self._clock = clock
        self._share = share
        self._began_ns = clock.now_ns()
        self._nodes = array("Q", [word for node in nodes for word in node])
        self._scope = union(scope)
        self._shared_by = shared_by
        self._rows: list[tuple[int, str, Kind]] = []
        self._sum_due_ns = 0
        self._maps: list[tuple[int, tuple[Mapping, ...], tuple[Range, ...]]] = []
        self._core = _core.PageMap(
            source if isinstance(source, _NATIVE) else _TimedBulk(source, clock),
            now_ns=self._began_ns,
            share_ns=int(share * 1e9),
            first_ns=int(first * 1e9),
            stall_ns=stall_ns,
        )

    def update(self, targets: Sequence[TargetRanges]) -> None:
        self._core.set_targets(array("I", [known.target.id for known in targets]))
        maps = [(known.target.id, known.mappings, known.ranges) for known in targets]
        vast = any(one.size > _VAST for _, mappings, _ in maps for one in mappings)
        if maps == self._maps and not vast:
            return
        self._maps = maps
        rows: dict[tuple[int, str, Kind], int] = {}
        for index, known in enumerate(targets):
            self._core.set_areas(index, self._areas(index, known, rows))
        self._rows = list(rows)

    def step(self) -> int:
        return self._core.step(self._clock.now_ns())

    def covered(self) -> bool:
        return self._core.covered()

    def take(self) -> PageUse | None:
        now_ns = self._clock.now_ns()
        began = self.covered() or now_ns >= self._began_ns + _SUM_NS
        return self.sum() if began and now_ns >= self._sum_due_ns else None

    def sum(self) -> PageUse:
        now_ns = self._clock.now_ns()
        watched_ns = max(1, now_ns - self._began_ns)
        windows = (*(ns for ns in WINDOWS_NS if ns < watched_ns), watched_ns)
        found, cost_ns = self._core.sum(len(self._rows), array("Q", windows), self._nodes)
        rest_ns = int(cost_ns / (_SUM_SHARE * self._share))
        self._sum_due_ns = now_ns + min(max(_SUM_NS, rest_ns), _SELDOM_NS)
        stats = self._core.stats()
        return PageUse(
            monotonic_ns=now_ns,
            watched_ns=watched_ns,
            windows_ns=windows,
            rows=tuple(self._row(row, kind, node, words) for row, kind, node, words in found),
            shared_by=CLEAR_REFS
            if stats["by_rounds"] and not self._shared_by
            else self._shared_by,
            held_ns=stats["held_ns"],
        )

    def ages(self, target: int, start: int, end: int) -> bytes:
        """
        Return what is known of each page of [start, end), four bytes each.

        Places in `WINDOWS_NS`: of the shortest window in which the page surely, likely, possibly
        was used, and of how many of them it surely was idle. All four are 0xff where there is no
        page, 0xfe where its use is not seen, 0xfd where nobody looked yet.
        """
        self._core.look(target, start, end)
        return self._core.ages(target, start, end, array("Q", WINDOWS_NS))

    def runs(self, target: int, soon_ns: int, used_ns: int, most: int) -> list[Run]:
        """Return where memory of a target is used alike: see `core.page_map.RunMap`."""
        words = self._core.runs(target, soon_ns, used_ns, most)
        width = len(Run._fields)
        return [Run(*words[i : i + width]) for i in range(0, len(words), width)]

    def used_in(self, columns: Columns, used_ns: int) -> array[int]:
        """Return how many bytes of each region were used within a time, u64."""
        words = array("Q", bytes(24 * len(columns)))
        words[::3] = array("Q", columns.target)
        words[1::3], words[2::3] = columns.start, columns.end
        return self._core.used(words, used_ns)

    def seen(self, target: int, start: int, end: int) -> None:
        """Note that somebody found pages of [start, end) young, and clears them."""
        self._core.seen(target, start, end, self._clock.now_ns())

    @property
    def core(self) -> _core.PageMap:
        """The map itself, for who asks it of single pages from the same thread."""
        return self._core

    def stats(self) -> _core.PageMapStats:
        """Return counts and costs since the start."""
        return self._core.stats()

    def close(self) -> None:
        self._core.close()

    def _areas(
        self, index: int, known: TargetRanges, rows: dict[tuple[int, str, Kind], int]
    ) -> array[int]:
        words, first = array("Q"), len(rows)
        for mapping in _followed(known):
            kind = kind_of(mapping)
            key = (index, mapping.title, kind)
            if key not in rows and len(rows) - first >= _MOST_ROWS:
                key = (index, _OTHERS, kind)
            row = rows.setdefault(key, len(rows))
            shared = mapping.permissions.endswith("s")
            what = _ANON if kind == "anon" else _FILE
            flags = 0
            if kind != "anon" and not shared:
                flags = _PRIVATE_FILE
            elif kind == "shmem":
                flags = _KEPT
            for part in self._parts(mapping, known.target.pid):
                words.extend((part.start, part.end, row | what << 32 | flags << 40))
        return words

    def _parts(self, mapping: Mapping, pid: int | None) -> Sequence[Range]:
        whole = [Range(mapping.start, mapping.end)]
        if pid is not None and mapping.size > _VAST:
            whole = _populated(pid, mapping)
        return intersect(whole, self._scope) if self._scope else whole

    def _row(self, row: int, own: int, node: int, words: array[int]) -> UseRow:
        target, what, kind = self._rows[row]
        resident, unseen, uncovered = words[:3]
        width = (len(words) - 3) // 5
        parts = [tuple(words[3 + i * width : 3 + (i + 1) * width]) for i in range(5)]
        return UseRow(
            target,
            what,
            "anon" if own == _ANON else kind,
            node if self._nodes else None,
            resident,
            unseen,
            uncovered,
            *parts,
        )


def _followed(known: TargetRanges) -> list[Mapping]:
    """The mappings that may have pages; without an address map the ranges stand for some."""
    if known.mappings:
        found = [mapping for mapping in known.mappings if _may_have_pages(mapping)]
    else:
        found = [Mapping(*aligned(one.start, one.end), "rw-p", "") for one in known.ranges]
    apart: list[Mapping] = []
    for mapping in sorted(found, key=lambda mapping: mapping.start):
        # Of a map that was read while it changed: no address twice.
        if not apart or apart[-1].end <= mapping.start:
            apart.append(mapping)
    return apart


def _populated(pid: int, mapping: Mapping) -> list[Range]:
    """The stretches of a vast mapping that have pages; none where the kernel cannot tell."""
    found: list[Range] = []
    try:
        with opened(pid) as descriptor:
            at: int | None = mapping.start
            while at is not None and at < mapping.end:
                at = next_populated(descriptor, at, mapping.end)
                if at is not None and at < mapping.end:
                    part = aligned(at, at + 1, _STRETCH)
                    found.append(Range(max(part.start, mapping.start), min(part.end, mapping.end)))
                    at = found[-1].end
    except TargetGoneError:
        return []
    return list(union(found))


def kind_of(mapping: Mapping) -> Kind:
    """Return whose memory a mapping shows; of a private file's some may be anonymous."""
    if mapping.is_anonymous:
        return "anon"
    return "shmem" if mapping.name.startswith(_SHMEM) else "file"


def _may_have_pages(mapping: Mapping) -> bool:
    if mapping.name in _NO_MEMORY:
        return False
    if mapping.name.startswith("/dev/") and not mapping.name.startswith(_SHMEM):
        return False
    return mapping.permissions[:3] != "---" or mapping.size <= _MOST_RESERVED
