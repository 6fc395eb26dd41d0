"""`isotherm top`: who uses how much memory, live, or moment by moment of a recording."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

import click

from isotherm import _core
from isotherm.cli.foreground import Foreground, require_a_window, why_nothing
from isotherm.cli.options import TargetCommand, keywords, length_of, map_options, target_names
from isotherm.cli.wss import sources_of
from isotherm.errors import BadValueError, IsothermError, quoted
from isotherm.live.chronicle import Chronicle, Feed
from isotherm.live.heads import LiveHead, ReplayHead
from isotherm.live.plain import PlainSink, plain_lines
from isotherm.live.replay import Player, Replay, check_when, moment_of
from isotherm.live.rows import SORTS, Wish
from isotherm.live.stage import Stage
from isotherm.recording.reader import open_recording
from isotherm.session.options import Options
from isotherm.session.run import run
from isotherm.session.session import MonitorSession
from isotherm.session.start import start
from isotherm.targets.sources import EverybodySource, UserSource
from isotherm.terminal.output import tell
from isotherm.terminal.style import can_redraw, style_of, width_of
from isotherm.units import duration_ns, format_duration

DEFAULT_INTERVAL = "2s"
_LEAST_NS = 1_000_000_000
_STDIN = Path("/dev/stdin")


class Screen(Foreground):
    """Signals while the terminal is drawn on: all end the view, and a hangup the terminal too."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = False
        self.drawn = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.drawn:
            super()._handle(number, frame)
            return
        if number == signal.SIGHUP:
            self.lose_terminal()
        self.signal = number
        self.ended = True

    def lose_terminal(self) -> None:
        """Go on without a terminal."""
        from isotherm.live.app import forget_terminal

        forget_terminal()
        self.ended = True

    def draw(self, stage: Stage, tick: Any) -> None:
        """Draw until the user, a signal or `tick` ends it; see `TopApp`."""
        from isotherm.live.app import TopApp, is_gone

        def look() -> bool | None:
            if not self.ended and is_gone():
                self.lose_terminal()
            return None if self.ended else tick()

        app = TopApp(stage, look, unicode=style_of(sys.stdout).unicode)
        self.drawn = True
        try:
            app.run(mouse=False)
        except OSError:
            if not self.ended:
                raise
        finally:
            self.drawn = False
        if app.return_code and not self.ended:
            raise IsothermError("the live view failed", hint="--plain does without it")


def can_draw() -> bool:
    """Tell whether there is a terminal to draw on, and to read keys from."""
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    return all(stream is not None and can_redraw(stream) for stream in streams)


class Watch(threading.Thread):
    """Monitors in the background; `error` is what ended it, if not all was well."""

    def __init__(self, session: MonitorSession, feed: Feed, length: int | None) -> None:
        super().__init__(name="isotherm top")
        self._session, self._feed = session, feed
        self._duration = None if length is None else length / 1e9
        self.count = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        """Monitor until the stream ends."""
        try:
            self.count = run(self._session, [self._feed], duration=self._duration)
        except BaseException as err:  # noqa: BLE001 - raised by who waits
            self.error = err

    def end(self) -> None:
        """Stop and wait; raises what went wrong."""
        self._session.stop()
        self.join()
        if self.error is not None:
            raise self.error


@click.command(
    cls=TargetCommand,
    epilog="""\b
TARGET is a pid, or the name of processes; -p, -n and -G may name more. Without
any it is all of the machine, or all of your own if you are not root.
\b
Examples:
  sudo isotherm top
  sudo isotherm top postgres
  sudo isotherm top -a --plain -d 10s | tee top.txt
  isotherm top --replay redis.isotherm -t '3m ago'""",
)
@click.argument("words", metavar="[TARGET]...", nargs=-1)
@click.option("--plain", is_flag=True, help="No drawing: text, a moment below the other.")
@click.option("--replay", metavar="REC", help="Of a recording, moment by moment.")
@click.option(
    "-t", "--time", "when", metavar="TIME",
    help="With --replay: begin 90s after its beginning, or '3m ago' before its end.",
)  # fmt: skip
@click.option(
    "--sort", type=click.Choice(SORTS), default="wss", show_default=True, help="The order."
)
@click.option(
    "-I", "--interval", metavar="TIME", default=DEFAULT_INTERVAL, show_default=True,
    help="With --plain: between two moments.",
)  # fmt: skip
@click.option(
    "--rows", type=click.IntRange(0), default=20, show_default=True,
    help="With --plain: rows of a moment, 0 for all.",
)  # fmt: skip
@click.option("-d", "--duration", metavar="TIME", help="Stop after this long.")
@map_options
def command(
    *,
    words: tuple[str, ...],
    plain: bool,
    replay: str | None,
    when: str | None,
    sort: Any,
    interval: str,
    rows: int,
    duration: str | None,
    **options: Any,
) -> int:
    """
    Show who uses how much memory: live, by groups and processes.

    WSS10s was used within 10 s, IDLE10s is in memory and was not, UNKN could not be seen: neither
    of both. enter opens a process: its heat by address and time, and the names of its memory.
    ? shows all keys, q ends it.
    """
    length = length_of(duration)
    interval_ns = duration_ns(interval)
    if interval_ns < _LEAST_NS:
        raise BadValueError("moments are a second apart at least", hint="-I 1s")
    asked = keywords(options)
    asked["sources"] = [*asked["sources"], *sources_of(words)]
    drawn = not plain and can_draw()
    if replay is not None:
        if asked["sources"]:
            raise BadValueError(
                "a recording has its own processes", hint="leave out the targets, or --replay"
            )
        return _replay(replay, when, Wish(sort=sort), rows if plain or not drawn else None)
    if when is not None:
        raise BadValueError("-t is a time of a recording", hint="--replay REC -t '3m ago'")
    if not asked["sources"]:
        everybody = os.geteuid() == 0
        asked["sources"] = [EverybodySource() if everybody else UserSource(str(os.geteuid()))]
    wanted = Options.of(**asked).lasting(length)
    wish = Wish(sort=sort)
    if drawn:
        return _live(wanted, length, wish)
    return _plain(wanted, length, wish, interval_ns, rows)


