"""`isotherm scheme`: scheme files and presets, checked, converted and explained."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import click

from isotherm.cli import OrderedGroup
from isotherm.errors import (
    BadValueError,
    NotSupportedError,
    ThresholdError,
    escaped,
    shown,
)
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Scheme
from isotherm.report.output import FORMATS, Report, json_text
from isotherm.schemefile import explain, files
from isotherm.schemefile.bounds import MAX_TEXT
from isotherm.schemefile.files import SPELLINGS, Spelling
from isotherm.schemefile.lines.key_value import format_line
from isotherm.schemefile.presets import PRESETS
from isotherm.schemefile.scheme_file import SchemeFile
from isotherm.schemefile.source import SchemeError
from isotherm.session.here import feasible_here
from isotherm.terminal.output import tell
from isotherm.terminal.style import style_of, width_of
from isotherm.units import duration_us

COMMANDS = ("check", "fmt", "convert", "explain", "list", "schema")


class SchemeGroup(OrderedGroup):
    """The commands of this group."""

    names = COMMANDS


@click.group(
    cls=SchemeGroup,
    epilog="""\b
SCHEMES is a preset, a file (lines, YAML, JSON, damo's), the lines
themselves, or - for the standard input.
\b
Examples:
  isotherm scheme list
  isotherm scheme explain prcl
  isotherm scheme explain 'pageout access=0% age=2m.. quota=128M/s'
  isotherm scheme check my.yaml
  isotherm scheme convert --to yaml kdamonds.json""",
)
def command() -> None:
    """Check, convert and explain scheme files; list the presets."""


def _load(source: str) -> tuple[SchemeFile, Spelling]:
    """Return what SCHEMES says, and how it is spelled; tells what was left out of it."""
    file, spelling = _read(source)
    _tell_notes(file)
    return file, spelling


def _tell_notes(file: SchemeFile) -> None:
    for note in file.notes:
        tell(note)


def _read(source: str) -> tuple[SchemeFile, Spelling]:
    if source == "-":
        return files.read(_stdin(), "<stdin>")
    path = Path(source)
    if source not in PRESETS and files.is_file(source):
        return files.load_path(path)
    return files.load(source), "line"


def _stdin() -> str:
    """Return the text of the standard input, no more of it than a scheme file can have."""
    return sys.stdin.read(MAX_TEXT + 1)


def _attrs(file: SchemeFile, sample: str | None, aggr: str | None) -> Attrs:
    """Return the attributes to explain at: the options, else the file's, else the defaults."""
    given = file.monitor.attrs()
    return Attrs(
        given.sample_us if sample is None else duration_us(sample),
        given.aggr_us if aggr is None else duration_us(aggr),
    )


_sample = click.option("--sample", metavar="TIME", help="Sampling interval [the file's, 5ms].")
_aggr = click.option("--aggr", metavar="TIME", help="Aggregation interval [the file's, 100ms].")


@command.command("check")
@click.argument("sources", metavar="SCHEMES...", nargs=-1, required=True)
@_sample
@_aggr
@click.option("--here", is_flag=True, help="Exit 4 if this machine cannot do one of them.")
def check(sources: tuple[str, ...], sample: str | None, aggr: str | None, *, here: bool) -> None:
    """
    Read schemes and tell every mistake, with its file, line and column.

    Also tells what this machine, or this user, cannot do, and what would make it possible.
    """
    mistakes, impossible = 0, 0
    for source in sources:
        name = shown(source, 200)
        try:
            file, spelling = _load(source)
            count = sum(len(context.schemes) for context in file.contexts)
            for context in file.contexts:
                attrs = _attrs(context, sample, aggr)
                for scheme in context.schemes:
                    for warning in explain.warnings(scheme, attrs):
                        tell(f"{name}: {scheme.title}: {warning}")
                impossible += _tell_what_fails_here(name, context.schemes)
        except BadValueError as err:
            found = [err, *err.others] if isinstance(err, SchemeError) else [err]
            mistakes += len(found)
            for mistake in found:
                placed = isinstance(mistake, SchemeError) or name in mistake.message
                place = "" if placed else f"{name}: "
                tell(f"isotherm: {place}{mistake.message}")
                if mistake.hint:
                    tell(f"hint: {mistake.hint}")
        else:
            plural = "" if count == 1 else "s"
            tell(f"{name}: {count} scheme{plural}, {spelling}", stream=sys.stdout)
    if mistakes:
        raise BadValueError(f"{mistakes} mistake{'' if mistakes == 1 else 's'}")
    if here and impossible:
        raise NotSupportedError(f"{impossible} of the schemes cannot be done here")


def _tell_what_fails_here(source: str, schemes: Sequence[Scheme]) -> int:
    """Say what this machine cannot do, and what to know; how many schemes it cannot do."""
    impossible = 0
    for scheme, found in zip(schemes, feasible_here(schemes), strict=True):
        if found.why_not:
            impossible += 1
            why = f"cannot be done on this machine: {found.why_not}"
            tell(f"{source}: {scheme.title}: {why}")
        for warning in found.warnings:
            tell(f"{source}: {scheme.title}: {warning}")
    return impossible


@command.command("fmt")
@click.argument("source", metavar="SCHEMES")
@click.option("--check", "only_check", is_flag=True, help="Exit 6 if it is written differently.")
def fmt(source: str, *, only_check: bool) -> None:
    """Print schemes as isotherm writes them, in the spelling they have."""
    text = _text(source)
    name = "<stdin>" if source == "-" else source
    file, spelling = _load(source) if text is None else files.read(text, name)
    _tell_notes(file if text is not None else SchemeFile())
    if text is not None and spelling in ("line", "classic"):
        formatted = files.format_lines(text, name)
    else:
        formatted = files.write(file, spelling)
        if text is not None and any(line.lstrip().startswith("#") for line in text.split("\n")):
            tell("comments are not kept in this spelling")
    if not only_check:
        sys.stdout.write(formatted)
    elif text != formatted:
        raise ThresholdError(
            f"{shown(source, 200)} is written differently",
            hint=f"isotherm scheme fmt {shown(source, 200)} shows how",
        )


def _text(source: str) -> str | None:
    """Return the text of a file or of the standard input; None for presets and lines."""
    if source == "-":
        return _stdin()
    if source not in PRESETS and files.is_file(source):
        return files.read_text(Path(source))
    return None


@command.command("convert")
@click.argument("source", metavar="SCHEMES")
@click.option("--to", "spelling", type=click.Choice(SPELLINGS), required=True, help="Spelling.")
@click.option(
    "--schemes-only", is_flag=True, help="Drop targets, monitoring attributes and other settings."
)
def convert(source: str, spelling: Spelling, *, schemes_only: bool) -> None:
    """
    Print schemes in another spelling; what it cannot say is an error, never lost.

    Status that damo's files hold beside the settings (state, pid, stats) is not converted, except
    to damo-kdamonds.
    """
    file, _ = _load(source)
    if schemes_only:
        file = files.only_schemes(file)
    elif not spelling.startswith("damo-kdamonds"):
        file = files.without_status(file)
    sys.stdout.write(files.write(file, spelling))


@command.command("explain")
@click.argument("source", metavar="SCHEMES")
@_sample
@_aggr
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
def explain_command(source: str, sample: str | None, aggr: str | None, form: str) -> None:
    """Say what each scheme does, in one sentence and in the kernel's units."""
    file, _ = _load(source)
    rows, text = [], []
    for context in file.contexts:
        attrs = _attrs(context, sample, aggr)
        for scheme in context.schemes:
            rows.append(_explained(scheme, attrs))
            text += _wrapped(f"{scheme.title}: {rows[-1]['sentence']}")
            text += _wrapped(f"  {rows[-1]['kernel']}")
            for warning in explain.warnings(scheme, attrs):
                text += _wrapped(f"  warning: {warning}")
    if source in PRESETS:
        text = [*_wrapped(PRESETS[source].about, indent=""), "", *text]
    report = Report("isotherm.schemefile/1", {"schemes": rows}, rows, text)
    sys.stdout.write(report.render(form))


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    """Return prose in lines that fit the standard output; those that go on are indented."""
    width = width_of(sys.stdout)
    return textwrap.wrap(escaped(text), width, subsequent_indent=indent, break_on_hyphens=False)


def _explained(scheme: Scheme, attrs: Attrs) -> dict[str, object]:
    return {
        "name": scheme.name,
        "line": format_line(scheme),
        "sentence": explain.sentence(scheme),
        "kernel": explain.kernel_units(scheme, attrs),
    }


@command.command("list")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
def list_command(form: str) -> None:
    """List the presets."""
    rows = [
        {"name": name, "schemes": preset.lines, "about": preset.about}
        for name, preset in PRESETS.items()
    ]
    text: list[str] = []
    for name, preset in PRESETS.items():
        text += _wrapped(f"{name}: {preset.about}")
        text += [f"    {line}" for line in preset.lines.split("\n")]
    sys.stdout.write(Report("isotherm.presets/1", {"presets": rows}, rows, text).render(form))


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of scheme documents, for editors."""
    from isotherm.schemefile.documents.schema import json_schema

    sys.stdout.write(json_text(json_schema(), style_of(sys.stdout), indent=2))
