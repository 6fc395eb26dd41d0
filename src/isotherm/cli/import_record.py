"""`isotherm import`: makes recordings of damo's records."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from isotherm.cli.output_file import STDOUT, check_output
from isotherm.errors import BadValueError
from isotherm.recording.damo.importer import Imported, import_record
from isotherm.recording.format import SUFFIX
from isotherm.terminal.output import tell
from isotherm.units import duration_us, format_size

STDIN = "-"
#: More of what had to be assumed is not told.
_MAX_NOTES = 5


@click.command(
    epilog="""\b
FILE is what damo record wrote (JSON, plain or compressed, or the binary
records of 2020), or text that perf script, trace-cmd report or tracefs gives
of the tracepoint damon:damon_aggregated; - is the standard input.
\b
Examples:
  isotherm import damon.data
  isotherm import damon.data -o run.isotherm && isotherm report run.isotherm
  perf script -i perf.data | isotherm import - --sample 5ms --aggr 100ms""",
)
@click.argument("file")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="File, or - for standard output [FILE.isotherm here].",
)  # fmt: skip
@click.option("--sample", metavar="TIME", help="Sampling interval, where FILE does not tell it.")
@click.option("--aggr", metavar="TIME", help="Aggregation interval, likewise.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def command(
    *, file: str, output: Path | None, sample: str | None, aggr: str | None, force: bool
) -> None:
    """
    Make a recording of a record of damo.

    Names, mappings and sizes of processes come from the files that damo writes beside it
    (FILE.kdamonds and others). What can be read of a damaged file is imported; the exit status is
    5 then.
    """
    intervals = _intervals(sample, aggr)
    name = "damo" if file == STDIN else os.path.basename(file)  # noqa: PTH119 - of any length
    path = Path(f"{name}{SUFFIX}") if output is None else output
    check_output(path, force=force, example="isotherm import -o - ...")
    imported = import_record(
        sys.stdin.buffer if file == STDIN else file,
        sys.stdout.buffer if path == STDOUT else path,
        intervals=intervals,
        force=force,
    )
    _tell(path, imported)
    if imported.damage is not None:
        raise imported.damage


def _intervals(sample: str | None, aggr: str | None) -> tuple[int, int] | None:
    if sample is None and aggr is None:
        return None
    if sample is None or aggr is None:
        raise BadValueError("--sample and --aggr go together", hint="--sample 5ms --aggr 100ms")
    found = duration_us(sample), duration_us(aggr)
    if not 0 < found[0] <= found[1]:
        raise BadValueError(
            "the aggregation interval is made of samples", hint="--sample 5ms --aggr 100ms"
        )
    return found


def _tell(path: Path, imported: Imported) -> None:
    notes = imported.notes[:_MAX_NOTES]
    tell(*(f"warning: {note}" for note in notes))
    if path != STDOUT:
        size = format_size(path.stat().st_size)
        targets = len(imported.targets)
        tell(
            f"saved {path} ({size}, {imported.snapshots} snapshots of "
            f"{targets} target{'s' * (targets != 1)}, {imported.regions} regions)."
            f"  next: isotherm report {shlex.quote(os.fspath(path))}"
        )
