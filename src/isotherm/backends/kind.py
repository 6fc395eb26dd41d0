"""What a backend's module tells of itself; `registry` holds one `BackendKind` of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from isotherm.backends.opening import Opening
from isotherm.backends.self_test import SelfTest
from isotherm.core.backend import Backend
from isotherm.core.policies import MAP
from isotherm.kernel.features import KernelSupport
from isotherm.model.page_use import CLEAR_REFS
from isotherm.targets.target_set import TargetFacts

#: What nobody sees who looks at the page tables of processes.
UNSEEN_BY_PROCESSES = (
    "memory of virtual machine guests",
    "DMA, io_uring buffers and pages pinned by drivers",
    "read() and write() through the page cache",
    "memory of the kernel itself",
)


class BackendKind(ABC):
    """
    A way to monitor: when it can be used, what it is blind to, and how it is opened.

    name: short, as users type it; whole_mappings: it sees no single pages, only which share of a
    mapping is used, in seconds; clears_bits: it clears the accessed bits that others read as well;
    maps_pages: it follows all memory, and knows what was used within which time; watches_clumps:
    it reads clumps of single pages cheaply, as the policy "sentinels" wants them.
    """

    name: ClassVar[str]
    whole_mappings: ClassVar[bool] = False
    clears_bits: ClassVar[bool] = True
    maps_pages: ClassVar[bool] = False
    watches_clumps: ClassVar[bool] = False

    @abstractmethod
    def how(self, kernel: KernelSupport) -> str:
        """Say in a phrase how it works on this kernel."""

    @abstractmethod
    def blind_to(self, kernel: KernelSupport) -> tuple[str, ...]:
        """Return what it cannot see on this kernel, a phrase each."""

    @abstractmethod
    def obstacle(self, kernel: KernelSupport, target: TargetFacts) -> str:
        """Say why it cannot be used; "" if the facts do not speak against it."""

    def lacks_rights(self, kernel: KernelSupport, target: TargetFacts) -> bool:
        """Tell whether an obstacle may be the lack of rights, so that root would help."""
        return not kernel.root or bool(target.foreign)

    def unsuited(self, opening: Opening) -> str:
        """Say why it is not to be chosen by itself for this, though it may work; "" if it is."""
        if opening.wish.policy == MAP and not self.maps_pages:
            return "it has no map of pages, and nothing else was asked for"
        return ""

    def shared_note(self, opening: Opening) -> str:
        """Say why what was asked of shared memory has no effect; "" if it has one."""
        shared = opening.pages.shared
        if shared == "auto" or (self.maps_pages and not self.whole_mappings):
            return ""
        if self.whole_mappings:
            if shared == CLEAR_REFS:
                return ""
            why = "clears all memory of a process at once"
            return f"{self.name} {why}: shared={shared} has no effect"
        return f"{self.name} has no map of pages: shared={shared} has no effect"

    def warnings(self, kernel: KernelSupport) -> tuple[str, ...]:
        """Return sentences for who gets it."""
        del kernel
        return ()

    @abstractmethod
    def open(self, opening: Opening) -> Backend:
        """
        Open it; `opening.targets` stays the caller's.

        Raises `NotSupportedError` or `NotPermittedError` for what the facts did not show.
        """

    def attach(self, wish: str) -> Backend | None:
        """
        Return a look at monitoring that somebody else runs, which changes nothing.

        wish: its name, "" for the only one. None if there is no such thing for this backend.
        """
        del wish
        return None

    def self_test(self) -> SelfTest | None:
        """Try it on memory of our own; None if it has no such test."""
        return None


def only_processes(target: TargetFacts) -> str:
    """Say that physical memory is not for a backend that looks at processes; "" otherwise."""
    if target.operations == "paddr":
        return "it monitors processes, and physical memory was asked for"
    return ""
