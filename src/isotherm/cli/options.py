"""Options that several commands share: which processes, and how to monitor them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import click

from isotherm.core.damon.profile import NEWEST, PROFILES
from isotherm.core.policies import DEFAULT, MAP
from isotherm.errors import BadValueError, quoted
from isotherm.model.target import Target
from isotherm.schemefile.filters import parse_addresses
from isotherm.schemefile.source import Word
from isotherm.session.options import Keywords
from isotherm.targets import sources
from isotherm.targets.sources import TargetSource
from isotherm.units import duration_ns

_Command = Callable[..., Any]
#: Of the parameters that hold what was given for a kind of source.
_PREFIX = "source_"

_SHARED = click.option(
    "--shared",
    default="auto",
    show_default=True,
    metavar="auto|off|clear-refs|damon",
    help="How to see memory that others map too: hold a process up for it, or use DAMON?",
)
_OVERHEAD = click.option(
    "--overhead", default="1%", show_default=True, help="Share of one CPU to keep to."
)
_BACKEND = click.option(
    "--backend", default="auto", show_default=True, help="As listed by doctor."
)
_NO_CHILDREN = click.option("--no-children", is_flag=True, help="Do not follow child processes.")
_WAIT = click.option(
    "--wait", is_flag=True, help="Wait for the first process, and for others after the last."
)
_SCOPE = (
    _WAIT,
    _NO_CHILDREN,
    click.option(
        "--ops",
        "operations",
        metavar="OPERATIONS",
        help="vaddr: all of a process; fvaddr: ranges of it; paddr: the machine's memory [vaddr].",
    ),
    click.option(
        "--range",
        "ranges",
        metavar="START-END",
        multiple=True,
        help="fvaddr, paddr: these addresses only, 0x1000-0x2000; may be repeated.",
    ),
)
_MONITOR = (
    click.option("-d", "--duration", metavar="TIME", help="Stop after this long, e.g. 30s."),
    click.option(
        "--sample", metavar="TIME", help="Sampling interval [5ms; --overhead stretches]."
    ),
    click.option("--aggr", metavar="TIME", help="Aggregation interval [20 samples]."),
    click.option("--update", metavar="TIME", help="Address map update interval [1s]."),
    click.option("--regions", metavar="MIN..MAX", help="Bounds of the number of regions."),
    click.option(
        "--profile",
        metavar="RELEASE",
        help=f"Follow the rules of this Linux: {', '.join(PROFILES)} [{NEWEST.name}].",
    ),
    click.option(
        "--policy", metavar="NAME", help=f"What decides where to look next, or auto [{DEFAULT}]."
    ),
    click.option("--map", "map_alone", is_flag=True, help="Only a map of pages: --policy map."),
    _SHARED,
    _OVERHEAD,
    _BACKEND,
    click.option("--seed", type=int, help="Seed of the sampling; recorded."),
)


def monitor_options(command: _Command) -> _Command:
    """Add the options that `keywords` reads, besides those of `TargetCommand`."""
    for option in reversed((*_SCOPE, *_MONITOR)):
        command = option(command)
    return command


def map_options(command: _Command) -> _Command:
    """Add the options that `keywords` reads, of a command that only maps pages."""
    for option in (_BACKEND, _OVERHEAD, _SHARED, _NO_CHILDREN, _WAIT):
        command = option(command)
    return command


class TargetCommand(click.Command):
    """
    A command with an option for each registered kind of target source, `targets.sources`.

    Words that continue a source's value belong to it: `-p $(pidof NAME)` may be several numbers.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the sources' options before those of the command itself."""
        options: list[click.Parameter] = [
            click.Option(
                (*kind.options, f"{_PREFIX}{kind.kind}"),
                metavar=None if kind.flag else kind.metavar,
                help=kind.help,
                multiple=not kind.flag,
                is_flag=kind.flag or None,
            )
            for kind in sources.kinds()
            if kind.options
        ]
        return [*options, *super().get_params(ctx)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join what continues a source's value, then parse as usual."""
        return super().parse_args(ctx, _joined(args))


def _joined(args: Sequence[str]) -> list[str]:
    spelled = {
        option: kind for kind in sources.kinds() for option in kind.options if not kind.flag
    }
    joined: list[str] = []
    at = 0
    while at < len(args):
        word = args[at]
        at += 1
        if word == "--":
            return [*joined, word, *args[at:]]
        joined.append(word)
        name, attached, _ = word.partition("=")
        kind = spelled.get(name) if word.startswith("--") else spelled.get(word[:2])
        if kind is None:
            continue
        if not attached and word in spelled and at < len(args):
            joined.append(args[at])
            at += 1
        while at < len(args) and kind.continues(args[at]):
            joined[-1] += f",{args[at]}"
            at += 1
    return joined


def keywords(given: dict[str, Any]) -> Keywords:
    """
    Take the shared options out of `given` and return them as keywords of `isotherm.monitor`.

    `duration` stays: it is the stream's. Raises `BadValueError`.
    """
    plain = ("sample", "aggr", "update", "regions", "profile", "shared", "backend", "seed")
    ranges = [parse_addresses(Word(text, "--range")) for text in given.pop("ranges", ())]
    found = {name: given.pop(name) for name in plain if name in given} | {
        "sources": _sources(given),
        "operations": given.pop("operations", None),
        "ranges": ranges or None,
        "children": not given.pop("no_children"),
        "wait": given.pop("wait"),
        "overhead": given.pop("overhead"),
        "policy": _policy(given.pop("policy", None), alone=given.pop("map_alone", True)),
    }
    return cast("Keywords", found)


def _sources(given: dict[str, Any]) -> list[TargetSource]:
    found: list[TargetSource] = []
    for kind in sources.kinds():
        texts = given.pop(f"{_PREFIX}{kind.kind}", ())
        found += [kind.parse(text) for text in ([""] * texts if kind.flag else texts)]
    return found


def _policy(name: str | None, *, alone: bool) -> str:
    """Return the policy of --policy and --map; raises `BadValueError` if they disagree."""
    if alone and name not in (None, MAP):
        raise BadValueError(
            f"--map is the policy {MAP}, and --policy {quoted(name)} was asked for too",
            hint="leave out one of them",
        )
    return MAP if alone else name or DEFAULT


def target_names(targets: Sequence[Target]) -> str:
    """Return who is monitored, three of them by name."""
    if not targets:
        return "nobody yet (waiting)"
    names = ", ".join(target.title for target in targets[:3])
    return names + (f" and {len(targets) - 3} more" if len(targets) > 3 else "")


def length_of(duration: str | None) -> int | None:
    """Return a duration in ns, None for none given; raises `BadValueError` for 0 and nonsense."""
    length = None if duration is None else duration_ns(duration)
    if length == 0:
        raise BadValueError("0 seconds are too few to see anything", hint="-d 10s")
    return length
