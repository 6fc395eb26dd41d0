"""
Reads recordings back as Snapshots, also damaged ones, and those that somebody made to do harm.

What is in a file is believed when it has been checked, not before: `frames` bounds what is
inflated, `messages` checks every offset, `decode` what the values mean.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final, overload

from isotherm.errors import BadValueError, DamagedRecordingError
from isotherm.model.snapshot import Snapshot
from isotherm.recording import format as layout
from isotherm.recording.batch import Batch, Layout
from isotherm.recording.blocks import Rows, rows_of
from isotherm.recording.columns import Column
from isotherm.recording.decode import Context2, check_order, checked_info, rows
from isotherm.recording.flatbuffer import BadMessageError
from isotherm.recording.frames import Frames
from isotherm.recording.messages import messages, read_schema
from isotherm.recording.version1 import Context1

_HEADER: Final = re.compile(re.escape(layout.HEADER_TEXT) + rb"(\d{1,9})\n")
#: Enough for a header: its first 8 bytes say how long the rest is, and that is short.
_HEAD_BYTES: Final = 72
_COPY_BYTES: Final = 1 << 20


def _again(file: BinaryIO) -> BinaryIO:
    return os.fdopen(os.dup(file.fileno()), "rb", buffering=0)


class _Schema:
    """
    What a recording begins with: what it says of itself, and how its blocks are laid out.

    content: of its first frame; version: of the recording. Raises `BadMessageError`.
    """

    def __init__(self, content: bytes, version: int) -> None:
        self.content = content
        self.version = version
        if len(content) > layout.MAX_SCHEMA_BYTES:
            raise BadMessageError("its schema is too large")
        found = messages(memoryview(content))
        first = next(found, None)
        if first is None or not first.is_schema or any(True for _ in found):
            raise BadMessageError("it does not begin with its columns")
        columns, metadata = read_schema(first)
        self.info = checked_info(metadata.get(layout.METADATA_KEY, ""))
        wanted = layout.COLUMNS_1 if version == 1 else layout.COLUMNS
        there = {column.name for column in columns}
        needed = tuple(one for one in wanted if one.name in there or not one.nullable)
        if not Column("", "struct", children=columns).fits(Column("", "struct", children=needed)):
            raise BadMessageError("its columns are not those of a recording")
        self.layout = Layout(columns, wanted)


def _snapshots(schema: _Schema, frames: Frames) -> Iterator[Snapshot]:
    """Yield snapshots until the stream ends, or something makes no sense: `BadMessageError`."""
    _check_begin(schema, frames)
    return _decoded(schema, frames)


def _check_begin(schema: _Schema, frames: Frames) -> None:
    if next(iter(frames), None) != schema.content:
        raise BadMessageError("its beginning has changed")


def _batches(schema: _Schema, frames: Frames) -> Iterator[Batch]:
    """Yield the blocks of frames that begin with one; raises `BadMessageError`."""
    ended = False
    for content in frames:
        if ended:
            frames.note("data follow the end of its Arrow stream")
            continue
        for message in messages(memoryview(content)):
            if message is None:
                ended = True
                continue
            if ended or message.is_schema:
                raise BadMessageError("a message where none can be")
            yield Batch(message, schema.layout)


def _rows_in_order(
    batch: Batch, context: Context1 | Context2, before: int | None
) -> Iterator[Snapshot]:
    """Yield the snapshots of a block, one by one, that come after the index `before`."""
    if not 0 < batch.length <= layout.MAX_BLOCK_ROWS:
        raise BadMessageError("a block has an impossible number of snapshots")
    for snapshot in rows(batch, context):
        before = check_order(before, snapshot)
        yield snapshot


def _decoded(schema: _Schema, frames: Frames) -> Iterator[Snapshot]:
    """Yield the snapshots of frames that begin with a block; raises `BadMessageError`."""
    context = Context1() if schema.version == 1 else Context2()
    before = None
    shares = schema.info.get("whole_mappings") is True
    for batch in _batches(schema, frames):
        for snapshot in _rows_in_order(batch, context, before):
            before = snapshot.index
            yield replace(snapshot, shares=True) if shares else snapshot


def _by_blocks(schema: _Schema, frames: Frames) -> Iterator[Rows | Snapshot]:
    """Yield the same by the block, where a block can be believed as a whole."""
    if schema.version == 1:
        yield from _snapshots(schema, frames)
        return
    context, before = Context2(), None
    shares = schema.info.get("whole_mappings") is True
    _check_begin(schema, frames)
    for batch in _batches(schema, frames):
        tried = context.copy()
        try:
            parts, last = rows_of(batch, tried, before, shares=shares)
        except (ValueError, BadMessageError):
            pass
        else:
            context, before = tried, last
            yield from parts
            continue
        for snapshot in _rows_in_order(batch, context, before):
            before = snapshot.index
            yield replace(snapshot, shares=True) if shares else snapshot


def _lengths(content: bytes) -> Iterator[int]:
    """Yield how many rows blocks say to have; raises `BadMessageError`."""
    for message in messages(memoryview(content)):
        if message is not None and not message.is_schema:
            length = message.header.number(0, "q")
            if not 0 < length <= layout.MAX_BLOCK_ROWS:
                raise BadMessageError("a block has an impossible number of snapshots")
            yield length


#: Bytes of a row, inflated: its numbers alone.
_ROW_BYTES: Final = 88


class Recording:
    """
    A recording on disk, or one that comes through a pipe.

    path: where it is; nbytes: how large it is. `len` is the number of its snapshots, `[i]` one of
    them, `[i:j]` a list of some; iterating yields them all. Each iteration reads the file anew, a
    block at a time, and raises `DamagedRecordingError` after the last readable snapshot where
    anything is missing; `readable` ends quietly instead and leaves the error in `damage`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.damage: DamagedRecordingError | None = None
        self._kept: BinaryIO | None = None
        self._blocks: tuple[list[int], list[int]] | None = None
        file, at, version = self._open()
        with file:
            self.nbytes = os.fstat(file.fileno()).st_size
            frames = Frames(file.fileno(), at)
            try:
                self._schema = _Schema(next(iter(frames), b""), version)
            except BadMessageError as err:
                raise self._damaged(frames.damage or f"{err}", 0) from None

    @property
    def info(self) -> dict[str, Any]:
        """What the recording says of itself (docs/recording-format.md)."""
        return self._schema.info

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        """As its end says, without reading it; else of so many as are readable."""
        file, at, _ = self._open()
        with file:
            size = os.fstat(file.fileno()).st_size
            stated = Frames(file.fileno(), at).stated()
        most = (layout.FREE_INFLATION_BYTES + layout.MAX_INFLATION * size) // _ROW_BYTES
        if stated is not None and 0 <= stated["snapshots"] <= most:
            return stated["snapshots"]
        return self._index()[1][-1]

    @overload
    def __getitem__(self, key: int) -> Snapshot: ...
    @overload
    def __getitem__(self, key: slice) -> list[Snapshot]: ...
    def __getitem__(self, key: int | slice) -> Snapshot | list[Snapshot]:
        """
        Read a snapshot, or some; the first time looks where blocks begin.

        Raises IndexError, and `DamagedRecordingError` where one cannot be read.
        """
        count = self._index()[1][-1]
        if isinstance(key, slice):
            return self._some(range(count)[key])
        try:
            return self._some([range(count)[key]])[0]
        except IndexError:
            raise IndexError(f"there is no snapshot {key} among {count}") from None

    def first(self) -> Snapshot | None:
        """Return the first snapshot, None if there is none that can be read."""
        file, at, _ = self._open()
        with file:
            frames = Frames(file.fileno(), at)
            try:
                return next(_snapshots(self._schema, frames), None)
            except BadMessageError:
                return None

    def _some(self, places: Sequence[int]) -> list[Snapshot]:
        """Return the snapshots at these places, all of them there."""
        if not places:
            return []
        begins, counts = self._index()
        # What is null in a row of version 1 may stand in any block before.
        block = 0 if self._schema.version == 1 else bisect_right(counts, min(places)) - 1
        first, last = counts[block], max(places)
        wanted, found = set(places), {}
        file, _, _ = self._open()
        with file:
            frames = Frames(file.fileno(), begins[block])
            try:
                for i, snapshot in enumerate(_decoded(self._schema, frames), first):
                    if i in wanted:
                        found[i] = snapshot
                    if i == last:
                        return [found[place] for place in places]
            except BadMessageError as err:
                raise self._damaged(f"a part of it makes no sense: {err}", count=0) from None
        raise self._damaged("it has changed since", count=0)

    def _index(self) -> tuple[list[int], list[int]]:
        """Return where blocks begin, and how many snapshots stand before each, and in all."""
        if self._blocks is None:
            begins, counts = [], [0]
            file, at, _ = self._open()
            with file:
                frames = Frames(file.fileno(), at)
                try:
                    for content in frames:
                        rows_of = sum(_lengths(content))
                        if rows_of:
                            begins.append(frames.begin)
                            counts.append(counts[-1] + rows_of)
                except BadMessageError:
                    pass  # what follows cannot be read either
            self._blocks = begins, counts
        return self._blocks

    def __iter__(self) -> Iterator[Snapshot]:
        yield from self.readable()
        if self.damage is not None:
            raise self.damage

    def readable(self) -> Iterator[Snapshot]:
        """Yield what can be read and believed; `damage` says afterwards what could not."""
        for part in self._readable(_snapshots):
            if isinstance(part, Snapshot):
                yield part

    def samples(self, count: int) -> Iterator[Rows | Snapshot]:
        """
        Yield what stands in so many blocks: the first, the last, and some between.

        Nothing where that cannot be told quickly; `damage` stays as it is.
        """
        if self._schema.version == 1:
            return
        file, at, _ = self._open()
        with file:
            places = Frames(file.fileno(), at).begins()[1:-1]  # schema and end stand around them
            last = len(places) - 1
            chosen = dict.fromkeys(round(last * i / max(1, count - 1)) for i in range(count))
            for i in chosen if places else ():
                try:
                    content = next(iter(Frames(file.fileno(), places[i])), b"")
                    for message in messages(memoryview(content)):
                        if message is not None and not message.is_schema:
                            batch = Batch(message, self._schema.layout)
                            yield from rows_of(batch, Context2(), None, shares=False)[0]
                except (ValueError, BadMessageError):
                    return

    def by_blocks(self) -> Iterator[Rows | Snapshot]:
        """
        Yield the same, many windows at a time wherever that can be: for passes over all of it.

        `damage` likewise.
        """
        return self._readable(_by_blocks)

    def _readable(
        self, decode: Callable[[_Schema, Frames], Iterator[Rows | Snapshot]]
    ) -> Iterator[Rows | Snapshot]:
        self.damage = None
        count = regions = 0
        file, at, _ = self._open()
        with file:
            frames = Frames(file.fileno(), at)
            try:
                for part in decode(self._schema, frames):
                    if isinstance(part, Snapshot):
                        count += 1
                        regions += len(part.columns)
                    else:
                        count += part.length
                        regions += sum(part.counts())
                    yield part
            except BadMessageError as err:
                self.damage = self._damaged(f"a part of it makes no sense: {err}", count)
                return
        whole = {"snapshots": count, "regions": regions}
        if frames.damage:
            self.damage = self._damaged(frames.damage, count)
        elif frames.end != whole:
            self.damage = self._damaged(f"its end speaks of {frames.end}", count)

    def _open(self) -> tuple[BinaryIO, int, int]:
        """
        Return the open file, where its frames begin, and its version.

        Raises `BadValueError` if it is none of ours.
        """
        try:
            file = self.path.open("rb", buffering=0) if self._kept is None else _again(self._kept)
        except OSError as err:
            raise self._unreadable(err) from err
        try:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                with file:
                    self._kept = self._keep(file)
                weakref.finalize(self, self._kept.close)
                return self._open()
            return file, *self._header(os.pread(file.fileno(), _HEAD_BYTES, 0))
        except BaseException as err:
            file.close()
            if isinstance(err, OSError):
                raise self._unreadable(err) from err
            raise

    def _unreadable(self, err: OSError) -> BadValueError:
        return BadValueError(
            f"cannot read {self.path}: {err.strerror}",
            hint="isotherm record -o FILE makes a recording",
        )

    def _keep(self, pipe: BinaryIO) -> BinaryIO:
        """Return a nameless file with all that comes through a pipe, if it is a recording."""
        import tempfile  # with OpenSSL, by way of random numbers: 4 MB

        head = b""
        while len(head) < _HEAD_BYTES and (more := pipe.read(_HEAD_BYTES - len(head))):
            head += more
        self._header(head)
        kept = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - kept for the iterations
        try:
            left = layout.MAX_PIPE_BYTES
            data = head
            while data and left:  # what is left out is missed when it is read
                left -= kept.write(data[:left])
                data = pipe.read(_COPY_BYTES)
        except BaseException:
            kept.close()
            raise
        return kept

    def _header(self, head: bytes) -> tuple[int, int]:
        """Return where the frames begin, and the version."""
        length = struct.unpack_from("<I", head, 4)[0] if len(head) >= 8 else 0
        match = _HEADER.fullmatch(head[8 : min(8 + length, _HEAD_BYTES)])
        if not head.startswith(layout.SKIPPABLE_MAGIC) or match is None:
            raise BadValueError(
                f"{self.path} is not a recording of isotherm",
                hint="a recording is made with isotherm record, and named *.isotherm",
            )
        if int(match[1]) not in layout.READABLE:
            raise BadValueError(
                f"{self.path} is a recording of version {int(match[1])}; "
                f"this program reads versions {layout.READABLE[0]} to {layout.READABLE[-1]}",
                hint="read it with a newer isotherm",
            )
        return 8 + length, int(match[1])

    def _damaged(self, what: str, count: int) -> DamagedRecordingError:
        return DamagedRecordingError(
            f"recording {self.path} is damaged: {what}",
            hint=f"{count} snapshots of it could be read" if count else "",
        )


def open_recording(path: str | os.PathLike[str]) -> Recording:
    """
    Open a recording for reading.

    path: of a file or a pipe; of a pipe all is read at once, `format.MAX_PIPE_BYTES` at most, and
    kept in a nameless file. Raises `BadValueError` when it cannot be read, is no recording, or
    has a version this program does not know; `DamagedRecordingError` when not even its first
    part can be read.
    """
    return Recording(path)
