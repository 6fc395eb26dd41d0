"""What can go, as lines for people and as data: for recordings and for the live command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from isotherm.analysis.cold import FAULT_NS, Cold, ColdAge, ColdPart, FaultCost
from isotherm.analysis.page_use import curve
from isotherm.kernel.swap import SwapDevice
from isotherm.report import contents, pages
from isotherm.report.output import Report
from isotherm.session.contents import Contents
from isotherm.terminal.table import Column, names, table
from isotherm.terminal.text import columns_of, labelled, short_size, target_title
from isotherm.units import format_duration, format_size

_INDENT = 15
MAX_ROWS = 12
#: So many ages have a column in the table of mappings.
_COLUMNS = 3
#: What came back before is told where it was so many pages a second, and so many times more.
_NEWS_PER_S, _NEWS_TIMES = 1, 2
#: Words of a command, each with what it has in quotes.
_WORDS = re.compile(r"""(?:'[^']*'|"[^"]*"|[^\s'"])+""")
_MAKE_ZRAM = (
    "sudo modprobe zram && Z=$(sudo zramctl -f -s {size}) && "
    "sudo mkswap $Z && sudo swapon -p 100 $Z"
)


@dataclass(frozen=True, slots=True)
class Swap:
    """
    What is known of swap space: free_bytes, None where it is not known; devices, and what memory
    cgroups leave of it to the target that has least, None for no limit: of this machine now.
    """

    free_bytes: int | None
    devices: tuple[SwapDevice, ...] | None = None
    left_bytes: int | None = None

    @property
    def usable_bytes(self) -> int | None:
        """What of it the targets may take."""
        if self.free_bytes is None or self.left_bytes is None:
            return self.free_bytes
        return min(self.free_bytes, self.left_bytes)

    @property
    def medium(self) -> str:
        """Where pages would go: where the first device with room is, else zram, to be made."""
        free = (device for device in self.devices or () if device.free_bytes)
        return next((device.medium for device in free), "zram")

    @property
    def cost(self) -> FaultCost:
        """What a page that comes back takes."""
        return FaultCost(FAULT_NS[self.medium], FAULT_NS["ssd"])


def report(
    found: Cold, swap: Swap, schema: str, width: int, inside: Contents | None = None
) -> Report:
    """Return the whole of it, in all forms; inside: what was found in memory itself."""
    return Report(
        schema,
        {"by": "pages", **document(found, swap, inside)},
        rows(found),
        lines(found, swap, width, inside),
    )


def lines(found: Cold, swap: Swap, width: int, inside: Contents | None = None) -> list[str]:
    """Return what people read: by age, by name, and what to do."""
    use = found.use
    about = f" called {found.names}" if found.names is not None else ""
    watched = format_duration(use.watched_ns)
    head = (
        f"{target_title(found.targets)}: memory{about} by how long it was not used   "
        f"{format_size(use.resident)} resident, watched for {watched}"
    )
    made = labelled("", head, width, 0)
    for label, text in pages.headlines(use, curve(use)):
        made += labelled(label, text, width, _INDENT)
    if not found.ages:
        return [*made, *labelled("", "nothing was watched for long enough yet", width, 1)]
    made += _age_table(found.ages, width)
    made += _name_table(found, width)
    for label, text in [*_facts(found, swap), *contents.facts(found, inside)]:
        made += labelled(label, text, width, _INDENT)
    for title, typed in [*_commands(found, swap), *contents.commands(found, inside)]:
        made += [*labelled("", title, width, 1), *_typed(typed, width)]
    return made


def _typed(command: str, width: int) -> list[str]:
    """Return a command as it may be typed or copied: broken between words only."""
    made: list[str] = []
    for word in _WORDS.findall(command):
        if made and columns_of(made[-1]) + columns_of(word) + 3 <= width:
            made[-1] += f" {word}"
        else:
            made.append(f"  {word}")
    return [f"{line} \\" for line in made[:-1]] + made[-1:]


