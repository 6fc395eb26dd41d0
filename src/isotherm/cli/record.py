"""`isotherm record`: monitor processes or a command, and keep every snapshot."""

from __future__ import annotations

import os
import shlex
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from isotherm.api import coarse_sink, recording_path, recording_sink
from isotherm.cli.foreground import Foreground, why_nothing
from isotherm.cli.options import (
    TargetCommand,
    keywords,
    length_of,
    monitor_options,
    target_names,
)
from isotherm.cli.output_file import STDOUT, check_output
from isotherm.cli.watching import watch
from isotherm.errors import IsothermError
from isotherm.model.page_use import PageUse
from isotherm.model.snapshot import Snapshot
from isotherm.recording.series import Rotation
from isotherm.recording.sink import RecordingSink
from isotherm.report import pages
from isotherm.session.options import Options
from isotherm.session.run import Sink, run
from isotherm.session.session import MonitorSession
from isotherm.terminal.output import tell
from isotherm.terminal.progress import Progress
from isotherm.units import duration_ns, exact_duration, format_size

#: What a window, and each of its regions, take in a recording, in bytes: an idle program with the
#: same regions all the time, and one where everything changes.
_LEAST_BYTES, _MOST_BYTES = (400, 1), (4_000, 6)
#: Windows that stretch to keep a share of a CPU became so long.
_STRETCHED_NS = 2_000_000_000
_HOUR_NS = 3_600_000_000_000
#: Smaller recordings need no warning.
_WORTH_BYTES = 64 << 20


class ProgressSink:
    """Tells a person how the recording goes."""

    def __init__(self, duration_ns: int | None) -> None:
        self._progress = Progress(sys.stderr, duration_ns)
        self._cpu = time.process_time()
        self._session: MonitorSession | None = None
        #: What is known last of memory page by page.
        self.use: PageUse | None = None

    def open(self, session: MonitorSession) -> None:
        """Take note of whom to ask for news."""
        self._session = session

    def take(self, snapshot: Snapshot) -> None:
        """Tell the news; show regions, working set and our own cost, when it is time."""
        self.use = snapshot.page_use or self.use
        for text in self._session.news() if self._session is not None else ():
            self._progress.end()
            tell(f"warning: {text}")
        if not self._progress.due():
            return
        resident = sum(target.resident_bytes or 0 for target in snapshot.targets)
        of = f" of {format_size(resident)}" if resident else ""
        cost = (time.process_time() - self._cpu) / max(self._progress.elapsed_s, 1e-3)
        self._progress.show(
            f"{len(snapshot.columns)} regions  "
            f"working set {format_size(snapshot.working_set_bytes)}{of}  "
            f"cost {cost:.1%} of one CPU"
        )

    def close(self) -> None:
        """Leave the terminal on a fresh line."""
        self._progress.end()


def announce(session: MonitorSession, *, endless: bool) -> None:
    """Say on stderr what is recorded, how, and what could surprise."""
    attrs = session.attrs
    longer = "+" if session.monitor.stretches else ""
    tell(
        f"recording {target_names(session.targets)}, backend {session.backend}, "
        f"sample {exact_duration(attrs.sample_us)}{longer} "
        f"aggr {exact_duration(attrs.aggr_us)}{longer} "
        f"regions {attrs.min_nr_regions}..{attrs.max_nr_regions}"
        f"{'     ctrl-c to stop' if endless else ''}",
        *_policy(session),
        *(f"warning: {warning}" for warning in session.warnings),
    )


def _policy(session: MonitorSession) -> list[str]:
    """Say why this policy, where that was left open."""
    choice = session.choice
    told = choice is not None and choice.policy_reason
    return [f"policy {choice.policy}: {choice.policy_reason}"] if choice and told else []


def saved(sink: RecordingSink) -> str:
    """Return what there is of a recording, and what to do next."""
    last = sink.files[-1]
    here = [path for path in sink.files if path.exists()]
    if last not in here:
        return f"{last} was moved or deleted meanwhile; it holds {sink.nr_snapshots} snapshots"
    total = sum(path.stat().st_size for path in here)
    what = f"{last}" if len(here) == 1 else f"{len(here)} files, {last} the last"
    return (
        f"saved {what} ({format_size(total)}, {sink.nr_snapshots} snapshots)."
        f"  next: isotherm report {shlex.quote(os.fspath(last))}"
    )


