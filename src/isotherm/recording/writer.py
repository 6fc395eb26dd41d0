"""Writes snapshots to a recording; costs little, and loses at most one block when killed."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import platform
import re
import shlex
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from isotherm import _core
from isotherm.errors import OutputError
from isotherm.kernel.meminfo import meminfo
from isotherm.model.snapshot import Snapshot
from isotherm.recording import format as layout
from isotherm.recording.encode import Block
from isotherm.recording.files import NewFile, RefusedError
from isotherm.recording.messages import END, schema_message
from isotherm.recording.page_use import fitting
from isotherm.recording.zstd import Compressor

#: Of the command line in `info`; a shell's may be megabytes.
_MAX_COMMAND_LINE = 1 << 14
#: After a block of so many bytes, what making it took is given back.
_LARGE = 1 << 20

_HINTS = {
    errno.ENOSPC: "free some space; what was written before can be read with isotherm report",
    errno.EDQUOT: "the disk quota is used up; what was written before can be read",
    errno.EEXIST: "take another name with -o, or --force to overwrite it",
    errno.ENOENT: "create the directory first",
    errno.EISDIR: "name a file in it: -o DIRECTORY/NAME.isotherm",
    errno.ENAMETOOLONG: "take a shorter name with -o",
    errno.EPIPE: "whoever read it has ended",
}


def default_info(*, made_here: bool = True) -> dict[str, Any]:
    """
    Return what every recording says about where it comes from (docs/recording-format.md).

    made_here: what was recorded is this machine, now.
    """
    here = {
        "host": platform.node(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        **_swap(),
    }
    return {
        "version": layout.VERSION,
        "isotherm": our_version(),
        **(here if made_here else {}),
        "command_line": shlex.join(sys.argv)[:_MAX_COMMAND_LINE],
        **(_now() if made_here else {}),
        "level": 0,
        "weight": 1,
    }


def _now() -> dict[str, int]:
    return {"start_ns": time.time_ns(), "start_monotonic_ns": time.monotonic_ns()}


def _swap() -> dict[str, int]:
    """Return how much swap space is free, where it can be known; anonymous memory needs it."""
    try:
        return {"swap_free_bytes": meminfo().get("SwapFree", 0)}
    except OSError:
        return {}


def our_version() -> str:
    """Return the version of the program as it was installed; importlib.metadata takes 2 MB."""
    for folder in sys.path:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder or "."):  # noqa: PTH208
                if found := re.fullmatch(r"isotherm-(.+)\.(dist|egg)-info", name):
                    return found[1]
    return "unknown"


def _plain(value: object) -> object:
    """Let dataclasses (Attrs, Target) stand in `info`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)


def _of_known_targets(snapshot: Snapshot) -> Snapshot:
    """Leave out what is of a target that ended since: its number means nothing."""
    count, use = len(snapshot.targets), snapshot.page_use
    if use is not None and (fits := fitting(use, count)) is not use:
        snapshot = dataclasses.replace(snapshot, page_use=fits)
    if all(tried.target < count for state in snapshot.schemes for tried in state.tried):
        return snapshot
    states = tuple(
        dataclasses.replace(
            state, tried=tuple(tried for tried in state.tried if tried.target < count)
        )
        for state in snapshot.schemes
    )
    return dataclasses.replace(snapshot, schemes=states)


class _Output(Protocol):
    """Where the frames of a recording go."""

    def put(self, data: bytes) -> None:
        """Write a whole frame, or raise OSError and leave what was there before."""

    def keep(self) -> None:
        """Say that there is something in it."""

    def discard(self) -> None:
        """Leave nothing behind, as far as that can be; close it."""

    def close(self) -> None:
        """Close it; further calls do nothing."""


class _File:
    """A regular file: what was begun can be taken back."""

    def __init__(self, file: NewFile) -> None:
        self._file = file
        self._length = 0
        self.keep, self.discard, self.close = file.keep, file.discard, file.close

    def put(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file.fd, left) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fd, self._length)
            raise
        self._length += len(data)


