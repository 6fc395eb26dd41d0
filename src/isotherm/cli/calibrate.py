"""`isotherm calibrate`: known workloads under each backend and policy, on this machine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from importlib.metadata import version

import click

from isotherm.backends import registry
from isotherm.demo.calibrate import How, measure, ways
from isotherm.demo.known import QUICK, RECIPES, known
from isotherm.errors import BadValueError, IsothermError, NotSupportedError
from isotherm.kernel.features import KernelSupport, probe
from isotherm.kernel.meminfo import meminfo
from isotherm.model.calibration import Calibration, Measured
from isotherm.recording.calibration import calibration_path, keep, kept
from isotherm.report.calibration import report
from isotherm.report.output import FORMATS
from isotherm.terminal.output import tell
from isotherm.terminal.progress import Progress
from isotherm.terminal.style import width_of
from isotherm.terminal.table import Column, names, table
from isotherm.units import cpu_share, duration_ns, format_size, size

_SIZE, _QUICK_SIZE = "256M", "128M"
_SECONDS, _QUICK_SECONDS = "10s", "3s"
_SMALLEST, _LARGEST = 64 << 20, 1 << 40
_SHORTEST_S, _LONGEST_S = 0.5, 3600.0
#: Of a workload besides the time that it is watched: beginning, running alone, ending.
_BESIDES_S = 1.5


@click.command(
    epilog="""\b
Examples:
  sudo isotherm calibrate --quick
  sudo isotherm calibrate --policy sentinels --overhead 0.3%
  isotherm calibrate --show --format json"""
)
@click.option("--quick", is_flag=True, help="Few and short runs, in about a minute.")
@click.option("--workload", "workloads", multiple=True, metavar="NAME", help="[all]; repeatable.")
@click.option("--backend", "backends", multiple=True, metavar="NAME", help="[all usable]")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="[all it has]")
@click.option("--size", "nbytes", metavar="SIZE", help=f"Of a workload [{_SIZE}].")
@click.option(
    "-d", "--duration", metavar="TIME", help=f"Of each run [{_SECONDS}; quick {_QUICK_SECONDS}]."
)
@click.option("--overhead", default="1%", show_default=True, help="Share of one CPU to keep to.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, help="Of all drawn [1].")
@click.option("--no-save", is_flag=True, help="Keep what was measured before.")
@click.option("--show", is_flag=True, help="Show what was measured last, and measure nothing.")
@click.option("--list", "listed", is_flag=True, help="List the workloads, and exit.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
def command(
    *,
    quick: bool,
    workloads: tuple[str, ...],
    backends: tuple[str, ...],
    policies: tuple[str, ...],
    nbytes: str | None,
    duration: str | None,
    overhead: str,
    seed: int,
    no_save: bool,
    show: bool,
    listed: bool,
    form: str,
) -> int:
    """
    Measure how near to the truth monitoring comes on this machine, how soon, and at what price.

    Workloads whose use of memory is known run as child processes, one after the other, under each
    backend and policy that can be used here. What was measured is kept for this machine, and
    quoted by `doctor` and by reports of what is recorded from then on. A quiet machine helps.
    """
    if listed:
        rows = [(name, about) for name, (about, _) in RECIPES.items()]
        columns = [names("workload"), Column("what it does", right=False)]
        tell(*table(columns, rows, width_of(sys.stdout)), stream=sys.stdout)
        return 0
    if show:
        return _show(form)
    chosen = _known_names("workload", workloads, RECIPES) or (QUICK if quick else tuple(RECIPES))
    _known_names("backend", backends, registry.names())
    length = _size_of(nbytes or (_QUICK_SIZE if quick else _SIZE))
    seconds = _seconds_of(duration or (_QUICK_SECONDS if quick else _SECONDS))
    share, kernel, load = cpu_share(overhead), probe(), os.getloadavg()[0]
    usable, left_out = _ways(kernel, backends, policies)
    hows = [How(backend, policy, seconds, share, seed) for backend, policy in usable]
    runs = list(_runs(chosen, hows, length, left_out))
    found = Calibration(
        release=kernel.release,
        version=version("isotherm"),
        wall_ns=time.time_ns(),
        quick=quick,
        overhead=share,
        load=load,
        runs=tuple(runs),
        left_out=left_out,
    )
    if not runs:
        raise NotSupportedError(
            "nothing could be measured: " + "; ".join(f"{k}: {v}" for k, v in left_out.items())
        )
    notes = []
    if load > (os.cpu_count() or 1) / 2:
        notes.append(f"The machine was busy (load {load:.1f}): a quiet one does better.")
    if not no_save:
        notes.append(f"kept in {keep(found)}")
    report(found, width_of(sys.stdout), notes).write(form)
    return 0


def _show(form: str) -> int:
    found = kept()
    if found is None:
        raise NotSupportedError(
            f"nothing was measured on this machine that is kept in {calibration_path()}",
            hint="sudo isotherm calibrate --quick",
        )
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.wall_ns / 1e9))
    note = f"measured {when} under Linux {found.release}, isotherm {found.version}"
    report(found, width_of(sys.stdout), [note]).write(form)
    return 0


def _known_names(what: str, asked: tuple[str, ...], there_are: Collection[str]) -> tuple[str, ...]:
    for name in asked:
        if name not in there_are:
            raise BadValueError(f"no {what} {name!r}", hint=f"one of {', '.join(there_are)}")
    return tuple(dict.fromkeys(asked))


def _size_of(text: str) -> int:
    length = size(text)
    if not _SMALLEST <= length <= _LARGEST:
        raise BadValueError(
            f"a workload of {format_size(length)}",
            hint=f"from {format_size(_SMALLEST)} to {format_size(_LARGEST)}",
        )
    length = length // _SMALLEST * _SMALLEST
    # What is available, with a quarter to spare: memory that pages out tells nothing.
    if length * 5 // 4 > meminfo().get("MemAvailable", 1 << 62):
        raise BadValueError(
            f"there is not {format_size(length)} of memory to spare", hint="a smaller --size"
        )
    return length


def _seconds_of(text: str) -> float:
    seconds = duration_ns(text) / 1e9
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise BadValueError(f"cannot watch for {text}", hint="from 500ms to an hour")
    return seconds


def _ways(
    kernel: KernelSupport, backends: tuple[str, ...], policies: tuple[str, ...]
) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Return which backends and policies are measured, and why others are not."""
    usable, left_out = [], {}
    for backend, policy, why in ways(kernel):
        if (backends and backend not in backends) or (policies and policy not in policies):
            continue
        if why:
            left_out[backend] = why[:200]
        else:
            usable.append((backend, policy))
    if not usable and not left_out:
        raise BadValueError(
            "no backend has such a policy", hint="leave out --policy, or --backend"
        )
    return usable, left_out


def _runs(
    workloads: Sequence[str], hows: Sequence[How], nbytes: int, left_out: dict[str, str]
) -> Iterator[Measured]:
    """Measure one after the other; what cannot be is left out, with the reason."""
    every = [(name, how) for name in workloads for how in hows]
    total_s = sum(how.seconds + _BESIDES_S for _, how in every)
    progress = Progress(sys.stderr, int(total_s * 1e9))
    for number, (name, how) in enumerate(every, 1):
        progress.show(f"{name}  {how.backend} {how.policy}  {number} of {len(every)}")
        try:
            yield measure(known(name, nbytes, how.seed), how)
        except IsothermError as err:
            left_out[f"{name}, {how.backend} {how.policy}"] = err.message[:200]
    progress.end()
