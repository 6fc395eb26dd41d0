"""Which processes are monitored: those asked for, and their children as they come and go."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from isotherm.errors import (
    BadValueError,
    IsothermError,
    NotPermittedError,
    NotSupportedError,
    TargetGoneError,
)
from isotherm.kernel import pidfd, procfs


@dataclass(slots=True, eq=False)
class Process:
    """
    A process under monitoring, held so that its pid cannot become another one's.

    target_id: unique in its `ProcessSet`, never reused; start_ticks: since boot, in units of
    `procfs.TICKS_PER_SECOND`; pidfd: open while the process is in the set, -1 where descriptors
    ran out; kvm: it runs a virtual machine, whose memory cannot be observed; maps_cache belongs
    to `targets.ranges`.
    """

    target_id: int
    pid: int
    start_ticks: int
    name: str
    pidfd: int
    kvm: bool = False
    maps_cache: object | None = field(default=None, repr=False)


class ProcessSet:
    """
    The living processes among `pids` and, unless told otherwise, what they fork.

    Invariants: every member is alive as of the last `refresh`; a target id stands for one process
    (pid and start time) for ever; members are in the order of their ids.

    Children are found by looking at the pids that /proc did not show before: one listing of /proc
    and one read per new process, however large the tree is. A process that was forked by a child
    that ended between two refreshes is missed: it has another parent by then.

    Raises `TargetGoneError` for a pid that does not exist or is a zombie, `NotSupportedError` for
    a kernel thread, `BadValueError` for a thread's id, `NotPermittedError` where the memory map
    may not be read.
    """

    def __init__(self, pids: Iterable[int], *, follow_children: bool = True) -> None:
        self._members: dict[int, Process] = {}
        self._seen: set[int] = set()
        self._next_id = 0
        self._follow = follow_children
        self._poll = select.poll()
        try:
            for pid in dict.fromkeys(pids):
                self._admit(pid)
        except BaseException:
            self.close()
            raise
        self.refresh()

    def refresh(self) -> list[Process]:
        """Drop the dead, find new children, and return the living, in the order of their ids."""
        self._drop_dead()
        if self._follow and self._members:
            self._find_children()
        return list(self._members.values())

    @property
    def members(self) -> list[Process]:
        """The living as of the last refresh."""
        return list(self._members.values())

    def alive(self) -> bool:
        """
        Tell whether any member lives; one system call.

        If all known ones ended, their children may still live: they are looked for.
        """
        if not self._members:
            return False
        if len(self._dead()) < len(self._members):
            return True
        if self._follow:
            self._find_children()
            return len(self._dead()) < len(self._members)
        return False

    def close(self) -> None:
        """Close all descriptors; the set is empty afterwards."""
        for process in list(self._members.values()):
            self._remove(process)

    def _admit(self, pid: int) -> None:
        """Take a process that the user named; refuse with a reason what cannot be a target."""
        facts = procfs.stat(pid)
        who = f"process {pid} ({facts.name})"
        if facts.is_kernel_thread:
            raise NotSupportedError(
                f"{who} is a kernel thread: it has no memory of its own",
                hint="name a user process",
            )
        if facts.is_zombie:
            raise TargetGoneError(
                f"{who} has ended, and its parent {facts.ppid} did not collect it yet",
                hint="a zombie has no memory left to monitor",
            )
        leader = procfs.thread_group(pid)
        if leader != pid:
            raise BadValueError(
                f"{pid} is a thread of process {leader}", hint=f"monitor it with -p {leader}"
            )
        # Fails here, with a hint, rather than in the middle of monitoring.
        with procfs.reading(pid, "the memory map"):
            os.close(os.open(f"/proc/{pid}/maps", os.O_RDONLY | os.O_CLOEXEC))
        if not self._take(facts):
            raise TargetGoneError(f"{who} ended just now")

    def _take(self, facts: procfs.Stat) -> bool:
        """Make a living process a member; False if it ended meanwhile."""
        pid = facts.pid
        try:
            descriptor = pidfd.open_pidfd(pid)
        except ProcessLookupError:
            return False
        except OSError:
            descriptor = -1
        try:
            # Only now is the pid held. Was it the same process before?
            if procfs.stat(pid).start_ticks != facts.start_ticks:
                raise TargetGoneError(f"process {pid} ended just now")
            kvm = procfs.runs_kvm_guest(pid)
        except NotPermittedError:
            kvm = False
        except IsothermError:
            if descriptor >= 0:
                os.close(descriptor)
            return False
        self._members[pid] = Process(
            self._next_id, pid, facts.start_ticks, facts.name, descriptor, kvm
        )
        self._next_id += 1
        if descriptor >= 0:
            self._poll.register(descriptor, select.POLLIN)
        return True

    def _remove(self, process: Process) -> None:
        if process.pidfd >= 0:
            self._poll.unregister(process.pidfd)
            os.close(process.pidfd)
            process.pidfd = -1
        del self._members[process.pid]

    def _dead(self) -> list[Process]:
        ended = {descriptor for descriptor, _ in self._poll.poll(0)}
        return [
            process
            for process in self._members.values()
            if process.pidfd in ended or (process.pidfd < 0 and not _is_same(process))
        ]

    def _drop_dead(self) -> None:
        for process in self._dead():
            self._remove(process)

    def _find_children(self) -> None:
        """Admit the processes that are new in /proc and descend from a member."""
        now = set(procfs.pids())
        fresh = now - self._seen - self._members.keys()
        self._seen = now
        by_parent: dict[int, list[procfs.Stat]] = {}
        for pid in fresh:
            try:
                facts = procfs.parse_stat(procfs.read_file(f"/proc/{pid}/stat"))
            except OSError:
                continue
            by_parent.setdefault(facts.ppid, []).append(facts)
        parents = list(self._members)
        while parents and by_parent:
            parent = parents.pop()
            for facts in sorted(by_parent.pop(parent, ()), key=lambda child: child.pid):
                parents.append(facts.pid)
                if not facts.is_zombie:
                    self._take(facts)


def _is_same(process: Process) -> bool:
    try:
        facts = procfs.stat(process.pid)
    except TargetGoneError:
        return False
    return facts.start_ticks == process.start_ticks and not facts.is_zombie


def other_watchers(pids: AbstractSet[int]) -> Iterator[tuple[int, int]]:
    """
    Yield (pid of another isotherm, pid of `pids` that it monitors), as far as we may look.

    A running isotherm holds a descriptor of each process that it monitors.
    """
    for watcher in procfs.pids():
        if watcher == os.getpid():
            continue
        try:
            if b"isotherm" not in procfs.read_file(f"/proc/{watcher}/cmdline"):
                continue
            held = _descriptors_of(watcher)
        except OSError:
            continue
        for pid in sorted(held & pids):
            yield watcher, pid


def _descriptors_of(watcher: int) -> set[int]:
    """Return the pids whose descriptors a process holds, from the "Pid:" lines of fdinfo."""
    held = set()
    folder = f"/proc/{watcher}/fd"
    for fd in os.listdir(folder):  # noqa: PTH208
        if os.readlink(f"{folder}/{fd}") != "anon_inode:[pidfd]":  # noqa: PTH115
            continue
        for line in procfs.read_file(f"/proc/{watcher}/fdinfo/{fd}").split(b"\n"):
            if line.startswith(b"Pid:"):
                held.add(int(line.split()[1]))
    return held
