"""The map of pages on the C core: which memory is followed, and what is summed up of it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from operator import add, sub
from typing import Protocol

from isotherm import _core
from isotherm._core import (
    MAP_PIECE_ASKED,
    MAP_PIECE_BEGUN,
    MAP_PIECE_ENDED,
    MAP_PIECE_NONE,
    MAP_PIECE_READY,
)
from isotherm.clock import Clock, cpu_ns_of
from isotherm.core.freed import FreedMemory
from isotherm.core.look import Bulk, TargetRanges
from isotherm.core.page_map import Run
from isotherm.core.running_time import RunningTime
from isotherm.core.sum_rows import Rows, by_window, group_uses, members_of, returned
from isotherm.errors import IsothermError, TargetGoneError
from isotherm.kernel.damon.background import Cleared, Ready
from isotherm.kernel.pages.pagemap import next_populated, opened
from isotherm.model.mappings import Mappings
from isotherm.model.page_use import (
    CLEAR_REFS,
    DAMON,
    FREED,
    MAPPED,
    OLDEST_NS,
    WINDOWS_NS,
    Kind,
    PageUse,
    UseRow,
    groups_since,
    never_seen,
)
from isotherm.model.ranges import Range, aligned, intersect, union
from isotherm.model.snapshot import Columns
from isotherm.model.target import Mapping

#: Whatever else is spent, the map keeps this part of its share.
_LEAST_LEFT = 0.25
#: A share of the map's CPU time that sums may cost; one a second at the most, and one in a while
#: at the least, while that costs no more than a larger share.
_SUM_SHARE, _MOST_SUM_SHARE = 0.2, 0.5
_SUM_NS = 900_000_000
#: The first look at 1 GiB takes so much CPU time, and one at all so much time at most.
_LOOK_NS_OF_GIB, _FIRST_LOOK_NS = 27_000_000, 10_000_000_000
#: Reserved addresses that nobody may access are looked through for pages up to this size.
_MOST_RESERVED = 1 << 30
#: Of mappings larger than that it is asked first where they have pages, in stretches of this size.
_VAST = 64 << 30
_STRETCH = 128 << 20
_NO_MEMORY = ("[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]")
_SHMEM = ("/dev/shm/", "/dev/zero", "/memfd:", "/SYSV")  # noqa: S108 - a name in an address map
_KINDS: tuple[Kind, ...] = ("anon", "file", "shmem")
#: After a sum of so many, what it took is given back.
_MANY_ROWS = 1000
#: Targets that went whose places in sums are kept, beside as many as there are.
_MOST_GONE = 16
_ANON, _FILE = 0, 1
_PRIVATE_FILE, _KEPT = 1, 2
#: Told of mappings that have no pages, and of those that only may if they are not too large.
_NO_PAGES, _RESERVED = _core.MAPPING_LEFT_OUT, 1 << 62


#: What has its own face for the map in C.
_NATIVE = (_core.AccessBpf, _core.SimWorld)


class _TimedBulk:
    """A `Bulk` as `_core.PageMap` wants it: with the time."""

    def __init__(self, bulk: Bulk, clock: Clock) -> None:
        self.read = bulk.read
        self.clear = bulk.clear
        self.frames_cleared = getattr(bulk, "frames_cleared", False)
        if hasattr(bulk, "clear_all"):
            self.clear_all = bulk.clear_all
        self.now_ns = clock.now_ns


class FrameClearer(Protocol):
    """
    Clears frames of physical memory in whoever maps them, and never keeps its user waiting.

    It is told ranges, then to begin; of either it tells when that is done.
    """

    def prepare(self, ranges: Sequence[Range]) -> None: ...
    def begin(self) -> None: ...
    def take(self) -> Ready | Cleared | None:
        """Return the news, None while there are none; raises `IsothermError` when it gave up."""

    def close(self) -> None: ...


class NativePageMap:
    """
    Follows all pages of the targets of a look; a `core.page_map.PageMap`.

    source: the access check of the backend bpf, a simulated world, or a `Bulk`; clock: its time.
    share: of one CPU to keep to; first: likewise until all was looked at once, if that is more and
    takes some seconds; of memory that would take longer there is no more than share.
    stall_ns: an address map may be held for so long, by estimate, to see shared memory, 0 is
    never. nodes: (first frame, end, node) of each NUMA node's memory, () for a machine with one.
    scope: keep to these addresses. shared_by: how shared memory is seen if not by holding address
    maps or by frames. by_frames: clears it where an address map would be held for longer, closed
    with the map; shared_note: why there is nobody who does. titles: sums tell the names of
    mappings apart; where not, all of a kind are one row, without a name. oldest_ns: a sum is made
    once in so much time at the least, unless that is more than half of the share. guest: of a
    policy that takes what the map leaves, and not the other way round.
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
        by_frames: FrameClearer | None = None,
        shared_note: str = "",
        titles: bool = True,
        oldest_ns: int = OLDEST_NS,
        guest: bool = False,
    ) -> None:
        self._clock = clock
        self._guest = guest
        self._share, self._first = share, first
        self._titles, self._oldest_ns = titles, oldest_ns
        self._began_ns = clock.now_ns()
        self._nodes = array("Q", [word for node in nodes for word in node])
        self._scope = union(scope)
        self._shared_by = shared_by
        self._by_frames = by_frames
        self._shared_note = shared_note
        self._piece = MAP_PIECE_NONE
        self._ids = array("I")
        self._places: dict[int, int] = {}
        self._rows = Rows()
        self._returned: dict[tuple[int, str, Kind], list[int]] = {}
        self._sum_due_ns = self._summed_ns = 0
        #: Tables that there were at the last sum, and what it cost.
        self._summed = 0, 0
        self._summed_covered = False
        self._told: dict[int, tuple[Sequence[Mapping], bool]] = {}
        #: How often the address map of a target, by its id, had changed when it was told.
        self._changes: dict[int, int] = {}
        self._targets: Sequence[TargetRanges] | None = None
        self._vast = False
        self._core = _core.PageMap(
            source if isinstance(source, _NATIVE) else _TimedBulk(source, clock),
            now_ns=self._began_ns,
            share_ns=int(share * 1e9),
            first_ns=int(first * 1e9),
            stall_ns=stall_ns,
            frames=by_frames is not None,
        )
        self._running = RunningTime(share, self._core.set_stopped)
        self._freed = FreedMemory(share)
        self._core_due_ns = self._spent_ns = 0

    def update(self, targets: Sequence[TargetRanges]) -> None:
        self._running.follow(targets)
        same = targets is self._targets
        ids = self._ids if same else array("I", [known.target.id for known in targets])
        # Who was gone may be another program's memory from here on.
        self._core.set_targets(ids)
        if not same:
            self._freed.follow(targets, self._clock.now_ns())
        if same and not self._vast:
            return
        self._targets, self._vast = targets, False
        self._begin(targets)
        if ids != self._ids or self._rows.crowded:
            self._follow(ids)
        for index, (one, known) in enumerate(zip(ids, targets, strict=True)):
            mappings = known.told or _standing_for(known.ranges)
            before, vast = self._told.get(one, (None, False))
            since_ns = self._since_ns(known)
            if before == mappings and not vast:
                continue
            areas, vast = self._areas(one, known.target.pid, Mappings.of(mappings))
            self._told[one] = mappings, vast
            self._vast |= vast
            self._core.set_areas(index, areas, since_ns)

    def _since_ns(self, known: TargetRanges) -> int:
        """Return when the target had the mappings that were told before; 0 if nobody knows."""
        reading = known.reading
        changes = self._changes.get(known.target.id)
        self._changes[known.target.id] = reading.changes
        return reading.before_ns if changes == reading.changes - 1 else 0

    def _follow(self, ids: array[int]) -> None:
        """Take who is there: what was told of those that stay stands, unless there is no room."""
        self._keep_returns(ids)
        self._ids, self._places = ids, {one: place for place, one in enumerate(ids)}
        if self._rows.crowded or self._rows.nr_targets > 2 * len(ids) + _MOST_GONE:
            self._rows, self._told = Rows(), {}
        # Of who comes back the core knows nothing.
        self._told = {one: self._told[one] for one in ids if one in self._told}
        self._changes = {one: self._changes[one] for one in ids if one in self._changes}

    def _begin(self, targets: Sequence[TargetRanges]) -> None:
        """Have a first look at more than the share only where that ends soon."""
        resident = sum(known.target.resident_bytes or 0 for known in targets)
        if self._first and resident * _LOOK_NS_OF_GIB > _FIRST_LOOK_NS * self._first * (1 << 30):
            self._first = 0.0
            self._core.set_share(int(self._share * 1e9), 0)

    def step(self) -> int:
        now_ns, begun_ns = self._clock.now_ns(), cpu_ns_of(self._clock)
        news = self._hear()
        if looks := now_ns >= self._running.due_ns:
            self._running.look(now_ns)
        if counts := now_ns >= self._freed.due_ns:
            self._freed.look(now_ns)
            self._freed.miss(now_ns, self._core.take_gone())
        if news or not (looks or counts) or now_ns >= self._core_due_ns:
            self._core_due_ns = self._core.step(now_ns)
            self._running.settle(self._clock.now_ns())
            self._tell()
        self._spent_ns += cpu_ns_of(self._clock) - begun_ns
        return min(self._core_due_ns, self._running.due_ns, self._freed.due_ns)

    def _hear(self) -> bool:
        """Let the map know what became of the frames that it asked for; True if there was news."""
        if self._by_frames is None:
            return False
        try:
            news = self._by_frames.take()
        except IsothermError as err:
            self._core.piece(MAP_PIECE_NONE)
            self._by_frames.close()
            self._by_frames, self._shared_note = None, err.message
            return True
        if isinstance(news, Ready):
            self._core.piece(MAP_PIECE_READY)
        elif news is not None:
            self._core.piece(MAP_PIECE_ENDED, news.ended_ns, news.cpu_ns)
        return news is not None

    def _tell(self) -> None:
        """Pass on what the map asks for."""
        if self._by_frames is None:
            return
        state, words = self._core.piece()
        if state == self._piece:
            return
        self._piece = state
        if state == MAP_PIECE_ASKED:
            pairs = zip(words[::2], words[1::2], strict=True)
            self._by_frames.prepare([Range(start, end) for start, end in pairs])
        elif state == MAP_PIECE_BEGUN:
            self._by_frames.begin()

    def spent_ns(self) -> int:
        return self._spent_ns

    def set_limit(self, share: float) -> None:
        if not self._guest:
            share = min(self._share, max(_LEAST_LEFT * self._share, share))
            self._core.set_share(int(share * 1e9))

    def covered(self) -> bool:
        return self._core.covered()

    def begins(self) -> bool:
        return self._core.begins()

    def executed(self) -> AbstractSet[int]:
        return self._running.executed

    def take(self) -> PageUse | None:
        now_ns = self._clock.now_ns()
        if self.covered() and not self._summed_covered:
            # What was told before is mostly of what nobody had looked at.
            self._summed_covered = True
            return self.sum()
        if now_ns < self._began_ns + _SUM_NS or now_ns < self._sum_due_ns:
            return None
        # The map has grown since: so does what a sum of it costs.
        tables, cost_ns = self._summed
        grown = self._core.stats()["tables"] / max(1, tables)
        self._sum_due_ns = self._summed_ns + self._rest_ns(cost_ns * max(1.0, grown))
        if tables and now_ns < self._sum_due_ns:
            return None
        use = self.sum()
        return use if use.rows or self.covered() else None

    def _rest_ns(self, cost_ns: float) -> int:
        """Return the time between two sums that cost so much."""
        share = self._share if self._summed_covered else max(self._share, self._first)
        rest_ns = cost_ns / (_SUM_SHARE * share)
        seldom_ns = max(self._oldest_ns, cost_ns / (_MOST_SUM_SHARE * share))
        return int(min(max(_SUM_NS, rest_ns), seldom_ns))

    def sum(self) -> PageUse:
        now_ns = self._clock.now_ns()
        self._running.look(now_ns)
        watched_ns = max(1, now_ns - self._began_ns)
        windows = (*(ns for ns in WINDOWS_NS if ns < watched_ns), watched_ns)
        titles, members = members_of(self._targets or ())
        found, cost_ns, of_groups = self._core.sum(
            len(self._rows.keys), array("Q", windows), self._nodes, members
        )
        self._spent_ns += cost_ns
        self._running.settle(self._clock.now_ns())
        self._summed_ns, self._summed = now_ns, (self._core.stats()["tables"], cost_ns)
        self._sum_due_ns = now_ns + self._rest_ns(cost_ns)
        self._keep_returns(self._ids)
        self._freed.look(now_ns)
        rows = self._use_rows(found, windows)
        more = self._more_rows(rows, now_ns, windows)
        stats = self._core.stats()
        ways = [CLEAR_REFS] * stats["by_rounds"] + [DAMON] * stats["by_frames"]
        if len(rows) >= _MANY_ROWS:
            _core.give_back_memory()
        return PageUse(
            monotonic_ns=now_ns,
            watched_ns=watched_ns,
            windows_ns=windows,
            rows=(*rows, *more),
            shared_by=self._shared_by or " and ".join(ways),
            held_ns=stats["held_ns"],
            stopped_ns=self._running.stopped_ns,
            shared_cpu_ns=stats["aged_ns"],
            shared_note="" if ways or self._shared_by else self._shared_note,
            groups=groups_since(
                group_uses(titles, of_groups, len(windows)),
                [known.target.group for known in self._targets or ()],
                (),
                more,
            ),
        )

    def ages(self, target: int, start: int, end: int) -> bytes:
        """
        Return what is known of each page of [start, end), four bytes each.

        Places in `WINDOWS_NS`: of the shortest window in which the page surely, likely, possibly
        was used, and of how many of them it surely was idle. All four are 0xff where there is no
        page, 0xfe where its use is not seen, 0xfd where nobody looked yet.
        """
        self._running.look(self._clock.now_ns())
        self._core.look(target, start, end)
        self._running.settle(self._clock.now_ns())
        return self._core.ages(target, start, end, array("Q", WINDOWS_NS))

    def runs(self, target: int, soon_ns: int, used_ns: int, most: int) -> list[Run]:
        """Return where memory of a target is used alike: see `core.page_map.RunMap`."""
        words = self._core.runs(target, soon_ns, used_ns, most)
        width = len(Run._fields)
        return [Run(*words[i : i + width]) for i in range(0, len(words), width)]

    def parts(self, columns: Columns, soon_ns: int, used_ns: int, least: int) -> array[int]:
        """Return what is known of the memory of regions: see `core.page_map.RunMap`."""
        ranges = array("Q", bytes(24 * len(columns)))
        ranges[::3] = array("Q", columns.target)
        ranges[1::3], ranges[2::3] = columns.start, columns.end
        return self._core.parts(ranges, soon_ns, used_ns, least)

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
        if self._by_frames is not None:
            self._by_frames.close()

    def _areas(self, target: int, pid: int | None, mappings: Mappings) -> tuple[array[int], bool]:
        """Return what of a map may have pages, and whether parts of it are vast."""
        by_kind = array("Q", [self._word(target, *text) for text in mappings.texts])
        words = _core.mapping_words(mappings.bounds, mappings.kinds, by_kind)
        largest = max(map(sub, words[1::3], words[::3]), default=0)
        if largest <= _MOST_RESERVED and not self._scope:
            plain = [word if word == _NO_PAGES else word & ~_RESERVED for word in by_kind]
            del words  # thousands of mappings need room
            told = _core.mapping_words(mappings.bounds, mappings.kinds, array("Q", plain))
            return told, False
        areas, vast = array("Q"), False
        for start, end, word in zip(words[::3], words[1::3], words[2::3], strict=True):
            size = end - start
            if word & _RESERVED and size > _MOST_RESERVED:
                continue
            vast |= size > _VAST
            for part in self._parts(start, end, pid):
                areas.extend((part.start, part.end, word & ~_RESERVED))
        return areas, vast

    def _word(self, target: int, permissions: str, name: str) -> int:
        """What the core is told of mappings of this name and these rights, beside addresses."""
        told = _told_of(permissions, name)
        if told is None:
            return _NO_PAGES
        kind, bits = told
        title = Mapping(0, 0, permissions, name).title if self._titles else ""
        return self._rows.place(target, title, kind) | bits

    def _parts(self, start: int, end: int, pid: int | None) -> Sequence[Range]:
        whole = [Range(start, end)]
        if pid is not None and end - start > _VAST:
            whole = _populated(pid, start, end)
        return intersect(whole, self._scope) if self._scope else whole

    def _keep_returns(self, ids: Sequence[int]) -> None:
        """Add to what came back, by the ids of targets; those not among `ids` are forgotten."""
        for row, own, sizes in self._core.take_returns():
            target, what, kind = self._rows.keys[row]
            key = target, what, "anon" if own == _ANON else kind
            so_far = self._returned.setdefault(key, [0] * len(sizes))
            so_far[:] = map(add, so_far, sizes)
        living = set(ids)
        self._returned = {key: of for key, of in self._returned.items() if key[0] in living}

    def _use_rows(
        self, found: list[tuple[int, int, int, array[int]]], windows: Sequence[int]
    ) -> tuple[UseRow, ...]:
        """
        Return the rows of a sum; what came back stands in the first one that it is of.

        Equal figures, as programs have that share files, are kept once. found: is taken apart:
        of thousands there is no room for both.
        """
        rows = []
        nothing = (0,) * len(windows)
        known: dict[tuple[int, ...], tuple[int, ...]] = {}
        left = dict(self._returned)
        found.reverse()
        while found:
            row, own, node, words = found.pop()
            target, what, kind = self._rows.keys[row]
            if own == _ANON:
                kind = "anon"
            sizes = left.pop((target, what, kind), None) if left else None
            parts = by_window(words, len(windows))
            parts.append(returned(sizes, windows) if sizes else nothing)
            resident, unseen, uncovered = words[:3]
            rows.append(
                UseRow(
                    self._places[target],
                    what,
                    kind,
                    node if self._nodes else None,
                    resident,
                    unseen,
                    uncovered,
                    *(known.setdefault(part, part) for part in parts),
                )
            )
        return tuple(rows)

    def _more_rows(
        self, rows: Sequence[UseRow], now_ns: int, windows: tuple[int, ...]
    ) -> list[UseRow]:
        """Return what targets used that is not there any more, and what is there and not known."""
        freed, node = self._freed, 0 if self._nodes else None
        none, more = (0,) * len(windows), []
        freed.miss(now_ns, self._core.take_gone())
        mapped = self._core.present()
        present = sorted({row.target for row in rows})
        for target in range(len(self._ids)):
            unknown = 0 if self._scope else freed.unknown(target, now_ns, mapped[target])
            if unknown:
                more.append(never_seen(target, "anon", unknown, len(windows), MAPPED))
        for target in present:
            used, high = freed.of(target, now_ns, windows, (), mapped[target])
            if any(used):
                own = zip(*(row.used for row in rows if row.target == target), strict=True)
                there = tuple(map(sum, own))
                used, high = freed.of(target, now_ns, windows, there, mapped[target])
            if any(high):
                more.append(
                    UseRow(target, FREED, "anon", node, 0, 0, 0, none, used, high, none, none)
                )
        used, high = freed.ended(now_ns, windows, set(present))
        if present and any(high):
            more.append(
                UseRow(present[0], FREED, "anon", node, 0, 0, 0, none, used, high, none, none)
            )
        freed.tell(now_ns, windows, rows)
        return more


