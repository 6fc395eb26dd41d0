"""`isotherm report`: what a recording says, in one of the registered views."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from isotherm.analysis.filtered import Selection, check_matched, open_selected
from isotherm.cli import did_you_mean
from isotherm.cli.output_file import STDIN, STDOUT, beside, check_output, write_file
from isotherm.errors import BadValueError, IsothermError, quoted
from isotherm.recording.format import SUFFIX
from isotherm.report.filters import FILTERS, selection
from isotherm.report.output import FORMATS
from isotherm.report.view import Options, Page, PairView, View, whole_number
from isotherm.report.views import DEFAULT, views
from isotherm.terminal.output import tell
from isotherm.terminal.style import Style, style_of, width_of
from isotherm.units import format_size

#: Columns that --width may ask for; fewer are too few for any view.
_WIDTHS = (23, 10_000)


def sort_arguments(words: tuple[str, ...]) -> tuple[list[Path], str]:
    """
    Tell files from the view, in any order.

    The name of a view is the view; "./wss" is a file of that name, and "-" the standard input.
    Raises `BadValueError` for a word that is neither a view nor a file, and for too many words,
    or too few for a view of two recordings.
    """
    known = views()
    names = [word for word in words if word in known][:1]
    view = names[0] if names else DEFAULT
    files = list(words)
    if names:
        files.remove(view)
    pair = isinstance(known[view], PairView)
    for word in files[2 if pair else 1 :]:
        raise BadValueError(
            f"{'two files' if pair else 'one file'} and one view are enough; "
            f"what is {quoted(word)}?",
            hint=f"the views are {', '.join(known)}",
        )
    paths = [STDIN if word == "-" else Path(word) for word in files]
    for path in paths:
        if not _exists(path):
            near = "" if names else did_you_mean(str(path), known).strip()
            raise BadValueError(
                f"there is no recording {quoted(str(path))}",
                hint=near or f"ls *{SUFFIX} shows the recordings here",
            )
    if pair and len(paths) < 2:
        raise BadValueError(
            f"{view} is of two recordings, and there {'is one' if paths else 'are none'}",
            hint=f"isotherm report {view} before{SUFFIX} after{SUFFIX}",
        )
    return paths, view


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
    flag: bool = False
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
            text = found.setdefault(
                option.name, OptionText(option.metavar, option.many, option.flag)
            )
            text.helps.setdefault(f"{option.help.rstrip('.')}{default}.", []).append(view.name)
    for option in FILTERS:  # a view that does one itself means the same by it
        text = OptionText(option.metavar, option.many, helps={f"Only {option.help}": []})
        found[option.name] = text
    return found


class ReportCommand(click.Command):
    """A command whose options are those of the views that are registered when it is used."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        common = super().get_params(ctx)
        own = [_option(name, text) for name, text in option_texts().items()]
        return [*common[:-1], *own, common[-1]]  # --help stays the last

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Views"):
            formatter.write_dl([
                (view.name + (" (default)" if view.name == DEFAULT else ""), view.help)
                for view in views().values()
            ])  # fmt: skip
        super().format_epilog(ctx, formatter)


def _option(name: str, text: OptionText) -> click.Option:
    """Return the option as click has it: what is not given is None, or nothing of many."""
    names = [name, _parameter(name)]
    if text.flag:
        return click.Option(names, help=text.help, is_flag=True, flag_value="", default=None)
    return click.Option(names, help=text.help, metavar=text.metavar, multiple=text.many)


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


def complete_words(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a view, and else leave it to the shell to find a file."""
    del param
    there = ctx.params.get("words") or ()
    known = views()
    named = any(word in known for word in there)
    found = [
        CompletionItem(view.name, help=view.help)
        for view in known.values()
        if not named and view.name.startswith(incomplete)
    ]
    return found if incomplete and found else [*found, CompletionItem(incomplete, type="file")]


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
  isotherm report --name '[heap]' --time 10s..
  isotherm report regions --access 0% --age 10s.. --sort size
  isotherm report diff old.isotherm new.isotherm --fail-if 'wss.p95>+10%'
  isotherm report --format json | jq .curve""",
)
@click.argument(
    "words", metavar="[FILE] [VIEW] | diff A B", nargs=-1, shell_complete=complete_words
)
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
    **given: Any,
) -> None:
    """Show what a recording says."""
    paths, name = sort_arguments(words)
    view = views()[name]
    options, chosen = read_view(view, given, form, width)
    if (output is not None or view.only_file) and form != "table":
        raise BadValueError(
            f"--format {form} is of what is printed, and a file is to be written",
            hint=f"leave out --format, or -o: {', '.join(view.files) or 'text'}",
        )
    if isinstance(view, PairView):
        if output is not None:
            suffix_for(view, output, force=force)
        show_pair(paths, view, options, chosen, form)
        return
    if not paths:
        paths = [newest_recording(Path())]
        tell(f"reading {paths[0]}")
    if output is None and view.only_file:
        output = beside(paths[0], view.files[0])
    suffix = "" if output is None else suffix_for(view, output, force=force)
    if output is None:
        show(paths[0], view, options, chosen, form)
    else:
        write(paths[0], view, options, chosen, output=output, suffix=suffix, force=force)


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
    path: Path,
    view: View[Any],
    options: Options,
    chosen: Selection,
    *,
    output: Path,
    suffix: str,
    force: bool,
) -> None:
    """Write a view of a recording to a file; raises what is damaged in it afterwards."""
    recording = open_selected(path, chosen)
    try:
        data = view.file(recording, options, suffix)
        check_matched(recording)
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


def show_pair(
    paths: list[Path], view: PairView[Any], options: Options, chosen: Selection, form: str
) -> None:
    """
    Print a view of what is chosen of two recordings.

    Raises what is damaged in them afterwards, else the failure that the view finds.
    """
    before, after = (open_selected(path, chosen) for path in paths)
    try:
        value = view.compare(before, after, options)
    except IsothermError:
        # What cannot be said of a damaged recording: the damage is the news.
        if damage := before.damage or after.damage:
            raise damage from None
        raise
    damage = before.damage or after.damage
    if damage is None:
        check_matched(before)
        check_matched(after)
    view.made(value, options, form).write(form)
    if failure := damage or view.verdict(value):
        raise failure
