"""
Which kdamond is ours: claimed without touching anybody else's, given back whatever happens.

Writing nr_kdamonds recreates all directories, so it is done only while there are none: then
`SLOTS` are made, that several isotherms may run at a time. The last one out removes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from isotherm.errors import IsothermError, NotSupportedError
from isotherm.kernel import undo
from isotherm.kernel.damon import sysfs as damon_sysfs
from isotherm.kernel.damon.context import KdamondFiles, free_slot
from isotherm.kernel.damon.files import DamonFiles

SLOTS = 4
PURPOSE = "kdamond"
_MODULES = Path("/sys/module")


class Claim:
    """
    A kdamond directory that is ours until `release`; what is noted here is undone then.

    Leftovers of killed isotherms are cleared away first. Raises `NotSupportedError` where DAMON
    is in use by somebody else.
    """

    def __init__(
        self, files: DamonFiles, folder: Path | None = None, *, modules: Path | None = None
    ) -> None:
        self.folder = folder or undo.state_folder()
        undoers = {PURPOSE: lambda change: _undo(files, change)}
        undo.recover(undoers, self.folder)
        refuse_modules(modules)
        self.state = undo.StateFile(PURPOSE, undoers, self.folder)
        with undo.locked(self.folder):
            index = free_slot(files)
            made = index is None or any(
                change.get("made", False) for change in undo.living(PURPOSE, self.folder)
            )
            if index is None:
                refuse_others(files)
                index = 0
            self._change: dict[str, Any] = self.state.note(
                PURPOSE, index=index, made=made, thread=None, pids=[]
            )
            try:
                if not files.numbered(""):
                    files.resize("", "kdamonds", SLOTS)
                self.kdamond = KdamondFiles(files, index)
                self.kdamond.resize(1)
            except BaseException:
                self.state.undo_all()
                raise

    def watches(self, pids: Sequence[int]) -> None:
        """Note what the kdamond is told to watch: by that it is known until its thread is."""
        self._change["pids"] = list(pids)
        self.state.save()

    def runs_as(self, thread: int | None) -> None:
        """Note the kernel thread."""
        self._change["thread"] = thread
        self.state.save()

    def release(self) -> None:
        """Stop the kdamond, and put everything back."""
        with undo.locked(self.folder):
            self.state.undo_all()


def claimed(folder: Path | None = None) -> frozenset[int]:
    """Return the indexes of kdamonds that living isotherms use."""
    changes = undo.living(PURPOSE, folder)
    return frozenset(change["index"] for change in changes if change["kind"] == PURPOSE)


def refuse_modules(modules: Path | None = None) -> None:
    """Raise `NotSupportedError` if a module of the kernel runs DAMON: it excludes all others."""
    enabled = damon_sysfs.enabled_modules(modules or _MODULES)
    if enabled:
        raise NotSupportedError(
            f"the kernel's module {enabled[0]} runs DAMON, and nobody else may meanwhile",
            hint=f"if it may be stopped: echo N > /sys/module/{enabled[0]}/parameters/enabled",
        )


def refuse_others(files: DamonFiles) -> None:
    """Raise `NotSupportedError` if there are kdamond directories of somebody else."""
    indexes = files.numbered("")
    if not indexes:
        return
    running = [index for index in indexes if KdamondFiles(files, index).running]
    if running:
        raise NotSupportedError(
            f"the kernel's DAMON is in use by somebody else (kdamond.{running[0]} runs): "
            "isotherm stops only what it started",
            hint="let isotherm do the work itself: --backend bpf",
        )
    raise NotSupportedError(
        "the kernel's DAMON is configured by somebody else, though it does not run",
        hint="if nobody needs that any more: "
        "echo 0 > /sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds",
    )


def _undo(files: DamonFiles, change: undo.Change) -> None:
    """Stop the kdamond if it is still the one that was started, and free its directory."""
    kdamond = KdamondFiles(files, change["index"])
    if not files.has(f"{change['index']}/state"):
        return
    if kdamond.contexts and not _is_ours(kdamond, change):
        return
    if kdamond.running:
        try:
            kdamond.command("off")
        except IsothermError:  # it ended by itself, or somebody stopped it
            if kdamond.running:
                raise
    kdamond.resize(0)
    others = [KdamondFiles(files, index) for index in files.numbered("")]
    if change["made"] and all(not one.running and one.contexts == 0 for one in others):
        with suppress(NotSupportedError):  # somebody was quicker: it is theirs now
            files.write("nr_kdamonds", 0)


def _is_ours(kdamond: KdamondFiles, change: undo.Change) -> bool:
    if kdamond.running and change["thread"] is not None:
        return bool(kdamond.pid == change["thread"])
    try:
        targets = kdamond.get().targets
    except IsothermError:
        return not kdamond.running
    pids = [target.pid for target in targets if target.pid is not None]
    return pids in (change["pids"], [])
