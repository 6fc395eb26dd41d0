"""
Accessed bits of page frames cleared in whoever maps them, by the kernel's DAMON.

A scheme's filter "young" (Linux 6.10) makes old what it finds young, in all mappings of the folio.
With filters that let no folio pass, the scheme clears and never acts (damon-spec 2.6).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from isotherm.errors import BadValueError, IsothermError, NotSupportedError, TargetGoneError
from isotherm.kernel import procfs
from isotherm.kernel.damon.claim import Claim, refuse_modules
from isotherm.kernel.damon.context import Context, DamonTarget
from isotherm.kernel.damon.files import DamonFiles
from isotherm.kernel.damon.sysfs import left_alone
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import Range
from isotherm.model.scheme import Action, Filter, FilterType, Pattern, Scheme

#: The kdamond sleeps so long before it applies the scheme; told to stop, it wakes at once, applies
#: it a single time, and ends. Long, so that it never applies it again meanwhile; above 20 ms, as
#: shorter sleeps of it cannot be ended.
_SLEEP_US = 1_000_000
#: Few regions: more are only made by cutting the ranges, which may cut a folio.
_ATTRS = Attrs(_SLEEP_US, _SLEEP_US, 100 * _SLEEP_US, min_nr_regions=3, max_nr_regions=3)
#: The order matters: what is young is found by the first one, and all else refused by the others.
_FILTERS = (
    Filter(FilterType.YOUNG),
    Filter(FilterType.ANON),
    Filter(FilterType.ANON, matching=False),
)
#: An action for which 6.10 to 6.13 ask the filters at all; what passed them would be harmed least.
_SCHEME = Scheme(Action.LRU_PRIO, Pattern(), filters=_FILTERS)
#: How long to wait for the kdamond to begin, and how often to look.
_PATIENCE_S = 0.1
_LOOK_S = 0.000_1


class FolioAger:
    """
    Clears accessed bits of physical memory; use as a context manager, or `close` it.

    It has a kdamond of its own as long as it lives. files, folder (of state files) and modules:
    where, by default the machine's own.

    Raises `NotSupportedError` where there is no DAMON, it has no filter "young", somebody else
    uses it, or the user wants it left alone; `NotPermittedError` without root.
    """

    def __init__(
        self,
        files: DamonFiles | None = None,
        folder: Path | None = None,
        *,
        modules: Path | None = None,
    ) -> None:
        files = files or DamonFiles()
        if refused := hindrance(files, modules=modules):
            raise NotSupportedError(refused)
        self._ranges: tuple[Range, ...] = ()
        self._claim = Claim(files, folder, modules=modules)
        self._kdamond = self._claim.kdamond
        try:
            self._require_paddr()
            self._kdamond.put(Context("paddr", _ATTRS, (DamonTarget(),), (_SCHEME,)))
        except BaseException:
            self._claim.release()
            raise

    def _require_paddr(self) -> None:
        available = self._kdamond.available_operations()
        if available and "paddr" not in available:
            raise NotSupportedError("the kernel's DAMON has no paddr operations")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def clear(self, ranges: Sequence[Range]) -> int:
        """
        Clear the bits of all memory in `ranges` once; return how many ns that took.

        ranges: physical addresses, ascending, of whole folios: a range that begins amid a folio
        loses as many bytes as the folio has. New ranges are dear: two files are written for each;
        those of the call before cost nothing. Waits for the kernel's thread, whose CPU time this
        is: every page and each of its mappings takes some 100 ns, so give it a few MiB at a time.
        No address map is locked meanwhile, and the TLB is not flushed.

        What is locked at the moment stays young, and what is on no LRU list (hugetlb, the folios
        faulted in last): look what is young before and after. The kernel's reclaim is left the
        knowledge that a folio was young, so that Referenced of smaps does not fall.
        """
        if not ranges:
            return 0
        self.prepare(ranges)
        # Killed before the new thread is noted, the one before must not stand for it.
        self._claim.runs_as(None)
        begun = time.monotonic_ns()
        self._kdamond.command("on")
        self._run_once()
        return time.monotonic_ns() - begun

    def prepare(self, ranges: Sequence[Range]) -> None:
        """Tell the kernel the ranges of the next `clear`, to save time then; clears nothing."""
        wanted = tuple(ranges)
        context = f"{self._kdamond.index}/contexts/0"
        if not self._kdamond.files.has(context):
            raise self._kdamond.files.missing(context)
        if wanted and wanted != self._ranges:
            self._ranges = ()
            self._kdamond.put_targets((DamonTarget(None, wanted),))
            self._ranges = wanted

    def _run_once(self) -> None:
        thread = self._kdamond.pid
        self._claim.runs_as(thread)
        if thread is not None:
            _await_sleep(thread)
        try:
            self._kdamond.command("off")
        except BadValueError as err:
            raise IsothermError("the kernel's DAMON ended before it was told to") from err

    def close(self) -> None:
        """Give the kdamond back; again does nothing."""
        self._claim.release()


def hindrance(files: DamonFiles | None = None, *, modules: Path | None = None) -> str:
    """
    Return what speaks against a `FolioAger` here, "" if nothing does; changes nothing.

    Somebody else's use, a filter that is lacking, and rights only show when one is made.
    """
    files = files or DamonFiles()
    if refused := left_alone():
        return refused
    if not files.has("nr_kdamonds"):
        return "this kernel has no DAMON"
    try:
        refuse_modules(modules)
    except IsothermError as err:
        return err.message
    return ""


def obstacle() -> str:
    """Try out whether a `FolioAger` works here, and return why not; "" if it does."""
    try:
        FolioAger().close()
    except IsothermError as err:
        return err.message
    return ""


def _await_sleep(thread: int) -> None:
    """
    Wait until a kdamond has begun: one that is told to stop before that does nothing at all.

    Its sleep between samples is the only time at which it idles (state I).
    """
    deadline = time.monotonic() + _PATIENCE_S
    with suppress(TargetGoneError):
        while procfs.stat(thread).state != "I" and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
