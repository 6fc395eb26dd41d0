"""What `isotherm demo` runs and what it says at the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from isotherm.analysis.accuracy import Summary, Truth, judge, predicted, summarize
from isotherm.demo.spec import Area, Hot, Phase, Spec
from isotherm.model.ranges import Range, intersect, total
from isotherm.model.snapshot import Snapshot
from isotherm.terminal.picture import Layout, Picture
from isotherm.terminal.screen import Screen
from isotherm.terminal.style import Style
from isotherm.terminal.text import labelled, span
from isotherm.units import format_duration, format_size

MIB = 1 << 20
#: (cold before it, hot size) in MiB, lowest address first; 32 MiB of cold end the 512 MiB.
LAYOUT_MIB = ((64, 64), (64, 32), (128, 32), (64, 32))
TAIL_MIB = 32
#: Which of LAYOUT_MIB are hot in the first and in the second half: one moves.
HOT_FIRST, HOT_THEN = (0, 1, 3), (0, 2, 3)
_BAR_CELLS = 64
#: What is shown by a demo whose places are mappings of their own, to who sees nothing smaller.
WHOLE_MAPPINGS = (
    "which mappings are used, and when that changes. Not which part of one: each place is a "
    "mapping of its own here, as this backend tells nothing smaller apart; in one arena it would "
    "find the same share used, and no place"
)


def demo_spec(seconds: float, *, separate: bool) -> Spec:
    """
    512 MiB with three hot places, one of which moves at half time.

    separate: every place is a mapping of its own, for a backend that sees whole mappings only;
    else all is one mapping, as in an allocator's arena.
    """
    areas, hot, at = [], [], 0
    for index, (cold, size) in enumerate(LAYOUT_MIB):
        at += cold * MIB
        areas += [Area(f"cold{index}", cold * MIB), Area(f"hot{index}", size * MIB)]
        where = (f"hot{index}", 0) if separate else ("main", at)
        hot.append(Hot(*where, size * MIB))
        at += size * MIB
    areas.append(Area("tail", TAIL_MIB * MIB))
    if separate:
        areas.reverse()  # the kernel places mappings downwards
    else:
        areas = [Area("main", at + TAIL_MIB * MIB)]
    half_us = round(seconds * 500_000)
    phases = (
        Phase(half_us, tuple(hot[index] for index in HOT_FIRST)),
        Phase(half_us, tuple(hot[index] for index in HOT_THEN)),
    )
    return Spec(tuple(areas), phases)


@dataclass(frozen=True, slots=True)
class Result:
    """What was seen: every snapshot, and the truth."""

    snapshots: tuple[Snapshot, ...]
    truth: Truth

    @property
    def summary(self) -> Summary:
        return summarize(judge(self.snapshots, self.truth))

    @property
    def cost(self) -> float:
        """The monitor's share of one CPU."""
        spent = sum(snapshot.cost.cpu_ns for snapshot in self.snapshots)
        return spent / max(1, self.snapshots[-1].end_ns - self.snapshots[0].start_ns)


def hot_at(truth: Truth, at_ns: int) -> tuple[Range, ...]:
    """What is hot at a time of day; of the last phase after the end."""
    for phase in truth.phases:
        if at_ns <= phase.end_ns:
            return phase.hot
    return truth.phases[-1].hot


def watch(
    snapshots: Iterable[Snapshot],
    truth: Truth,
    *,
    screen: Screen,
    style: Style,
    space: tuple[int, int],
) -> Result | None:
    """
    Draw snapshots as they come, until they end or the last phase did; None if there was none.

    space: columns and rows of the picture.
    """
    start, end = truth.phases[0].start_ns, truth.phases[-1].end_ns
    columns, rows = space
    picture = Picture(truth.areas, start, end - start, rows=rows, columns=columns, style=style)
    taken = []
    for snapshot in snapshots:
        if snapshot.start_ns < start:
            continue
        if snapshot.end_ns > end:
            break
        taken.append(snapshot)
        picture.add(snapshot)
        if screen.due():
            lines = picture.lines(hot_at(truth, snapshot.end_ns))
            screen.draw([*lines, _status(snapshot, truth)])
    if not taken:
        return None
    screen.last(picture.lines(hot_at(truth, taken[-1].end_ns)))
    return Result(tuple(taken), truth)