@lru_cache(maxsize=1024)
def _told_of(permissions: str, name: str) -> tuple[Kind, int] | None:
    """Return the kind and the flags of mappings of these rights and name; None: of no pages."""
    mapping = Mapping(0, 0, permissions, name)
    if not _may_have_pages(mapping):
        return None
    kind = kind_of(mapping)
    flags = 0
    if kind != "anon" and not permissions.endswith("s"):
        flags = _PRIVATE_FILE
    elif kind == "shmem":
        flags = _KEPT
    what = _ANON if kind == "anon" else _FILE
    bits = what << 32 | flags << 40
    return kind, bits | _RESERVED if permissions.startswith("---") else bits


def _standing_for(ranges: Sequence[Range]) -> tuple[Mapping, ...]:
    """Without an address map the ranges stand for some."""
    return tuple(Mapping(*aligned(one.start, one.end), "rw-p", "") for one in ranges)


def _populated(pid: int, start: int, end: int) -> list[Range]:
    """The stretches of a vast mapping that have pages; none where the kernel cannot tell."""
    found: list[Range] = []
    try:
        with opened(pid) as descriptor:
            at: int | None = start
            while at is not None and at < end:
                at = next_populated(descriptor, at, end)
                if at is not None and at < end:
                    part = aligned(at, at + 1, _STRETCH)
                    found.append(Range(max(part.start, start), min(part.end, end)))
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
    return not mapping.name.startswith("/dev/") or mapping.name.startswith(_SHMEM)
