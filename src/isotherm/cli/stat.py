"""`isotherm stat`: a line for each interval, as vmstat has it, of how memory is used."""

from __future__ import annotations

import csv
import io
import sys
import time
from contextlib import ExitStack
from typing import Any

import click

from isotherm.analysis.usage import unlooked
from isotherm.cli.foreground import Foreground, why_nothing
from isotherm.cli.options import keywords, length_of, map_options, target_names
from isotherm.cli.watching import watch
from isotherm.cli.wss import WssCommand, sources_of
from isotherm.errors import BadValueError, IsothermError
from isotherm.model.page_use import PageUse
from isotherm.model.snapshot import Snapshot
from isotherm.report.output import json_text
from isotherm.report.stat import SCHEMA, Line, document, header, record, text
from isotherm.session.options import Options
from isotherm.session.run import run
from isotherm.session.session import MonitorSession
from isotherm.terminal.output import tell
from isotherm.terminal.style import height_of, style_of, width_of
from isotherm.units import duration_ns, format_duration

FORMATS = ("table", "json", "jsonl", "csv")
DEFAULT_INTERVAL = "1s"
#: A map of pages is summed up once a second at the most.
_LEAST_NS = 1_000_000_000
#: A window may end so much before its time.
_EARLY_NS = 100_000_000


class StatSink:
    """
    Prints a line when an interval is over.

    form: one of `FORMATS`; interval_ns: how long an interval is, in whole windows.
    """

    def __init__(self, form: str, interval_ns: int) -> None:
        self._form = form
        self._interval_ns = interval_ns
        self._session: MonitorSession | None = None
        self._use: PageUse | None = None
        self._use_ns = self._unlooked = 0
        self._began_ns: int | None = None
        self._cpu_ns = self._shared_ns = 0
        self.lines = 0

    def open(self, session: MonitorSession) -> None:
        """Take note of whom to ask for news, and of what was spent by now."""
        self._session = session
        self._cpu_ns = time.process_time_ns()

    def take(self, snapshot: Snapshot) -> None:
        """Print a line if it is time to, and something is known."""
        for news in self._session.news() if self._session is not None else ():
            tell(f"warning: {news}")
        if snapshot.page_use is not None:
            self._use, self._use_ns = snapshot.page_use, snapshot.end_ns
            self._unlooked = sum(unlooked(snapshot.page_use, snapshot.targets).values())
        if self._began_ns is None:
            self._began_ns = snapshot.start_ns
        gone_ns = snapshot.end_ns - self._began_ns
        if self._use is None or gone_ns < self._interval_ns - _EARLY_NS:
            return
        self._print(
            Line(
                at_ns=snapshot.end_ns,
                interval_ns=gone_ns,
                targets=len(snapshot.targets),
                use=self._use,
                use_ns=self._use_ns,
                cpu_share=self._spent_ns(self._use) / gone_ns,
                unlooked=self._unlooked,
            )
        )
        self._began_ns = snapshot.end_ns

    def close(self) -> None:
        """Nothing is left to be told."""

    def _spent_ns(self, use: PageUse) -> int:
        """Return the CPU time since the last line."""
        cpu_ns, self._cpu_ns = self._cpu_ns, time.process_time_ns()
        shared_ns, self._shared_ns = self._shared_ns, use.shared_cpu_ns
        return self._cpu_ns - cpu_ns + self._shared_ns - shared_ns

    def _print(self, line: Line) -> None:
        out = sys.stdout
        if self._form == "table":
            width = width_of(out)
            # As vmstat does, so that titles are always seen; in a file once is enough.
            if not self.lines or (out.isatty() and self.lines % (height_of(out) - 1) == 0):
                tell(header(width), stream=out)
            tell(text(line, width), stream=out)
        elif self._form == "csv":
            made = io.StringIO()
            writer = csv.DictWriter(made, record(line).keys(), lineterminator="\n")
            if not self.lines:
                writer.writeheader()
            writer.writerow(record(line))
            out.write(made.getvalue())
        else:
            out.write(json_text({"schema": SCHEMA, **document(line)}, style_of(out)))
        out.flush()
        self.lines += 1


def interval_of(text: str) -> int:
    """Return an interval in ns; raises `BadValueError` for what is too short to be told apart."""
    interval_ns = duration_ns(text)
    if interval_ns < _LEAST_NS:
        raise BadValueError(
            f"an interval of {format_duration(interval_ns)} is too short",
            hint="a map of pages is summed up once a second at the most: -I 1s",
        )
    return interval_ns


@click.command(
    cls=WssCommand,
    epilog="""\b
TARGET is a pid, or the name of processes; -p, -n and -G may name more.
\b
Examples:
  sudo isotherm stat $(pidof redis-server)
  sudo isotherm stat postgres -I 5s -d 10m
  sudo isotherm stat -a --format json | jq .resident_bytes
  sudo isotherm stat -d 10s -- python3 app.py""",
)
@click.argument("words", metavar="[TARGET] [-- CMD...]", nargs=-1)
@click.option(
    "-I", "--interval", metavar="TIME", default=DEFAULT_INTERVAL, show_default=True,
    help="Between two lines.",
)  # fmt: skip
@click.option("-d", "--duration", metavar="TIME", help="Stop after this long.")
@map_options
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True,
    help="How to print it; json and jsonl are an object a line.",
)  # fmt: skip
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    words: tuple[str, ...],
    interval: str,
    duration: str | None,
    form: str,
    **options: Any,
) -> int:
    """
    Print a line for each interval: what is resident, used, idle and unknown.

    used 10s is what was used within 10 s, idle 10s what is in memory and was not, unknown what
    could not be seen: neither of both. cpu is what isotherm itself took of one CPU. Stops on
    ctrl-c, after --duration, or when the target ends.
    """
    interval_ns, length = interval_of(interval), length_of(duration)
    asked = keywords(options)
    asked["command"] = ctx.meta.get(WssCommand.__module__, ())
    asked["sources"] = [*asked["sources"], *sources_of(words)]
    wanted = Options.of(**asked)

    def body(
        session: MonitorSession, foreground: Foreground, _: ExitStack
    ) -> IsothermError | None:
        _announce(session, interval_ns)
        sink = StatSink(form, interval_ns)
        run(session, [sink], duration=None if length is None else length / 1e9)
        nothing = None if sink.lines else why_nothing(session, foreground, "seen")
        session.close()
        return nothing

    return watch(wanted, length, body)


def _announce(session: MonitorSession, interval_ns: int) -> None:
    """Say on stderr who is watched, how, and what could surprise."""
    tell(
        f"watching {target_names(session.targets)}, backend {session.backend}, "
        f"a line every {format_duration(interval_ns)}; ctrl-c to stop",
        *(f"warning: {warning}" for warning in session.warnings),
    )
