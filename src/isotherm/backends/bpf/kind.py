"""The backend `bpf`: accessed bits read through BPF, and cleared a folio at a time."""

from __future__ import annotations

from typing import Literal

from isotherm.actions.actor import Actor
from isotherm.actions.on_processes import ActOnProcesses
from isotherm.backends.kind import UNSEEN_BY_PROCESSES, BackendKind, only_processes
from isotherm.backends.opening import Opening, open_look
from isotherm.backends.self_test import SelfTest
from isotherm.core.backend import Backend
from isotherm.core.policies import MAP, SENTINELS
from isotherm.kernel.damon.ager import hindrance
from isotherm.kernel.features import KernelSupport
from isotherm.kernel.pages.page_frames import IDLE_BITMAP
from isotherm.model.page_use import DAMON
from isotherm.targets.target_set import TargetFacts

Clearing = Literal["page-idle", "cold"]

_COLD_CANNOT_SEE = (
    "pages mapped by several processes, after a fork until exec or exit as well",
    "locked memory, hugetlb pages, device memory",
)


def clearing_of(kernel: KernelSupport) -> Clearing | None:
    """Return how accessed bits can be cleared: through the bitmap, by advice, or not at all."""
    if kernel.page_idle and kernel.root:
        return "page-idle"
    if kernel.process_madvise and kernel.pidfd and "SYS_NICE" in kernel.capabilities:
        return "cold"
    return None


class _Bpf(BackendKind):
    name = "bpf"
    maps_pages = True
    watches_clumps = True

    def how(self, kernel: KernelSupport) -> str:
        with_what = {
            "page-idle": "the page_idle bitmap",
            "cold": "process_madvise(MADV_COLD)",
            None: "nothing",
        }[clearing_of(kernel)]
        return (
            "reads page tables through BPF, a page at a time, and clears accessed bits with "
            f"{with_what}"
        )

    def blind_to(self, kernel: KernelSupport) -> tuple[str, ...]:
        if clearing_of(kernel) == "page-idle":
            return UNSEEN_BY_PROCESSES
        return (*_COLD_CANNOT_SEE, *UNSEEN_BY_PROCESSES)

    def obstacle(self, kernel: KernelSupport, target: TargetFacts) -> str:
        if why := only_processes(target):
            return why
        missing = {"BPF", "PERFMON"} - kernel.capabilities
        if missing and "SYS_ADMIN" not in kernel.capabilities:
            return f"needs root, or CAP_{' and CAP_'.join(sorted(missing))}"
        if kernel.initial_pid_namespace is False:
            return "inside a PID namespace pids do not mean what they mean to the kernel"
        if kernel.lockdown == "confidentiality":
            return "the kernel is locked down (confidentiality): BPF may not read kernel memory"
        if not kernel.bpf.available:
            return kernel.bpf.why_not
        clearing = clearing_of(kernel)
        if clearing is None:
            return (
                "no way to clear accessed bits: neither page_idle nor process_madvise(MADV_COLD)"
            )
        if clearing == "cold" and target.leaderless:
            return (
                f"the main thread of process {target.leaderless[0]} has ended: process_madvise "
                "does not reach its memory any more"
            )
        return ""

    def shared_note(self, opening: Opening) -> str:
        if opening.pages.shared != DAMON:
            return super().shared_note(opening)
        if IDLE_BITMAP.exists():
            return "shared memory is seen through page_idle: shared=damon has no effect"
        why = hindrance()
        return f"{why}: shared=damon has no effect" if why else ""

    def open(self, opening: Opening) -> Backend:
        # Only here: the C core is not needed to decide, nor by the other backends.
        from isotherm.backends.bpf.look import BpfLook

        # A map of pages clears what is young at the start, as a sweep does, and takes note of it.
        # Who asks for idle pages asks it: of all who clear bits, it alone knows since when.
        alone = opening.wish.policy == MAP
        idle = any(scheme.idle_us for scheme in opening.schemes)
        # Sentinels have a map beside them only for who needs it: it takes most of a small budget.
        calm = opening.wish.policy == SENTINELS
        maps = alone or idle or (opening.pages.beside and not calm)
        look = BpfLook(opening.processes, overhead=opening.overhead, sweep=not maps)
        wish, pages = opening.pages, None
        if maps:
            pages = look.page_map(
                opening.overhead,
                wish.stall_ns,
                alone=alone,
                calm=calm,
                by_damon=wish.by_damon,
                titles=wish.titles,
            )
        core, force = pages.core if pages else None, opening.force_guests
        act = ActOnProcesses(
            look, lambda: Actor(look.walker, core, force_guests=force, told=look.tell_clear)
        )
        return open_look(look, act, opening, page_map=pages)

    def self_test(self) -> SelfTest:
        """The test that the backend makes at every start; its costs are of native code."""
        from isotherm.backends.bpf.look import self_test

        cost = self_test()
        return SelfTest(self.name, read_us=cost.read_us, clear_us=cost.clear_us)


KIND = _Bpf()
