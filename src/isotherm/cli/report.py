"""`isotherm report`: what a recording says, in one of the registered views."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from isotherm.analysis.filtered import Selection, check_matched, open_selected
from isotherm.cli import did_you_mean
from isotherm.errors import BadValueError, IsothermError, quoted
from isotherm.recording.format import SUFFIX
from isotherm.report.filters import FILTERS, selection
from isotherm.report.output import FORMATS
from isotherm.report.view import Options, Page, View, whole_number
from isotherm.report.views import DEFAULT, views
from isotherm.terminal.output import tell
from isotherm.terminal.style import Style, style_of, width_of

STDIN = Path("/dev/stdin")
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


@dataclass(slots=True)
class OptionText:
    """An option of views as the help has it; helps: what it means, and to which views."""

    metavar: str
    many: bool
    helps: dict[str, list[str]] = field(default_factory=dict)

    @property
    def help(self) -> str:
        """Return what it means to whom; what is for all views is not said to be."""
        return " ".join(
            f"{', '.join(whose)}: {text}" if whose else text for text, whose in self.helps.items()
        )


def option_texts() -> dict[str, OptionText]:
    """Return the options of all views, and those that narrow what any of them is about."""
    found: dict[str, OptionText] = {}
    for view in views().values():
        for option in view.options:
            default = "" if option.default is None else f" [{option.default}]"
            text = found.setdefault(option.name, OptionText(option.metavar, option.many))
            text.helps.setdefault(f"{option.help.rstrip('.')}{default}.", []).append(view.name)
    for option in FILTERS:
        text = found.setdefault(option.name, OptionText(option.metavar, option.many))
        text.helps[f"Only {option.help}"] = []
    return found


class ReportCommand(click.Command):
    """A command whose options are those of the views that are registered when it is used."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        common = super().get_params(ctx)
        own = [
            click.Option(
                [name, _parameter(name)],
                metavar=text.metavar,
                help=text.help,
                multiple=text.many,
            )
            for name, text in option_texts().items()
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


Given = dict[str, str | tuple[str, ...] | None]


def read_view(
    view: View[Any], given: Given, form: str, width: str | None
) -> tuple[Options, Selection]:
    """
    Return the options of a view from what click found, and what it is to be about.

    What a view has an option of its own for, it does itself. Raises `BadValueError`.
    """
    names = {_parameter(name): name for name in option_texts()}
    written = {names[key]: text for key, text in given.items() if text not in (None, ())}
    own = {option.name for option in view.options}
    shared = {option.name for option in FILTERS} - own
    chosen = {name: text for name, text in written.items() if name in shared}
    written = {name: text for name, text in written.items() if name not in shared}
    style = style_of(sys.stdout)
    if form != "table":
        style = Style(unicode=style.unicode)
    columns = width_of(sys.stdout) if width is None else whole_number(*_WIDTHS)(width)
    return view.read_options(written, Page(columns, style)), selection(chosen)


@click.command(
    cls=ReportCommand,
    epilog="""\b
FILE defaults to the newest recording in this directory; - is the standard
input.
\b
Examples:
  isotherm report
  isotherm report run.isotherm heatmap
  isotherm report wss --min-access 50%
  isotherm report regions --at 12s
  isotherm report --name '[heap]' --time 10s..
  isotherm report regions --access 0% --age 10s.. --sort size
  isotherm report --format json | jq .curve""",
)
@click.argument("words", metavar="[FILE] [VIEW]", nargs=-1)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
@click.option("--width", metavar="COLUMNS", help="How wide [the terminal, 80 at most].")
def command(*, words: tuple[str, ...], form: str, width: str | None, **given: Any) -> None:
    """Show what a recording says."""
    path, name = sort_arguments(words)
    view = views()[name]
    options, chosen = read_view(view, given, form, width)
    if path is None:
        path = newest_recording(Path())
        tell(f"reading {path}")
    show(path, view, options, chosen, form)


def show(path: Path, view: View[Any], options: Options, chosen: Selection, form: str) -> None:
    """
    Print a view of what is chosen of a recording; raises what is damaged in it afterwards.

    Raises `BadValueError` where nothing matches.
    """
    recording = open_selected(path, chosen)
    try:
        report = view.report(recording, options, form)
        check_matched(recording)
    except IsothermError:
        # An empty view of a damaged recording: the damage is the news.
        if recording.damage is not None:
            raise recording.damage from None
        check_matched(recording)
        raise
    report.write(form)
    if recording.damage is not None:
        raise recording.damage
