"""
process_madvise(2): advice on the memory of another process, and what its refusals mean.

The loop over ranges is C (`isotherm._core.advise`, _native/sys/advise.h).
"""

import errno
import os
from array import array

from isotherm._core import advise

WILLNEED, COLD, PAGEOUT, COLLAPSE = 3, 20, 21, 25  # asm-generic/mman-common.h

#: Bytes of one call, except where a folio is larger: the target's mmap() waits for its end.
CALL_BYTES = 4 << 20

_REASONS = {
    errno.EINVAL: "refused: locked memory, or not of an ordinary kind",
    errno.ENOMEM: "not mapped any more, or no memory left",
    errno.EBUSY: "in use at that moment",
    errno.EAGAIN: "in use at that moment",
    errno.EFAULT: "not mapped any more",
    errno.EACCES: "the target's cpuset forbids it",
    errno.EPERM: "not permitted",
    errno.ENOSYS: "this kernel does not have the system call",
}
_COLLAPSE_REASONS = {
    errno.EINVAL: "huge pages are not wanted there (MADV_NOHUGEPAGE, or not anonymous memory)",
    errno.ENOMEM: "no huge page was free",
}


def reason(code: int, advice: int = 0) -> str:
    """Return a short phrase for an errno of a refused range, or of a whole call."""
    special = _COLLAPSE_REASONS if advice == COLLAPSE else {}
    return special.get(code) or _REASONS.get(code) or os.strerror(code)


def refusals(outcomes: bytes, advice: int = 0) -> dict[str, int]:
    """Count the refused ranges of an `advise` by reason."""
    counts: dict[str, int] = {}
    for code in set(outcomes) - {0}:
        why = reason(code, advice)
        counts[why] = counts.get(why, 0) + outcomes.count(code)
    return counts


def supports(advice: int) -> bool:
    """Tell whether this kernel has process_madvise with that advice."""
    return _outcome(advice) in (0, errno.EPERM)  # it exists; the right to advise is another fact


def is_forbidden(advice: int) -> bool:
    """Tell whether that advice may not even be given to ourselves."""
    return _outcome(advice) == errno.EPERM


def _outcome(advice: int) -> int:
    """Advise nothing of our own memory; return 0 or the error."""
    try:
        descriptor = os.pidfd_open(os.getpid())
    except OSError as err:
        return err.errno or errno.ENOSYS
    try:
        return advise(descriptor, advice, 0, array("Q", (0, 0)))[0]
    except OSError as err:
        return err.errno or errno.ENOSYS
    finally:
        os.close(descriptor)
