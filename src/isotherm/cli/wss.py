"""`isotherm wss`: how much memory is used within which time, watched live."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from isotherm.analysis.page_use import Used, curve
from isotherm.cli.foreground import Foreground, tell_news, why_nothing
from isotherm.cli.options import (
    TargetCommand,
    keywords,
    length_of,
    map_options,
    target_names,
)
from isotherm.cli.output_file import STDIN
from isotherm.cli.report import read_view, show
from isotherm.cli.watching import watch
from isotherm.errors import BadValueError, IsothermError, quoted
from isotherm.kernel.meminfo import meminfo
from isotherm.model.page_use import PageUse
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping, Target
from isotherm.recording.format import SUFFIX
from isotherm.report import pages
from isotherm.report.output import FORMATS
from isotherm.report.views import views
from isotherm.report.working_set import Watched, facts, headline, lines, report, row
from isotherm.session.options import Keywords, Options
from isotherm.session.run import run
from isotherm.session.session import MonitorSession
from isotherm.targets.sources import NameSource, PidSource, TargetSource
from isotherm.terminal.output import tell
from isotherm.terminal.screen import Screen
from isotherm.terminal.style import can_redraw, width_of
from isotherm.terminal.text import labelled
from isotherm.units import format_duration

#: For so long it watches where nothing was asked: as far as what people ask of goes.
DEFAULT_DURATION = "60s"
#: Columns for the bounds of a line that is printed before the others are known.
_BOUNDS = 24
#: What was seen in the first moments, before everything was marked twice, is not worth a line.
_SETTLED_NS = 2_000_000_000


class WatchSink:
    """
    Keeps the newest that is known; shows it in place, or prints a line for each time gone by.

    form: of the output, only "table" shows anything before the end; screen: where to draw.
    """

    def __init__(self, form: str, screen: Screen, *, live: bool) -> None:
        self._told = form == "table"
        self._live = live
        self._screen = screen
        self._backend = ""
        self._use: PageUse | None = None
        self._targets: tuple[Target, ...] = ()
        self._mappings: dict[int, Sequence[Mapping]] = {}
        self._swap_free: int | None = None
        self._cpu, self._began = time.process_time(), time.monotonic()
        self._covered_ns: int | None = None
        self._printed_ns = 0

    def open(self, session: MonitorSession) -> None:
        """Take note of what is at work."""
        self._backend = session.backend
        self._swap_free = meminfo().get("SwapFree", 0)
        self._cpu, self._began = time.process_time(), time.monotonic()

    def take(self, snapshot: Snapshot) -> None:
        """Show what is known by now."""
        self._mappings.update(snapshot.mappings or {})
        if snapshot.page_use is None:
            return
        self._use, self._targets = snapshot.page_use, snapshot.targets
        if self._covered_ns is None and self._use.uncovered <= self._use.missed_bytes:
            self._covered_ns = self._use.watched_ns
        if not self._told:
            return
        if self._live:
            if self._screen.due() and (watched := self.watched()) is not None:
                self._screen.draw(lines(watched, curve(watched.use), width_of(sys.stdout)))
        else:
            self._print(whole=False)

    def close(self) -> None:
        """Show for good what was found."""
        watched = self.watched()
        if watched is None or not self._told:
            return
        if self._live:
            self._screen.last(lines(watched, curve(watched.use), width_of(sys.stdout)))
            return
        self._print(whole=True)
        tell(*facts(watched, curve(watched.use), width_of(sys.stdout)), stream=sys.stdout)

    def watched(self) -> Watched | None:
        """Return what is known by now; None if that is nothing."""
        if self._use is None:
            return None
        spent = time.process_time() - self._cpu
        return Watched(
            self._use,
            self._targets,
            self._mappings,
            self._swap_free,
            self._backend,
            spent / max(time.monotonic() - self._began, 1e-3),
        )

    def _print(self, *, whole: bool) -> None:
        """Print the lines that are due: of times that were watched since all was looked at."""
        for point in self._due(whole=whole):
            width = width_of(sys.stdout)
            if not self._printed_ns:
                tell(*labelled("", headline(self._targets), width, 0), stream=sys.stdout)
            assert self._use is not None  # noqa: S101 - who has points has it
            beside = max(_BOUNDS, len(pages.bounds(point)))
            tell(row(point, max(1, self._use.resident), beside, width), stream=sys.stdout)
            self._printed_ns = point.window_ns

    def _due(self, *, whole: bool) -> list[Used]:
        assert self._use is not None  # noqa: S101 - the callers' check
        points = [point for point in curve(self._use) if point.window_ns > self._printed_ns]
        if whole:
            return points
        if self._covered_ns is None:
            return []
        # The last one is just as long as all that was watched by now.
        since_ns = self._use.watched_ns - self._covered_ns
        if since_ns < _SETTLED_NS:
            return []
        return [point for point in points[:-1] if point.window_ns <= since_ns]


class WssCommand(TargetCommand):
    """What stands behind "--" is a command to run; words before it are who is watched."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the command away, then parse as usual."""
        if "--" in args:
            at = args.index("--")
            ctx.meta[__name__] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)