def _commands(found: Cold, swap: Swap) -> Iterator[tuple[str, str]]:
    """Yield what commands are for, and the commands."""
    best = found.best
    if best is None:
        return
    if not swap.free_bytes and swap.free_bytes is not None and best.could.swap_bytes:
        size = max(1, -(-best.could.swap_bytes // (1 << 30)))
        yield "swap in memory, compressed:", _MAKE_ZRAM.format(size=f"{size}G")
    yield "to do it:", found.command(best.age_ns)


def _age_table(ages: Sequence[ColdAge], width: int) -> list[str]:
    columns = [
        Column("not used for"),
        Column("memory"),
        Column("could go"),
        Column("of it to swap", rank=2),
        Column("would come back"),
        Column("stall", rank=1),
    ]
    cells = [
        [
            format_duration(age.age_ns),
            short_size(age.idle_bytes),
            short_size(age.moved_bytes),
            short_size(age.could.swap_bytes),
            _per_second(age),
            _stall(age),
        ]
        for age in ages
    ]
    return table(columns, cells, width)


def _per_second(age: ColdAge) -> str:
    rate = age.refaults_per_s
    if rate is None:
        return "?"
    return _pages(rate) if rate else "none"


def _pages(rate: float) -> str:
    return f"{rate:,.0f} pages/s" if rate >= 9.95 else f"{max(rate, 0.1):.1f} pages/s"


def _stall(age: ColdAge) -> str:
    share = age.stall_share
    if share is None:
        return "?"
    return "-" if not share else ("<0.01%" if share < 0.0001 else f"{share:.2%}")


def _name_table(found: Cold, width: int) -> list[str]:
    told = _told_places(found)
    at = _best_place(found)
    several = len({part.part.kind for part in found.parts}) > 1
    blind = any(part.part.unknown for part in found.parts)
    age = format_duration(found.ages[at].age_ns)
    columns = [names("what"), *([Column("kind", right=False, rank=5)] if several else [])]
    columns += [Column("resident", rank=2)]
    columns += [
        Column(f"idle {format_duration(found.ages[i].age_ns)}", rank=1 + (i != at)) for i in told
    ]
    columns += [Column(f"could go {age}")]
    columns += [Column("unknown", rank=4)] if blind else []
    cells = [
        [
            part.part.name,
            *([part.part.kind or "-"] if several else []),
            short_size(part.part.row.resident),
            *(short_size(part.idle[i]) for i in told),
            short_size(part.could_go[at]),
            *([short_size(part.part.unknown)] if blind else []),
        ]
        for part in found.parts[:MAX_ROWS]
    ]
    made = table(columns, cells, width)
    if rest := found.parts[MAX_ROWS:]:
        size = format_size(sum(part.part.row.resident for part in rest))
        made += labelled("", f"and {len(rest)} others, {size} resident", width, 1)
    return made


def _told_places(found: Cold) -> list[int]:
    """Return the places of ages that have a column: the suggested one, the oldest, and between."""
    nr = len(found.ages)
    chosen = {0, nr - 1, _best_place(found)}
    return sorted(chosen)[:_COLUMNS]


def _best_place(found: Cold) -> int:
    return len(found.ages) - 1 if found.best is None else found.ages.index(found.best)


def _facts(found: Cold, swap: Swap) -> list[tuple[str, str]]:
    """Return labels and texts: what to do, what it gives and costs, and what stays."""
    best = found.best
    made: list[tuple[str, str]] = []
    if best is not None:
        made.append(("scheme", found.scheme(best.age_ns)))
        made.append(("frees", _frees(best)))
        made.append(("costs", _costs(best, swap)))
    stays = _stays(found)
    if stays:
        made.append(("stays", stays))
    made.append(("swap", swap_text(found, swap)))
    made.append(("unknown", pages.unknown_text(found.use)))
    return made


def _frees(age: ColdAge) -> str:
    size = format_size(age.could.bytes) if age.could.bytes else "nothing"
    said = f"{size} that was not used for {format_duration(age.age_ns)}"
    if age.could.file_bytes and age.could.bytes > age.could.file_bytes:
        said += f", of it {format_size(age.could.file_bytes)} of files"
    elif age.could.file_bytes:
        said += ", all of it of files"
    parts = [said]
    if age.could.lacking_bytes:
        more = "more " if age.could.bytes else ""
        parts.append(f"{format_size(age.could.lacking_bytes)} {more}with swap space for it")
    return "; ".join(parts)


def _costs(age: ColdAge, swap: Swap) -> str:
    rate, share = age.refaults_per_s, age.stall_share
    if rate is None or share is None:
        return "not known: only a map of single pages sees what comes back"
    counted = format_duration(age.counted_ns)
    if age.earlier_ns:
        seen = f"in the last {counted} of {format_duration(age.seen_ns)} that this could be seen"
    else:
        seen = f"in the {counted} that this could be seen"
    if not rate:
        said = f"nothing came back after that time {seen}"
    else:
        each = format_duration(age.cost.swap_ns)
        where = {"zram": "zram", "ssd": "an SSD", "disk": "a disk"}.get(swap.medium, "swap")
        said = (
            f"{_pages(rate)} came back after that time {seen}: {_stall(age)} of the time, if a "
            f"page takes {each} from {where}"
        )
    earlier = age.earlier_per_s or 0.0
    if earlier >= _NEWS_PER_S and earlier > _NEWS_TIMES * rate:
        said += (
            f"; before, {_pages(earlier)}: so it is while a load begins, and when something comes "
            "round more seldom than that"
        )
    return said


def _stays(found: Cold) -> str:
    at = _best_place(found)
    stays = found.ages[at].idle_bytes - found.ages[at].moved_bytes
    if stays < max(1 << 20, found.ages[at].idle_bytes // 100):
        return ""
    age = format_duration(found.ages[at].age_ns)
    return (
        f"{format_size(stays)} of what was not used for {age}: shared memory, what several "
        "processes map, written pages of shared files, and what nobody can be sure of"
    )


def swap_text(found: Cold, swap: Swap) -> str:
    """Return what swap space there is; without any, what it would give and how it is made."""
    if swap.free_bytes is None:
        return "not known how much there was"
    needs = 0 if found.best is None else found.best.could.swap_bytes
    if not swap.free_bytes and not swap.devices:
        if not needs:
            return "none, and nothing that needs it"
        return f"none; with it, or zram, {format_size(needs)} could go"
    parts = [f"{format_size(swap.free_bytes)} free"]
    for device in swap.devices or ():
        said = f"{device.path} ({device.medium}) {format_size(device.free_bytes)} free"
        if device.stored_bytes and device.taken_bytes:
            said += f", keeps {device.stored_bytes / device.taken_bytes:.1f} bytes in one"
        parts.append(said)
    if swap.left_bytes is not None:
        parts.append(f"a memory cgroup leaves {format_size(swap.left_bytes)} of it to a target")
    return "; ".join(parts)


def document(found: Cold, swap: Swap, inside: Contents | None = None) -> dict[str, Any]:
    """Return the answer as JSON has it."""
    best = found.best
    return {
        "targets": [{"id": t.id, "name": t.name, "pid": t.pid} for t in found.targets],
        "names": found.names,
        "watched_ns": found.use.watched_ns,
        "stopped_ns": found.use.stopped_ns,
        "exact": found.use.exact,
        "resident_bytes": found.use.resident,
        "unseen_bytes": found.use.unseen,
        "uncovered_bytes": found.use.uncovered,
        "ages": rows(found),
        "best_age_ns": None if best is None else best.age_ns,
        "mappings": [_part_document(found, part) for part in found.parts],
        **contents.document(inside),
        "swap": {
            "free_bytes": swap.free_bytes,
            "left_bytes": swap.left_bytes,
            "devices": [
                {
                    "path": device.path,
                    "medium": device.medium,
                    "size_bytes": device.size_bytes,
                    "free_bytes": device.free_bytes,
                    "stored_bytes": device.stored_bytes,
                    "taken_bytes": device.taken_bytes,
                }
                for device in swap.devices or ()
            ],
        },
    }


def _part_document(found: Cold, part: ColdPart) -> dict[str, Any]:
    return {
        "what": part.part.name,
        "kind": part.part.kind,
        "resident_bytes": part.part.row.resident,
        "unknown_bytes": part.part.unknown,
        "ages": [
            {
                "age_ns": age.age_ns,
                "idle_bytes": part.idle[i],
                "could_go_bytes": part.could_go[i],
                "returned_bytes": None if part.returned is None else part.returned[i],
            }
            for i, age in enumerate(found.ages)
        ],
    }


def rows(found: Cold) -> list[dict[str, Any]]:
    """Return a flat record for each age."""
    return [
        {
            "age_ns": age.age_ns,
            "idle_bytes": age.idle_bytes,
            "could_go_bytes": age.moved_bytes,
            "could_free_bytes": age.could.bytes,
            "file_bytes": age.could.file_bytes,
            "needs_swap_bytes": age.could.swap_bytes,
            "returned_bytes": None
            if age.returned_file is None or age.returned_swap is None
            else age.returned_file + age.returned_swap,
            "counted_ns": age.counted_ns,
            "refaults_per_s": age.refaults_per_s,
            "earlier_ns": age.earlier_ns,
            "earlier_refaults_per_s": age.earlier_per_s,
            "stall_share": age.stall_share,
            "scheme": found.scheme(age.age_ns),
            "command": found.command(age.age_ns),
        }
        for age in found.ages
    ]
