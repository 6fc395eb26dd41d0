"""What eval.py and cold.py stand on: swap of their own, huge pages, a group, isotherm itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import common
from common import MIB

from isotherm.kernel import cgroupfs

THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")
ZRAM = Path("/sys/block")
#: Above every other swap, so that what goes out is on ours, and comes back with it.
PRIORITY = "32767"


@contextmanager
def orderly_end() -> Iterator[None]:
    """SIGTERM and ctrl-c, even where a shell has it ignored, end with everything cleaned up."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, end) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Clean-up goes on to its end, whatever is pressed."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _call(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, start_new_session=True)


# Swap.


@dataclass
class Swap:
    """A swap device that is ours alone."""

    path: str
    kind: str

    def on(self) -> None:
        _call("swapon", "-p", PRIORITY, self.path)

    def off(self) -> None:
        _call("swapoff", self.path)

    def bring_back(self, pid: int) -> None:
        """All that went out is resident again; says so if it is not."""
        self.off()
        left = tree_memory(pid)["swap"]
        self.on()
        if left:
            common.progress(f"{left // MIB} MiB of {pid} are on a swap that is not ours")

    def compressed(self) -> dict[str, int]:
        """Bytes kept on zram, and the memory this takes; empty for a file."""
        if self.kind != "zram":
            return {}
        numbers = (ZRAM / Path(self.path).name / "mm_stat").read_text("ascii").split()
        return {"swapped bytes": int(numbers[0]), "memory for them": int(numbers[2])}


@contextmanager
def own_swap(size_mib: int) -> Iterator[Swap]:
    """Swap on zram, or in a file where zram cannot be had; gone afterwards."""
    with ExitStack() as stack:
        try:
            swap = Swap(stack.enter_context(_zram(size_mib)), "zram")
        except OSError as err:
            common.progress(f"no zram ({err}): a swap file")
            swap = Swap(stack.enter_context(_file(size_mib)), "file")
        _call("mkswap", swap.path)
        swap.on()
        try:
            yield swap
        finally:
            with undisturbed(), suppress(subprocess.CalledProcessError):
                swap.off()


@contextmanager
def _zram(size_mib: int) -> Iterator[str]:
    """An unused zram device, or a new one; as it was afterwards."""
    added = None
    for device in sorted(ZRAM.glob("zram*")):
        if (device / "disksize").read_text("ascii").strip() == "0":
            break
    else:
        added = Path("/sys/class/zram-control/hot_add").read_text("ascii").strip()
        device = ZRAM / f"zram{added}"
    algorithms = (device / "comp_algorithm").read_text("ascii")
    before = algorithms.split("[")[1].split("]")[0]
    try:
        if "lz4" in algorithms.replace("[", " ").replace("]", " ").split():
            (device / "comp_algorithm").write_text("lz4", "ascii")
        (device / "disksize").write_text(f"{size_mib}M", "ascii")
        yield f"/dev/{device.name}"
    finally:
        with undisturbed():
            for _ in range(50):  # udev may still hold it
                with suppress(OSError):
                    (device / "reset").write_text("1", "ascii")
                    break
                time.sleep(0.1)
            with suppress(OSError):
                (device / "comp_algorithm").write_text(before, "ascii")
            if added is not None:
                Path("/sys/class/zram-control/hot_remove").write_text(added, "ascii")


@contextmanager
def _file(size_mib: int) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(dir="/var/tmp", prefix="isotherm-swap-") as file:
        os.posix_fallocate(file.fileno(), 0, size_mib * MIB)
        yield file.name


# Huge pages, and a group.


def thp_mode() -> str:
    return THP.read_text("ascii").split("[")[1].split("]")[0]


@contextmanager
def thp(mode: str) -> Iterator[None]:
    """Transparent huge pages system-wide as `mode`; as it was afterwards."""
    before = thp_mode()
    if before == mode:
        yield
        return
    THP.write_text(mode, "ascii")
    try:
        yield
    finally:
        with undisturbed():
            THP.write_text(before, "ascii")


@contextmanager
def own_group() -> Iterator[Path | None]:
    """A memory cgroup for what is measured; None where none can be made."""
    root = cgroupfs.memory_root()
    folder = root / f"isotherm-bench-{os.getpid()}" if root is not None else None
    try:
        if folder is not None:
            folder.mkdir()
    except OSError as err:
        common.progress(f"no cgroup of our own ({err})")
        folder = None
    try:
        yield folder
    finally:
        if folder is not None:
            with undisturbed():
                for _ in range(50):  # processes take a moment to leave
                    with suppress(OSError):
                        folder.rmdir()
                        break
                    time.sleep(0.1)


