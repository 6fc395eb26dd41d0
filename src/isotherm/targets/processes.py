"""Which processes are monitored: those of the sources, and their children, as they come and go."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from isotherm.errors import (
    BadValueError,
    IsothermError,
    NotPermittedError,
    NotSupportedError,
    TargetGoneError,
)
from isotherm.kernel import pidfd, procfs
from isotherm.targets.sources import PidSource, TargetSource


@dataclass(slots=True, eq=False)
class Process:
    """
    A process under monitoring, held so that its pid cannot become another one's.

    target_id: unique in its `ProcessSet`, never reused; start_ticks: since boot, in units of
    `procfs.TICKS_PER_SECOND`; pidfd: open while the process is in the set, -1 where descriptors
    ran out; tid: the thread through which its memory is reached, the main one while that lives;
    kvm: it runs a virtual machine, whose memory cannot be observed; source: who told of it, or of
    the ancestor that did; maps_cache belongs to `targets.maps`.
    """

    target_id: int
    pid: int
    start_ticks: int
    name: str
    pidfd: int
    source: TargetSource
    tid: int = 0
    kvm: bool = False
    maps_cache: object | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.tid = self.tid or self.pid

    @property
    def group(self) -> str:
        """What it has in common with others of its source, such as the path of a cgroup."""
        return self.source.group

    @property
    def leaderless(self) -> bool:
        """Tell whether the main thread has ended and others live: then few ways reach it."""
        return self.tid != self.pid


class ProcessSet:
    """
    The living processes of `sources` and, unless told otherwise, what they fork.

    sources: or plain pids; follow_children: of those that are no members of a living source,
    which knows them itself.

    Invariants: every member is alive as of the last `refresh`; a target id stands for one process
    (pid and start time) for ever; members are in the order of their ids.

    Children are found by looking at the pids that /proc did not show before: one listing of /proc
    and one read per new process, however large the tree is. A process that was forked by a child
    that ended between two refreshes is missed: it has another parent by then.

    Raises `TargetGoneError` for a pid that does not exist or is a zombie, `NotSupportedError` for
    a kernel thread, `BadValueError` for a thread's id, `NotPermittedError` where the memory map
    may not be read. Of living sources, members that cannot be monitored are left out, unless none
    is left.
    """

    def __init__(
        self, sources: Iterable[TargetSource | int], *, follow_children: bool = True
    ) -> None:
        procfs.require_own()
        self._members: dict[int, Process] = {}
        self._seen: set[int] = set()
        self._next_id = 0
        self._follow = follow_children
        self._poll = select.poll()
        self._sources = [
            source if isinstance(source, TargetSource) else PidSource([source])
            for source in sources
        ]
        try:
            for source in self._sources:
                self._begin(source)
        except BaseException:
            self.close()
            raise
        self.refresh()

    def refresh(self) -> list[Process]:
        """Drop the dead, find who is new, and return the living, in the order of their ids."""
        self._drop_dead()
        for source in self._sources:
            if source.living:
                self._ask_again(source)
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

        If all known ones ended, their children may still live, or others of their group: they are
        looked for.
        """
        if not self._members:
            return False
        if len(self._dead()) < len(self._members):
            return True
        if self._follow:
            self._find_children()
        for source in self._sources:
            if source.living:
                self._ask_again(source)
        return len(self._dead()) < len(self._members)

    def close(self) -> None:
        """Close all descriptors; the set is empty afterwards."""
        for process in list(self._members.values()):
            self._remove(process)

    def _begin(self, source: TargetSource) -> None:
        refused: IsothermError | None = None
        taken = False
        for pid in source.pids():
            if pid in self._members:
                taken = True
                continue
            try:
                self._admit(pid, source)
                taken = True
            except IsothermError as err:
                if not source.living:
                    raise
                refused = refused or err
        if refused is not None and not taken:
            raise refused

    def _ask_again(self, source: TargetSource) -> None:
        """Take who joined a living source, and let go who left it."""
        try:
            told = source.pids()
        except TargetGoneError:
            told = []
        now = set(told)
        for process in list(self._members.values()):
            if process.source is source and process.pid not in now:
                self._remove(process)
        for pid in told:
            if pid not in self._members:
                with suppress(IsothermError):
                    self._admit(pid, source)

    def _admit(self, pid: int, source: TargetSource) -> None:
        """Take a process that a source told of; refuse with a reason what cannot be a target."""
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
            tid = procfs.memory_thread(pid)
            os.close(os.open(f"/proc/{tid}/maps", os.O_RDONLY | os.O_CLOEXEC))
        if not self._take(facts, source):
            raise TargetGoneError(f"{who} ended just now")

    def _take(self, facts: procfs.Stat, source: TargetSource) -> bool:
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
            tid = procfs.memory_thread(pid)
        except NotPermittedError:
            kvm, tid = False, pid
        except IsothermError:
            if descriptor >= 0:
                os.close(descriptor)
            return False
        self._members[pid] = Process(
            self._next_id,
            pid,
            facts.start_ticks,
            facts.name,
            descriptor,
            source,
            tid=tid,
            kvm=kvm,
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
        parents = [
            (member.pid, member.source)
            for member in self._members.values()
            if not member.source.living
        ]
        while parents and by_parent:
            parent, source = parents.pop()
            for facts in sorted(by_parent.pop(parent, ()), key=lambda child: child.pid):
                parents.append((facts.pid, source))
                if not facts.is_zombie:
                    self._take(facts, source)


def _is_same(process: Process) -> bool:
    try:
        facts = procfs.stat(process.pid)
    except TargetGoneError:
        return False
    return facts.start_ticks == process.start_ticks and not facts.is_zombie
