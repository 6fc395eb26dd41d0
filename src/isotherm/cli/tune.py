"""`isotherm tune`: the scheme that serves a goal best, searched in a recording."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from isotherm.analysis.foreseen import Foreseen, check
from isotherm.analysis.tuning import Param, Point, Tuned, Wish, require, search
from isotherm.cli.foreground import Foreground, why_nothing
from isotherm.cli.foresee import axis, changed
from isotherm.cli.options import keywords, length_of, map_options
from isotherm.cli.output_file import STDIN, STDOUT, check_output
from isotherm.cli.record import ProgressSink, saved
from isotherm.cli.watching import watch
from isotherm.cli.workers import Question, workers
from isotherm.cli.wss import (
    WssCommand,
    announce,
    check_of_recording,
    recording_of,
    sources_of,
)
from isotherm.core.policies import DEFAULT
from isotherm.errors import BadValueError, IsothermError, ThresholdError
from isotherm.model.scheme import Scheme
from isotherm.recording.sink import RecordingSink
from isotherm.report.output import FORMATS
from isotherm.report.tuning import report
from isotherm.schemefile.files import load
from isotherm.schemes.defaults import with_quotas
from isotherm.session.options import Keywords, Options
from isotherm.session.run import run
from isotherm.session.session import MonitorSession
from isotherm.terminal.output import tell
from isotherm.terminal.style import width_of
from isotherm.units import size

DEFAULT_DURATION = "5m"
_GOAL, _PARAM = "saved max, refaults < 100/s", "age=1s..10m:log"
_OF_RECORDING = ("schemes", "goal", "param", "trials", "seed", "swap", "form")


@click.command(
    cls=WssCommand,
    context_settings={"max_content_width": 80},
    epilog="""\b
TARGET is a pid, or the name of processes; -p, -n and -G may name more: it is
recorded first. A RECORDING is searched as it is, without touching anything.
\b
Examples:
  isotherm tune redis.isotherm
  isotherm tune redis.isotherm --goal 'saved max, refaults < 100/s' \\
      --param age=1s..10m:log --param quota=16M/s,128M/s
  isotherm tune redis.isotherm --goal 'refaults min, saved > 30%' --swap 1G
  sudo isotherm tune $(pidof redis-server) -d 10m -o redis.isotherm""",
)
@click.argument("words", metavar="[TARGET|RECORDING] [-- CMD...]", nargs=-1)
@click.option(
    "-s", "--schemes", metavar="SCHEMES", default="prcl", show_default=True,
    help="What is varied: a preset, a file, or schemes themselves.",
)  # fmt: skip
@click.option(
    "--goal", metavar="GOAL", default=_GOAL, show_default=True,
    help="One of saved, refaults, paged_out max or min, within limits.",
)  # fmt: skip
@click.option(
    "--param", multiple=True, metavar="KEY=A..B[:log]|A,B", default=(_PARAM,), show_default=True,
    help="Vary age or quota between two values, or among some; may be repeated.",
)  # fmt: skip
@click.option(
    "--trials", type=click.IntRange(1, 10_000), default=32, show_default=True,
    help="How often something is tried.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True,
    help="The same finds the same.",
)  # fmt: skip
@click.option("--swap", metavar="SIZE", help="With so much swap space [what the recording had].")
@click.option(
    "-d", "--duration", metavar="TIME", default=DEFAULT_DURATION, show_default=True,
    help="Of a TARGET: record for this long.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="Of a TARGET: keep the recording as this file.",
)  # fmt: skip
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
    schemes: str,
    goal: str,
    param: tuple[str, ...],
    trials: int,
    seed: int,
    swap: str | None,
    duration: str,
    output: Path | None,
    form: str,
    **options: Any,
) -> int:
    """
    Search for the values of a scheme that serve a goal best, in what was recorded.

    Each is tried by the engine of `isotherm simulate`, on all cores. Nothing is done to memory.
    Exit status 6: nothing that was tried keeps within the limits of the goal.
    """
    asked = keywords(options)
    asked["command"] = ctx.meta.get("isotherm.cli.wss", ())
    asked["policy"] = DEFAULT
    searched = _Search(schemes, goal, param, trials=trials, seed=seed, swap=swap)
    named = bool(asked["sources"] or asked["command"])
    path = None if named else recording_of(words)
    if path is not None:
        check_of_recording(ctx, _OF_RECORDING)
        if path == STDIN:
            raise BadValueError(
                "a recording is read again and again, which a pipe cannot be",
                hint="isotherm tune FILE",
            )
        return searched.tell(path, form)
    asked["sources"] = [*asked["sources"], *sources_of(words)]
    return _recorded(asked, length_of(duration) or 0, output, searched, form)


class _Search:
    """What is asked; raises `BadValueError` and `NotSupportedError` at once, for all of it."""

    def __init__(
        self,
        schemes: str,
        goal: str,
        params: Sequence[str],
        *,
        trials: int,
        seed: int,
        swap: str | None,
    ) -> None:
        self._schemes = with_quotas(load(schemes).schemes)
        self._wish = Wish.parse(goal)
        self._params = [Param.parse(text) for text in params]
        names = [one.name for one in self._params]
        if len(set(names)) < len(names):
            raise BadValueError(
                "each of age and quota can be varied once", hint="--param age=1s..10m:log"
            )
        for one in self._params:
            for value in one.begin():
                axis(one.text(value) if isinstance(value, float) else f"{one.name}={value}")
        self._trials, self._seed = trials, seed
        self._swap_bytes = None if swap is None else size(swap)
        check(self._schemes)
        require()

    def tell(self, path: Path, form: str) -> int:
        """Search in a recording, and print what was found."""
        found = self._search(path)
        report(found, width_of(sys.stdout)).write(form)
        if found.tried and (damage := found.tried[0].found.damage) is not None:
            raise damage
        if found.best is None:
            raise ThresholdError(
                f"nothing that was tried meets {found.wish.text}",
                hint="other limits, or --param with more to choose from",
            )
        return 0

    def _search(self, path: Path) -> Tuned:
        with workers(len(os.sched_getaffinity(0))) as answered:

            def ask(points: Sequence[Point]) -> Sequence[Foreseen]:
                return answered(
                    [
                        Question(os.fspath(path), self._changed(point), self._swap_bytes)
                        for point in points
                    ]
                )

            return search(self._params, self._wish, ask, trials=self._trials, seed=self._seed)

    def _changed(self, point: Point) -> tuple[Scheme, ...]:
        schemes = changed(self._schemes, point)
        check(schemes)
        return schemes


def _recorded(
    asked: Keywords, length: int, output: Path | None, searched: _Search, form: str
) -> int:
    """Record first, then search."""
    if output == STDOUT:
        raise BadValueError("the standard output is for what is found", hint="-o FILE")
    check_output(output, force=False)
    wanted = Options.of(**asked)
    with tempfile.TemporaryDirectory(prefix="isotherm-tune-") as folder:
        path = output or Path(folder) / "recorded.isotherm"
        sink = RecordingSink(path)

        def body(
            session: MonitorSession, foreground: Foreground, _: ExitStack
        ) -> IsothermError | None:
            announce(session, length)
            count = run(session, [sink, ProgressSink(length)], duration=length / 1e9)
            nothing = None if count else why_nothing(session, foreground, "recorded")
            session.close()
            return nothing

        status = watch(wanted, length, body)
        if not path.exists():
            return status
        if output is not None:
            tell(saved(sink))
        return searched.tell(path, form) or status