def join(group: Path | None, pid: int) -> None:
    if group is not None:
        (group / "cgroup.procs").write_text(str(pid), "ascii")


# Facts of a process.


def status_bytes(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def rollup(pid: int) -> dict[str, int]:
    """Rss, Pss, AnonHugePages, ... of smaps_rollup, in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def swap_traffic() -> dict[str, int]:
    """Pages that the machine wrote to and read from swap."""
    words = (line.split() for line in Path("/proc/vmstat").read_text("ascii").splitlines())
    return {name: int(value) for name, value in words if name in ("pswpin", "pswpout")}


# Facts of a process and its children, which may come and go.

_TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """A process, its children, and theirs."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                with suppress(OSError):
                    found += map(int, (task / "children").read_text("ascii").split())
    return found


def _summed(pid: int, *fields: int) -> int:
    """The sum of fields of /proc/PID/stat (numbered from 0) over all of a tree."""
    total = 0
    for one in tree(pid):
        with suppress(OSError):
            words = Path(f"/proc/{one}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
            total += sum(int(words[field - 2]) for field in fields)
    return total


def tree_cpu_ns(pid: int) -> int:
    """CPU time of a tree, with that of children that have ended."""
    return _TICK_NS * _summed(pid, 13, 14, 15, 16)


def tree_faults(pid: int) -> int:
    """Major faults of a tree, with those of children that have ended."""
    return _summed(pid, 11, 12)


#: What is added up of smaps_rollup, and is bytes of huge pages.
HUGE = ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped")


def tree_memory(pid: int) -> dict[str, int]:
    """Proportional resident and swapped bytes of a tree, and those in huge pages."""
    found = {"pss": 0, "swap": 0, "huge": 0}
    for one in tree(pid):
        with suppress(OSError):
            facts = rollup(one)
            found["pss"] += facts.get("Pss", 0)
            found["swap"] += facts.get("SwapPss", 0)
            found["huge"] += sum(facts.get(name, 0) for name in HUGE)
    return found


@dataclass
class Watch:
    """Samples of the memory of a tree once a second, in a thread; a context manager."""

    pid: int
    samples: list[tuple[float, int]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.samples.append((time.monotonic(), tree_memory(self.pid)["pss"]))
            if self._stop.wait(1.0):
                return

    def mean(self) -> float | None:
        return common.mean([size for _, size in self.samples])


# isotherm, as a user would run it.


class Beside:
    """An isotherm that runs beside a program until it is stopped; a context manager."""

    #: How what it says first begins.
    starts = ""

    def __init__(self, *words: str) -> None:
        self.command = [sys.executable, "-m", "isotherm", *words]

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._child.stderr is not None
        said = self._child.stderr.readline()
        if not said.startswith(self.starts):
            raise SystemExit(f"isotherm did not start: {said}{self._child.communicate()[1]}")
        return self

    @property
    def cpu_ns(self) -> int:
        """CPU time of the whole process, actions included."""
        if self._child.poll() is not None:
            raise SystemExit(f"isotherm ended early: {self._child.communicate()[1]}")
        return common.cpu_ns_of(self._child.pid)

    def peak_bytes(self) -> int:
        return status_bytes(self._child.pid, "VmHWM")

    def stop(self) -> str:
        """Stop it as ctrl-c does; what it printed."""
        self._child.send_signal(signal.SIGINT)
        out, err = self._child.communicate(timeout=60)
        if self._child.returncode:
            raise SystemExit(f"isotherm failed: {err}")
        return out

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
            try:
                self._child.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.communicate()


class Apply(Beside):
    """`isotherm apply SCHEMES -p PID`."""

    starts = "applying"

    def __init__(self, schemes: str, pid: int, options: Sequence[str] = ()) -> None:
        super().__init__("apply", schemes, "-p", str(pid), "--plain", "--format", "json", *options)

    def end(self) -> Any:
        """Stop it; its own account of its schemes."""
        return json.loads(self.stop())["schemes"]


class Record(Beside):
    """`isotherm record -p PID -o PATH`."""

    starts = "recording"

    def __init__(self, pid: int, path: Path, options: Sequence[str] = ()) -> None:
        super().__init__("record", "-p", str(pid), "-o", str(path), "--force", *options)


def missing(*programs: str) -> list[str]:
    return [name for name in programs if shutil.which(name) is None]
