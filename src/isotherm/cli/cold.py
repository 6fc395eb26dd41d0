"""`isotherm cold`: what can go, what that would cost, and the command that does it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import click

from isotherm.analysis.cold import Cold, check_names, cold, known_ages
from isotherm.analysis.returns import Returns
from isotherm.cli.foreground import Foreground, tell_news, why_nothing
from isotherm.cli.options import keywords, length_of, map_options
from isotherm.cli.report import Given, read_view, show
from isotherm.cli.watching import watch
from isotherm.cli.wss import (
    WssCommand,
    announce,
    check_of_recording,
    recording_of,
    sources_of,
)
from isotherm.errors import BadValueError, IsothermError
from isotherm.kernel.meminfo import meminfo
from isotherm.kernel.swap import swap_devices, swap_left_to
from isotherm.model.page_use import WINDOWS_NS, PageUse
from isotherm.model.snapshot import Snapshot
from isotherm.model.target import Mapping, Target
from isotherm.report.cold import Swap, lines, report
from isotherm.report.output import FORMATS
from isotherm.report.views import views
from isotherm.report.views.cold import IDLE
from isotherm.session.contents import Contents, look_at
from isotherm.session.options import Keywords, Options
from isotherm.session.run import run
from isotherm.session.session import MonitorSession
from isotherm.targets import sources
from isotherm.targets.sources import PidSource
from isotherm.terminal.screen import Screen
from isotherm.terminal.style import can_redraw, width_of
from isotherm.units import format_duration

SCHEMA = "isotherm.cold/1"
#: For so long it watches where nothing was asked: ages up to 50 s are known then.
DEFAULT_DURATION = "60s"


@dataclass(frozen=True, slots=True)
class _Question:
    """
    What is asked: names, age_ns, called as `analysis.cold.cold`; compression, zeros: whether to
    look into memory for them.
    """

    names: str | None
    age_ns: int | None
    called: str
    compression: bool = False
    zeros: bool = False


class ColdSink:
    """
    Keeps the newest that is known, and draws it in place.

    screen: where to draw, None for nowhere.
    """

    def __init__(self, screen: Screen | None, question: _Question) -> None:
        self._screen = screen
        self._question = question
        self._last: Snapshot | None = None
        self._use: PageUse | None = None
        self._targets: tuple[Target, ...] = ()
        self._mappings: dict[int, Sequence[Mapping]] = {}
        self._returns = Returns()

    def open(self, session: MonitorSession) -> None:
        """Nothing is needed."""

    def take(self, snapshot: Snapshot) -> None:
        """Show what is known by now, where that can be seen."""
        self._mappings.update(snapshot.mappings or {})
        self._last = snapshot
        if snapshot.page_use is None:
            return
        self._use, self._targets = snapshot.page_use, snapshot.targets
        self._returns.add(self._use, self._targets)
        if self._screen is not None and self._screen.due():
            self._screen.draw(self.lines())

    def close(self) -> None:
        """Nothing is held."""

    def lines(self) -> list[str]:
        """Return what is known by now, as people read it."""
        swap = self.swap()
        found = self.found(swap)
        return [] if found is None else lines(found, swap, width_of(sys.stdout))

    def swap(self) -> Swap:
        """Return what swap space there is for the targets now."""
        limits = [
            left
            for target in self._targets
            if target.pid is not None and (left := swap_left_to(target.pid)) is not None
        ]
        return Swap(meminfo().get("SwapFree", 0), swap_devices(), min(limits, default=None))

    def found(self, swap: Swap) -> Cold | None:
        """Return what is known by now; None if that is nothing."""
        if self._use is None:
            return None
        asked = self._question
        return cold(
            self._use,
            self._targets,
            self._mappings,
            swap_free_bytes=swap.usable_bytes,
            cost=swap.cost,
            names=asked.names,
            age_ns=asked.age_ns if asked.age_ns in known_ages(self._use) else None,
            called=asked.called,
            before=self._returns,
        )

    def inside(self) -> Contents | None:
        """Look at the memory itself; None where nothing was seen."""
        if self._last is None:
            return None
        asked = self._question
        return look_at(
            self._last,
            self._mappings,
            names=asked.names,
            compression=asked.compression,
            zeros=asked.zeros,
        )


@click.command(
    cls=WssCommand,
    epilog="""\b
