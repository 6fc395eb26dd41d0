"""What a map of pages knows, as lines for people and as data: for every view that has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from isotherm.analysis.could_free import CouldFree, idle_age_ns
from isotherm.analysis.hotness import Heat, total
from isotherm.analysis.page_use import (
    TOLD_NS,
    Ages,
    Part,
    Used,
    by_group,
    by_kind,
    by_mapping,
    by_node,
    by_target,
    covered,
    curve,
    idle_ages,
    likely_idle,
)
from isotherm.analysis.summary import Summary, resident
from isotherm.analysis.use_windows import told_window_ns
from isotherm.model.page_use import Kind, PageUse, summed
from isotherm.model.target import Group, Target
from isotherm.report.sorting import Sort, part_keys
from isotherm.terminal.table import Column, names, table
from isotherm.terminal.text import columns_of, labelled, short_size
from isotherm.units import format_duration, format_size

#: Rows of a table of parts; the rest is summed up in one.
MAX_ROWS = 12
#: Columns of what was used, in a table of parts.
_COLUMNS_NS = (1_000_000_000, 10_000_000_000)
#: Ages that people are told of.
_TOLD_AGES_NS = tuple(s * 1_000_000_000 for s in (1, 10, 60, 600, 3600, 86_400))
#: Less than this share of what is resident is not worth a headline.
_WORTH_SHARE = 0.01
_KINDS: dict[Kind, str] = {
    "anon": "anonymous memory",
    "file": "memory of files",
    "shmem": "shared memory",
}


def sizes(used: Used) -> str:
    """Return a size, with its bounds where they are others: "9 MiB (8 MiB to 20 MiB)"."""
    return " ".join(filter(None, (format_size(used.bytes), bounds(used))))


def bounds(used: Used) -> str:
    """Return "(8 MiB to 20 MiB)", a bound that is the size itself left out; "" for none."""
    best, low, high = map(format_size, (used.bytes, used.low_bytes, used.high_bytes))
    if low == high:
        return ""
    if low == best:
        return f"(to {high})"
    return f"({low} to {high})" if high != best else f"(from {low})"


def listed(label: str, items: Sequence[str], width: int, indent: int) -> list[str]:
    """Return lines with as many of the items as fit on each; none is broken unless it must be."""
    lines: list[str] = []
    for item in items:
        if lines and columns_of(lines[-1]) + 3 + columns_of(item) <= width - indent:
            lines[-1] += f"   {item}"
        else:
            lines.append(item)
    made = []
    for i, line in enumerate(lines):
        made += labelled("" if i else label, line, width, indent)
    return made


def curve_items(points: Sequence[Used]) -> list[str]:
    """Return what was used within each time worth telling, "-" for those not reached."""
    if not points:
        return ["nothing known yet"]
    by_length = {point.window_ns: point for point in points}
    items = []
    for window_ns in TOLD_NS:
        found = by_length.get(window_ns)
        items.append(f"{format_duration(window_ns)} {'-' if found is None else sizes(found)}")
    whole = points[-1]
    if whole.window_ns not in TOLD_NS:
        items.append(f"whole {format_duration(whole.window_ns)} {sizes(whole)}")
    return items


def age_items(ages: Ages) -> list[str]:
    """Return what is resident by how long it was not used; the items are all of it."""
    told = [idle for idle in ages.ages if idle.age_ns in _TOLD_AGES_NS]
    if not told:
        told = [idle for idle in ages.ages if idle.bytes][-1:] or list(ages.ages[:1])
    known = ages.recent_bytes + sum(idle.only_bytes for idle in ages.ages)
    first = format_duration(told[0].age_ns) if told else ""
    recent = known - (told[0].bytes if told else 0)
    items = [f"under {first} {format_size(recent)}"] if told else [format_size(known)]
    for idle, longer in zip(told, [*told, None][1:], strict=True):
        upto = "" if longer is None else format_duration(longer.age_ns)
        size = idle.bytes - (0 if longer is None else longer.bytes)
        item = f"{format_duration(idle.age_ns)}..{upto} {format_size(size)}"
        low, best = format_size(idle.low_bytes), format_size(idle.bytes)
        items.append(f"{item} ({low} surely)" if longer is None and low != best else item)
    return [*items, f"unknown {format_size(ages.unknown_bytes)}"]


def headlines(use: PageUse, points: Sequence[Used]) -> Iterator[tuple[str, str]]:
    """Yield what must be known before the figures are read: labels and texts."""
    if not use.exact:
        text = "only the used share of each mapping is known, not which pages"
        yield "coarse", text
    if use.stopped_ns:
        stood = (
            f"a target for {format_duration(use.stopped_ns)} of {format_duration(use.watched_ns)}"
        )
        yield "stood still", f"{stood}, stopped or frozen: in no age or window"
    if use.missed:
        who = "processes" if use.missed > 1 else "process"
        yield (
            "not looked at",
            (
                f"{use.missed} {who} lived too shortly to be looked at, or began just then: of "
                f"{format_size(use.missed_bytes)} in memory nothing is known"
            ),
        )
    told_ns = told_window_ns(points, TOLD_NS)
    if use.unseen > _WORTH_SHARE * use.resident and told_ns is not None:
        used = next(point for point in points if point.window_ns == told_ns)
        sizes = f"{format_size(used.low_bytes)} to {format_size(used.high_bytes)}"
        unseen = {part.kind: part.row.unseen for part in by_kind(use)}
        kinds = [
            f"{format_size(unseen[kind])} {name}"
            for kind, name in _KINDS.items()
            if unseen.get(kind)
        ]
        hint = "" if use.shared_by else "; to see what is shared, record with --shared=clear-refs"
        where = f"within {format_duration(told_ns)}: {' and '.join(kinds)} cannot be seen here"
        yield "working set", f"{sizes} {where}{hint}"
    if shared := shared_text(use):
        yield "shared memory", shared


def shared_text(use: PageUse) -> str:
    """
    Return how memory that several processes map is seen, and what that costs.

    Where much is not seen, why the kernel's DAMON does not help; "" where nothing is to be told.
    """
    if not use.shared_by and use.shared_note and use.unseen > _WORTH_SHARE * use.resident:
        return f"cannot be seen: {use.shared_note}"
    parts = [f"seen by {use.shared_by}"] if use.shared_by else []
    if use.shared_by and use.held_ns:
        held = format_duration(use.held_ns)
        parts.append(f"page faults of a target may have waited {held} for it")
    if use.shared_cpu_ns:
        share = use.shared_cpu_ns / max(1, use.watched_ns)
        parts.append(f"the kernel's DAMON took {share:.2%} of one CPU for it")
    return "; ".join(parts)


def unknown_text(use: PageUse) -> str:
    """Return what is not known, and how much was looked at."""
    parts = []
    if use.unseen:
        parts.append(f"{format_size(use.unseen)} cannot be seen")
    if use.uncovered:
        parts.append(f"{format_size(use.uncovered)} not looked at yet")
    looked = f"looked at {_share(covered(use))} of what is resident"
    return f"{', '.join(parts) or 'nothing'}; {looked}"


def _share(share: float) -> str:
    """Return percent; only what is whole is 100%."""
    return f"{share:.0%}" if share in (0.0, 1.0) else f"{min(max(share, 0.001), 0.999):.1%}"


def could_free_text(found: CouldFree) -> str:
    """Return what paging out could free, and what swap space would give."""
    after = f"not used for {format_duration(found.age_ns)}, mapped by nobody else"
    if not found.lacking_bytes:
        return f"{format_size(found.bytes) if found.bytes else 'nothing that was'} {after}"
    more = f"{format_size(found.lacking_bytes)} {'more ' if found.bytes else ''}with swap or zram"
    return f"{format_size(found.bytes)} {after}; {more}"


def parts_table(
    use: PageUse,
    parts: Sequence[Part],
    title: str,
    width: int,
    once: Mapping[str, int] | None = None,
) -> list[str]:
    """
    Return a table of parts: what is resident of them, used, idle and unknown.

    once: by their names, what is resident with memory that several of a part map counted once.
    """
    shown = [*parts[:MAX_ROWS], *_others(parts[MAX_ROWS:])]
    windows = [ns for ns in _COLUMNS_NS if ns in use.windows_ns] or list(use.windows_ns[-1:])
    age_ns = idle_age_ns(use)
    several = len({(part.name, part.kind) for part in parts}) > len({part.name for part in parts})
    columns = [names(title), *([Column("kind", right=False, rank=5)] if several else [])]
    columns += [Column("resident", rank=2), *([Column("once", rank=5)] if once else [])]
    columns += [
        Column(f"used {format_duration(ns)}", rank=3 * bool(i)) for i, ns in _last(windows)
    ]
    columns += [Column(f"idle {format_duration(age_ns)}", rank=1)] if age_ns is not None else []
    blind = any(part.unknown for part in shown)
    columns += [Column("unknown", rank=4)] if blind else []
    cells = []
    for part in shown:
        row = [part.name, *([part.kind or "-"] if several else []), short_size(part.row.resident)]
        if once:
            row.append(short_size(once[part.name]) if part.name in once else "-")
        row += [_known(part, part.row.used[use.windows_ns.index(ns)]) for ns in windows]
        if age_ns is not None:
            row.append(_known(part, likely_idle(part.row, use.windows_ns.index(age_ns))))
        cells.append([*row, *([short_size(part.unknown)] if blind else [])])
    return table(columns, cells, width)


def _known(part: Part, size: int) -> str:
    """Return a size; "?" for nothing where most of the part is unknown."""
    return "?" if not size and 2 * part.unknown > part.row.resident else short_size(size)


def _last(windows: Sequence[int]) -> list[tuple[int, int]]:
    """Return windows with their distance from the end: the longest is left out last."""
    return [(len(windows) - 1 - i, ns) for i, ns in enumerate(windows)]


def _others(parts: Sequence[Part]) -> list[Part]:
    if not parts:
        return []
    return [Part(f"{len(parts)} others", None, summed([part.row for part in parts]))]


def in_order(use: PageUse, parts: Sequence[Part], sort: Sort | None) -> list[Part]:
    """Return parts as asked, used and idle being those of the last column; None: as they are."""
    if sort is None:
        return list(parts)
    windows = [ns for ns in _COLUMNS_NS if ns in use.windows_ns]
    used = use.windows_ns.index(windows[-1]) if windows else -1
    age_ns = idle_age_ns(use)
    age = None if age_ns is None else use.windows_ns.index(age_ns)
    keys = part_keys(used, lambda part: None if age is None else likely_idle(part.row, age))
    return sort.ordered(parts, keys)


def tables(
    use: PageUse, targets: Sequence[Target], width: int, sort: Sort | None = None
) -> list[str]:
    """Return the tables of mappings and, where there are several, of targets and NUMA nodes."""
    lines = parts_table(use, in_order(use, by_mapping(use), sort), "what", width)
    lines += group_table(use, targets, width, sort)
    of_targets = named_targets(use, targets)
    if len(of_targets) > 1:
        ordered = sorted((part for _, part in of_targets), key=lambda part: -part.row.resident)
        lines += parts_table(use, in_order(use, ordered, sort), "target", width)
    nodes = [part for _, part in by_node(use)]
    if len(nodes) > 1:
        lines += parts_table(use, nodes, "node", width)
    return lines


def group_table(
    use: PageUse, targets: Sequence[Target], width: int, sort: Sort | None = None
) -> list[str]:
    """Return the table of groups of targets, with how many each has; no line if there are none."""
    groups = in_order(use, by_group(use, targets), sort)
    parts = [replace(part, name=numbered(part.name, targets)) for part in groups]
    once = {numbered(one.group, targets): one.resident for one in use.groups}
    return parts_table(use, parts, "group", width, once) if parts else []


def numbered(group: str, targets: Sequence[Target]) -> str:
    """Return "unit nginx.service (4)": the title of a group, and how many targets are in it."""
    return f"{group} ({sum(target.group == group for target in targets)})"


def group_document(title: str, targets: Sequence[Target]) -> dict[str, Any]:
    """Return what is known of a group without any map, as JSON has it."""
    kind, name = Group.of(title)
    members = [target for target in targets if target.group == title]
    return {
        "group": title,
        "kind": kind,
        "name": name,
        "targets": [target.id for target in members],
        "resident_bytes": resident(members),
    }


def named_targets(use: PageUse, targets: Sequence[Target]) -> list[tuple[Target, Part]]:
    """Return the parts of targets with their titles."""
    return [
        (targets[index], Part(targets[index].title, None, part.row))
        for index, part in by_target(use)
        if index < len(targets)
    ]


def curve_document(points: Sequence[Used]) -> list[dict[str, Any]]:
    """Return a curve as JSON has it."""
    return [
        {
            "window_ns": point.window_ns,
            "bytes": point.bytes,
            "low_bytes": point.low_bytes,
            "high_bytes": point.high_bytes,
            "covered": point.covered,
        }
        for point in points
    ]


def document(summary: Summary) -> dict[str, Any]:
    """Return what is known by pages; by regions only as much as that can say."""
    swap = summary.swap_free_bytes
    if (use := summary.use) is not None:
        found = summary.could_free
        return {
            "by": "pages",
            **use_document(use, summary.use_targets),
            "could_free_bytes": 0 if found is None else found.bytes,
            "could_free_age_ns": None if found is None else found.age_ns,
            "needs_swap_bytes": 0 if found is None else found.swap_bytes,
            "swap_free_bytes": swap,
        }
    in_memory, everything = summary.resident_bytes, total(summary.what)
    return {
        "by": "regions",
        "curve": [],
        "resident_bytes": in_memory,
        "idle": [{"age_ns": age, "bytes": size} for age, size in summary.idle_ages()],
        "unknown_bytes": everything.unobservable,
        "could_free_bytes": None if in_memory is None else min(everything.idle_own, in_memory),
        "could_free_age_ns": summary.idle_after_ns,
        "needs_swap_bytes": None,
        "swap_free_bytes": swap,
        "groups": [
            {**group_document(heat.name, summary.targets), **heat_document(heat)}
            for heat in summary.group_heat
        ],
    }


def heat_document(heat: Heat) -> dict[str, Any]:
    """Return heat as JSON has it, without its name."""
    return {
        "size_bytes": heat.size,
        "hot_bytes": heat.hot,
        "warm_bytes": heat.warm,
        "idle_bytes": heat.idle,
        "idle_long_bytes": heat.idle_long,
        "unobservable_bytes": heat.unobservable,
    }


def sums_document(use: PageUse) -> dict[str, Any]:
    """Return the sums of what a map of pages knows, as JSON has them."""
    ages = idle_ages(use)
    return {
        "watched_ns": use.watched_ns,
        "exact": use.exact,
        "shared_by": use.shared_by,
        "held_ns": use.held_ns,
        "stopped_ns": use.stopped_ns,
        "shared_cpu_ns": use.shared_cpu_ns,
        "shared_note": use.shared_note,
        "missed": use.missed,
        "missed_bytes": use.missed_bytes,
        "curve": curve_document(curve(use)),
        "resident_bytes": use.resident,
        "idle": [
            {
                "age_ns": idle.age_ns,
                "bytes": idle.bytes,
                "only_bytes": idle.only_bytes,
                "low_bytes": idle.low_bytes,
                "high_bytes": idle.high_bytes,
            }
            for idle in ages.ages
        ],
        "recent_bytes": ages.recent_bytes,
        "unknown_bytes": ages.unknown_bytes,
        "unseen_bytes": use.unseen,
        "uncovered_bytes": use.uncovered,
    }


def use_document(use: PageUse, targets: Sequence[Target]) -> dict[str, Any]:
    """Return what a map of pages knows as JSON has it: sums, and the parts of all breakdowns."""
    return {
        **sums_document(use),
        "mappings": [
            {"what": part.name, "kind": part.kind, **part_document(use, part)}
            for part in by_mapping(use)
        ],
        "kinds": [{"kind": part.kind, **part_document(use, part)} for part in by_kind(use)],
        "nodes": [{"node": node, **part_document(use, part)} for node, part in by_node(use)],
        "by_target": [
            {"id": target.id, "name": target.name, "pid": target.pid, **part_document(use, part)}
            for target, part in named_targets(use, targets)
        ],
        "groups": [
            {
                **group_document(part.name, targets),
                **part_document(use, part),
                "once": once_document(use, part.name),
            }
            for part in by_group(use, targets)
        ],
    }


def once_document(use: PageUse, title: str) -> dict[str, Any] | None:
    """Return what a group has in memory, what several of it map counted once; None: not known."""
    one = next((one for one in use.groups if one.group == title), None)
    if one is None:
        return None
    curve = zip(use.windows_ns, one.used, one.used_low, one.used_high, strict=True)
    return {
        "resident_bytes": one.resident,
        "unseen_bytes": one.unseen,
        "uncovered_bytes": one.uncovered,
        "curve": [
            {"window_ns": ns, "bytes": used, "low_bytes": low, "high_bytes": high}
            for ns, used, low, high in curve
        ],
        "idle": [
            {"age_ns": ns, "low_bytes": idle}
            for ns, idle in zip(use.windows_ns, one.idle, strict=True)
        ],
    }


def part_document(use: PageUse, part: Part) -> dict[str, Any]:
    """Return a part of the memory as JSON has it."""
    row, windows = part.row, use.windows_ns
    return {
        "resident_bytes": row.resident,
        "unseen_bytes": row.unseen,
        "uncovered_bytes": row.uncovered,
        "curve": [
            {"window_ns": ns, "bytes": used, "low_bytes": low, "high_bytes": high}
            for ns, used, low, high in zip(
                windows, row.used, row.used_low, row.used_high, strict=True
            )
        ],
        "idle": [
            {"age_ns": ns, "bytes": likely_idle(row, i), "low_bytes": idle, "own_bytes": own}
            for i, (ns, idle, own) in enumerate(zip(windows, row.idle, row.idle_own, strict=True))
        ],
    }


def part_row(use: PageUse, part: Part) -> dict[str, Any]:
    """Return a mapping as a flat record: what was used within each time, idle for each age."""
    row = part.row
    return {
        "what": part.name,
        "kind": part.kind,
        "resident_bytes": row.resident,
        "unseen_bytes": row.unseen,
        "uncovered_bytes": row.uncovered,
        **{f"used_{_key(ns)}_bytes": n for ns, n in zip(use.windows_ns, row.used, strict=True)},
        **{f"idle_{_key(ns)}_bytes": likely_idle(row, i) for i, ns in enumerate(use.windows_ns)},
    }


def _key(ns: int) -> str:
    return f"{ns // 1_000_000}ms" if ns % 1_000_000 == 0 else f"{ns}ns"