class _Pipe:
    """Somebody else's open stream, such as standard output; it is not closed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def put(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._stream.write(left) or 0 :]
        self._stream.flush()

    def keep(self) -> None:
        pass

    discard = close = keep


class RecordingWriter:
    """
    A recording being written.

    path: of the file, which must not be there yet, or an open binary stream, which is written to
    without seeking and left open; info: is stored beside `default_info` and wins over it, with
    dataclasses as objects; force: replace a regular file of ours; it is there until the first
    block of the new one is; flush_every_s: a block is written when it spans so many seconds of the
    snapshots' own time, or holds `format.BLOCK_REGIONS` regions; made_here: what is recorded is
    this machine.

    Files are made for their owner alone, and not through links. Raises `OutputError` for what
    cannot be written. After a failed write the file ends with the last whole block, and the
    writer accepts nothing more. Not safe to share among threads.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        info: dict[str, Any],
        *,
        force: bool = False,
        flush_every_s: float = 1.0,
        made_here: bool = True,
    ) -> None:
        self.bytes_written = 0
        self.nr_snapshots = 0
        self.nr_regions = 0
        self._flush_ns = round(flush_every_s * 1e9)
        self._zstd = Compressor()
        self._block = Block()
        self._block_start_ns = 0
        text = json.dumps({**default_info(made_here=made_here), **info}, default=_plain)
        schema = schema_message(layout.COLUMNS, {layout.METADATA_KEY: text})
        out: _Output
        if isinstance(path, (str, os.PathLike)):
            self._what, self._folder = f"recording {os.fspath(path)}", Path(path).parent
            out = _File(self._create(Path(path), force=force))
        else:
            self._what, self._folder = "the recording that is sent on", Path()
            out = _Pipe(path)
        self._out: _Output | None = out
        try:
            self._put(layout.header() + self._zstd.frame(schema))
        except OutputError:
            out.discard()
            raise

    def _create(self, path: Path, *, force: bool) -> NewFile:
        try:
            return NewFile(path, force=force)
        except OSError as err:
            raise self._error(err) from err
        except RefusedError as err:
            raise OutputError(f"cannot write {self._what}: {err.why}", hint=err.hint) from None

    def write(self, snapshot: Snapshot) -> None:
        """
        Take one snapshot; now and then write a block.

        Raises `OutputError`; ValueError, TypeError or OverflowError for a snapshot that does not
        fit the format, and then nothing more is accepted either.
        """
        if self._out is None:
            raise OutputError(f"{self._what} is closed")
        if not len(self._block):
            self._block_start_ns = snapshot.start_ns
        try:
            self._block.add(_of_known_targets(snapshot))
        except BaseException:
            self._release()
            raise
        self.nr_snapshots += 1
        self.nr_regions += len(snapshot.columns)
        span = abs(snapshot.end_ns - self._block_start_ns)
        if self._block.is_full or span >= self._flush_ns:
            self.flush()

    def flush(self) -> None:
        """Write the snapshots gathered so far as a block: from here on a kill keeps them."""
        if self._out is None or not len(self._block):
            return
        parts, self._block = self._block.parts(), Block()
        size = sum(map(len, parts))
        if size > layout.MAX_BLOCK_BYTES:
            self._release()
            raise OutputError(
                f"cannot write {self._what}: a snapshot is larger than "
                f"{layout.MAX_BLOCK_BYTES >> 20} MiB",
                hint="fewer regions, or fewer targets",
            )
        self._put(self._zstd.frame(*parts), is_block=True)
        if size > _LARGE:
            # A compressor keeps the room that its largest frame took.
            self._zstd = Compressor()
            del parts
            _core.give_back_memory()

    def close(self) -> None:
        """Write what is left and the end marker; further calls do nothing."""
        if self._out is None:
            return
        self.flush()
        end = {"snapshots": self.nr_snapshots, "regions": self.nr_regions}
        text = layout.END_TEXT + json.dumps(end).encode()
        self._put(self._zstd.frame(END) + layout.note(text), is_block=True)
        self._release()

    def discard(self) -> None:
        """Leave no file behind, and what `force` would have replaced as it was."""
        if self._out is not None:
            out, self._out = self._out, None
            out.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _put(self, data: bytes, *, is_block: bool = False) -> None:
        """Hand whole frames to the kernel, or leave the file as it was before."""
        if (out := self._out) is None:
            return
        try:
            out.put(data)
            if is_block:
                out.keep()
        except OSError as err:
            self._release()
            raise self._error(err) from err
        self.bytes_written += len(data)

    def _release(self) -> None:
        out, self._out = self._out, None
        if out is not None:
            out.close()

    def _error(self, err: OSError) -> OutputError:
        if err.errno == errno.EEXIST:
            what = f"{self._what} exists already"
        else:
            what = f"cannot write {self._what}: {err.strerror}"
        hint = _HINTS.get(err.errno or 0, "")
        if err.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            hint = f"{self._folder.absolute()} is not writable for you; choose a place with -o"
        return OutputError(what, hint=hint)
