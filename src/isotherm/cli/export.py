"""`isotherm export`: recordings in the forms of other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO, cast

import click

from isotherm.analysis.recorded import AnalysedRecording, open_recording
from isotherm.cli.output_file import STDIN, STDOUT, beside, check_output, new_file
from isotherm.cli.report import newest_recording
from isotherm.errors import IsothermError
from isotherm.export.formats import FORMATS, VALUES, Wishes, writer
from isotherm.terminal.output import tell
from isotherm.units import format_size

#: Forms that a terminal can show.
_TEXTS = ("folded", "csv", "speedscope")


class ExportCommand(click.Command):
    """With what the forms are for."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Forms"):
            formatter.write_dl([(name, form.help) for name, form in FORMATS.items()])
        super().format_epilog(ctx, formatter)


@click.command(
    cls=ExportCommand,
    epilog="""\b
FILE defaults to the newest recording in this directory; - is the standard
input.
\b
Examples:
  isotherm export --to pprof && go tool pprof -top *.pb.gz
  isotherm export run.isotherm --to parquet -o run.parquet
  isotherm export run.isotherm --to folded --value idle -o - | flamegraph.pl
  isotherm export run.isotherm --to damo -o damon.data""",
)
@click.argument("file", required=False)
@click.option("--to", "form", type=click.Choice(tuple(FORMATS)), required=True, help="The form.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="File, or - for standard output [beside the name of FILE, here].",
)  # fmt: skip
@click.option(
    "--value", type=click.Choice(VALUES), default=VALUES[0], show_default=True,
    help="folded: which bytes.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def command(*, file: str | None, form: str, output: Path | None, value: str, force: bool) -> None:
    """
    Write a recording in the form of another program.

    Figures of memory come from the map of pages, where the recording has one, else from whole
    regions. What can be read of a damaged recording is written; the exit status is 5 then.
    """
    if file is None:
        source = newest_recording(Path())
        tell(f"reading {source}")
    else:
        source = STDIN if file == "-" else Path(file)
    path = beside(source, FORMATS[form].suffix) if output is None else output
    if form not in _TEXTS or path != STDOUT:
        check_output(path, force=force, what=form, example=f"isotherm export --to {form} -o -")
    recording = open_recording(source)
    notes = _export(recording, form, path, Wishes(value), force=force)
    tell(*(f"note: {note}" for note in notes))
    if path != STDOUT:
        tell(f"saved {path} ({format_size(path.stat().st_size)})")
    if recording.damage is not None:
        raise recording.damage


def _export(
    recording: AnalysedRecording, form: str, path: Path, wishes: Wishes, *, force: bool
) -> list[str]:
    if path == STDOUT:
        return _write(recording, form, cast("BinaryIO", sys.stdout.buffer), wishes)
    with new_file(path, force=force) as out:
        return _write(recording, form, out, wishes)


def _write(recording: AnalysedRecording, form: str, out: BinaryIO, wishes: Wishes) -> list[str]:
    try:
        return writer(form).write(recording, out, wishes)
    except IsothermError:
        if recording.damage is not None:  # there is nothing to write, as it is damaged
            raise recording.damage from None
        raise