def recording_of(words: tuple[str, ...]) -> Path | None:
    """Return the recording that the words name, None if they name processes."""
    if len(words) != 1:
        return None
    (word,) = words
    if word == "-":
        return STDIN
    path = Path(word)
    try:
        found = path.is_file()
    except (OSError, ValueError):
        found = False
    if not found and word.endswith(SUFFIX):
        raise BadValueError(
            f"there is no recording {quoted(word)}", hint=f"ls *{SUFFIX} shows the recordings here"
        )
    return path if found else None


def check_of_recording(ctx: click.Context, meant: Sequence[str]) -> None:
    """
    Refuse what was given for a program that is watched, where a recording was named.

    meant: names of parameters that are for recordings as well.
    """
    for param in ctx.command.get_params(ctx):
        name = param.name or ""
        given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and isinstance(param, click.Option) and name not in meant:
            raise BadValueError(
                f"{param.opts[0]} is for programs that are watched, not for a recording",
                hint="isotherm report --help shows what can be asked of a recording",
            )


def sources_of(words: tuple[str, ...]) -> list[TargetSource]:
    """Return whom the words name: numbers are pids, others names of processes."""
    return [
        PidSource.parse(word)
        if word.replace(",", "").isascii() and word.replace(",", "").isdigit()
        else NameSource(word)
        for word in words
    ]


def announce(session: MonitorSession, length: int) -> None:
    """Say on stderr who is watched, how, and what could surprise."""
    tell(
        f"watching {target_names(session.targets)}, backend {session.backend}, "
        f"for {format_duration(length)}; ctrl-c to stop",
        *(f"warning: {warning}" for warning in session.warnings),
    )


@click.command(
    cls=WssCommand,
    epilog="""\b
TARGET is a pid, or the name of processes; -p, -n and -G may name more. Or it
is a recording: then it is the same as isotherm report FILE wss.
\b
Examples:
  sudo isotherm wss $(pidof redis-server)
  sudo isotherm wss postgres -d 5m
  sudo isotherm wss -d 10s -- python3 app.py
  sudo isotherm wss 4242 -d 10s --format json | jq .curve
  isotherm wss redis.isotherm""",
)
@click.argument("words", metavar="[TARGET] [-- CMD...]", nargs=-1)
@click.option(
    "-d", "--duration", metavar="TIME", default=DEFAULT_DURATION, show_default=True,
    help="Stop after this long.",
)  # fmt: skip
@map_options
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
@click.pass_context
def command(
    ctx: click.Context, /, *, words: tuple[str, ...], duration: str, form: str, **options: Any
) -> int:
    """
    Tell how much memory is used within 0.1 s, 0.2 s, 0.5 s, 1 s ..., page by page.

    Every page is looked at: marked as not used, and read again and again until it is. The table
    fills as time goes by, until --duration is over, ctrl-c, or the target ends. "not used for"
    is what is in memory and surely idle; what could not be seen is "unknown", neither of both.
    """
    asked = keywords(options)
    asked["command"] = ctx.meta.get(__name__, ())
    named = bool(asked["sources"] or asked["command"])
    path = None if named else recording_of(words)
    if path is not None:
        check_of_recording(ctx, ("form",))
        view = views()["wss"]
        show(path, view, *read_view(view, {}, form, None), form)
        return 0
    asked["sources"] = [*asked["sources"], *sources_of(words)]
    return _watch(asked, length_of(duration) or 0, form)


def _watch(asked: Keywords, length: int, form: str) -> int:
    wanted = Options.of(**asked)
    live = form == "table" and can_redraw(sys.stdout)

    def body(
        session: MonitorSession, foreground: Foreground, opened: ExitStack
    ) -> IsothermError | None:
        announce(session, length)
        screen = opened.enter_context(Screen(live=live))
        sink = WatchSink(form, screen, live=live)
        run(session, [sink], duration=length / 1e9)
        tell_news(session)
        watched = sink.watched()
        nothing = None if watched else why_nothing(session, foreground, "seen")
        session.close()
        if watched is not None and form != "table":
            report(watched, width_of(sys.stdout)).write(form)
        return nothing

    return watch(wanted, length, body)
