"""
Typed readers of /proc/PID.

All of them turn errno into an exception in one place: a process that does not exist, or vanishes
while it is read, is `TargetGoneError`; a refusal is `NotPermittedError` with the command to run.
Text formats: proc(5) and the kernel's Documentation/filesystems/proc.rst.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

from isotherm.errors import (
    IsothermError,
    NotPermittedError,
    NotSupportedError,
    TargetGoneError,
)
from isotherm.kernel.privilege import root_hint
from isotherm.model.target import Mapping

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
#: Units of `Stat.start_ticks` and `Stat.cpu_ticks` in a second.
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PF_KTHREAD = 0x0020_0000  # include/linux/sched.h

_READ_CHUNK = 1 << 20


def require_own() -> None:
    """
    Raise `NotSupportedError` where /proc is missing, or shows another PID namespace than ours.

    There its numbers are those of other processes than ours mean.
    """
    try:
        shown = os.readlink("/proc/self")  # noqa: PTH115
    except OSError:
        raise NotSupportedError(
            "/proc is not mounted here: nothing can be known of processes",
            hint="mount -t proc proc /proc",
        ) from None
    if shown != str(os.getpid()):
        raise NotSupportedError(
            "/proc shows another PID namespace: its process numbers are not ours",
            hint="mount the right one (unshare --mount-proc does), or run isotherm outside",
        )


@contextmanager
def reading(pid: int, what: str) -> Iterator[None]:
    """Turn an `OSError` of touching `what` of process `pid` into an error of ours."""
    try:
        yield
    except OSError as err:
        raise _translated(err, pid, what) from err


def _translated(err: OSError, pid: int, what: str) -> IsothermError:
    # The files of a zombie belong to root, whoever ran it.
    if err.errno in (errno.ENOENT, errno.ESRCH) or _is_zombie(pid):
        return TargetGoneError(
            f"no process {pid}", hint="list the processes with: ps -e -o pid,rss,comm --sort=rss"
        )
    if err.errno in (errno.EACCES, errno.EPERM):
        return NotPermittedError(
            f"not allowed to read {what} of process {pid}{_called(pid)}", hint=root_hint()
        )
    return IsothermError(f"cannot read {what} of process {pid}: {err.strerror}")


def _is_zombie(pid: int) -> bool:
    try:
        return parse_stat(read_file(f"/proc/{pid}/stat")).is_zombie
    except OSError:
        return False


def _called(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return f" ({file.read().strip()})"
    except OSError:
        return ""


def read_file(path: str) -> bytes:
    """Read a whole file of /proc, which tells no size, with as few system calls as possible."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while chunk := os.read(fd, _READ_CHUNK):
            parts.append(chunk)
        return b"".join(parts)
    finally:
        os.close(fd)


def read(pid: int, name: str) -> bytes:
    """Return the content of /proc/PID/NAME."""
    with reading(pid, name):
        return read_file(f"/proc/{pid}/{name}")


@dataclass(frozen=True, slots=True)
class Stat:
    """
    What /proc/PID/stat says.

    state: one letter, R S D Z T ...; start_ticks: since boot, in 1/`TICKS_PER_SECOND`; it tells
    two processes of the same pid apart; major_faults: pages that it waited
    for to be read; cpu_ticks: user and system time of all threads, same unit;
    processor: the CPU on which the main thread last ran; start_stack: the address at which the
    stack of its program began, another one after each exec, 0 where that is not told.
    """

    pid: int
    name: str
    state: str
    ppid: int
    flags: int
    major_faults: int
    cpu_ticks: int
    num_threads: int
    start_ticks: int
    processor: int
    start_stack: int = 0

    @property
    def is_kernel_thread(self) -> bool:
        return bool(self.flags & PF_KTHREAD)

    @property
    def is_zombie(self) -> bool:
        """Whether nothing of it lives: a process goes on when only its main thread has ended."""
        return self.state in "ZXx" and self.num_threads <= 1


def parse_stat(text: bytes) -> Stat:
    """Parse a line of /proc/PID/stat; the name may hold spaces and parentheses."""
    left, right = text.index(b"("), text.rindex(b")")
    field = text[right + 2 :].split()  # field[0] is field 3 of proc(5), the state
    return Stat(
        pid=int(text[:left]),
        name=text[left + 1 : right].decode(errors="replace"),
        state=field[0].decode(),
        ppid=int(field[1]),
        flags=int(field[6]),
        major_faults=int(field[9]),
        cpu_ticks=int(field[11]) + int(field[12]),
        num_threads=int(field[17]),
        start_ticks=int(field[19]),
        processor=int(field[36]),
        start_stack=int(field[25]),
    )


