"""
What the live view shows and what keys do to it, without any terminal.

The list of groups and processes, or one process in detail, at a moment: the newest one, or
another one that was gone to. Whoever draws asks for `lines`, and passes keys on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from isotherm.analysis.usage import WINDOWS_NS, Part
from isotherm.live import heat
from isotherm.live.chronicle import Chronicle, Moment
from isotherm.live.layout import (
    Line,
    as_of,
    bar_spans,
    columns,
    fitted,
    keys_line,
    known,
    parts_that_fit,
    row_line,
    small,
    titles,
    totals_line,
)
from isotherm.live.layout import age as age_of
from isotherm.live.rows import SORTS, Row, Wish, is_grouped, reached, rows_of, target_at
from isotherm.terminal.cells import UNOBSERVABLE_COLOUR
from isotherm.terminal.text import columns_of, elide, labelled, pad
from isotherm.units import format_duration

#: What stands on the first line: called with the moment shown.
Head = Callable[[Moment], Sequence[str]]

LIST_KEYS: Final = (
    ("q", "quit"), ("enter", "open"), ("s", "sort"), ("/", "filter"), ("p", "pause"),
    ("←→", "time"), ("g", "groups"), ("w", "window"), ("r", "reverse"), ("e", "open all"),
    ("?", "help"),
)  # fmt: skip
DETAIL_KEYS: Final = (
    ("q", "quit"), ("esc", "back"), ("↑↓", "others"), ("p", "pause"), ("←→", "time"),
    ("w", "window"), ("n", "newest"), ("?", "help"),
)  # fmt: skip
HELP: Final = (
    "q F10 ctrl-c    quit",
    "up down pgup pgdn   the row above, below, a page away",
    "enter           open a process; of a group show processes",
    "esc             back",
    "s F6  r         sort by the next; the other way round",
    "w               used within, and idle for 1 s, 10 s, 60 s",
    "g F5  e         by group or not; open and close all",
    "/ F4            only what has these words",
    "p space         pause, or go on; play a recording",
    "left right      a moment back, or on; < > ten of them",
    "n               to the newest moment",
    "RES in memory   MAPPED of the address space   WSS used",
    "IDLE not used   AGE half of it was not used for so long",
    "UNKN could not be seen, or not yet: neither of both",
    "bars: █ used  ░ idle  ? unknown, of what is in memory",
    "heat: ▁..█ used  · idle  ? unknown  blank: not in memory",
)  # fmt: skip
#: Lines of the list that are not rows: head, totals, titles, and the keys.
_AROUND = 4
#: Columns for names of memory: no more than these, and these before there is a bar.
_MOST_NAME, _LEAST_NAME = 60, 24
#: How far "<" and ">" go.
FAR: Final = 10


class Stage:
    """
    The state of the view.

    chronicle: what is shown; head: says what stands on the first line; colour: whether there are
    colours; endless: moments are still coming, and are followed unless it is paused.
    """

    def __init__(
        self,
        chronicle: Chronicle,
        head: Head,
        wish: Wish | None = None,
        *,
        colour: bool = True,
        endless: bool = True,
    ) -> None:
        self.chronicle = chronicle
        self.wish = wish or Wish()
        self.colour = colour
        self.endless = endless
        self.notes: list[str] = []
        self.playing = False
        self.helping = False
        self.detail: int | None = None
        self._head = head
        self._at_ns: int | None = None
        self._selected: int | str | None = None
        self._cursor = self._top = 0
        self._page = 10
        self._read = 0
        self._heat = heat.HeatHistory()

    # Where in time.

    @property
    def paused(self) -> bool:
        """Whether a moment is held, rather than the newest followed."""
        return self._at_ns is not None

    @property
    def at(self) -> int:
        """The place of the moment that is shown; -1 without any."""
        last = len(self.chronicle) - 1
        return last if self._at_ns is None else min(last, self.chronicle.nearest(self._at_ns))

    @property
    def moment(self) -> Moment | None:
        """The moment that is shown."""
        return self.chronicle.moments[self.at] if len(self.chronicle) else None

    def pause(self) -> None:
        """
        Hold the moment that is shown, or follow the newest again.

        A recording is played on from the moment that is shown, from its beginning at its end, or
        held.
        """
        moment = self.moment
        if moment is None:
            return
        if self.endless:
            self._at_ns = None if self.paused else moment.at_ns
            return
        self.playing = not self.playing
        at_end = self.at == len(self.chronicle) - 1
        if self.playing:
            self._at_ns = self.chronicle.moments[0].at_ns if at_end else moment.at_ns

    def play(self, gone_ns: int) -> bool:
        """Let time go by where a recording is played; tell whether there is something new."""
        if not self.playing or self._at_ns is None:
            return False
        before = self.at
        self._at_ns += gone_ns
        if self.at == len(self.chronicle) - 1:
            self.playing = False
        return self.at != before

    def go(self, moments: int) -> None:
        """Go so many moments on, back if below 0, and hold."""
        if len(self.chronicle):
            place = max(0, min(len(self.chronicle) - 1, self.at + moments))
            self._at_ns = self.chronicle.moments[place].at_ns
            self.playing = False

    def go_to(self, at_ns: int) -> None:
        """Go to a time of day, and hold."""
        self._at_ns = at_ns

    def newest(self) -> None:
        """Follow the newest moment; of a recording, go to its end."""
        self._at_ns, self.playing = None, False

    # What of it.

    def sort(self) -> None:
        """Sort by the next column."""
        place = (SORTS.index(self.wish.sort) + 1) % len(SORTS)
        self.wish = replace(self.wish, sort=SORTS[place], reverse=False)

    def reverse(self) -> None:
        """Sort the other way round."""
        self.wish = replace(self.wish, reverse=not self.wish.reverse)

    def window(self) -> None:
        """Ask of the next length of time."""
        self.wish = replace(self.wish, window=(self.wish.window + 1) % len(WINDOWS_NS))

    def group(self) -> None:
        """Show groups, or processes alone."""
        moment = self.moment
        if moment is not None:
            self.wish = replace(self.wish, grouped=not is_grouped(moment, self.wish))

    def filter(self, words: str) -> None:
        """Show only what has these words."""
        self.wish = replace(self.wish, words=words)

    def open_all(self) -> None:
        """Show the processes of all groups, or hide them."""
        titles_ = {row.name for row in self.rows() if row.is_group}
        self.wish = replace(self.wish, open=frozenset() if self.wish.open else frozenset(titles_))

    def move(self, rows: int) -> None:
        """Select another row, so many further down; in detail show that process."""
        found = self.rows()
        if not found:
            return
        place = self._place(found)
        wanted = max(0, min(len(found) - 1, place + rows))
        if self.detail is not None:
            step = 1 if rows > 0 else -1
            while found[wanted].is_group and 0 <= wanted + step < len(found):
                wanted += step
            if found[wanted].is_group:
                return
            self.detail = _id_of(found[wanted])
        self._selected, self._cursor = found[wanted].key, wanted

    def pages(self, pages: int) -> None:
        """Select a row so many pages further down."""
        self.move(pages * self._page)

    def enter(self) -> None:
        """Open the selected process; show or hide the processes of a group."""
        found = self.rows()
        if not found or self.detail is not None:
            return
        row = found[self._place(found)]
        self._selected = row.key
        if row.is_group:
            self.wish = replace(self.wish, open=self.wish.open ^ {row.name})
        else:
            self.detail = _id_of(row)

    def back(self) -> None:
        """Leave help, detail, or the filter."""
        if self.helping:
            self.helping, self._read = False, len(self.notes)
        elif self.detail is not None:
            self.detail = None
        else:
            self.filter("")

    def rows(self) -> list[Row]:
        """Return the rows of the moment that is shown."""
        moment = self.moment
        return [] if moment is None else rows_of(moment, self._wish_at(moment))

    def _wish_at(self, moment: Moment) -> Wish:
        """Return what is asked of, as far as it was reached by then."""
        return replace(self.wish, window=reached(moment, self.wish.window))

    def _place(self, rows: Sequence[Row]) -> int:
        """Return the place of the selected row, or of what stands where it stood."""
        for place, row in enumerate(rows):
            if row.key == self._selected:
                self._cursor = place
                return place
        self._cursor = max(0, min(self._cursor, len(rows) - 1))
        return self._cursor

    # How it looks.

    def lines(self, width: int, height: int) -> list[Line]:
        """Return `height` lines of `width` columns."""
        moment = self.moment
        keys: Sequence[tuple[str, str]] = LIST_KEYS if self.detail is None else DETAIL_KEYS
        lines = [self._head_line(moment, width)]
        if self.helping:
            lines += [[(f" {text}", "")] for text in HELP]
            lines += [
                [(text, "")] for note in self.notes for text in labelled("!", note, width, 3)
            ]
            keys = (("any key", "back"),)
        elif moment is None:
            lines.append([(" nothing is known yet", "dim")])
        elif self.detail is not None:
            lines += self._detail_lines(moment, self.detail, width, height - 2)
        else:
            lines += self._list_lines(moment, width, height - 2)
        lines = [fitted(line, width) for line in lines[: height - 1]]
        lines += [[(" " * width, "")]] * (height - 1 - len(lines))
        return [*lines, keys_line(keys, width)]

    def _head_line(self, moment: Moment | None, width: int) -> Line:
        states = [self._state(moment)]
        if self._read < len(self.notes):
            states.append(f"{len(self.notes)} notes: ?")
        if self.wish.words:
            states.append(f"filter {self.wish.words}")
        state = "".join(f" {text} " for text in states if text)
        shown = elide(state, max(0, width - 14)) if state else ""
        room = width - columns_of(shown)
        parts = ["isotherm top"] if moment is None else self._head(moment)
        left = pad(parts_that_fit(parts, room), room)
        return [(left, "title"), (shown, "warning")]

    def _state(self, moment: Moment | None) -> str:
        """Return where in time it is, if that is no matter of course."""
        if moment is None:
            return ""
        if not self.endless:
            return "PLAYING" if self.playing else ""
        if not self.paused:
            return ""
        back_ns = self.chronicle.moments[-1].at_ns - moment.at_ns
        ago = f" {format_duration(round(back_ns / 1e8) * 100_000_000)} ago" if back_ns else ""
        return f"PAUSED{ago}"

    def _list_lines(self, moment: Moment, width: int, height: int) -> list[Line]:
        wish = self._wish_at(moment)
        found = rows_of(moment, wish)
        shown = columns(width, wish)
        self._page = page = max(1, height - _AROUND + 2)
        cursor = self._place(found)
        self._top = max(cursor - page + 1, min(self._top, cursor, max(0, len(found) - page)))
        lines = [totals_line(moment, wish, width), titles(shown, wish)]
        for place in range(self._top, min(len(found), self._top + page)):
            line = row_line(found[place], shown, wish, self.chronicle, self.at)
            if place == cursor:
                line = [(text, "marked" if look in ("", "bold") else look) for text, look in line]
            lines.append(line)
        if not found:
            text = " nobody has these words" if wish.words else " nobody is here"
            lines.append([(text, "dim")])
        return lines

    def _detail_lines(self, moment: Moment, target_id: int, width: int, height: int) -> list[Line]:
        index = target_at(moment.snapshot, target_id)
        if index is None:
            return [[(" this process was not there at this moment", "dim")]]
        wish = self._wish_at(moment)
        target = moment.snapshot.targets[index]
        figures = moment.usage.targets.get(target_id)
        parts = moment.usage.parts.get(target_id, ())
        absent = _absent(target.mapped_bytes, target.resident_bytes)
        told = [target.title, f"resident {small(None if figures is None else figures.resident)}"]
        told += [f"as of {old} ago"] if (old := as_of(moment)) else []
        told += [] if absent is None else [f"not in memory {small(absent)}"]
        told += [target.group] if target.group else []
        lines: list[Line] = [[(parts_that_fit(told, width), "bold")]]
        room = width - 2
        lines.append([(" ", ""), *bar_spans(figures, room), (" ", "")])
        body = height - len(lines) - 3
        below = max(2, min(len(parts), body * 2 // 5))
        lines += self._map_lines(target_id, width, max(1, body - below))
        lines += _part_lines(parts, wish, width, below)
        return lines

    def _map_lines(self, target_id: int, width: int, height: int) -> list[Line]:
        rows = height * (2 if self.colour else 1)
        at, room = self.at, width - heat.name_width(width)
        grid = self._heat.grid(self.chronicle, at, target_id, room, rows)
        if grid is None:
            return [[(" no regions of it are known", "dim")], *([[]] * (height + 1))]
        return [
            *heat.map_lines(grid, width, height, colour=self.colour),
            heat.axis_line(self.chronicle, at, grid, width),
            heat.legend_line(width, colour=self.colour, idle_is_there=grid.idle_is_there),
        ]


def _id_of(row: Row) -> int | None:
    return row.key if isinstance(row.key, int) else None


def _absent(mapped: int | None, resident: int | None) -> int | None:
    return None if mapped is None or resident is None else max(0, mapped - resident)


def _part_lines(parts: Sequence[Part], wish: Wish, width: int, rows: int) -> list[Line]:
    """Return a table of names: what is resident of each, used, idle and unknown."""
    window = wish.window_text
    head = f"{'KIND':6}{'RES':>6}{f'WSS{window}':>8}{f'IDLE{window}':>9}{'UNKN':>7}{'AGE':>7}"
    left = width - len(head) - 3
    bar = max(0, left - _MOST_NAME - 2, min(20, left - _LEAST_NAME - 2))
    named = left - (bar + 2 if bar else 0)
    lines: list[Line] = [[(f" {pad('NAME', named)}  {head}", "title")]]
    for what, kind, figures in parts[:rows]:
        lines.append([
            (f" {pad(elide(what, named), named)}  {kind:6}{small(figures.resident):>6}", ""),
            (f"{known(figures.used[wish.window], figures):>8}", ""),
            (f"{known(figures.idle[wish.window], figures):>9}", ""),
            (f"{small(figures.unknown):>7}", UNOBSERVABLE_COLOUR),
            (f"{age_of(figures):>7}", ""),
            *([("  ", ""), *bar_spans(figures, bar)] if bar else []),
        ])  # fmt: skip
    return lines
