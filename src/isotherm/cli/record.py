"""`isotherm record`: monitor processes or a command, and keep every snapshot."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import click

from isotherm.api import MonitorSession, default_path, monitor, write_recording
from isotherm.cli.options import (
    exit_status,
    length_of,
    monitor_arguments,
    monitor_options,
    target_names,
)
from isotherm.cli.signals import stopping_on_signals
from isotherm.errors import BadValueError, CommandEndedError, TargetGoneError
from isotherm.model.snapshot import Snapshot
from isotherm.units import exact_duration, format_duration, format_size

#: Seconds between two progress lines on a terminal.
PROGRESS_PERIOD_S = 0.5


class Progress:
    """The line that tells a person how the recording goes; silent when stderr is no terminal."""

    def __init__(self, duration_ns: int | None) -> None:
        self._live = sys.stderr.isatty()
        self._duration = duration_ns
        self._begun = time.monotonic()
        self._cpu = time.process_time()
        self._next = 0.0
        self.last: Snapshot | None = None

    def take(self, snapshot: Snapshot) -> None:
        """Redraw with this snapshot when it is time."""
        self.last = snapshot
        now = time.monotonic()
        if self._live and now >= self._next:
            self._next = now + PROGRESS_PERIOD_S
            print(f"\r\033[K{self.line()}", end="", file=sys.stderr, flush=True)

    def line(self) -> str:
        """Return time, snapshots, regions, working set and our own cost in about 80 columns."""
        elapsed = time.monotonic() - self._begun
        cost = (time.process_time() - self._cpu) / max(elapsed, 1e-3)
        spent = format_duration(int(elapsed) * 1_000_000_000)
        parts = []
        if self._duration is not None:
            done = min(1.0, elapsed * 1e9 / max(1, self._duration))
            parts.append(f"{'█' * int(16 * done):16} {spent}/{format_duration(self._duration)}")
        else:
            parts.append(spent)
        if self.last is not None:
            resident = sum(target.resident_bytes or 0 for target in self.last.targets)
            of = f" of {format_size(resident)}" if resident else ""
            parts.append(
                f"{len(self.last.columns)} regions  "
                f"working set {format_size(self.last.working_set_bytes)}{of}"
            )
        parts.append(f"cost {cost:.1%} of one CPU")
        return " " + "  ".join(parts)

    def end(self) -> None:
        """Leave the terminal on a fresh line."""
        if self._live:
            print(f"\r\033[K{self.line()}", file=sys.stderr)


def announce(session: MonitorSession, duration: int | None) -> None:
    """Say on stderr what is recorded, how, and what could surprise."""
    attrs = session.attrs
    how_long = "" if duration is not None else "     ctrl-c to stop"
    longer = "+" if session.governor is not None else ""
    print(
        f"recording {target_names(session.targets)}, backend {session.backend}, "
        f"sample {exact_duration(attrs.sample_us)}{longer} "
        f"aggr {exact_duration(attrs.aggr_us)}{longer} "
        f"regions {attrs.min_nr_regions}..{attrs.max_nr_regions}{how_long}",
        file=sys.stderr,
    )
    for warning in session.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def run(session: MonitorSession, path: Path, *, duration: int | None, force: bool) -> int:
    """Write every snapshot until the time is over, the targets ended, or a signal came."""
    progress = Progress(duration)
    seconds = None if duration is None else duration / 1e9
    try:
        with stopping_on_signals(session):
            return write_recording(
                session, path, duration=seconds, force=force, each=progress.take
            )
    finally:
        progress.end()


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  sudo isotherm record -p $(pidof redis-server) -d 30s
  sudo isotherm record -n postgres -o pg.isotherm
  sudo isotherm record -d 10s -- python3 app.py
  sudo isotherm record -a -d 60s
Then: isotherm report""",
)
@monitor_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File [NAME.PID.isotherm here]."
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.argument("command_line", metavar="[-- CMD...]", nargs=-1, type=click.UNPROCESSED)
def command(
    *,
    output: Path | None,
    duration: str | None,
    force: bool,
    command_line: tuple[str, ...],
    **options: Any,
) -> int:
    """
    Record the access pattern of processes, of a command, or of the machine's memory.

    Stops on ctrl-c, after --duration, or when the target ends. With a command, its exit status
    is returned. Existing files are kept unless --force is given.
    """
    length = length_of(duration)
    if output is not None and output.exists() and not force:
        raise BadValueError(f"{output} exists already", hint="another -o, or --force")
    try:
        session = monitor(command=command_line or None, **monitor_arguments(options))
    except CommandEndedError as err:
        print(f"isotherm: {err}", file=sys.stderr)
        return exit_status(err.returncode)
    with session:
        path = output or default_path(session, Path.cwd())
        announce(session, length)
        count = run(session, path, duration=length, force=force)
    if count:
        print(
            f"saved {path} ({format_size(path.stat().st_size)}, {count} snapshots)."
            f"  next: isotherm report {shlex.quote(os.fspath(path))}",
            file=sys.stderr,
        )
    if session.command is not None:
        return exit_status(session.command.wait())
    if not count:
        raise TargetGoneError(
            "the target ended before the first aggregation: nothing was recorded",
            hint="start it with `isotherm record -- CMD`, or shorten --aggr",
        )
    return 0