def _status(snapshot: Snapshot, truth: Truth) -> str:
    hot = hot_at(truth, snapshot.end_ns)
    claimed = total(intersect(predicted(snapshot), sorted(truth.areas)))
    elapsed = (snapshot.end_ns - truth.phases[0].start_ns) // 100_000_000 / 10
    return (
        f"{'':10}{elapsed:.1f}s  {len(snapshot.columns)} regions  "
        f"hot {format_size(claimed)}, truth {format_size(total(hot))}"
    )


def _places(result: Result) -> list[str]:
    """A line per hot place of the last window: how much of it was found, what was too much."""
    last, hot = result.snapshots[-1], hot_at(result.truth, result.snapshots[-1].end_ns)
    areas = sorted(result.truth.areas)
    claimed = intersect(predicted(last), areas)
    layout = Layout(areas, 1)
    lines, inside = [], 0
    for place in sorted(hot):
        found = total(intersect(claimed, [place]))
        inside += found
        base = total(area for area in areas if area.end <= place.start)
        base += next(
            place.start - area.start for area in areas if area.start <= place.start < area.end
        )
        lines.append(
            f"   at {format_size(base):>8} of {format_size(layout.nbytes)}:"
            f" found {format_size(found):>8} of {format_size(place.size):>8} hot"
        )
    beyond = total(claimed) - inside
    return [*lines, f"   called hot but idle:   {format_size(beyond):>8}"]


def _strips(result: Result, style: Style, cells: int) -> list[str]:
    last = result.snapshots[-1]
    layout = Layout(result.truth.areas, cells)
    picture = Picture(result.truth.areas, 0, 1, rows=1, columns=1, style=style)
    truth = layout.covered(hot_at(result.truth, last.end_ns))
    return [
        f" truth     {picture.strip(truth)}",
        f" estimate  {picture.strip(layout.heat(last))}",
    ]


def _after(ns: int | None) -> str:
    return "not found" if ns is None else f"found after {format_duration(ns // 10**8 * 10**8)}"


def closing(result: Result, style: Style, columns: int = 80) -> list[str]:
    """Truth beside estimate, and what it cost."""
    summary = result.summary
    quality = [f"F1 {summary.f1:.3f}"] if summary.f1 is not None else []
    if summary.recall_at_k is not None:
        quality.append(f"R@k {summary.recall_at_k:.3f}")
    if summary.working_set_ratio is not None:
        quality.append(f"working set {summary.working_set_ratio:.2f} of the true one")
    quality.append(f"mean of {summary.windows} windows")
    times = [f"first {_after(summary.first_found_ns)}"]
    for phase, ns in zip(result.truth.phases[1:], summary.refound_ns, strict=True):
        if phase.start_ns < result.snapshots[-1].start_ns:
            times.append(f"moved one {_after(ns)}")
    missed = sum(snapshot.cost.missed for snapshot in result.snapshots)
    checks = sum(snapshot.cost.checks or 0 for snapshot in result.snapshots)
    imputed = f", {missed / checks:.0%} of checks imputed" if checks else ""
    windows = [snapshot.aggr_us for snapshot in result.snapshots]
    samples = [snapshot.sample_us for snapshot in result.snapshots]
    window = span(min(windows), max(windows))
    looked = f"sampled every {span(min(samples), max(samples))}{imputed}"
    if result.snapshots[-1].shares:
        looked = "the used share of each mapping in each"
    cost = f"{result.cost:.1%} of one CPU; {len(result.snapshots)} windows of {window}, {looked}"
    return [
        "",
        *_strips(result, style, min(_BAR_CELLS, columns - 12)),
        *_places(result),
        *labelled("accuracy", ", ".join(quality), columns),
        *labelled("", ", ".join(times), columns),
        *labelled("cost", cost, columns),
        *(labelled("proves", WHOLE_MAPPINGS, columns) if result.snapshots[-1].shares else ()),
    ]


def why(
    backend: str, reason: str, why_not: Iterable[tuple[str, str]], columns: int = 80
) -> list[str]:
    """Which backend, why, and why not the others."""
    lines = labelled("backend", f"{backend}: {reason}", columns)
    for name, text in why_not:
        lines += labelled("", f"not {name}: {text}", columns)
    return lines
