"""
Which backend to use: a decision from facts, with a reason against every other one.

`kernel.features.probe` finds the facts of the machine, `target_facts` those of the processes,
`choose` decides, `open_ops` opens. `isotherm doctor` prints what comes out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from isotherm.backends.clear_refs import ClearRefsOps
from isotherm.backends.idle import IdleOps
from isotherm.core.ops import Ops
from isotherm.errors import BadValueError, NotPermittedError, NotSupportedError
from isotherm.kernel.features import KernelSupport
from isotherm.kernel.privilege import root_hint
from isotherm.model.ranges import Range
from isotherm.model.scope import Operations
from isotherm.targets.processes import Process, ProcessSet, other_watchers

Backend = Literal["kdamond", "bpf", "idle", "clear-refs", "sim"]
Clearing = Literal["page-idle", "cold"]

#: In the order of preference: the most is seen for the least cost by the first.
BACKENDS: tuple[Backend, ...] = get_args(Backend)

#: Environment variable: if set, the kernel's DAMON is never configured.
LEAVE_DAMON = "ISOTHERM_LEAVE_DAMON"

_EVERYWHERE = (
    "memory of virtual machine guests",
    "DMA, io_uring buffers and pages pinned by drivers",
    "read() and write() through the page cache",
    "memory of the kernel itself",
)
CANNOT_SEE: dict[Backend, tuple[str, ...]] = {
    "kdamond": ("hugetlb pages in use by drivers", *_EVERYWHERE[1:]),
    "bpf": _EVERYWHERE,
    "idle": ("hugetlb pages, device memory", *_EVERYWHERE),
    "clear-refs": (
        "anything smaller than a mapping: only its accessed share is known",
        "intervals below a second",
        "processes of other users",
        "hugetlb pages",
        *_EVERYWHERE,
    ),
    "sim": ("real memory: it simulates some",),
}
_COLD_CANNOT_SEE = (
    "pages mapped by several processes, after a fork until exec or exit as well",
    "locked memory, hugetlb pages, device memory",
)


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """
    What matters of what is to be monitored.

    operations: processes, fixed ranges of one, or physical memory; kvm: (pid, name) of those that
    run a virtual machine; foreign: pids whose clear_refs we may not write; watched: (pid of
    another isotherm, pid that it watches).
    """

    pids: tuple[int, ...] = ()
    operations: Operations = "vaddr"
    kvm: tuple[tuple[int, str], ...] = ()
    foreign: tuple[int, ...] = ()
    watched: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """
    The decision, and how it came about.

    clearing: how "bpf" clears accessed bits, None for others; reason: why this one; why_not: a
    phrase for each other backend; cannot_see: what each backend is blind to; warnings: sentences
    that the user should read.
    """

    backend: Backend
    clearing: Clearing | None
    reason: str
    why_not: dict[Backend, str] = field(default_factory=dict)
    cannot_see: dict[Backend, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def target_facts(processes: Iterable[Process]) -> TargetFacts:
    """Look at the processes to be monitored; those that vanish meanwhile do not count."""
    members = list(processes)
    return TargetFacts(
        pids=tuple(process.pid for process in members),
        kvm=_guests(members),
        foreign=tuple(process.pid for process in members if _is_foreign(process.pid)),
        watched=tuple(other_watchers({process.pid for process in members})),
    )


def _guests(processes: Iterable[Process]) -> tuple[tuple[int, str], ...]:
    return tuple((process.pid, process.name) for process in processes if process.kvm)


def look_at(pids: Iterable[int]) -> TargetFacts:
    """Return the facts of the processes `pids`; raises as `ProcessSet` for what is no target."""
    processes = ProcessSet(pids, follow_children=False)
    try:
        return target_facts(processes.members)
    finally:
        processes.close()


def _is_foreign(pid: int) -> bool:
    try:
        os.close(os.open(f"/proc/{pid}/clear_refs", os.O_WRONLY | os.O_CLOEXEC))
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def choose(
    support: KernelSupport,
    wish: str = "auto",
    target: TargetFacts | None = None,
    *,
    failed: Mapping[Backend, str] | None = None,
    force_guests: bool = False,
) -> Choice:
    """
    Return the best backend, or the wished one.

    failed: why backends cannot be used although the facts do not speak against them; force_guests:
    take processes that run a virtual machine, although what its guest uses is not seen.

    Raises `BadValueError` for an unknown wish, `NotSupportedError` for virtual machines and where
    the wish cannot be met on this kernel, `NotPermittedError` where more rights would help.
    """
    if wish != "auto" and wish not in BACKENDS:
        raise BadValueError(f"no backend {wish!r}", hint=f"one of: auto, {', '.join(BACKENDS)}")
    target = target or TargetFacts()
    if not force_guests:
        refuse_virtual_machines(target)
    obstacles = {
        backend: _other_addresses(backend, target) or _OBSTACLE[backend](support, target)
        for backend in BACKENDS
    }
    obstacles |= failed or {}
    usable = [backend for backend in BACKENDS if not obstacles[backend] and backend != "sim"]
    chosen: Backend
    if wish == "auto":
        if not usable and target.operations == "paddr":
            raise NotSupportedError(
                "physical memory (paddr) is monitored by the kernel's own DAMON only: "
                f"{obstacles['kdamond']}",
                hint="monitor processes instead: by pid, name or cgroup",
            )
        if not usable:
            raise NotPermittedError(
                f"no backend can be used here. bpf: {obstacles['bpf']}; "
                f"clear-refs: {obstacles['clear-refs']}",
                hint=root_hint(),
            )
        chosen = usable[0]
    else:
        chosen = next(backend for backend in BACKENDS if backend == wish)
        if why := obstacles[chosen]:
            rights = _lacks_rights(support, target) and not _other_addresses(chosen, target)
            error = NotPermittedError if rights else NotSupportedError
            hint = root_hint() if error is NotPermittedError else "leave out --backend"
            raise error(f"backend {wish} cannot be used here: {why}", hint=hint)
    clearing = _clearing(support) if chosen == "bpf" else None
    why_not = {
        backend: why or _second(backend, chosen)
        for backend, why in obstacles.items()
        if backend != chosen
    }
    return Choice(
        backend=chosen,
        clearing=clearing,
        reason=_reason(chosen, clearing, asked=wish != "auto"),
        why_not=why_not,
        cannot_see=_cannot_see(support),
        warnings=_warnings(support, target, chosen),
    )


def refuse_virtual_machines(target: TargetFacts) -> None:
    """Raise `NotSupportedError` if one of the processes runs a KVM guest."""
    for pid, name in target.kvm:
        raise NotSupportedError(
            f"process {pid} ({name}) runs a KVM virtual machine: accesses of its guest do not "
            "show in its page tables",
            hint="run isotherm inside the guest (or force it with force_guests=True)",
        )


def _other_addresses(backend: Backend, target: TargetFacts) -> str:
    """Say that a backend is for other addresses than those asked for."""
    if target.operations == "paddr" and backend != "kdamond":
        return "it monitors processes, and physical memory was asked for"
    if target.operations == "fvaddr" and backend == "clear-refs":
        return "it sees whole mappings only, and ranges were asked for"
    return ""


def _kdamond(support: KernelSupport, target: TargetFacts) -> str:
    damon = support.damon
    if damon is None:
        return "this kernel has no DAMON"
    if any(kdamond.running for kdamond in damon.foreign):
        return "the kernel's DAMON is in use by somebody else"
    wish, known = target.operations, damon.operations
    if damon.readable and known is not None and wish not in known:
        return f"the kernel's DAMON has no {wish} operations, only {', '.join(known)}"
    if damon.modules:
        return f"the kernel's module {damon.modules[0]} runs DAMON, and excludes all others"
    if os.environ.get(LEAVE_DAMON):
        return f"the kernel's DAMON is to be left alone: {LEAVE_DAMON} is set"
    if not damon.readable:
        return "not allowed to see the kernel's DAMON" + ("" if support.root else ": needs root")
    if not damon.free:
        if damon.foreign:
            return "the kernel's DAMON is configured by somebody else, though it does not run"
        return "other isotherms use all kdamonds that there are"
    return ""


def _bpf(support: KernelSupport, target: TargetFacts) -> str:
    del target
    missing = {"BPF", "PERFMON"} - support.capabilities
    if "SYS_ADMIN" in support.capabilities:
        missing = set()
    if missing:
        return f"needs root, or CAP_{' and CAP_'.join(sorted(missing))}"
    if support.initial_pid_namespace is False:
        return "inside a PID namespace pids do not mean what they mean to the kernel"
    if support.lockdown == "confidentiality":
        return "the kernel is locked down (confidentiality): BPF may not read kernel memory"
    if not support.bpf.available:
        return support.bpf.why_not
    if _clearing(support) is None:
        return "no way to clear accessed bits: neither page_idle nor process_madvise(MADV_COLD)"
    return ""


def _clearing(support: KernelSupport) -> Clearing | None:
    if support.page_idle and support.root:
        return "page-idle"
    if support.process_madvise and support.pidfd and "SYS_NICE" in support.capabilities:
        return "cold"
    return None


def _idle(support: KernelSupport, target: TargetFacts) -> str:
    del target
    if not support.page_idle:
        return "this kernel has no page_idle bitmap (CONFIG_IDLE_PAGE_TRACKING)"
    if not support.page_frames or not support.kpageflags:
        return "needs root: frame numbers and their flags are hidden"
    return ""


def _clear_refs(support: KernelSupport, target: TargetFacts) -> str:
    if not support.clear_refs:
        return "this kernel has no clear_refs (CONFIG_PROC_PAGE_MONITOR)"
    if target.foreign:
        return f"process {target.foreign[0]} belongs to another user"
    return ""


def _sim(support: KernelSupport, target: TargetFacts) -> str:
    del support
    return "it simulates memory, and a process was named" if target.pids else ""


_OBSTACLE = {
    "kdamond": _kdamond,
    "bpf": _bpf,
    "idle": _idle,
    "clear-refs": _clear_refs,
    "sim": _sim,
}


def _lacks_rights(support: KernelSupport, target: TargetFacts) -> bool:
    return not support.root or bool(target.foreign)


def _reason(chosen: Backend, clearing: Clearing | None, *, asked: bool) -> str:
    what = {
        "kdamond": "the kernel's own DAMON does the work",
        "bpf": "reads page tables through BPF, a page at a time, and clears accessed bits with "
        + ("the page_idle bitmap" if clearing == "page-idle" else "process_madvise(MADV_COLD)"),
        "idle": "reads and clears through the page_idle bitmap",
        "clear-refs": "needs no privileges; sees which share of each mapping is used",
        "sim": "simulated memory",
    }[chosen]
    return f"asked for; {what}" if asked else what


def _second(backend: Backend, chosen: Backend) -> str:
    """Say why a backend that would work is not taken."""
    if backend == "sim":
        return "it simulates memory; for tests and experiments"
    if BACKENDS.index(backend) < BACKENDS.index(chosen):
        return f"works here, but {chosen} was asked for"
    return f"works here, but {chosen} sees more at less cost"


def _cannot_see(support: KernelSupport) -> dict[Backend, tuple[str, ...]]:
    blind = dict(CANNOT_SEE)
    if _clearing(support) != "page-idle":
        blind["bpf"] = (*_COLD_CANNOT_SEE, *_EVERYWHERE)
    return blind


def _warnings(support: KernelSupport, target: TargetFacts, chosen: Backend) -> tuple[str, ...]:
    found = []
    damon = support.damon
    for kdamond in damon.kdamonds if damon and chosen not in ("kdamond", "sim") else ():
        if not kdamond.running:
            continue
        watched = set(kdamond.pids) & set(target.pids)
        if kdamond.operations == "paddr" or watched:
            what = (
                "physical memory" if kdamond.operations == "paddr" else (f"process {min(watched)}")
            )
            found.append(
                f"the kernel's own DAMON (kdamond.{kdamond.index}) watches {what} every "
                f"{kdamond.sample_us / 1000:g} ms: it clears accessed bits too, so a few accesses "
                "may be missed"
            )
    if damon and damon.modules and chosen not in ("kdamond", "sim"):
        found.append(
            f"the kernel runs {', '.join(damon.modules)}: it clears accessed bits too, so a few "
            "accesses may be missed"
        )
    found += [
        f"another isotherm (process {watcher}) watches process {pid}: each hides accesses from "
        "the other"
        for watcher, pid in target.watched
    ]
    found += [
        f"process {pid} ({name}) runs a virtual machine: what its guest uses is not seen, and may "
        "look cold"
        for pid, name in target.kvm
    ]
    if chosen == "clear-refs" and not support.root:
        found.append(f"clear-refs is coarse; page-exact monitoring needs rights: {root_hint()}")
    return tuple(found)


def open_ops(
    choice: Choice,
    pids: Iterable[int],
    *,
    follow_children: bool = True,
    ranges: Sequence[Range] = (),
    overhead: float | None = None,
    force_guests: bool = False,
) -> Ops:
    """
    Open the chosen backend on processes; raises as `ProcessSet` does.

    ranges: monitor exactly these; overhead: share of one CPU to use, by default the backend's own;
    force_guests: as `choose`. The simulator has no processes: build `SimOps` from a world
    instead. Of "kdamond" see `session`: there the whole loop runs in the kernel.
    """
    if choice.backend in ("clear-refs", "idle"):
        processes = ProcessSet(pids, follow_children=follow_children)
        try:
            if not force_guests:
                refuse_virtual_machines(TargetFacts(kvm=_guests(processes.members)))
            if choice.backend == "idle":
                return IdleOps(processes, ranges=ranges)
            return ClearRefsOps(processes, force_guests=force_guests)
        except BaseException:
            processes.close()
            raise
    if choice.backend == "bpf":
        # Only here: the C core is not needed to decide, nor by the other backends.
        from isotherm.backends.bpf.vaddr_bpf import OVERHEAD, VaddrBpfOps

        return VaddrBpfOps(
            pids,
            follow_children=follow_children,
            ranges=ranges,
            overhead=OVERHEAD if overhead is None else overhead,
            page_idle=choice.clearing == "page-idle",
            force_guests=force_guests,
        )
    raise NotSupportedError(f"backend {choice.backend} takes no processes")