def expected_size(
    session: MonitorSession,
    length_ns: int | None,
    every: str | None,
    rotate: str | None,
    keep: int | None,
) -> list[str]:
    """
    Return how large the recording may become, where it may be more than a little.

    An estimate from the intervals and the bounds of regions that were asked for, and whether
    intervals are made longer to keep a share of a CPU.
    """
    attrs = session.attrs
    shortest_ns = max(attrs.aggr_us * 1000, 0 if every is None else duration_ns(every))
    longest_ns = max(shortest_ns, _STRETCHED_NS * session.monitor.stretches)
    time_ns = _HOUR_NS if length_ns is None else length_ns

    def estimate(window_ns: int, of_window: int, of_region: int, regions: int) -> int:
        return -(-time_ns // window_ns) * (of_window + of_region * regions)

    least = estimate(longest_ns, *_LEAST_BYTES, attrs.min_nr_regions)
    most = estimate(shortest_ns, *_MOST_BYTES, attrs.max_nr_regions)
    if most < _WORTH_BYTES and length_ns is not None and rotate is None:
        return []
    per = " an hour" if length_ns is None else ""
    text = f"expected size: {format_size(least)} to {format_size(most)}{per}, by how much changes"
    limit = None if rotate is None else Rotation.of(rotate, keep)
    if limit is not None and limit.max_bytes is not None and limit.keep is not None:
        text += f"; of {limit.keep} files {format_size(limit.max_bytes * limit.keep)} at most"
    return [text]


def coarse_size(coarser: list[RecordingSink]) -> list[str]:
    """Return how large the coarser level may become, if there is one."""
    return [
        f"and {of.keep} files of a coarser level"
        + ("" if of.max_bytes is None else f", {format_size(of.max_bytes * of.keep)} at most")
        for of in (sink.rotation for sink in coarser)
        if of is not None and of.keep is not None
    ]


@click.command(
    cls=TargetCommand,
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  sudo isotherm record -p $(pidof redis-server) -d 30s
  sudo isotherm record -n postgres -o pg.isotherm
  sudo isotherm record -d 10s -- python3 app.py
  sudo isotherm record -p 4242 -o - | isotherm report -
  sudo isotherm record --unit nginx --wait -d 1h
  sudo isotherm record -a -d 60s
  sudo isotherm record -n mysqld --wait --every 10s --rotate 100M --keep 10 --coarse 10m
Then: isotherm report""",
)
@monitor_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="File, or - for standard output [NAME.PID.isotherm here].",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option(
    "--every", metavar="TIME", help="Keep a snapshot of so much time, 10s, instead of each."
)
@click.option(
    "--rotate", metavar="SIZE|TIME", help="Go on in the next file after 100M, 1h or 100M,1h."
)
@click.option("--keep", type=int, metavar="N", help="Keep the newest N of these files.")
@click.option(
    "--coarse", metavar="TIME",
    help="Keep a snapshot of so much time of longer ago, 1m, in as many files.",
)  # fmt: skip
@click.option(
    "--attach",
    is_flag=False,
    flag_value="",
    metavar="[KDAMOND]",
    help="Look at a kdamond that somebody else runs, and change nothing: as listed by doctor.",
)
@click.argument("command_line", metavar="[-- CMD...]", nargs=-1, type=click.UNPROCESSED)
def command(
    *,
    output: Path | None,
    duration: str | None,
    force: bool,
    every: str | None,
    rotate: str | None,
    keep: int | None,
    coarse: str | None,
    attach: str | None,
    command_line: tuple[str, ...],
    **options: Any,
) -> int:
    """
    Record the access pattern of processes, of a command, or of the machine's memory.

    Stops on ctrl-c, after --duration, or when the target ends. With a command, its exit status
    is returned: it is waited for, and a signal that ends the recording is passed on to it.
    Existing files are kept unless --force is given.
    """
    length = length_of(duration)
    if rotate is None:
        check_output(output, force=force)
    elif output is not None:  # files of other names are made, and none is overwritten
        check_output(output, force=True)
    place = sys.stdout.buffer if output == STDOUT else output or Path("recording")
    # Whether it makes sense.
    recording_sink(place, every=every, rotate=rotate, keep=keep)
    coarse_sink(place, coarse, every=every, rotate=rotate, keep=keep)
    asked = keywords(options)
    asked["command"] = command_line
    asked["attach"] = attach
    wanted = Options.of(**asked)

    def body(
        session: MonitorSession, foreground: Foreground, _: ExitStack
    ) -> IsothermError | None:
        path = output or recording_path(session, Path())
        announce(session, endless=length is None)
        target = sys.stdout.buffer if path == STDOUT else path
        progress = ProgressSink(length)
        sink = recording_sink(target, force=force, every=every, rotate=rotate, keep=keep)
        coarser = coarse_sink(target, coarse, every=every, rotate=rotate, keep=keep)
        tell(*expected_size(session, length, every, rotate, keep), *coarse_size(coarser))
        sinks: list[Sink] = [sink, *coarser, progress]
        count = run(session, sinks, duration=None if length is None else length / 1e9)
        nothing = None if count else why_nothing(session, foreground, "recorded")
        session.close()
        if progress.use is not None and (shared := pages.shared_text(progress.use)):
            tell(f"shared memory {shared}")
        if count and path != STDOUT:
            tell(*(saved(one) for one in (*coarser, sink)))
        return nothing

    return watch(wanted, length, body)
