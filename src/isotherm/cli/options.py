"""Options that several commands share: which processes, and how to monitor them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from isotherm.core.damon.profile import NEWEST, PROFILES
from isotherm.errors import BadValueError
from isotherm.model.target import Target
from isotherm.schemefile.filters import parse_addresses
from isotherm.schemefile.source import Word
from isotherm.units import duration_ns, percent

_Command = Callable[..., Any]

_TARGET = (
    click.option("-p", "--pid", metavar="PID[,PID]", help="These processes."),
    click.option("-n", "--name", help="The processes of this name."),
    click.option("-G", "--cgroup", metavar="PATH", help="The processes of this cgroup."),
    click.option("-a", "--all", is_flag=True, help="The machine's memory: --ops paddr."),
    click.option("--no-children", is_flag=True, help="Do not follow child processes."),
)
_SCOPE = (
    click.option(
        "--ops",
        "operations",
        metavar="OPERATIONS",
        help="vaddr: all of a process; fvaddr: ranges of it; paddr: physical memory [vaddr].",
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
        "--overhead", default="1%", show_default=True, help="Share of one CPU to keep to."
    ),
    click.option("--backend", default="auto", show_default=True, help="As listed by doctor."),
    click.option("--seed", type=int, help="Seed of the sampling; recorded."),
)


def monitor_options(command: _Command) -> _Command:
    """Add the options that `monitor_arguments` reads."""
    for option in reversed((*_TARGET, *_SCOPE, *_MONITOR)):
        command = option(command)
    return command


def monitor_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """
    Take the shared options out of `given` and return them as arguments of `isotherm.monitor`.

    `duration` stays: it is the stream's. Raises `BadValueError`.
    """
    taken = {
        name: given.pop(name)
        for name in (
            *("name", "cgroup", "sample", "aggr", "update", "regions"),
            *("profile", "backend", "seed"),
        )
    }
    ranges = [parse_addresses(Word(text, "--range")) for text in given.pop("ranges")]
    return taken | {
        "operations": operations_of(given.pop("operations"), everything=given.pop("all")),
        "ranges": ranges or None,
        "pid": pids_of(given.pop("pid")),
        "children": not given.pop("no_children"),
        "overhead": float(percent(given.pop("overhead"))),
    }


def operations_of(name: str | None, *, everything: bool) -> str | None:
    """Return the operations set of --ops and --all; raises `BadValueError` if they disagree."""
    if everything and name not in (None, "paddr"):
        raise BadValueError(
            f"--all is all of the machine's memory, and --ops {name} memory of processes",
            hint="leave out one of them",
        )
    return "paddr" if everything else name


def target_names(targets: Sequence[Target]) -> str:
    """Return who is monitored, three of them by name."""
    names = ", ".join(target.title for target in targets[:3])
    return names + (f" and {len(targets) - 3} more" if len(targets) > 3 else "")


def pids_of(text: str | None) -> list[int] | None:
    """Return pids of "12,34"; raises `BadValueError`."""
    if text is None:
        return None
    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() for word in words):
        raise BadValueError(f"{text!r} is not a pid", hint="write it as -p 4242 or -p 4242,4243")
    return [int(word) for word in words]


def length_of(duration: str | None) -> int | None:
    """Return a duration in ns, None for none given; raises `BadValueError` for 0 and nonsense."""
    length = None if duration is None else duration_ns(duration)
    if length == 0:
        raise BadValueError("0 seconds are too few to see anything", hint="-d 10s")
    return length


def exit_status(returncode: int) -> int:
    """Return a shell's view of a child's end: 128 + signal where a signal ended it."""
    return 128 - returncode if returncode < 0 else returncode
