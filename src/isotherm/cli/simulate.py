"""`isotherm simulate`: a policy on a simulated machine beside the truth; or schemes, recorded."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from isotherm.backends.opening import Wish
from isotherm.backends.sim.costs import PROFILES, costs_named
from isotherm.backends.sim.judge import Judge, Judged
from isotherm.backends.sim.masim import load_masim
from isotherm.backends.sim.patterns import RECIPES, workload_named
from isotherm.backends.sim.workload import Workload
from isotherm.cli import did_you_mean
from isotherm.cli.foreground import Foreground, require_a_window, why_nothing
from isotherm.cli.foresee import told
from isotherm.cli.options import length_of
from isotherm.cli.output_file import STDOUT, check_output
from isotherm.cli.record import ProgressSink
from isotherm.cli.workers import LOCAL, engine_option
from isotherm.core.policies import DEFAULT
from isotherm.errors import BadValueError, quoted
from isotherm.model.snapshot import Snapshot
from isotherm.recording.sink import RecordingSink
from isotherm.report.output import FORMATS
from isotherm.report.simulation import Simulated, report
from isotherm.schemefile.files import is_file
from isotherm.session.run import Sink, run
from isotherm.session.session import MonitorSession
from isotherm.session.simulated import Simulation
from isotherm.terminal.output import tell
from isotherm.terminal.style import width_of
from isotherm.terminal.table import Column, names, table
from isotherm.units import cpu_share, format_size, size

_SIZE, _SECONDS = "1G", "60s"


class JudgeSink:
    """Judges each window as it comes."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.windows: list[Judged] = []

    def open(self, session: MonitorSession) -> None:
        """Nothing is needed."""

    def take(self, snapshot: Snapshot) -> None:
        """Judge one window."""
        judged = self._judge.take(snapshot)
        if judged is not None:
            self.windows.append(judged)

    def close(self) -> None:
        """Nothing is held."""


def _workload(name: str, nbytes: str | None, seed: int) -> tuple[Workload, str]:
    """Return the workload of a name or a file, and what it is in words."""
    if name in RECIPES:
        return workload_named(name, size(nbytes or _SIZE), seed=seed), RECIPES[name].about
    if not is_file(name):
        near = did_you_mean(name, RECIPES)
        raise BadValueError(
            f"there is no workload and no file {quoted(name, 200)}.{near}",
            hint="isotherm simulate --list",
        )
    if nbytes is not None:
        raise BadValueError(
            "a masim configuration says itself how large its regions are", hint="leave out --size"
        )
    return load_masim(Path(name)), "masim configuration"


def _length(duration: str | None, workload: Workload) -> int:
    """Return how long to simulate, in ns: a configuration as long as it goes on."""
    if duration is not None:
        return length_of(duration) or 0
    if workload.name in RECIPES:
        return length_of(_SECONDS) or 0
    return max(area.until_ns for area in workload.areas)


def _listed() -> list[str]:
    rows = [(name, recipe.about) for name, recipe in RECIPES.items()]
    return table(
        [names("workload"), Column("what it does", right=False)], rows, width_of(sys.stdout)
    )


def _check_alone(ctx: click.Context) -> None:
    """Raise `BadValueError` for options of a simulated machine beside a recording."""
    for parameter in ctx.command.params:
        name = parameter.name or ""
        asked = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if asked and name not in ("words", "grid", "engine", "swap", "form"):
            raise BadValueError(
                f"{parameter.opts[0]} is for a simulated machine, not for a recording",
                hint="isotherm simulate RECORDING SCHEMES, or isotherm simulate --workload NAME",
            )


