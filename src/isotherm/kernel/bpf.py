"""
The page-table walker: opening it with the BPF objects of the package, and facts for `doctor`.

The walker itself is C (`isotherm._core.Walker`, _native/walker/walker.h says what it offers).
"""

from dataclasses import dataclass
from importlib import resources

from isotherm import _core
from isotherm._core import CoreError, Walker
from isotherm.errors import IsothermError, NotPermittedError, NotSupportedError

_PRIVILEGE_HINT = "run as root, or grant CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE"
_TYPES_HINT = "BPF type information (CONFIG_DEBUG_INFO_BTF) is needed"
_NAMESPACE_HINT = "run in the host's PID namespace (containers: `--pid=host`, `hostPID: true`)"


@dataclass(frozen=True, slots=True, kw_only=True)
class BpfSupport:
    """What the walker can do here, as found by opening one."""

    available: bool
    why_not: str = ""
    """Empty if available."""
    hint: str = ""
    fast: bool = False
    """The programs for kernels from 6.4 on were taken; else those for 5.10 and later run."""
    fast_why_not: str = ""
    levels: int = 0
    """Of page tables."""
    direct_map_source: str = ""
    """How the kernel's map of physical memory was found: self-check, kcore or pagemap."""
    folios: bool = False
    """Order, sharing and LRU state of a page's folio can be told."""
    folios_why_not: str = ""


def open_walker(*, fast: bool = True) -> Walker:
    """
    Load the programs and find the kernel's map of physical memory; 15 to 50 ms.

    fast=False keeps to the programs for old kernels. Raises NotPermittedError or
    NotSupportedError.
    """
    try:
        return Walker(_object("walk_base"), _object("walk_fast") if fast else b"")
    except CoreError as error:
        raise _refusal(error) from error


def probe() -> BpfSupport:
    """Open a walker and tell what was found."""
    try:
        walker = open_walker()
    except IsothermError as error:
        return BpfSupport(available=False, why_not=error.message, hint=error.hint)
    facts = walker.facts()
    walker.close()
    return BpfSupport(
        available=True,
        fast=facts["fast"],
        fast_why_not=facts["fast_why_not"],
        levels=facts["levels"],
        direct_map_source=facts["direct_map_source"],
        folios=facts["folios"],
        folios_why_not=facts["folios_why_not"],
    )


def _object(name: str) -> bytes:
    file = resources.files("isotherm.bpf") / f"{name}.bpf.o"
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise NotSupportedError(
            f"the BPF program {name}.bpf.o is not part of this installation",
            hint="reinstall isotherm; building it needs clang or the ziglang wheel",
        ) from error
    except PermissionError as error:
        raise NotPermittedError(
            f"the BPF program {name}.bpf.o of this installation may not be read",
            hint="install isotherm where its user may read it",
        ) from error


def _refusal(error: CoreError) -> IsothermError:
    message = f"cannot read page tables: {error.strerror}"
    if error.code == _core.FAIL_PRIVILEGE:
        return NotPermittedError(message, hint=_PRIVILEGE_HINT)
    if error.code == _core.FAIL_LOCKDOWN:
        return NotPermittedError(message)
    if error.code == _core.FAIL_NAMESPACE:
        return NotSupportedError(message, hint=_NAMESPACE_HINT)
    return NotSupportedError(message, hint=_TYPES_HINT if error.code == _core.FAIL_TYPES else "")
