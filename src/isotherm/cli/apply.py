"""`isotherm apply`: run schemes in the foreground, with live statistics."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import click

from isotherm import _core
from isotherm.cli import complain
from isotherm.cli.foreground import Foreground, require_a_window, tell_news, why_nothing
from isotherm.cli.options import (
    TargetCommand,
    keywords,
    length_of,
    monitor_options,
    target_names,
)
from isotherm.errors import BadValueError, CommandEndedError, TargetGoneError
from isotherm.kernel.huge_pages import can_except_advised
from isotherm.model.snapshot import Snapshot
from isotherm.report.applied import live_lines, quota_text, report_applied
from isotherm.report.output import FORMATS
from isotherm.schemefile.files import load
from isotherm.schemefile.scheme_file import SchemeFile
from isotherm.session.applying import Applying, resident_bytes
from isotherm.session.options import Keywords, Options
from isotherm.session.session import MonitorSession
from isotherm.terminal.output import tell
from isotherm.terminal.screen import Screen
from isotherm.terminal.style import can_redraw
from isotherm.units import exact_duration, format_duration, format_size


class Live:
    """The table that a person watches; drawn on stderr, if that is a terminal."""

    def __init__(self, applying: Applying, *, plain: bool) -> None:
        self._applying = applying
        live = can_redraw(sys.stderr) and not plain
        self.screen = Screen(sys.stderr, live=live)
        self._begun = time.monotonic()
        self._cpu = time.process_time()
        self._before: int | None = None
        self._share = 1.0
        self._drawn = False
        self._opened = ExitStack()

    def open(self, session: MonitorSession) -> None:
        """Hide the cursor where there is one."""
        del session
        self._opened.enter_context(self.screen)

    def take(self, snapshot: Snapshot) -> None:
        """Draw if it is time; say when a guard changes its mind."""
        now = resident_bytes(snapshot)
        self._before = now if self._before is None else self._before
        guard = self._applying.session.guard
        if guard is not None and guard.share != self._share:
            self._tell_guard(guard.share, guard.sensor.describe())
        if self.screen.due():
            lines = live_lines(self._applying.schemes, snapshot.schemes, self._footer(now))
            self.screen.draw(lines)
            self._drawn = True

    def close(self) -> None:
        """Take the table away: the result follows."""
        if self._drawn:
            self.screen.draw([])
        self._opened.close()

    def _tell_guard(self, share: float, harm: str) -> None:
        if share == 0:
            self.screen.last([f" guard: {harm}: holding back"])
        elif self._share == 0:
            self.screen.last([f" guard: quiet again: going on with {share:.0%} of the quota"])
        elif share >= 1:
            self.screen.last([" guard: the whole quota again"])
        self._share = share

    def _footer(self, now: int) -> str:
        elapsed = time.monotonic() - self._begun
        cost = (time.process_time() - self._cpu) / max(elapsed, 1e-3)
        spent = format_duration(int(elapsed) * 1_000_000_000)
        resident = ""
        if self._before:  # of physical memory nothing is known
            resident = f"resident {format_size(self._before)} before, {format_size(now)} now   "
        return f"{spent}   {resident}cost {cost:.1%} of one CPU"


def announce(applying: Applying, *, dry_run: bool, endless: bool) -> None:
    """Say what is applied to whom, under which quota, and what could surprise."""
    session, attrs = applying.session, applying.session.attrs
    what = "dry run on" if dry_run else "applying to"
    longer = "+" if session.monitor.stretches else ""
    tell(
        f"{what} {target_names(session.targets)}, backend {session.backend}, "
        f"sample {exact_duration(attrs.sample_us)}{longer} "
        f"aggr {exact_duration(attrs.aggr_us)}{longer}{'     ctrl-c to stop' if endless else ''}",
        *(f" {scheme.title}: quota {quota_text(scheme.quota)}" for scheme in applying.schemes),
        *(f"warning: {warning}" for warning in session.warnings),
        *(f"note: {note}" for note in applying.notes),
    )


def filled(given: Keywords, file: SchemeFile, *, command: bool) -> Keywords:
    """
    Return the keywords of `monitor`, with what the options leave out taken from the file.

    command: there is one, so the targets of the file do not count.
    """
    wish = file.monitor
    low, high = wish.min_nr_regions, wish.max_nr_regions
    of_file: dict[str, Any] = {
        "sample": wish.sample_us,
        "aggr": wish.aggr_us,
        "update": wish.update_us,
        "regions": None if low is None or high is None else (low, high),
        "goal": wish.goal,
    }
    if not command and not given.get("sources") and given.get("operations") is None:
        of_file |= _targets(file)
    asked = cast("dict[str, Any]", given)
    missing = {name: value for name, value in of_file.items() if asked.get(name) is None}
    return cast("Keywords", asked | missing)


def _targets(file: SchemeFile) -> dict[str, Any]:
    """Return whom and what a file names: pids, one name, one cgroup, or physical memory."""
    targets = [one for one in file.targets if not one.obsolete]
    operations, ranges = file.monitor.ops, [one for target in targets for one in target.regions]
    if operations == "vaddr":
        ranges = []  # where the kernel may begin, but it follows the address map
    found: dict[str, Any] = {
        "operations": operations or ("fvaddr" if ranges else None),
        "ranges": ranges or None,
    }
    pids = [one.pid for one in targets if one.pid is not None]
    if operations == "paddr":
        return found
    if len(pids) == len(targets):
        return found | {"pid": pids or None}
    if len(targets) == 1:
        return found | {"name": targets[0].name or None, "cgroup": targets[0].cgroup or None}
    raise BadValueError(
        "the file names several targets of different kinds",
        hint="name them by pid, or one of them with -p, -n or -G",
    )


@click.command(
    cls=TargetCommand,
    context_settings={"allow_interspersed_args": True},
    epilog="""\b
