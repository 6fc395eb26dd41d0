"""
The workload process: `python -m isotherm.demo.workload SPEC.json` (or `-`: standard input).

Prints one JSON object a line: `ready` with the address of every area, `phase` with the time of day
when one starts, `done` with its counters, `end` after the last. The touching itself is C.
`demo.runner` drives it with --driven: it then reads the specification from the first line of
standard input, starts the phases at the second, and holds its memory until the end of the input.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from isotherm import _core
from isotherm.demo.spec import Phase, Spec
from isotherm.errors import IsothermError

#: Words of the control block.
STOP, OPS = _core.CONTROL_STOP, _core.CONTROL_OPS
SWEEPS, OVERRUNS = _core.CONTROL_PASSES, _core.CONTROL_OVERRUNS
#: Values of STOP: end all phases; end the phase that runs and go on with the next.
ALL, NEXT = 1, 2
CONTROL_BYTES = 4096
_PR_SET_PDEATHSIG = 1


def _say(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that happens."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


def _share(areas: list[_core.TouchArea]) -> None:
    """Start a process that maps the same memory, and ends with this one; wait until it does."""
    ready, tell = os.pipe()
    parent = os.getpid()
    if os.fork() == 0:
        try:
            _die_with(parent)
            null = os.open(os.devnull, os.O_RDWR)
            for stream in range(2):
                os.dup2(null, stream)
            for area in areas:
                area.populate()
            os.write(tell, b"1")
            while True:
                signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    if not os.read(ready, 1):
        raise IsothermError("the process that shares the memory has ended")
    os.close(ready)


def _run_phase(
    phase: Phase, areas: dict[str, _core.TouchArea], until_ns: int, control: mmap.mmap
) -> None:
    ranges = tuple(
        (areas[hot.area], hot.offset, hot.nbytes, hot.period_us * 1000, hot.order == "random")
        for hot in phase.hot
    )
    touch = _core.touch_busy if phase.mode == "busy" else _core.touch_paced
    touch(ranges, until_ns, control)


def run(spec: Spec, control: mmap.mmap, *, driven: bool = False) -> None:
    """
    Map and fill the areas, then run the phases; stops early when the control block says so.

    driven: wait for a line of standard input before the phases, and for its end after them.
    """
    areas = {
        area.name: _core.TouchArea(area.nbytes, area.pages == "thp", area.shared)
        for area in spec.areas
    }
    for mapped in areas.values():
        mapped.populate()
    if shared := [areas[area.name] for area in spec.areas if area.shared]:
        _share(shared)
    _say("ready", pid=os.getpid(), areas={name: a.address for name, a in areas.items()})
    if driven and not sys.stdin.readline():
        return
    words = memoryview(control).cast("Q")
    until_ns = time.monotonic_ns()
    for number, phase in enumerate(spec.phases):
        late_ns = time.monotonic_ns() - until_ns
        _say("phase", phase=number, wall_ns=time.time_ns() - late_ns)
        before = words.tolist()
        until_ns += phase.duration_us * 1000
        _run_phase(phase, areas, until_ns, control)
        counted = (words[index] - before[index] for index in (OPS, SWEEPS, OVERRUNS))
        _say(
            "done", phase=number, **dict(zip(("ops", "sweeps", "overruns"), counted, strict=True))
        )
        if words[STOP] == ALL:
            break
        if words[STOP] == NEXT:
            words[STOP] = 0
            until_ns = time.monotonic_ns()
    words.release()
    _say("end")
    if driven:
        sys.stdin.read()


def main(argv: list[str] | None = None) -> int:
    """Command line of the workload; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m isotherm.demo.workload", description=__doc__)
    parser.add_argument("spec", help="workload specification (JSON); - reads standard input")
    parser.add_argument("--control-fd", type=int, help="file of one page for the counters")
    parser.add_argument("--driven", type=int, metavar="PPID", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    # The loops do not return to the interpreter for a signal.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        if args.driven:
            _die_with(args.driven)
            spec = Spec.from_json(sys.stdin.readline())
        else:
            spec = Spec.from_json(
                sys.stdin.read() if args.spec == "-" else Path(args.spec).read_text("utf-8")
            )
        control = mmap.mmap(-1 if args.control_fd is None else args.control_fd, CONTROL_BYTES)
        run(spec, control, driven=bool(args.driven))
    except IsothermError as err:
        print(f"workload: {err}", file=sys.stderr)
        return err.exit_code
    except OSError as err:
        print(f"workload: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
