"""`isotherm report`: what a recording says, in one of the registered views."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from isotherm.analysis.recorded import open_recording
from isotherm.cli import did_you_mean
from isotherm.cli.output_file import STDIN, STDOUT, beside, check_output, write_file
from isotherm.errors import BadValueError, IsothermError, quoted
from isotherm.recording.format import SUFFIX
from isotherm.report.output import FORMATS
from isotherm.report.view import Options, Page, View, whole_number
from isotherm.report.views import DEFAULT, views
from isotherm.terminal.output import tell
from isotherm.terminal.style import Style, style_of, width_of
from isotherm.units import format_size

#: Columns that --width may ask for; fewer are too few for any view.
_WIDTHS = (23, 10_000)


def sort_arguments(words: tuple[str, ...]) -> tuple[Path | None, str]:
    """
    Tell the file from the view, in either order.

    The name of a view is the view; "./wss" is a file of that name, and "-" the standard input.
    Raises `BadValueError` for a word that is neither a view nor a file, and for too many words.
    """
    known = views()
    view: str | None = None
    path: Path | None = None
    for word in words:
        if word in known and view is None:
            view = word
        elif path is None:
            path = STDIN if word == "-" else Path(word)
        else:
            raise BadValueError(
                f"one file and one view are enough; what is {quoted(word)}?",
                hint=f"the views are {', '.join(known)}",
            )
    if path is not None and not _exists(path):
        near = did_you_mean(str(path), known).strip() if view is None else ""
        raise BadValueError(
            f"there is no recording {quoted(str(path))}",
            hint=near or f"ls *{SUFFIX} shows the recordings here",
        )
    return path, view or DEFAULT


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as err:
        why = (err.strerror or str(err)).lower()
        raise BadValueError(f"cannot read {quoted(str(path))}: {why}") from err


def newest_recording(directory: Path) -> Path:
    """Return the most recently changed recording; raises `BadValueError` if there is none."""
    found = [path for path in directory.glob(f"*{SUFFIX}") if path.is_file()]
    if not found:
        raise BadValueError(
            f"no recording (*{SUFFIX}) in this directory",
            hint="make one: isotherm record -p PID -d 30s",
        )
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def option_texts() -> dict[str, tuple[str, str]]:
    """Return the options of all views: metavar and help, which says whose they are."""
    found: dict[str, tuple[str, dict[str, list[str]]]] = {}
    for view in views().values():
        for option in view.options:
            default = "" if option.default is None else f" [{option.default}]"
            _, helps = found.setdefault(option.name, (option.metavar, {}))
            helps.setdefault(f"{option.help.rstrip('.')}{default}.", []).append(view.name)
    return {
        name: (metavar, " ".join(f"{', '.join(whose)}: {text}" for text, whose in helps.items()))
        for name, (metavar, helps) in found.items()
    }


class ReportCommand(click.Command):
    """A command whose options are those of the views that are registered when it is used."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        common = super().get_params(ctx)
        own = [
            click.Option([name, _parameter(name)], metavar=metavar, help=text)
            for name, (metavar, text) in option_texts().items()
        ]
        return [*common[:-1], *own, common[-1]]  # --help stays the last

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Views"):
            formatter.write_dl([
                (view.name + (" (default)" if view.name == DEFAULT else ""), view.help)
                for view in views().values()
            ])  # fmt: skip
        super().format_epilog(ctx, formatter)


def _parameter(option: str) -> str:
    """Return the name under which click hands over an option of a view."""
    return f"view_{option.strip('-').replace('-', '_')}"


def read_view(view: View[Any], given: dict[str, str | None], form: str, width: str | None) -> Any:
    """Return the options of a view from what click found; raises `BadValueError`."""
    names = {_parameter(name): name for name in option_texts()}
    written = {names[key]: text for key, text in given.items() if text is not None}
    style = style_of(sys.stdout)
    if form != "table":
        style = Style(unicode=style.unicode)
    columns = width_of(sys.stdout) if width is None else whole_number(*_WIDTHS)(width)
    return view.read_options(written, Page(columns, style))


@click.command(
    cls=ReportCommand,
    epilog="""\b
FILE defaults to the newest recording in this directory; - is the standard
input.
\b
Examples:
  isotherm report
  isotherm report run.isotherm heatmap
  isotherm report heatmap --hottest 64M -o map.png
  isotherm report html
  isotherm report wss --min-access 50%
  isotherm report regions --at 12s
  isotherm report --format json | jq .curve""",
)
@click.argument("words", metavar="[FILE] [VIEW]", nargs=-1)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="Write a file: heatmap as .png or .svg, html [beside the name of FILE, here].",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--width", metavar="COLUMNS", help="How wide [the terminal, 80 at most].")
def command(
    *,
    words: tuple[str, ...],
    form: str,
    output: Path | None,
    force: bool,
    width: str | None,
    **given: str | None,
) -> None:
    """Show what a recording says."""
    path, name = sort_arguments(words)
    view = views()[name]
    options = read_view(view, given, form, width)
    if path is None:
        path = newest_recording(Path())
        tell(f"reading {path}")
    if output is None and view.only_file:
        output = beside(path, view.files[0])
    if output is not None and form != "table":
        raise BadValueError(
            f"--format {form} is of what is printed, and a file is to be written",
            hint=f"leave out --format, or -o: {', '.join(view.files) or 'text'}",
        )
    suffix = "" if output is None else suffix_for(view, output, force=force)
    if output is None:
        show(path, view, options, form)
    else:
        write(path, view, options, output, suffix, force=force)


def suffix_for(view: View[Any], output: Path, *, force: bool) -> str:
    """Return as which kind of file a view is written; raises `BadValueError`."""
    suffix = output.suffix.lower()
    if output == STDOUT and view.files:
        suffix = view.files[0]
    elif suffix not in view.files:
        others = [f"{other.name}: {', '.join(other.files)}" for other in views().values()
                  if other.files]  # fmt: skip
        raise BadValueError(
            f"the view {view.name} is not written as {quoted(suffix or str(output))}",
            hint=f"files are written of {'; '.join(others)}; text and data go to > FILE",
        )
    example = f"isotherm report {view.name} -o -"
    check_output(output, force=force, what=f"a {suffix[1:].upper()} file", example=example)
    return suffix


def write(
    path: Path, view: View[Any], options: Options, output: Path, suffix: str, *, force: bool
) -> None:
    """Write a view of a recording to a file; raises what is damaged in it afterwards."""
    recording = open_recording(path)
    try:
        data = view.file(recording, options, suffix)
    except IsothermError:
        if recording.damage is not None:
            raise recording.damage from None
        raise
    if output == STDOUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_file(output, data, force=force)
        tell(f"saved {output} ({format_size(len(data))})")
    if recording.damage is not None:
        raise recording.damage


def show(path: Path, view: View[Any], options: Options, form: str) -> None:
    """Print a view of a recording; raises what is damaged in it afterwards."""
    recording = open_recording(path)
    try:
        report = view.report(recording, options, form)
    except IsothermError:
        # An empty view of a damaged recording: the damage is the news.
        if recording.damage is not None:
            raise recording.damage from None
        raise
    report.write(form)
    if recording.damage is not None:
        raise recording.damage
