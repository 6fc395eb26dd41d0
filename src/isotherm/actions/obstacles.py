"""What keeps an action from a process, or a kind of its memory: said once, not per region."""

from __future__ import annotations

from isotherm.kernel import procfs
from isotherm.model.scheme import Scheme
from isotherm.targets.processes import Process

GUEST = "runs a virtual machine: what its guest uses cannot be seen"
NO_LOOK = "accessed bits cannot be read here"
NO_HANDLE = "no descriptor of the process could be opened"
NO_HUGE_PAGES = "the process has huge pages switched off (prctl PR_SET_THP_DISABLE)"
NOT_WATCHED = "nobody watched these pages for so long yet: left alone until then"
OTHERS = "pages that other processes map as well: left alone"
LOCKED = "locked pages (mlock): left alone"
UNWRITTEN = "pages of shared files that are not written yet, or of tmpfs: left alone"
CUT = "parts of large folios that are mapped in part: left alone"
UNREAD = "not permitted to read what pages hold (process_vm_readv)"
NOT_READ = "not permitted to read the process' memory map"
NOT_ADVISED = (
    "process_madvise on the process is not permitted: CAP_SYS_NICE is missing, "
    "or a seccomp filter or a security module forbids it"
)
NOT_MOVED = "the process' cpuset forbids the node"


class Obstacles:
    """Which obstacles were told already, by process and scheme."""

    def __init__(self) -> None:
        self._told: dict[int, tuple[Process, set[tuple[str, str]]]] = {}

    def tell(self, scheme: Scheme, process: Process, why: str) -> dict[str, int]:
        """Return an obstacle as an error to count, nothing if it was told before."""
        if process.target_id not in self._told:
            self._forget_ended()
        _, told = self._told.setdefault(process.target_id, (process, set()))
        if (scheme.title, why) in told:
            return {}
        told.add((scheme.title, why))
        return {why: 1}

    def was_told(self, scheme: Scheme, process: Process, why: str) -> bool:
        """Tell whether telling it again would tell nothing."""
        _, told = self._told.get(process.target_id, (process, set[tuple[str, str]]()))
        return (scheme.title, why) in told

    def _forget_ended(self) -> None:
        for target_id in [key for key, (process, _) in self._told.items() if process.pidfd < 0]:
            del self._told[target_id]


def wants_no_huge_pages(process: Process) -> bool:
    """
    Tell whether a process has huge pages switched off for all of its memory.

    Raises `TargetGoneError`.
    """
    return b"\nTHP_enabled:\t0\n" in procfs.read(process.pid, "status")  # Linux 5.0
