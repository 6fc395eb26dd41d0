"""`isotherm demo`: our own workload with known hot memory, watched live; truth beside estimate."""

from __future__ import annotations

import sys

import click

from isotherm.backends import registry
from isotherm.backends.choose import choose
from isotherm.cli.foreground import Foreground
from isotherm.demo.runner import Workload
from isotherm.demo.show import closing, demo_spec, watch, why
from isotherm.errors import BadValueError, TargetGoneError
from isotherm.kernel.features import probe
from isotherm.session.session import MonitorSession
from isotherm.session.start import monitor
from isotherm.terminal.output import tell
from isotherm.terminal.screen import MARGIN, Screen, space
from isotherm.terminal.style import Style, can_redraw, style_of
from isotherm.terminal.text import labelled

#: How long to watch with a backend that sees single pages, and with one of whole mappings.
SECONDS, COARSE_SECONDS = 15.0, 30.0
#: Shorter windows than a long recording would want, so that the picture moves.
COARSE_AGGR = "2s"
#: From this share of late sweeps on, the workload was not quite what it says.
LATE_SHARE = 0.02


def show(workload: Workload, session: MonitorSession, style: Style, *, live: bool) -> None:
    """Run the phases under the monitor; draw, and say what came out."""
    picture = space()
    truth = workload.go()
    with Foreground() as foreground, Screen(live=live) as screen:
        foreground.watch(session)
        result = watch(session.snapshots(), truth, screen=screen, style=style, space=picture)
    if result is None:
        raise TargetGoneError("the demo ended before its first window: there is nothing to show")
    columns = picture[0] + MARGIN
    lines = closing(result, style, columns)
    choice = session.choice
    if choice is not None:
        lines += why(choice.backend, choice.reason, choice.why_not.items(), columns)
        for text in choice.warnings:
            lines += labelled("warning", text, columns)
    if workload.overruns > LATE_SHARE * workload.sweeps:
        text = f"{workload.overruns} of {workload.sweeps} sweeps of the workload were late:"
        text += " the machine is busy, and the truth a little less true"
        lines += labelled("note", text, columns)
    tell(*lines, stream=sys.stdout)


@click.command(
    epilog="""\b
Examples:
  isotherm demo
  sudo isotherm demo --seconds 30
  isotherm demo --plain | tee demo.txt""",
)
@click.option("--seconds", type=float, help="How long to watch [15, coarse backends 30].")
@click.option("--backend", default="auto", show_default=True, help="As listed by doctor.")
@click.option("--plain", is_flag=True, help="No colour and no live picture.")
def command(*, seconds: float | None, backend: str, plain: bool) -> int:
    """
    Watch our own workload with the best backend; truth beside estimate.

    A child process maps 512 MiB, three places of it are used all the time, and at half time one
    of them moves. The picture shows what the monitor finds: addresses upwards, time to the right.
    For a backend that sees whole mappings only, each place is a mapping of its own.
    """
    if seconds is not None and not 1 <= seconds <= 3600:
        raise BadValueError(f"cannot watch for {seconds:g} seconds", hint="from 1 to 3600")
    coarse = registry.kind_of(choose(probe(), backend).backend).whole_mappings
    if seconds is None:
        seconds = COARSE_SECONDS if coarse else SECONDS
    aggr = COARSE_AGGR if coarse else None
    style = style_of(sys.stdout, plain=plain)
    live = can_redraw(sys.stdout) and not plain
    about = "isotherm demo: 512 MiB of our own, hot in three places, one of which moves"
    tell(about, stream=sys.stdout)
    with (
        Workload(demo_spec(seconds, separate=coarse)) as workload,
        monitor(pid=workload.pid, backend=backend, aggr=aggr) as session,
    ):
        show(workload, session, style, live=live)
    return 0
