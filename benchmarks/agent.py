"""
What the agent costs: resident memory, CPU, and how long a scrape takes.

500 processes in 50 cgroups (--processes, --groups), each with --size KiB of its own, a tenth of
it in use. The agent has its settings by default, but for the targets, which are these cgroups; the
first minute is not counted.
"""

from __future__ import annotations

import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import common

from isotherm.kernel import cgroupfs

NAME = "isotherm-bench-agent"
KIB = 1024


def options(parser):
    parser.add_argument("--processes", type=int, default=500)
    parser.add_argument("--groups", type=int, default=50)
    parser.add_argument("--size", type=int, default=1024, metavar="KIB")
    parser.add_argument("--seconds", type=int, default=300)


def use_memory(nbytes: int) -> None:
    """What each process does for ever."""
    area = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area[:] = b"x" * nbytes
    while True:
        time.sleep(1)
        for at in range(0, nbytes // 10, mmap.PAGESIZE):
            area[at] = 1


def started(root: Path, asked, stack: ExitStack) -> None:
    """Start the processes in their groups; all of it goes with the stack."""
    root.mkdir()
    stack.callback(root.rmdir)
    folders = [root / f"group-{i}" for i in range(asked.groups)]
    for folder in folders:
        folder.mkdir()
        stack.callback(removed, folder)
    for i in range(asked.processes):
        pid = os.fork()
        if not pid:
            use_memory(asked.size * KIB)
        stack.callback(ended, pid)
        (folders[i % len(folders)] / "cgroup.procs").write_text(str(pid))


def ended(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def removed(folder: Path) -> None:
    """The kernel empties a group when it gets round to it."""
    for _ in range(1000):
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.01)
        else:
            return


def scraped_s(path: Path) -> tuple[float, int]:
    """How long a scrape takes, and how many bytes it has."""
    begun, size = time.perf_counter(), 0
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
        asking.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        while data := asking.recv(1 << 16):
            size += len(data)
    return time.perf_counter() - begun, size


def memory_kib(pid: int) -> dict[str, int]:
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    return {name: int(kib) for name, kib in re.findall(r"(VmRSS|VmHWM|RssAnon):\s+(\d+)", text)}


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    asked = common.arguments(__doc__, options)
    seconds = 90 if asked.quick else asked.seconds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        started(cgroupfs.hierarchies()[0].mount / NAME, asked, stack)
        config = folder / "agent.yaml"
        config.write_text(
            f"targets: [{{cgroup: '/{NAME}/*'}}]\nagent: {{ring: {{folder: {folder}/ring}}}}\n"
        )
        agent = subprocess.Popen(
            [sys.executable, "-m", "isotherm", "agent", config, "--run-folder", folder]
        )
        stack.callback(agent.wait)
        stack.callback(agent.terminate)
        rows, begun, spent = [], time.monotonic(), 0.0
        times: list[float] = []
        while (now := time.monotonic() - begun) < seconds:
            time.sleep(5)
            if now > 60:
                took, size = scraped_s(folder / "metrics.sock")
                times.append(took)
            if int(now) // 30 > len(rows) - 1:
                used = cpu_s(agent.pid)
                rows.append({
                    "at s": round(now),
                    **{f"{name} MiB": round(kib / 1024, 1)
                       for name, kib in memory_kib(agent.pid).items()},
                    "CPU s": round(used, 2),
                    "of one CPU": f"{(used - spent) / 30:.2%}",
                })  # fmt: skip
                spent = used
        common.table(rows, title=f"{asked.processes} processes in {asked.groups} cgroups")
        ordered = sorted(times)
        print(f"  scrapes of {size} bytes: median {1000 * ordered[len(ordered) // 2]:.1f} ms, "
              f"longest {1000 * ordered[-1]:.1f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
