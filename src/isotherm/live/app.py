"""The live view in a terminal: draws what a `Stage` shows, and passes keys on to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from isotherm.live.layout import Line, Look
from isotherm.live.stage import FAR, Stage
from isotherm.terminal.output import in_ascii

#: Between two looks at what came; drawn is only what is new.
PERIOD_S = 0.25

_WORDS = {
    "": Style(),
    "bold": Style(bold=True),
    "dim": Style(dim=True),
    "title": Style(bold=True, reverse=True),
    "key": Style(bold=True),
    "marked": Style(bold=True, reverse=True),
    "warning": Style(bold=True, reverse=True),
}


def style_of(look: Look, *, colour: bool) -> Style:
    """Return how a look is drawn."""
    if isinstance(look, str):
        return _WORDS[look]
    front, back = look if isinstance(look, tuple) else (look, None)
    if not colour:
        return Style()
    return Style(
        color=None if front is None else Color.from_ansi(front),
        bgcolor=None if back is None else Color.from_ansi(back),
    )


class Board(Widget, can_focus=True):
    """All of the screen, as lines of a stage."""

    DEFAULT_CSS = "Board { width: 1fr; height: 1fr; }"

    def __init__(self, stage: Stage, *, unicode: bool) -> None:
        super().__init__()
        self._stage = stage
        self._unicode = unicode
        self._lines: list[Line] = []

    def draw(self) -> None:
        """Draw what the stage shows now."""
        width, height = self.size
        if width and height:
            self._lines = self._stage.lines(width, height)
            self.refresh()

    def on_resize(self, event: Resize) -> None:
        """Draw for another size."""
        del event
        self.draw()

    def render_line(self, y: int) -> Strip:
        """Return a line as it was drawn last."""
        if y >= len(self._lines):
            return Strip.blank(self.size.width)
        colour = self._stage.colour
        segments = [
            Segment(text if self._unicode else in_ascii(text), style_of(look, colour=colour))
            for text, look in self._lines[y]
        ]
        return Strip(segments).adjust_cell_length(self.size.width)


class TopApp(App[None]):
    """
    The application.

    tick: called some times a second; takes what came, says whether anything is new, and None when
    all is over: then it ends. unicode: whether blocks can be shown.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: ansi_default; color: ansi_default; layers: below above; }
    Input { dock: bottom; height: 1; border: none; padding: 0 1; display: none; }
    Input.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,f10", "quit", "quit"),
        Binding("ctrl+c,ctrl+q", "quit", "quit", priority=True),
        Binding("up,k", "stage('move', -1)"),
        Binding("down,j", "stage('move', 1)"),
        Binding("pageup", "stage('pages', -1)"),
        Binding("pagedown", "stage('pages', 1)"),
        Binding("home", "stage('move', -1000000)"),
        Binding("end", "stage('move', 1000000)"),
        Binding("enter", "stage('enter')"),
        Binding("escape,backspace", "stage('back')"),
        Binding("s,f6", "stage('sort')"),
        Binding("r,S", "stage('reverse')"),
        Binding("w", "stage('window')"),
        Binding("g,f5", "stage('group')"),
        Binding("e", "stage('open_all')"),
        Binding("p,space", "stage('pause')"),
        Binding("n", "stage('newest')"),
        Binding("left", "stage('go', -1)"),
        Binding("right", "stage('go', 1)"),
        Binding("less_than_sign", f"stage('go', {-FAR})"),
        Binding("greater_than_sign", f"stage('go', {FAR})"),
        Binding("slash,f4", "ask"),
        Binding("question_mark,f1", "help"),
    ]

    def __init__(
        self, stage: Stage, tick: Callable[[], bool | None], *, unicode: bool = True
    ) -> None:
        super().__init__(ansi_color=True)
        self._stage = stage
        self._tick = tick
        self._unicode = unicode

    def compose(self) -> ComposeResult:
        """Return the widgets: the board, and the line to type into."""
        yield Board(self._stage, unicode=self._unicode)
        yield Input(placeholder="words of a name, a number or a group")

    def on_mount(self) -> None:
        """Begin."""
        self.query_one(Board).focus()
        self.set_interval(PERIOD_S, self._look)
        self._look()

    def _look(self) -> None:
        news = self._tick()
        if news is None:
            self.exit()
        elif news:
            self.query_one(Board).draw()

    def action_stage(self, name: str, *args: int) -> None:
        """Let a key do to the stage what it says; what leads back leaves the filter first."""
        if name == "back" and self.query_one(Input).has_focus:
            self._stage.filter("")
            self._leave_input()
            return
        if self._stage.helping:
            name, args = "back", ()
        getattr(self._stage, name)(*args)
        self.query_one(Board).draw()

    def action_help(self) -> None:
        """Show what the keys do, or do not any more."""
        self._stage.helping = not self._stage.helping
        self.query_one(Board).draw()

    def action_ask(self) -> None:
        """Ask for the words of the filter."""
        line = self.query_one(Input)
        line.value = self._stage.wish.words
        line.add_class("shown")
        line.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed."""
        self._stage.filter(event.value)
        self.query_one(Board).draw()

    def on_input_submitted(self) -> None:
        """Keep the filter."""
        self._leave_input()

    def _leave_input(self) -> None:
        self.query_one(Input).remove_class("shown")
        board = self.query_one(Board)
        board.focus()
        board.draw()


def forget_terminal() -> None:
    """
    Go on without a terminal that is gone, so that nothing waits for it or fails because of it.

    What is written from now on goes nowhere.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)


def is_gone() -> bool:
    """Tell whether the terminal hung up."""
    return not os.isatty(sys.__stdin__.fileno() if sys.__stdin__ is not None else 0)