SCHEMES is a preset (isotherm scheme list), a file, or schemes themselves.
\b
Examples:
  sudo isotherm apply prcl -p $(pidof redis-server)
  sudo isotherm apply 'pageout access=0% age=2m.. quota=128M/s' -n java
  sudo isotherm apply ethp -n python3 --dry-run -d 30s
  sudo isotherm apply 'pageout access=0% age=5m..' -a
  sudo isotherm apply ethp --no-thp -- ./server --port 8080
  sudo isotherm apply prcl -G /app --guard psi=10ms/s --log actions.jsonl""",
)
@click.argument("schemes")
@monitor_options
@click.option("--dry-run", is_flag=True, help="Show what would be done, without doing it.")
@click.option(
    "--guard",
    metavar="WHAT",
    help="Hold back on harm: psi=10ms/s, refault=100/s, cmd='COMMAND' fails.",
)
@click.option("--log", type=click.Path(path_type=Path), help="Append each action, JSON lines.")
@click.option("--force-guests", is_flag=True, help="Act on processes that run virtual machines.")
@click.option(
    "--no-thp", is_flag=True,
    help="Start CMD without huge pages, but for those that it or a scheme asks for.",
)  # fmt: skip
@click.option("--plain", is_flag=True, help="No live table.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True,
    help="How to print the result.",
)  # fmt: skip
@click.argument("command_line", metavar="[-- CMD...]", nargs=-1, type=click.UNPROCESSED)
def command(
    *,
    schemes: str,
    duration: str | None,
    dry_run: bool,
    guard: str | None,
    log: Path | None,
    force_guests: bool,
    no_thp: bool,
    plain: bool,
    form: str,
    command_line: tuple[str, ...],
    **options: Any,
) -> int:
    """
    Apply SCHEMES to the memory of processes, of a command, or of the machine.

    Stops on ctrl-c, after --duration, or when the target ends. What is done to memory is done: a
    page that went out comes back when it is used.
    """
    length = length_of(duration)
    file = load(schemes)
    for note in file.notes:
        tell(note)
    if file.others:
        raise BadValueError(
            f"{schemes!r} has {len(file.contexts)} contexts, and one is applied at a time",
            hint="`isotherm scheme convert --schemes-only` shows the schemes of each",
        )
    asked = filled(keywords(options), file, command=bool(command_line))
    asked |= {
        "command": command_line,
        "force_guests": force_guests,
        "schemes": file.schemes,
        "dry_run": dry_run,
        "no_thp": no_thp,
        "guard": guard,
    }
    wanted = Options.of(**asked)
    if no_thp and not can_except_advised():
        tell(
            "note: before Linux 6.18 a command that is started without huge pages has none at "
            "all: hugepage and collapse do nothing to it"
        )
    _core.keep_little_memory()
    with Foreground() as foreground, ExitStack() as opened:
        try:
            applying = opened.enter_context(Applying(wanted.lasting(length), log=log))
        except CommandEndedError as err:
            complain(err.message, err.hint)
            return err.status
        foreground.watch(applying.session)
        require_a_window(applying.session, length)
        announce(applying, dry_run=dry_run, endless=length is None)
        applying.run(None if length is None else length / 1e9, Live(applying, plain=plain))
        tell_news(applying.session)
        result = applying.result()
        if not result.snapshots and any(state.active for state in result.states):
            nothing = why_nothing(applying.session, foreground, "done")
            if isinstance(nothing, TargetGoneError) and applying.session.command is None:
                raise nothing
            tell(f"note: {nothing.message}")
        applying.close()
        sys.stdout.write(report_applied(result, dry_run=dry_run).render(form))
        sys.stdout.flush()
        return foreground.status()
