"""What benchmarks/schemes.py stands on: swap of its own, huge pages, a group, `isotherm apply`."""

from __future__ import annotations

import json
import os
import shlex
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
        left = status_bytes(pid, "VmSwap")
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


def major_faults(pid: int) -> int:
    text = Path(f"/proc/{pid}/stat").read_text("utf-8")
    return int(text.rsplit(")", 1)[1].split()[9])


def swap_traffic() -> dict[str, int]:
    """Pages that the machine wrote to and read from swap."""
    words = (line.split() for line in Path("/proc/vmstat").read_text("ascii").splitlines())
    return {name: int(value) for name, value in words if name in ("pswpin", "pswpout")}


@dataclass
class Watch:
    """Samples of resident memory twice a second, in a thread; a context manager."""

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
            with suppress(OSError):
                self.samples.append((time.monotonic(), status_bytes(self.pid, "VmRSS")))
            if self._stop.wait(0.5):
                return

    def mean_since(self, begin: float = 0.0) -> float | None:
        return common.mean([size for at, size in self.samples if at >= begin])


# isotherm, as a user would run it.


class Apply:
    """`isotherm apply SCHEMES -p PID` in a process of its own; a context manager."""

    def __init__(self, schemes: str, pid: int, options: Sequence[str] = ()) -> None:
        self.command = [sys.executable, "-m", "isotherm", "apply", schemes, "-p", str(pid)]
        self.command += ["--plain", "--format", "json", *options]
        self.result: dict[str, Any] = {}

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
        if not said.startswith("applying"):
            raise SystemExit(f"isotherm did not start: {said}{self._child.communicate()[1]}")
        self.began = time.monotonic()
        self._cpu = self.cpu_ns
        return self

    @property
    def cpu_ns(self) -> int:
        """CPU time of the whole process, actions included."""
        if self._child.poll() is not None:
            raise SystemExit(f"isotherm ended early: {self._child.communicate()[1]}")
        return common.cpu_ns_of(self._child.pid)

    def peak_bytes(self) -> int:
        return status_bytes(self._child.pid, "VmHWM")

    def end(self) -> dict[str, Any]:
        """Stop it as ctrl-c does; its own account, and its CPU time since it began."""
        spent = (self.cpu_ns - self._cpu) / 1e9 / (time.monotonic() - self.began)
        peak = self.peak_bytes()
        self._child.send_signal(signal.SIGINT)
        out, err = self._child.communicate(timeout=60)
        if self._child.returncode:
            raise SystemExit(f"isotherm failed: {err}")
        self.result = json.loads(out)
        return {"cpu share": spent, "peak bytes": peak, "account": self.result["schemes"]}

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
            try:
                self._child.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.communicate()


def missing(*programs: str) -> list[str]:
    return [name for name in programs if shutil.which(name) is None]


def options_of(args: Any) -> list[str]:
    """The options that every `isotherm apply` of this benchmark gets."""
    return ["--backend", args.backend, *shlex.split(args.options)]