@click.command(
    context_settings={"max_content_width": 80},
    epilog="""\b
Examples:
  isotherm simulate --list
  isotherm simulate --workload phases --size 1T --policy damon
  isotherm simulate --workload zipf --size 64G --costs page-idle --overhead 0.3%
  isotherm simulate --workload configs/zigzag.cfg -o zigzag.isotherm
  isotherm simulate redis.isotherm prcl
  isotherm simulate redis.isotherm prcl --grid age=10s,30s quota=16M/s,128M/s
  isotherm simulate redis.isotherm prcl --grid age=10s,30s --engine dask""",
)
@click.argument("words", metavar="[RECORDING SCHEMES]", nargs=-1)
@click.option(
    "--grid", multiple=True, metavar="KEY=A,B",
    help="Of schemes for a recording: try each age, quota.",
)  # fmt: skip
@engine_option
@click.option("--swap", metavar="SIZE", help="With so much swap space [what the recording had].")
@click.option("--workload", metavar="NAME|FILE", help="By name, or a masim configuration file.")
@click.option("--list", "listed", is_flag=True, help="List the workloads by name, and exit.")
@click.option("--size", "nbytes", metavar="SIZE", help=f"Memory of one by name [{_SIZE}].")
@click.option(
    "-d", "--duration", "--seconds", metavar="TIME",
    help=f"Simulated time [{_SECONDS}, or a file's phases].",
)  # fmt: skip
@click.option("--policy", metavar="NAME", default=DEFAULT, show_default=True)
@click.option("--sample", metavar="TIME", help="Sampling interval [5ms+].")
@click.option("--aggr", metavar="TIME", help="Aggregation interval [20 samples].")
@click.option("--regions", metavar="MIN..MAX", help="Bounds of the number of regions.")
@click.option("--no-map", is_flag=True, help="No map of pages beside the regions.")
@click.option(
    "--costs", metavar="PROFILE[,KEY=µs...]", default="cold", show_default=True,
    help=f"Of looking: {', '.join(PROFILES)}.",
)  # fmt: skip
@click.option("--overhead", default="1%", show_default=True, help="Share of one CPU to keep to.")
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Of all that is drawn [0]."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write a recording.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    words: tuple[str, ...],
    grid: tuple[str, ...],
    engine: str,
    swap: str | None,
    workload: str | None,
    listed: bool,
    nbytes: str | None,
    duration: str | None,
    output: Path | None,
    force: bool,
    form: str,
    **asked: Any,
) -> int:
    """
    Run a policy on a simulated machine, in simulated time, and say how near it comes to the truth.

    Every use of its memory is known; reading and clearing accessed bits costs CPU time by a
    model, and the policy has to do with its share. The same seed gives the same results.

    With a RECORDING: say what SCHEMES would have done to the memory that was recorded, without
    touching any: what would be saved and come back, within the bounds of what was recorded.
    """
    if words or grid or swap is not None or engine != LOCAL:
        _check_alone(ctx)
        answer, damage = told(words, grid, swap, engine, width_of(sys.stdout))
        answer.write(form)
        if damage is not None:
            raise damage
        return 0
    if listed:
        tell(*_listed(), stream=sys.stdout)
        return 0
    if workload is None:
        raise BadValueError("which workload?", hint="--workload hotspot; --list has them all")
    if output == STDOUT:
        raise BadValueError("the standard output is for the summary", hint="-o FILE")
    found, about = _workload(workload, nbytes, asked["seed"])
    length = _length(duration, found)
    check_output(output, force=force)
    simulation = _simulation(found, asked, length)
    with Foreground() as foreground:
        session, look = simulation.start()
        with session:
            foreground.watch(session)
            require_a_window(session, length)
            judge = Judge(look)
            judging = JudgeSink(judge)
            sinks: list[Sink] = [judging, ProgressSink(None)]
            if output is not None:
                sinks.append(RecordingSink(output, force=force))
            if not run(session, sinks, duration=length / 1e9):
                raise why_nothing(session, foreground, "simulated")
    simulated = Simulated(
        found.name,
        about,
        found.size_at(0),
        asked["policy"],
        asked["costs"],
        simulation.overhead,
        simulation.seed,
        judging.windows,
        judge.verdict(),
    )
    report(simulated, width_of(sys.stdout)).write(form)
    if output is not None and output.exists():
        tell(
            f"saved {output} ({format_size(output.stat().st_size)})."
            f"  next: isotherm report {shlex.quote(os.fspath(output))}"
        )
    return foreground.status()


def _simulation(workload: Workload, asked: dict[str, Any], length: int) -> Simulation:
    return Simulation(
        workload=workload,
        costs=costs_named(asked["costs"]),
        wish=Wish(
            sample=asked["sample"],
            aggr=asked["aggr"],
            regions=asked["regions"],
            policy=asked["policy"],
            within_us=length // 1000,
        ),
        overhead=cpu_share(asked["overhead"]),
        seed=asked["seed"],
        beside=not asked["no_map"],
    )