TARGET is a pid, or the name of processes; -p, -n and -G may name more. Or it
is a recording: then it is the same as isotherm report FILE cold.
\b
Examples:
  sudo isotherm cold $(pidof redis-server)
  sudo isotherm cold postgres -d 5m
  sudo isotherm cold 4242 --what '[heap]|[anon:*]' --idle 30s
  sudo isotherm cold 4242 --format json | jq .ages
  sudo isotherm cold 4242 --sample-compression --look-at-zeros
  isotherm cold redis.isotherm""",
)
@click.argument("words", metavar="[TARGET|RECORDING] [-- CMD...]", nargs=-1)
@click.option(
    "-d", "--duration", metavar="TIME", default=DEFAULT_DURATION, show_default=True,
    help="Watch for this long: ages up to five sixths of it are known.",
)  # fmt: skip
@click.option(
    "--what", "names", metavar="PATTERN",
    help="Only mappings of this name, '*/libc*'; | separates several.",
)  # fmt: skip
@click.option(IDLE.name, metavar=IDLE.metavar, help="Only what was not used for so long.")
@click.option(
    "--sample-compression",
    "compression",
    is_flag=True,
    help="Compress some idle pages, to tell what zram would make of them; none is kept.",
)
@click.option(
    "--look-at-zeros",
    "zeros",
    is_flag=True,
    help="Look through huge pages for small pages of nothing but zeros; none is kept.",
)
@map_options
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    words: tuple[str, ...],
    duration: str,
    names: str | None,
    idle: str | None,
    compression: bool,
    zeros: bool,
    form: str,
    **options: Any,
) -> int:
    """
    Tell what memory is cold, what paging it out would free and cost, and how it is done.

    Every page is looked at, as `isotherm wss` does. Nothing is paged out: the last lines are what
    to type for that. What would come back is what was used again, while this watched, after it
    had not been for so long.
    """
    called = spelled(options, words)
    asked = keywords(options)
    asked["command"] = ctx.meta.get("isotherm.cli.wss", ())
    path = None if asked["sources"] or asked["command"] else recording_of(words)
    if path is not None:
        if compression or zeros:
            raise BadValueError(
                "a recording holds no memory that could be looked into",
                hint="name a process that runs",
            )
        check_of_recording(ctx, ("names", "idle", "form"))
        view = views()["cold"]
        given: Given = {"view_name": () if names is None else (names,), "view_idle": idle}
        show(path, view, *read_view(view, given, form, None), form)
        return 0
    asked["sources"] = [*asked["sources"], *sources_of(words)]
    length = length_of(duration) or 0
    age_ns = None if idle is None else IDLE.read(idle)
    _check_age(age_ns, length)
    return _watch(asked, length, form, _Question(names, age_ns, called, compression, zeros))


def spelled(options: dict[str, Any], words: tuple[str, ...]) -> str:
    """Return the options that name the same targets to `isotherm apply`; "" for a command."""
    given = []
    for kind in sources.kinds():
        values = options.get(f"source_{kind.kind}") if kind.options else None
        if kind.flag and values:
            given.append(kind.options[0])
        elif values:
            given += [f"{kind.options[0]} {shlex.quote(str(value))}" for value in values]
    for word, source in zip(words, sources_of(words), strict=True):
        option = "-p" if isinstance(source, PidSource) else "-n"
        given.append(f"{option} {shlex.quote(word)}")
    if given and options.get("no_children"):
        given.append("--no-children")
    return " ".join(given)


def _check_age(age_ns: int | None, length: int) -> None:
    """Refuse an age that will not be known when the time is over."""
    if age_ns is None:
        return
    at_end = PageUse(length, length, (*(ns for ns in WINDOWS_NS if ns < length), length), ())
    if age_ns not in (known := known_ages(at_end)):
        raise BadValueError(
            f"what was not used for {format_duration(age_ns)} will not be known",
            hint=f"watched for {format_duration(length)} these ages are: "
            f"{', '.join(map(format_duration, known)) or 'none'}; -d is for how long",
        )


def _watch(asked: Keywords, length: int, form: str, question: _Question) -> int:
    """Watch, and tell."""
    wanted = Options.of(**asked)
    live = form == "table" and can_redraw(sys.stdout)

    def body(
        session: MonitorSession, foreground: Foreground, opened: ExitStack
    ) -> IsothermError | None:
        announce(session, length)
        screen = opened.enter_context(Screen(live=live))
        sink = ColdSink(screen if live else None, question)
        run(session, [sink], duration=length / 1e9)
        swap = sink.swap()
        found = sink.found(swap)
        inside = sink.inside()
        tell_news(session)
        nothing = None if found is not None else why_nothing(session, foreground, "seen")
        session.close()
        if found is not None:
            check_names(found)
        if found is not None and live:
            screen.last(lines(found, swap, width_of(sys.stdout), inside))
        elif found is not None:
            report(found, swap, SCHEMA, width_of(sys.stdout), inside).write(form)
        return nothing

    return watch(wanted, length, body)
