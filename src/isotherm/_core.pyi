"""The C core. What it computes is defined by its readable twins, `core/reference/`."""

from array import array
from collections.abc import Sequence
from typing import Any, Final, Self, TypeAlias, TypedDict

from typing_extensions import Buffer

from isotherm.clock import Clock
from isotherm.core.damon.profile import Profile
from isotherm.core.look import Look
from isotherm.core.policy import RngKind
from isotherm.core.reference.regions import Row
from isotherm.model.scheme import Limits
from isotherm.model.snapshot import Columns

PAGE_IDLE_BITMAP: Final[str]
# Constants of the headers of _native; py/bind_constants.c exports them.
PAGE: Final[int]
CHECK_IDLE: Final[int]
CHECK_ACCESSED: Final[int]
CHECK_MISSED: Final[int]
CHECK_UNOBSERVABLE: Final[int]
CHECK_WAS_YOUNG: Final[int]
CHECK_RESTING: Final[int]
MAPPING_SWEEPABLE: Final[int]
MAP_PIECE_NONE: Final[int]
MAP_PIECE_ASKED: Final[int]
MAP_PIECE_READY: Final[int]
MAP_PIECE_BEGUN: Final[int]
MAP_PIECE_ENDED: Final[int]
AREA_VISIBLE: Final[int]
AREA_HIDDEN: Final[int]
MAPPING_LEFT_OUT: Final[int]
FAIL_OTHER: Final[int]
FAIL_PRIVILEGE: Final[int]
FAIL_LOCKDOWN: Final[int]
FAIL_NAMESPACE: Final[int]
FAIL_TYPES: Final[int]
FAIL_SELF_TEST: Final[int]
LEAF_NONE: Final[int]
LEAF_PRESENT: Final[int]
LEAF_SWAPPED: Final[int]
LEAF_UNREAD: Final[int]
FOLIO_KNOWN: Final[int]
FOLIO_SHARED: Final[int]
FOLIO_PARTIAL: Final[int]
FOLIO_LRU: Final[int]
FOLIO_MLOCKED: Final[int]
FOLIO_ANON: Final[int]
WALKER_ALIVE: Final[int]
WALKER_GONE: Final[int]
WALKER_EXECED: Final[int]
WALKER_REUSED: Final[int]
PAGE_PRESENT: Final[int]
PAGE_SWAPPED: Final[int]
PAGE_YOUNG: Final[int]
PAGE_ANON: Final[int]
PAGE_SHARED: Final[int]
PAGE_HUGE: Final[int]
PAGE_ACTIVE: Final[int]
PAGE_REFERENCED: Final[int]
PAGE_LOCKED: Final[int]
PAGE_ZERO: Final[int]
PAGE_SPECIAL: Final[int]
PAGE_JOINED: Final[int]
PAGE_TORN: Final[int]
PAGE_DIRTY: Final[int]
PAGE_USED: Final[int]
PAGE_EARLY: Final[int]
SURVEY_ENTRIES: Final[int]
SURVEY_FOLIOS: Final[int]
SURVEY_CGROUPS: Final[int]
TEST_FACT: Final[int]
TEST_SIZE: Final[int]
TEST_CGROUP: Final[int]
TEST_ABSENT: Final[int]
TEST_UNDERUSED: Final[int]
RUN_BYTES: Final[int]
CONTROL_STOP: Final[int]
CONTROL_OPS: Final[int]
CONTROL_PASSES: Final[int]
CONTROL_OVERRUNS: Final[int]

class CoreError(OSError):
    """Something cannot be opened: why, as a number for programs; `strerror` says it in words."""

    code: int
    """One of FAIL_..."""

