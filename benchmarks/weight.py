"""
How heavy isotherm is: resident memory while recording, and the start of the command.

Resident memory is the highest of the `isotherm record` process (VmHWM). The start-up
of `isotherm --help` is compared with `python -c pass` in turn: median of CPU times, and where
valgrind is installed the ratio of instructions, which does not depend on the machine's mood.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common
from common import GIB, HOUR_US, MIB

from isotherm.demo.runner import Workload
from isotherm.demo.spec import Area, Hot, Phase, Spec

HELP = [sys.executable, "-m", "isotherm", "--help"]
#: For os.waitid: tell whether it has ended, and leave it to be waited for.
ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT
PASS = [sys.executable, "-c", "pass"]


def run(command: list[str], look_s: float | None = None) -> tuple[float, int]:
    """
    CPU seconds and highest resident KiB of a command that must succeed.

    look_s: how often to look at its memory; without it, that is 0. It is VmHWM as long as the
    process can be asked: ru_maxrss holds our own as well, which the child shares before it
    executes the command.
    """
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said) as process,
    ):
        highest = 0
        while look_s and os.waitid(os.P_PID, process.pid, ENDED) is None:
            highest = max(highest, resident_kib(process.pid))
            time.sleep(look_s)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace")
            raise SystemExit(f"{' '.join(command)} failed with {process.returncode}:\n{text}")
    return usage.ru_utime + usage.ru_stime, highest


def resident_kib(pid: int) -> int:
    """The highest resident memory so far of the program that a process executes."""
    match = re.search(
        r"^VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"), re.MULTILINE
    )
    return int(match[1]) if match else 0


def recording_kib(nbytes: int, seconds: int, backend: str) -> int:
    """Highest resident memory of `isotherm record` on a workload with a quarter of it hot."""
    hot = (Hot("main", nbytes // 4, nbytes // 4),)
    with (
        tempfile.TemporaryDirectory() as folder,
        Workload(Spec((Area("main", nbytes),), (Phase(HOUR_US, hot),))) as workload,
    ):
        workload.go()
        command = [sys.executable, "-m", "isotherm", "record", "-p", str(workload.pid)]
        command += ["-d", f"{seconds}s", "-o", f"{folder}/r.isotherm", "--backend", backend]
        return run(command, 0.05)[1]


def instructions(command: list[str]) -> int | None:
    """Instructions that a command executes, counted by valgrind; None without it."""
    if shutil.which("valgrind") is None:
        return None
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    match = re.search(r"Collected : (\d+)", done.stderr)
    return int(match[1]) if match else None


def main() -> None:
    args = common.arguments(__doc__)
    rows: list[dict[str, Any]] = []
    for nbytes in (GIB // 4,) if args.quick else (GIB // 4, 4 * GIB):
        if common.fits(nbytes):
            common.progress(f"recording {nbytes // MIB} MiB")
            kib = recording_kib(nbytes, 2 if args.quick else 8, args.backend)
            rows.append({"target MiB": nbytes // MIB, "resident MiB": kib / 1024})
    python_kib = run(PASS, 0.001)[1]
    rows.append({"target MiB": "python -c pass", "resident MiB": python_kib / 1024})
    common.table(rows, title="isotherm record: highest resident memory")

    common.progress("start-up")
    pairs = [(run(PASS)[0], run(HELP)[0]) for _ in range(5 if args.quick else 25)]
    counts = (None, None) if args.quick else (instructions(PASS), instructions(HELP))
    start = {
        "python -c pass ms": 1e3 * statistics.median(plain for plain, _ in pairs),
        "isotherm --help ms": 1e3 * statistics.median(ours for _, ours in pairs),
        "ratio": statistics.median(ours / plain for plain, ours in pairs),
        "instructions ratio": counts[1] / counts[0] if counts[0] and counts[1] else None,
        "help modules": len(_modules()),
    }
    common.table([start], title="start-up: CPU time, median")
    common.write("weight", args, {"resident": rows, "startup": start, "instructions": counts})


def _modules() -> list[str]:
    """Modules that are loaded for `isotherm --help` beyond those of a bare interpreter."""
    code = (
        "import sys; bare = set(sys.modules); from isotherm.cli import main; main(['--help']);"
        "print(*sorted(set(sys.modules) - bare), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [name for name in done.stderr.split() if Path(name).name == name]


if __name__ == "__main__":
    main()
