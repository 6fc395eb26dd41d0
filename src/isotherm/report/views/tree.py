"""Memory by group, process, kind and name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from isotherm.analysis.recorded import AnalysedRecording
from isotherm.analysis.tree import Node, Tree, tree
from isotherm.model.page_use import summed
from isotherm.report.sorting import SORT, Keys, Sort
from isotherm.report.view import Option, Options, Page, View, headline, whole_number
from isotherm.terminal.table import Column, names, table
from isotherm.terminal.text import labelled
from isotherm.units import duration_ns, format_duration, format_size

WINDOW = Option(
    "--window",
    "TIME",
    "used and idle are within, and for, this time [10s, if known].",
    duration_ns,
)
TOP = Option("--top", "N", "names of each kind of memory, 0 for all.", whole_number(0, 10**6), "5")


@dataclass(frozen=True, slots=True)
class MemoryTree:
    """
    The answer; found: None where no map of pages was kept. top: names of a kind to show.

    why: why there is none, "" where nobody kept one.
    """

    found: Tree | None
    top: int
    why: str = ""


class TreeView(View[MemoryTree]):
    """What is in memory, whose it is and what it is called; used, idle or unknown."""

    name = "tree"
    help = "memory by group, process, kind and name"
    schema = "isotherm.report.tree/1"
    options = (WINDOW, TOP, SORT)

    def analyse(self, recording: AnalysedRecording, options: Options) -> MemoryTree:
        summary = recording.summary()
        top = options["--top"]
        if summary.use is None:
            return MemoryTree(None, top, recording.no_pages_because)
        found = tree(summary.use, summary.use_targets, options["--window"])
        if (sort := options["--sort"]) is not None:
            found = replace(found, groups=_sorted(found.groups, sort, found.place))
        return MemoryTree(found, top)

    def document(self, value: MemoryTree) -> dict[str, Any]:
        if value.found is None:
            return {"by": "regions", "window_ns": None, "groups": []}
        found = value.found
        return {
            "by": "pages",
            "window_ns": found.window_ns,
            "groups": [_nested(node, found.place) for node in found.groups],
        }

    def rows(self, value: MemoryTree) -> list[dict[str, Any]]:
        if value.found is None:
            return []
        place = value.found.place
        return [
            {
                "group": group.name,
                "target": None if process.target is None else process.target.id,
                "process": process.name,
                "kind": kind.name,
                "name": leaf.name,
                "window_ns": value.found.window_ns,
                **_figures(leaf, place),
            }
            for group in value.found.groups
            for process in group.parts
            for kind in process.parts
            for leaf in kind.parts
        ]

    def text(self, value: MemoryTree, page: Page) -> list[str]:
        found = value.found
        if found is None:
            why = value.why or "no map of pages was kept"
            told = f"{why}: `isotherm report` has what regions tell"
            return labelled("", told, page.width, 0)
        length = format_duration(found.window_ns)
        resident = format_size(sum(group.row.resident for group in found.groups))
        once = any(group.once is not None for group in found.groups)
        columns = [
            names("what", least=24),
            Column("resident"),
            *([Column("once", rank=3)] if once else []),
            Column(f"used in {length}", rank=1),
            Column(f"idle {length}+", rank=1),
            Column("unknown", rank=2),
        ]
        cells = [
            _cells(label, node, found.place, once=once)
            for label, node in _lines(found.groups, value.top)
        ]
        return [
            *headline("memory", [f"{resident} resident"], page.width),
            *table(columns, cells, page.width),
        ]


def _figures(node: Node, place: int) -> dict[str, int]:
    row = node.row
    return {
        "resident_bytes": row.resident,
        "used_bytes": _at(row.used, place),
        "used_low_bytes": _at(row.used_low, place),
        "used_high_bytes": _at(row.used_high, place),
        "idle_bytes": _at(row.idle, place),
        "unknown_bytes": node.unknown,
    }


def _at(figures: tuple[int, ...], place: int) -> int:
    return figures[place] if figures else 0


def _nested(node: Node, place: int) -> dict[str, Any]:
    ids = {} if node.target is None else {"target": node.target.id, "pid": node.target.pid}
    made: dict[str, Any] = {"level": node.level, "name": node.name, **ids, **_figures(node, place)}
    if node.level == "group":
        made["once_bytes"] = node.once
    if node.level != "name":
        made["parts"] = [_nested(part, place) for part in node.parts]
    return made


def _cells(label: str, node: Node, place: int, *, once: bool) -> list[str]:
    """Return what stands in a line; once: there is a column of what groups have once."""
    figures = _figures(node, place)
    resident, *others = (
        format_size(figures[name])
        for name in ("resident_bytes", "used_bytes", "idle_bytes", "unknown_bytes")
    )
    of_once = [""] if node.once is None else [format_size(node.once)]
    return [label, resident, *(of_once if once else []), *others]


def _lines(nodes: tuple[Node, ...], top: int, depth: int = 0) -> Iterator[tuple[str, Node]]:
    """Yield labels and nodes in their order; of a group without a name only what is in it."""
    for node in nodes:
        if node.level == "group" and not node.name:
            yield from _lines(node.parts, top, depth)
            continue
        yield "  " * depth + node.name, node
        shown = node.parts
        if node.level == "kind" and top:
            shown = node.parts[:top]
        yield from _lines(shown, top, depth + 1)
        if rest := node.parts[len(shown) :]:
            yield "  " * (depth + 1) + f"{len(rest)} more", _rest(rest)


def _sorted(nodes: tuple[Node, ...], sort: Sort, place: int) -> tuple[Node, ...]:
    """Return nodes, and what is in them, in an order."""
    keys: Keys[Node] = {
        "size": lambda node: node.row.resident,
        "used": lambda node: _at(node.row.used, place),
        "idle": lambda node: _at(node.row.idle, place),
        "unknown": lambda node: node.unknown,
        "name": lambda node: node.name,
    }
    deeper = (replace(node, parts=_sorted(node.parts, sort, place)) for node in nodes)
    return tuple(sort.ordered(deeper, keys))


def _rest(nodes: tuple[Node, ...]) -> Node:
    return Node("name", "", summed([node.row for node in nodes]))