def _live(wanted: Options, length: int | None, wish: Wish) -> int:
    with Screen() as screen, ExitStack() as opened:
        session = opened.enter_context(start(wanted))
        require_a_window(session, length)
        feed, chronicle = Feed(), Chronicle()
        stage = Stage(
            chronicle, LiveHead(session.backend), wish, colour=style_of(sys.stdout).colour
        )
        stage.notes += session.warnings
        watch = Watch(session, feed, length)

        def tick() -> bool | None:
            over = not watch.is_alive()
            stage.notes += feed.news()
            for mappings in feed.maps():
                chronicle.take_maps(mappings)
            before = len(chronicle), stage.moment
            for snapshot in feed.snapshots():
                chronicle.take(snapshot)
            return None if over else (len(chronicle), stage.moment) != before

        began, cpu = time.monotonic(), time.process_time()
        watch.start()
        try:
            screen.draw(stage, tick)
        finally:
            watch.end()
        nothing = None if watch.count else why_nothing(session, screen, "seen")
        ended = not session.alive()
        session.close()
        if nothing is not None and not (screen.ended or ended):
            raise nothing
        share = (time.process_time() - cpu) / max(1e-3, time.monotonic() - began)
        gone = format_duration(int(time.monotonic() - began) * 1_000_000_000)
        why = "the target ended; " if ended and not screen.ended else ""
        tell(f"{why}watched {target_names(session.targets)} for {gone}, {share:.1%} of one CPU")
        return screen.status()


def _plain(wanted: Options, length: int | None, wish: Wish, interval_ns: int, rows: int) -> int:
    _core.keep_little_memory()
    with Foreground() as foreground, ExitStack() as opened:
        session = opened.enter_context(start(wanted))
        foreground.watch(session)
        require_a_window(session, length)
        tell(*(f"warning: {warning}" for warning in session.warnings))
        sink = PlainSink(wish, LiveHead(session.backend), interval_ns, rows)
        run(session, [sink], duration=None if length is None else length / 1e9)
        nothing = None if sink.told else why_nothing(session, foreground, "seen")
        session.close()
        if nothing is not None:
            raise nothing
        return foreground.status()


def _replay(name: str, when: str | None, wish: Wish, rows: int | None) -> int:
    """Show a recording; rows: print so many of one moment, None draws."""
    if when is not None:
        check_when(when)
    path = _STDIN if name == "-" else Path(name)
    if rows is None and path == _STDIN:
        raise BadValueError("keys and a recording cannot come from the same input", hint="--plain")
    replay = Replay(open_recording(path))
    chronicle = replay.chronicle
    head = ReplayHead(path, chronicle, str(replay.info.get("backend", "")))
    if rows is None:
        with Screen() as screen:
            stage = Stage(chronicle, head, wish, colour=style_of(sys.stdout).colour, endless=False)
            screen.draw(stage, Player(stage, replay, when).tick)
    else:
        replay.read_all()
        if not len(chronicle):
            raise replay.damage or BadValueError(f"{quoted(name)} has no snapshots")
        at = len(chronicle) - 1
        if when is not None:
            at = chronicle.nearest(moment_of(when, chronicle))
        parts = head(chronicle.moments[at])
        width = width_of(sys.stdout, most=200)
        lines = plain_lines(chronicle, at, wish, parts, width=width, most=rows)
        tell(*lines, stream=sys.stdout)
    if replay.damage is not None:
        raise replay.damage
    return 0