def stat(pid: int) -> Stat:
    """Return the state of process `pid`."""
    return parse_stat(read(pid, "stat"))


@dataclass(frozen=True, slots=True)
class Statm:
    """
    Sizes of an address space, in bytes: mapped, resident, and program text and data.

    shared_bytes: of files and shared memory, part of what is resident.
    """

    mapped_bytes: int
    resident_bytes: int
    text_bytes: int
    data_bytes: int
    shared_bytes: int = 0

    def same_space(self, other: Statm) -> bool:
        """Tell whether as much is mapped as in `other`, whatever of it is resident."""
        mine = (self.mapped_bytes, self.text_bytes, self.data_bytes)
        return mine == (other.mapped_bytes, other.text_bytes, other.data_bytes)


def statm(pid: int) -> Statm:
    """Return sizes of the memory of process `pid`; all are 0 for a zombie or a kernel thread."""
    field = read(pid, "statm").split()
    size, resident, shared, text, _lib, data = (int(f) * PAGE_SIZE for f in field[:6])
    return Statm(size, resident, text, data, shared)


def has_memory(tid: int) -> bool:
    """Tell whether thread `tid` has an address space: one that has ended has none."""
    try:
        return statm(tid).mapped_bytes > 0
    except TargetGoneError:
        return False


def thread_cpu_ns(tid: int) -> int | None:
    """Return the CPU time of a thread; None where the kernel does not tell, or it has ended."""
    try:
        return int(read_file(f"/proc/{tid}/schedstat").split()[0])
    except (OSError, ValueError, IndexError):
        return None


#: start, end, permissions, device, name. The name follows padding, and may hold anything.
_MAPS_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ (\S+) \d+ *(.*)(?:\n|\Z)")


def parse_maps(text: bytes) -> Iterator[tuple[Mapping, str]]:
    """Yield the mappings of lines of /proc/PID/maps, each with its device, "fd:01"."""
    known: dict[tuple[bytes, bytes, bytes], tuple[str, str, str]] = {}  # most are alike
    at = 0
    ended, border = b"", 0
    for match in _MAPS_LINE.finditer(text):
        if match.start() != at:
            break
        at = match.end()
        start, end, rights_text, device_text, name_text = match.groups()
        key = rights_text, device_text, name_text
        texts = known.get(key)
        if texts is None:
            rights, device, name = (sys.intern(part.decode(errors="replace")) for part in key)
            texts = known[key] = rights, device, name
        # Neighbours share the number: with thousands of them that is felt.
        begin = border if start == ended else int(start, 16)
        ended, border = end, int(end, 16)
        yield Mapping(begin, border, texts[0], texts[2]), texts[1]
    if at < len(text):
        raise IsothermError(f"not a line of /proc/PID/maps: {text[at : at + 100]!r}")


def parse_maps_line(line: bytes) -> tuple[Mapping, str]:
    """Parse a line of /proc/PID/maps into the mapping and its device, "fd:01"."""
    for found in parse_maps(line):
        return found
    raise IsothermError(f"not a line of /proc/PID/maps: {line!r}")


def maps(pid: int) -> tuple[Mapping, ...]:
    """Return the mappings of process `pid` in address order; none for zombies and such."""
    return tuple(mapping for mapping, _ in parse_maps(read(pid, "maps")))


def pids() -> list[int]:
    """Return the pids of all processes that /proc shows."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208


@cache
def _tells_last_pid() -> bool:
    """Whether /proc/loadavg is the kernel's own: containers of LXC have another one over it."""
    with suppress(OSError):
        return os.stat("/proc/loadavg").st_dev == os.stat("/proc").st_dev  # noqa: PTH116
    return False


def last_pid() -> int | None:
    """
    Return the id that was given last to a process or thread of this PID namespace.

    As long as it stays the same nobody has come. None: it cannot be known.
    """
    if not _tells_last_pid():
        return None
    try:
        return int(read_file("/proc/loadavg").rpartition(b" ")[2])
    except (OSError, ValueError):
        return None