class TouchArea:
    """
    Anonymous memory of a workload, 2 MiB aligned, never merged with its neighbours.

    nbytes: size, whole pages; huge: ask for transparent huge pages, else none are used; shared:
    with processes that are forked from then on, else private. Raises OSError when the kernel
    refuses. Unmapped when the object goes.
    """

    def __new__(cls, nbytes: int, huge: bool = False, shared: bool = False) -> Self: ...
    @property
    def address(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def populate(self) -> None:
        """Write a byte of every page."""

_TouchRange: TypeAlias = tuple[TouchArea, int, int, int, bool]

def touch_paced(ranges: tuple[_TouchRange, ...], until_ns: int, control: Buffer, /) -> None:
    """
    Read a byte of every page of each range once per period, until CLOCK_MONOTONIC `until_ns`.

    A range is (area, offset, nbytes, period_ns, random order of the pages). `control` is eight
    64-bit words of shared memory: stop (set by others), bytes touched, passes, overruns, unused.
    Releases the interpreter lock; does not look at signals.
    """

def touch_busy(ranges: tuple[_TouchRange, ...], until_ns: int, control: Buffer, /) -> None:
    """Read 64-byte lines of the ranges as fast as possible, weighed by size; as `touch_paced`."""

class WalkerFacts(TypedDict):
    """As struct walker_facts."""

    fast: bool
    folios: bool
    levels: int
    direct_map: int
    direct_map_source: str
    fast_why_not: str
    folios_why_not: str

_Leaf: TypeAlias = tuple[int, int, int, int, int, int, int, int, int]

class Walker:
    """
    Reads leaf page-table entries of other processes through BPF; one thread at a time.

    base, fast: the object files isotherm/bpf/walk_{base,fast}.bpf.o; an empty `fast` forces the
    base programs. Raises OSError(errno, reason): EPERM lacks privileges, EXDEV in a PID namespace
    of its own, else not supported here.
    """

    def __new__(cls, base: Buffer, fast: Buffer, /) -> Self: ...
    def set_targets(self, pids: Sequence[int], /) -> None:
        """Replace the targets, by number as the host counts."""

    def targets(self) -> list[tuple[int, int, bool, int, int]]:
        """(pid, state, page tables used on one CPU only, that CPU or -1, start time in ns)."""

    def accept(self, target: int, /) -> None:
        """Take a target that exec'd as it is found at the next read."""

    def read(self, requests: Sequence[tuple[int, int]], folios: bool = False, /) -> list[_Leaf]:
        """
        Leaves of (address, target) pairs.

        As struct leaf: state, pfn, level, young, dirty, write, folio flags, order and index.
        """

    def read_tables(self, target: int, start: int, nr: int, /) -> tuple[bytes, bytes]:
        """Leaf tables of nr times 2 MiB and their level-2 entries; ProcessLookupError if gone."""

    def facts(self) -> WalkerFacts: ...
    def close(self) -> None: ...

class Rng:
    """Random numbers; see `core.reference.rng.Rng`."""

    def __new__(
        cls, kind: RngKind = "splitmix", seed: int = 0, draws: Sequence[int] = ()
    ) -> Self: ...
    @property
    def state(self) -> int: ...
    def u32(self) -> int: ...
    def range(self, l: int, r: int, /) -> int: ...

class RegionTable:
    """Fast twin of `core.reference.regions`; counters are unsigned and wrap as C's do."""

    def __new__(
        cls, min_region_bytes: int = 4096, profile: Profile = ..., samples: int = 1
    ) -> Self: ...
    def __len__(self) -> int: ...
    @property
    def min_region_bytes(self) -> int: ...
    def load(self, targets: Sequence[Sequence[Sequence[Any]]], /) -> None: ...
    def target_ids(self) -> list[int]: ...
    def set_targets(self, ids: Sequence[int], /) -> None: ...
    def set_regions(self, target_id: int, ranges: Sequence[tuple[int, int]], /) -> None: ...
    def end_window(self, samples: int, /) -> int: ...
    def merge(
        self,
        threshold: int,
        size_limit: int,
        *,
        count_age: bool = True,
        weights: Sequence[int] = (),
    ) -> None: ...
    def merge_to(
        self,
        max_nr: int,
        threshold: int,
        size_limit: int,
        samples: int,
        weights: Sequence[int] = (),
    ) -> None: ...
    def enforce_min(self, min_nr: int, /) -> int: ...
    def reset(self) -> None: ...
    def split(self, max_nr: int, rng: Rng, /) -> None: ...
    def split_all(self, pieces: int, rng: Rng, /) -> None: ...
    def split_every(self, step: int, rng: Rng, /) -> None: ...
    def rescale(
        self,
        old_samples: int,
        new_samples: int,
        old_aggr_us: int,
        new_aggr_us: int,
        *,
        aggregating: bool,
    ) -> None: ...
    def access_events(self) -> tuple[int, int]: ...
    def mvsum(self, left_bp: int, /) -> array[int]: ...
    def moving_sums(self) -> array[int]: ...
    def spans(self) -> list[tuple[int, int]]: ...
    def matching(self, limits: Limits, left_bp: int, *, known: bool) -> array[int]: ...
    def region(self, place: int, left_bp: int, /) -> tuple[int, int, int, int, int]: ...
    def cut(self, place: int, size: int, /) -> None: ...
    def renew(self, place: int, /) -> None: ...
    def rejoin(self, size_limit: int, /) -> None: ...
    def columns(self) -> Columns: ...
    def rows(self) -> list[list[Row]]: ...
    def windows(self) -> list[tuple[int, int, int, int, int, int]]: ...

class Sampler:
    """
    Fast twin of `core.reference.sampler.PySampler`: whole windows without the interpreter lock.

    access: a capsule "isotherm.access_ops"; clock: None for CLOCK_MONOTONIC. Signal handlers run
    within 250 ms, at once if a signal ends a sleep.
    """

    def __new__(
        cls, table: RegionTable, rng: Rng, access: object, clock: Clock | None = None
    ) -> Self: ...
    def run(self, ticks: int, sample_ns: int, /) -> int: ...
    def stop(self) -> None: ...
    def take(self) -> tuple[int, int, int, int, int]: ...

def python_access(look: Look, /) -> object:
    """Return a capsule "isotherm.access_ops" that calls a Python Ops, interpreter lock held."""

class AccessStats(TypedDict):
    """
    Counts since the start; costs in µs of CPU time.

    reads: leaves read for samples; young: of them young when chosen; clears: folios cleared;
    missed: young, left so; stuck: still young right after the clear; followed: moves to the
    target's CPU; unswept_bytes: left alone for fear of splitting; read_us, own_clear_us: of the
    self-test; clear_us: running mean of a clear; unobservable: samples by reason.
    """

    reads: int
    young: int
    clears: int
    missed: int
    stuck: int
    followed: int
    sweep_steps: int
    swept_bytes: int
    unswept_bytes: int
    first_sweep_done: bool
    large_folios: bool
    read_us: float
    own_clear_us: float
    clear_us: float
    unobservable: dict[str, int]

class PageMapStats(TypedDict):
    tables: int
    bytes: int
    visits: int
    reads: int
    clears: int
    ranges: int
    judged: int
    cpu_ns: int
    rounds: int
    held_ns: int
    covered: bool
    by_rounds: bool
    shared_pages: int
    present_pages: int
    used_pages: int
    turns: int
    by_frames: bool
    frame_rounds: int
    pieces: int
    aged_ns: int

class PageMap:
    """
    A map of pages, struct page_map: over an access check, or an object with `read` and `clear`
    (see `core.look.Bulk`) and `now_ns`, and maybe `cpu_ns`, if its CPU time is not that of
    the thread.

    share_ns, first_ns: CPU time per second, once all was looked at and until then; stall_ns: for
    how long an address map may be held to clear shared memory; frames: somebody clears frames of
    physical memory for it, and hears of it from `piece`.
    """

    def __new__(
        cls,
        source: object,
        *,
        now_ns: int,
        share_ns: int = 10_000_000,
        first_ns: int = 0,
        stall_ns: int = 0,
        frames: bool = False,
    ) -> Self: ...
    def set_targets(self, ids: Buffer, /) -> None:
        """Replace the targets, u32 ids in the order of the source's."""

    def set_areas(self, target: int, words: Buffer, since_ns: int = 0, /) -> None:
        """
        Tell a target's areas in order: u64 start, end, row | kind << 32 | flags << 40.

        since_ns: when it had those that it had until now, and no others; 0 is not known.
        """

    def set_stopped(self, target: int, stopped_ns: int, stopped: bool, now_ns: int, /) -> None:
        """Tell for how long in all a target stood still by now_ns, and whether it does."""

    def set_share(self, share_ns: int, first_ns: int = -1, /) -> None:
        """Change what may be spent a second from now on, and for the first look at everything."""

    def begins(self) -> bool:
        """Tell whether not all was looked at yet, and that still has a share of its own."""

    def step(self, now_ns: int, /) -> int:
        """Do what is due and can be paid; return when to come again."""

    def piece(
        self, news: int = ..., ended_ns: int = 0, cpu_ns: int = 0, /
    ) -> tuple[int, array[int]]:
        """
        Tell what became of a piece; return its MAP_PIECE state, and the ranges if they are asked.

        news: MAP_PIECE_READY: its ranges, u64 start and end of physical memory, are known to who
        clears them; MAP_PIECE_ENDED: cleared, by `ended_ns`, for `cpu_ns` of CPU time;
        MAP_PIECE_NONE: nobody clears frames any more. None of it if it is left out.
        """

    def seen(self, target: int, start: int, end: int, now_ns: int, /) -> None: ...
    def sum(
        self, rows: int, windows: Buffer, nodes: Buffer, members: Buffer = ..., /
    ) -> tuple[list[tuple[int, int, int, array[int]]], int, list[array[int]]]:
        """
        Sum up: (row, 0 anonymous or 1 not, node, figures) each, CPU time in ns, figures by group.

        members: u32 target and group, each target once, those of a group together; a group that is
        all ones is none. Of a group memory counts once that several of it map; no groups where
        the source tells no frames.

        figures: resident, unseen, uncovered bytes; then per window bytes used at least, likely, at
        most, idle, idle and nobody else's.
        """

    def take_gone(self) -> list[tuple[int, array[int]]]:
        """
        Return what went since the last call: (target, bytes) each.

        bytes: of memory that likely was used within each length of time of `WINDOWS_NS`, and in
        none that is shorter, before it was missed.
        """

    def present(self) -> array[int]:
        """Return how many bytes of each target are mapped, as they were read last."""

    def take_returns(self) -> list[tuple[int, int, array[int]]]:
        """
        Return what was used again since the last call: (row, 0 anonymous or 1 not, figures) each.

        figures: bytes of what nobody else maps, by the longest of `WINDOWS_NS` they were idle for.
        """

    def look(self, target: int, start: int, end: int, /) -> None:
        """Read what is known of [start, end) now."""

    def ages(self, target: int, start: int, end: int, windows: Buffer, /) -> bytes: ...
    def runs(self, target: int, soon_ns: int, used_ns: int, most: int, /) -> array[int]:
        """
        Return where a target's memory is used alike, u64 each: start, end, then bytes there: in
        memory, of unknown use, used within soon_ns, within used_ns.
        """

    def parts(self, ranges: Buffer, soon_ns: int, used_ns: int, least: int, /) -> array[int]:
        """
        Cut ranges, u64 target, start, end each, where no page is in memory over `least` bytes.

        Return parts, u64 each: target, start, end, then bytes there: in memory, where nobody
        looked yet, of unknown use, used within soon_ns, within used_ns.
        """

    def covered(self) -> bool:
        """All was looked at once. `stats` goes through all tables; this does not."""

    def stats(self) -> PageMapStats: ...
    def close(self) -> None: ...

class KnownRegions:
    """Fast twin of `core.reference.known_regions`: regions as a map of pages knows them."""

    def __new__(cls) -> Self: ...
    def tell(
        self,
        target: Buffer,
        start: Buffer,
        end: Buffer,
        nr_accesses: Buffer,
        age: Buffer,
        unobservable: Buffer,
        words: Buffer,
        most: int,
        soon_ns: int,
        /,
    ) -> tuple[
        array[int],
        array[int],
        array[int],
        array[int],
        array[int],
        array[int],
        array[int],
        array[int],
        array[float],
    ]:
        """
        Return columns of what is told: of which region it was, then those of `Columns`.

        The arguments but the last are columns of regions; words: of what is known of them.
        """

class AddressMap:
    """
    The address map of a process as last read: struct address_map.

    `read` and `parse` return whether it is another one than before. They raise OSError, EILSEQ for
    a text that is none.
    """

    def read(self, tid: int, /) -> bool:
        """Read /proc/TID/maps."""

    def parse(self, text: Buffer, /) -> bool:
        """Take a text for what would be read."""

    def columns(self) -> tuple[array[int], array[int]]:
        """Return start and end of each mapping, u64, and the number of its kind, u32."""

    def kinds(self, first: int, /) -> list[bytes]:
        """Return the kinds from number `first` on: b"rw-p fd:01 NAME"."""

def mapping_words(bounds: Buffer, kinds: Buffer, words: Buffer, /) -> array[int]:
    """
    Return start, end and the word of the kind of each mapping that is wanted: address_words().

    bounds, kinds: as of `AddressMap.columns`; words: u64 of each kind, or MAPPING_LEFT_OUT.
    """

class SimStats(TypedDict):
    reads: int
    tables: int
    clears: int
    ranges: int
    missed: int

class SimWorld:
    """
    A simulated machine that charges, struct sim_world; see `backends.sim.workload` for what it is
    made of.

    areas: (process, start, end, first frame, from_ns, until_ns, huge, hidden); patterns: (kind,
    first frame, frame after the last, from_ns, until_ns, period_ns, on_ns, rate, rate_end, unit,
    group, levels, gain, seed, regular); costs: as `Costs.words`. overhead_ns: CPU time
    per second that clears of samples keep to, 0: no bound. Raises ValueError.
    """

    def __new__(
        cls,
        areas: Sequence[tuple[Any, ...]],
        patterns: Sequence[tuple[Any, ...]],
        costs: tuple[float, ...],
        overhead_ns: int = 0,
    ) -> Self: ...
    def native(self) -> object:
        """Return a capsule with the struct access_ops of this."""

    def set_targets(self, processes: Buffer, /) -> None:
        """Say which processes the targets of all calls are, u32; `truth` goes by processes."""

    def now_ns(self) -> int: ...
    def cpu_ns(self) -> int: ...
    def sleep_until(self, deadline_ns: int, /) -> int: ...
    def charge(self, ns: float, /) -> None:
        """Spend CPU time."""

    def read(self, target: int, start: int, end: int, /) -> bytes: ...
    def clear(self, target: int, ranges: Sequence[tuple[int, int]], /) -> int: ...
    def peek(self, target: int, start: int, nr: int, huge: bool = False, /) -> tuple[int, int]:
        """Read up to 64 entries; which are present and which of those young, as bits."""

    def turn(self, addresses: Buffer, targets: Buffer, checked: Buffer, /) -> bytes:
        """Return the results of the batch before, and prepare this one."""

    def take_cleared(self) -> int: ...
    def truth(
        self, ranges: Buffer, since_ns: int, until_ns: int, hot_rate: float, /
    ) -> array[float]:
        """Of ranges, u64 (process, start, end): (hot bytes, used bytes, uses) of each."""

    def stats(self) -> SimStats: ...

class SentinelStats(TypedDict):
    sentinels: int
    armed: int
    blind: int
    segments: int
    rounds: int
    wakes: int
    reads: int
    clears: int
    arms: int
    learned: int
    explored: int
    dropped: int
    cpu_ns: int
    read_ns: float
    clear_ns: float
    wake_ns: float
    learn_ns: float

class Sentinels:
    """
    A panel of sentinels, struct panel: over an access check, a simulated world, or an object with
    `read` and `clear` (see `core.look.Bulk`) and `now_ns`, whose costs are counted.

    share_ns: CPU time per second, with all that the thread does; clump: pages of a sentinel, a
    power of two up to 16; clock: the time that `run` sleeps in, None is the machine's; beside: a
    map that is told of what is cleared, and tells.
    """

    def __new__(
        cls,
        source: object,
        *,
        now_ns: int,
        share_ns: int = 3_000_000,
        seed: int = 0,
        clump: int = 16,
        clock: Clock | None = None,
        beside: PageMap | None = None,
    ) -> Self: ...
    def set_space(self, ids: Buffer, words: Buffer, /) -> None:
        """Replace targets, u32 ids, and their areas in order: u64 target, start, end."""

    def run(self, until_ns: int, /) -> tuple[bool, int]:
        """
        Step and sleep until a time; return whether that was reached, and by how much it was late.

        Raises `TargetGoneError` when every target is gone.
        """

    def step(self, now_ns: int, /) -> int:
        """Do what is due; return when to come again."""

    def stop(self) -> None:
        """Have `run` return early: the running one, or the next. From any thread."""

    def cut(
        self, sample_us: int, samples: int, used_us: int, least: int, most: int, /
    ) -> tuple[
        array[int],
        array[int],
        array[int],
        array[int],
        array[int],
        array[int],
        array[int],
        array[float],
        array[float],
        array[float],
        array[float],
    ]:
        """
        Conclude from a window of so many samples, and return at least and at most so many regions.

        As columns: target u32, start and end u64, nr_accesses and age u32, unobservable bytes and
        those used within used_us u64; accesses of a page a second, its credible interval's ends,
        and accesses of a window before what is less than one was carried over, float.
        """

    def renew(self, target: int, start: int, end: int, /) -> None:
        """Set the age of regions to 0: something was done to them."""

    def rescale(self, old_us: int, new_us: int, /) -> None:
        """Count ages in windows of another length."""

    def before_clear(self, target: int, runs: Buffer, /) -> None:
        """Take note of accesses in runs, u64 start and size each: they will be cleared."""

    def set_stopped(self, still: Buffer, /) -> None:
        """Tell of each target, a byte, whether it stands still."""

    def seen(self, target: int, start: int, end: int, now_ns: int, /) -> None:
        """Note that somebody found pages of [start, end) young, and clears them."""

    def stats(self) -> SentinelStats: ...
    def close(self) -> None: ...

class Learner:
    """
    The learn pass alone, see `core.reference.sentinels.Learner`.

    A sentinel is 18 numbers: place, pages, flags, pool, touched, waited_s, and what is known and
    what is fresh of it, each three hits and three risks.
    """

    def learn(self, rows: Buffer, weight: float, memory: float, /) -> array[float]:
        """Learn from sentinels in order, and return them as they are then."""

    def found(
        self,
    ) -> tuple[
        list[tuple[int, int, float, float, float]],
        list[tuple[int, int]],
        tuple[float, float, float, float],
    ]:
        """Return segments (first, end, rate, low, high), changes since last asked, surprises."""

    def share(self, segment: int, window_s: float, /) -> float:
        """Return the share of a segment's pages that are accessed within a time."""

class AccessBpf:
    """
    The access check of the backend bpf: struct access_bpf.

    overhead_ns: CPU time per second for the calling thread; first_sweep_ns, steady_sweep_ns:
    likewise for the sweeps; page_idle: path of the bitmap to clear with; ignore_folios: ask
    /proc/kpageflags even where BPF knows. Raises OSError with what failed in the self-test.
    """

    def __new__(
        cls,
        walker: Walker,
        *,
        overhead_ns: int = 10_000_000,
        first_sweep_ns: int = 0,
        steady_sweep_ns: int = 0,
        follow_from: int = 0,
        page_idle: str | None = None,
        ignore_folios: bool = False,
    ) -> Self: ...
    def set_targets(self, processes: Sequence[tuple[int, int, int]], /) -> None:
        """Replace the targets, (id, pid, pidfd) each; those of a known id keep what is known."""

    def set_mappings(self, target: int, words: Buffer, /) -> None:
        """Tell a target's map as u64 (start, end, 1 if it may be swept), in address order."""

    def settled(self) -> bool:
        """Tell whether nothing changed that `set_targets` and `set_mappings` would settle."""

    def rest(self, resting: Buffer, /) -> None:
        """Tell whose turn it is not: a byte for each target, not 0 until told otherwise."""

    def turn(self, addresses: Buffer, targets: Buffer, checked: Buffer, /) -> bytes:
        """
        Check the last batch, prepare this one (u64, u32, u32); `Check` values of the last.

        Raises ProcessLookupError when every target is gone.
        """

    def take_cleared(self) -> int: ...
    def exempt(self, ns: int, /) -> None:
        """Do not count so much of the thread's CPU time: it was spent on something else."""

    def native(self) -> object:
        """The capsule for the C sampler; not to be used after close()."""

    def unobservable(self, target: int, /) -> list[tuple[int, int, str]]:
        """Mappings that the kernel refused to clear, and why."""

    def self_test(self) -> tuple[float, float]:
        """Repeat the self-test: µs per read and per young clear. Forgets all targets."""

    def stats(self) -> AccessStats: ...
    def close(self) -> None: ...

def page_walk(
    machine: int, levels: int, before: Buffer, after: Buffer, turn: int, root: int, addr: int, /
) -> tuple[int, int, int]:
    """
    The walk of the BPF programs over a made-up physical memory: (entry, meta, reads done).

    machine: 0 x86-64, 1 arm64. From read number `turn` on, `after` is seen instead of `before`.
    """

def page_decode(
    machine: int, levels: int, entry: int, meta: int, addr: int, none_bit: int = -1, /
) -> tuple[int, int, int, int, int, int]:
    """What an entry says: (state, pfn, level, young, dirty, write)."""

def btf_lookup(data: Buffer, name: str, kind: int, member: str, /) -> tuple[int, int, int]:
    """(id, byte offset of the member or -1, value of the enumerator or -1); OSError if damaged."""

def bpf_program(data: Buffer, section: str, symbols: list[tuple[str, int, int]], /) -> bytes:
    """Instructions of a section, the symbols (name, kind, value) put in; OSError if damaged."""

class SurveySources(TypedDict):
    """What a survey can look at: accessed bits, flags of page frames, cgroups, huge mappings."""

    accessed: bool
    flags: bool
    cgroups: bool
    huge: bool

class Survey:
    """
    What a piece of another process' memory consists of: struct survey; one thread at a time.

    Runs are bytes of (start, size) pairs of u64; facts are of enum page_fact. Without a walker,
    accessed bits and huge mappings are unknown; without a map of pages nothing is known of what
    others found young and cleared.
    """

    def __new__(cls, walker: Walker | None = None, page_map: PageMap | None = None, /) -> Self: ...
    def read(self, pagemap_fd: int, target: int, start: int, end: int, detail: int = 1, /) -> None:
        """
        Look at [start, end), at most 4 GiB; ProcessLookupError if that memory is gone.

        detail: enum survey_detail, 0 page-table entries, 1 folios as well, 2 cgroups as well.
        """

    def ask(self, idle_ns: int, /) -> bool:
        """
        Have `read` with detail 1 and more tell what was used in the last `idle_ns`, by the map.

        False without a map: what is young was used.
        """

    def recall(self, target: int, now_ns: int, /) -> None:
        """Tell that of the pages surveyed now, as `read` does."""

    def tell(self, target: int, runs: Buffer, /) -> None:
        """Tell the map that the young pages of `runs` are about to be cleared."""

    def may_be_idle(self, target: int, start: int, end: int, /) -> tuple[bytes, bool]:
        """
        Return the blocks of 2 MiB, as runs, where the map knows of a page that may be idle.

        Also whether a page elsewhere in [start, end) was not watched for so long.
        """

    def find_huge(
        self,
        pagemap_fd: int,
        target: int,
        start: int,
        end: int,
        *,
        space: int = 0,
        rules: Buffer = b"",
    ) -> bytes:
        """
        Return the blocks of 2 MiB in [start, end) that are huge pages, as runs.

        Left out is what `rules` refused lately for its contents; space: a number for the address
        space. See survey_find_huge().
        """

    def has_blocks(
        self, target: int, start: int, end: int, space: int, rules: Buffer, huge: bool, /
    ) -> bool:
        """Tell whether blocks there may be of use to an action; see survey_has_blocks()."""

    def was_split(self, space: int, runs: Buffer, /) -> None:
        """Keep in mind that these blocks, a run each, were split for their zeros."""

    def contents_read(self) -> tuple[int, int]:
        """Of how many huge pages contents were read, and the errno of one that could not be."""

    def load(self, start: int, facts: Buffer, cgroups: Buffer, /) -> None:
        """Take facts (u16 per page) and cgroups (u64 per page) as if they had been read."""

    def facts(self) -> bytes:
        """u16 per page."""

    def pick(
        self,
        start: int,
        end: int,
        need: int,
        avoid: int,
        *,
        rules: Buffer = b"",
        reject_rest: bool = False,
        strict: bool = False,
        max_run: int = 0,
        min_present: int = 0,
        min_dense: int = 0,
        contents_of: tuple[int, int] = (0, 0),
    ) -> tuple[bytes, int]:
        """
        Runs of the whole folios whose middle is in [start, end), and bytes that the rules let by.

        rules: five u64 each, struct survey_rule; max_run: in bytes, 0 for no limit; contents_of:
        pid and number of the address space, where contents may be read; (0, 0): they are unknown.
        """

    def blocks(
        self,
        start: int,
        end: int,
        need: int,
        avoid: int,
        *,
        rules: Buffer = b"",
        reject_rest: bool = False,
        strict: bool = False,
        max_run: int = 0,
        min_present: int = 0,
        min_dense: int = 0,
        contents_of: tuple[int, int] = (0, 0),
    ) -> tuple[bytes, int]:
        """As `pick`, but for aligned blocks of 2 MiB, a run each; see survey_blocks()."""

    def count(self, runs: Buffer, need: int, avoid: int, /) -> int:
        """Bytes of the runs with all facts of `need` and none of `avoid`."""

    def sources(self) -> SurveySources: ...
    def close(self) -> None: ...

def advise(pidfd: int, advice: int, max_bytes: int, ranges: Buffer, /) -> bytes:
    """
    process_madvise on runs: 0 or an errno for each; raises OSError where the target is refused.

    max_bytes: of one call, 0 for no limit; see advise_ranges().
    """

def fault_in(pid: int, ranges: Buffer, /) -> int:
    """Read a byte of each page of the runs; returns of how many. See fault_in_pages()."""

def give_back_memory() -> None:
    """Give freed memory back to the system, of which glibc keeps much."""

def keep_little_memory() -> None:
    """
    Let glibc use one heap for all threads, and give back what is freed of large things.

    For a process of our own, before it has threads: it is the whole process' memory.
    """

def coalesce(areas: Buffer, max_ranges: int, /) -> array[int]:
    """
    Return start and end of at most `max_ranges` ranges that hold all visible areas: coalesce.h.

    areas: u64 start, end, flags (AREA_VISIBLE, AREA_HIDDEN) of each, in address order.
    """

class DamoJson:
    """Reads damo's records as they come; events are tuples that begin with their name."""

    def feed(self, data: Buffer, /) -> None:
        """Add bytes."""

    def next(self) -> tuple[Any, ...] | None:
        """Return the next event, None if more is needed; raises ValueError for nonsense."""

    @property
    def position(self) -> int:
        """How many bytes were read."""

class DamoScript:
    """Reads what tracers print of damon_aggregated as it comes."""

    def feed(self, data: Buffer, /) -> None:
        """Add bytes."""

    def end(self) -> None:
        """Say that nothing follows."""

    def next(self) -> tuple[Any, ...] | None:
        """Return the next event, None if more is needed."""

    @property
    def bad(self) -> tuple[int, int]:
        """How many lines could not be read, and the number of the first."""

class Scan:
    """
    The regions of a block of a recording, many windows at a time.

    rows: how many windows; offsets: i32, rows + 1; then u32 target, u64 start, end, u32
    nr_accesses, u64 unobservable of the regions; u64 sample_us, aggr_us, i64 start_ns, end_ns of
    the windows; then f64 heat of the regions, if that is told apart, or nothing. Raises
    ValueError for columns that are too short, and offsets that do not rise.
    """

    def __new__(cls, rows: int, /, *columns: Buffer) -> Self: ...
    def check(self, low: int, high: int, nr_targets: int, /) -> str | None:
        """Return what is wrong with the regions of rows [low, high); None if nothing is."""

    def check_used(
        self, low: int, high: int, valid: Buffer, offsets: Buffer, used: Buffer, /
    ) -> bool:
        """Tell whether what was used of regions is told of each, and not more than there is."""

    def used(
        self, low: int, high: int, least_percent: float, shares: bool, /
    ) -> tuple[bytes, bytes]:
        """Return used and unobservable bytes of each row, u64; raises OverflowError."""

    def runs(self, low: int, high: int, nr_targets: int, /) -> tuple[list[bytes], bytes]:
        """
        Return the runs of rows, u64 (target, start, end), where they change, and f64 byte-samples
        accessed of each target.
        """

    def heat(
        self,
        low: int,
        high: int,
        target: int,
        gap_starts: Buffer,
        gap_ends: Buffer,
        row_starts: Buffer,
        row_ends: Buffer,
        hot: Buffer,
        seen: Buffer,
        unseen: Buffer,
        peak: Buffer,
        columns: int,
        start_ns: int,
        end_ns: int,
        /,
    ) -> None:
        """
        Add what falls into the cells of a grid, f64 byte-nanoseconds.

        peak: the highest rate of a region in each, 0..1.
        """
