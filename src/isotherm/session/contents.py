"""
Looks at what memory holds, where somebody asked for that: counted, and never kept.

How compressible idle pages are; which huge pages hold nothing but zeros for the most part; and,
without a look at any content, which hot memory in small pages could be huge.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from isotherm.errors import IsothermError, NotSupportedError, TargetGoneError
from isotherm.kernel import procfs
from isotherm.kernel.pages import contents
from isotherm.kernel.pages.pagemap import opened
from isotherm.kernel.smaps import parse_smaps
from isotherm.model.ranges import PAGE, Range, parts
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping as MappingOf
from isotherm.model.text import NamePattern
from isotherm.recording.zstd import page_compressor

BLOCK = 2 << 20
#: So many pages are compressed, and huge pages looked through, at most.
SAMPLED_PAGES, SAMPLED_BLOCKS = 2048, 512
_TRIES = 16
#: zram keeps a page as it is that does not get smaller than this.
_INCOMPRESSIBLE = PAGE * 3 // 4
#: Memory of which so much was used lately is hot all over.
_DENSE = 0.9
#: Of huge pages so much must be zeros to be called bloated.
BLOATED = 0.5
_ZEROS = bytes(PAGE)

Maps = Mapping[int, Sequence[MappingOf]]


@dataclass(slots=True)
class Compression:
    """
    What became of sampled pages that were mostly idle.

    pages: how many; filled: those of one and the same word, which zram keeps for nothing; best,
    fast: bytes that zram would keep of them all, as zstd compresses and about as lzo and lz4 do.
    """

    pages: int = 0
    filled: int = 0
    best: int = 0
    fast: int = 0

    @property
    def share(self) -> tuple[float, float]:
        """The parts of their size that are left: by zstd, and by lzo and lz4."""
        whole = max(1, self.pages * PAGE)
        return self.best / whole, self.fast / whole

    def add(self, page: memoryview) -> None:
        """Count a page."""
        self.pages += 1
        if page == bytes(page[:8]) * (PAGE // 8):
            self.filled += 1
            return
        best, fast = (compress(page) for compress in (_BEST, _FAST))
        self.best += best if best < _INCOMPRESSIBLE else PAGE
        self.fast += fast if fast < _INCOMPRESSIBLE else PAGE


#: At -5 zstd leaves what lz4 does on zram, with zram's own losses, within some percent.
_BEST, _FAST = page_compressor(3), page_compressor(-5)


@dataclass(slots=True)
class HugePages:
    """
    Huge pages of mappings of one name, in bytes.

    huge: what is in huge pages; gains: hot all over and not in huge pages, in whole blocks of
    2 MiB; looked: of what is huge, how much was looked through; zeros: of that, small pages of
    nothing but zeros.
    """

    huge: int = 0
    gains: int = 0
    looked: int = 0
    zeros: int = 0

    @property
    def bloat(self) -> int:
        """Bytes of zeros in all of what is huge, by what was looked through."""
        return round(self.huge * self.zeros / self.looked) if self.looked else 0


@dataclass(slots=True)
class Contents:
    """What was found; huge: by the name of mappings; note: why something is not known."""

    compression: Compression | None = None
    huge: dict[str, HugePages] = field(default_factory=dict)
    looked_at_zeros: bool = False
    note: str = ""


def look_at(
    last: Snapshot,
    mappings: Maps,
    *,
    names: str | None,
    compression: bool,
    zeros: bool,
) -> Contents:
    """
    Look at the memory of a snapshot's targets, which are alive.

    mappings: their address maps, by id; names: only of mappings that this `NamePattern` means;
    compression, zeros: look at contents for that.
    """
    pattern = None if names is None else NamePattern(names)
    found = Contents(looked_at_zeros=zeros)
    try:
        if compression:
            found.compression = _compression(last, mappings, pattern)
        for index, target in enumerate(last.targets):
            if target.pid is None:
                continue
            maps = [m for m in mappings.get(target.id, ()) if _is_meant(m, pattern)]
            with suppress(TargetGoneError):
                _huge_pages(found, last, index, target.pid, maps)
                if zeros:
                    _zeros(found, target.pid, maps)
    except NotSupportedError as err:
        found.note = f"{err.message}: {err.hint}"
    except IsothermError as err:
        found.note = err.message
    return found


def _is_meant(mapping: MappingOf, pattern: NamePattern | None) -> bool:
    """Tell whether it is private memory that nobody has a file for, of these names."""
    return (
        mapping.is_anonymous
        and mapping.permissions.startswith("rw")
        and not mapping.permissions.endswith("s")
        and (pattern is None or pattern.matches(mapping.title))
    )


def _compression(last: Snapshot, mappings: Maps, pattern: NamePattern | None) -> Compression:
    """Compress pages that are drawn from where memory is idle, the more the more is."""
    found = Compression()
    draw = random.Random(last.end_ns)  # noqa: S311 - a sample, no secret
    places = list(_idle_parts(last, mappings, pattern))
    if not places:
        return found
    weights = [weight for _, _, weight in places]
    chosen: dict[int, set[int]] = {}
    for pid, part, _ in draw.choices(places, weights, k=SAMPLED_PAGES * 2):
        chosen.setdefault(pid, set()).add(draw.randrange(part.start, part.end, PAGE))
    for pid, addresses in chosen.items():
        with suppress(TargetGoneError), opened(pid) as descriptor:
            present = [at for at in sorted(addresses) if _is_there(descriptor, at)]
            for page in contents.read_pages(pid, present, PAGE):
                if found.pages < SAMPLED_PAGES:
                    found.add(page)
    return found


def _is_there(descriptor: int, at: int) -> bool:
    """Tell whether a page is in memory and was written to: what is out would be brought back."""
    wanted, not_so = contents.PRESENT, contents.FILE | contents.ZERO_FRAME
    return any(True for _ in contents.scan(descriptor, at, at + PAGE, wanted, not_so))


def _idle_parts(
    last: Snapshot, mappings: Maps, pattern: NamePattern | None
) -> Iterator[tuple[int, Range, int]]:
    """Yield pid, addresses, and bytes that were not used lately, where there are such."""
    for region in last.columns:
        target = last.targets[region.target]
        if target.pid is None or region.used is None or region.used >= region.size:
            continue
        idle = (region.size - region.used) / region.size
        for mapping, part in parts(mappings.get(target.id, ()), region.start, region.end):
            size = part.end - part.start
            if _is_meant(mapping, pattern) and size >= PAGE:
                yield target.pid, part, max(1, round(idle * size))


def _blocks(ranges: Iterator[Range]) -> Iterator[int]:
    """Yield the addresses of whole blocks of 2 MiB in ranges, of which neighbours are joined."""
    start = end = 0
    for part in ranges:
        if part.start != end:
            yield from range(start + -start % BLOCK, end - BLOCK + 1, BLOCK)
            start = part.start
        end = part.end
    yield from range(start + -start % BLOCK, end - BLOCK + 1, BLOCK)


def _huge_pages(
    found: Contents, last: Snapshot, index: int, pid: int, maps: Sequence[MappingOf]
) -> None:
    """Add what is huge, and what is hot all over and is not, though it may be."""
    may = b"\nTHP_enabled:\t0\n" not in procfs.read(pid, "status")
    refused = [one.mapping for one in parse_smaps(procfs.read(pid, "smaps")) if "nh" in one.flags]
    dense = [
        Range(region.start, region.end)
        for region in last.columns
        if region.target == index and (region.used or 0) >= _DENSE * region.size
    ]
    with opened(pid) as descriptor:
        for mapping in maps:
            of = found.huge.setdefault(mapping.title, HugePages())
            huge = contents.scan(descriptor, mapping.start, mapping.end, contents.HUGE)
            of.huge += sum(part.size for part in huge)
            if not may or any(True for _ in parts(refused, mapping.start, mapping.end)):
                continue
            for _, hot in parts(dense, mapping.start, mapping.end):
                small = contents.scan(
                    descriptor, hot.start, hot.end, contents.PRESENT, contents.HUGE
                )
                of.gains += BLOCK * sum(1 for _ in _blocks(small))


def _zeros(found: Contents, pid: int, maps: Sequence[MappingOf]) -> None:
    """Look through some huge pages, spread over all of them, for small pages of zeros."""
    with opened(pid) as descriptor:
        for mapping in maps:
            of = found.huge[mapping.title]
            parts_ = contents.scan(descriptor, mapping.start, mapping.end, contents.HUGE)
            blocks = list(_blocks(parts_))
            every = max(1, -(-len(blocks) // SAMPLED_BLOCKS))
            for block in contents.read_pages(pid, blocks[::every], BLOCK):
                of.looked += BLOCK
                of.zeros += PAGE * sum(
                    block[at : at + PAGE] == _ZEROS for at in range(0, BLOCK, PAGE)
                )