def memory_thread(pid: int) -> int:
    """
    Return the thread through which the memory of process `pid` is reached.

    The main one, or, where that has ended, another that lives; the main one if none does.
    """
    if stat(pid).state not in "ZXx":
        return pid
    with reading(pid, "threads"):
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    for tid in map(int, threads):
        with suppress(OSError):
            if parse_stat(read_file(f"/proc/{pid}/task/{tid}/stat")).state not in "ZXx":
                return tid
    return pid


def thread_group(pid: int) -> int:
    """Return the pid of the process that `pid`, which may be a thread's id, belongs to."""
    for line in read(pid, "status").split(b"\n"):
        if line.startswith(b"Tgid:"):
            return int(line.split()[1])
    return pid


def names_of(pid: int) -> tuple[str, ...]:
    """
    Return what process `pid` is called: what `pidof -x` compares; nothing for one that is gone.

    The name of its command, which the kernel cuts to 15 bytes; the first word of its command
    line and the base name of that; of a script that was started by its own name, that. Kernel
    threads and zombies have none.
    """
    try:
        facts = parse_stat(read_file(f"/proc/{pid}/stat"))
        if facts.is_kernel_thread or facts.is_zombie:
            return ()
        words = read_file(f"/proc/{pid}/cmdline").split(b"\0", 2)[:2]
    except OSError:
        return ()
    first, second, *_ = [*(word.decode(errors="replace") for word in words), "", ""]
    names = [facts.name, first, os.path.basename(first)]  # noqa: PTH119
    script = os.path.basename(second)  # noqa: PTH119
    if script and script.encode()[:15] == facts.name.encode():
        names += [second, script]
    return tuple(dict.fromkeys(filter(None, names)))


def program_of(pid: int) -> str:
    """Return the path of the program that process `pid` runs; "" where that is not told."""
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")  # noqa: PTH115
    except OSError:
        return ""


def find_by_name(name: str) -> list[int]:
    """Return the pids that have the name, by `names_of`, in order; ourselves left out."""
    return sorted(pid for pid in pids() if pid != os.getpid() and name in names_of(pid))


def user_of(pid: int) -> int | None:
    """Return the effective uid of process `pid`; None if it is gone."""
    try:
        status = read_file(f"/proc/{pid}/status")
        return int(status.partition(b"\nUid:")[2].split(None, 2)[1])
    except (OSError, ValueError, IndexError):
        return None


def is_kernel_thread(pid: int) -> bool:
    """Tell whether `pid` is a kernel thread; True of what is gone."""
    try:
        return parse_stat(read_file(f"/proc/{pid}/stat")).is_kernel_thread
    except OSError:
        return True


def cgroup_of(pid: int, controllers: Sequence[str]) -> str:
    """
    Return the cgroup of process `pid`, "/" where it is in none or gone.

    controllers: of the hierarchies that count, "" is v2: of the first in which it is in a group.
    """
    paths = {}
    with suppress(OSError):
        for line in read_file(f"/proc/{pid}/cgroup").decode(errors="replace").splitlines():
            _, names, path = line.split(":", 2)
            for name in names.split(","):
                paths[name] = path
    found = (paths.get(name, "/") for name in controllers)
    return next((path for path in found if path != "/"), "/")


def runs_kvm_guest(pid: int) -> bool:
    """
    Tell whether process `pid` runs a KVM virtual machine, by its open file anon_inode:kvm-vm.

    Accesses of a guest set bits in tables that its host process does not have.
    """
    if not os.path.exists("/dev/kvm"):  # noqa: PTH110
        return False
    folder = f"/proc/{pid}/fd"
    with reading(pid, "open files"):
        descriptors = os.listdir(folder)  # noqa: PTH208
    for fd in descriptors:
        try:
            if os.readlink(f"{folder}/{fd}") == "anon_inode:kvm-vm":  # noqa: PTH115
                return True
        except OSError:
            continue
    return False


def clear_refs(pid: int, what: int = 1) -> None:
    """
    Write to /proc/PID/clear_refs: 1 clears the accessed bits of all pages.

    Needs only that the file may be written: own processes. Holds the target's mmap_lock for
    writing meanwhile, 23 to 31 ms per GiB of 4 KiB pages.
    """
    with reading(pid, "clear_refs"):
        fd = os.open(f"/proc/{pid}/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"%d" % what)
        finally:
            os.close(fd)


def clear_refs_allowed(pid: int) -> bool:
    """Tell whether we may write to /proc/PID/clear_refs; True of a process that has vanished."""
    try:
        os.close(os.open(f"/proc/{pid}/clear_refs", os.O_WRONLY | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError:
        return True
    return True
