"""Bytes of a file as they come: what kind of file it is, and inflated within bounds."""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, Literal

from isotherm.errors import BadValueError, DamagedRecordingError, quoted
from isotherm.recording.format import FREE_INFLATION_BYTES, MAX_INFLATION

Kind = Literal["json", "perf script", "binary"]

_CHUNK_BYTES: Final = 1 << 18
_HEAD_BYTES: Final = 1 << 16
_ZLIB: Final = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_BINARY_MAGIC: Final = b"damon_recfmt_ver"
_PERF_MAGIC: Final = (b"PERFILE2", b"PERFFILE")
_TRACE_MAGIC: Final = b"\x17\x08\x44tracing"
#: Bytes that no text has.
_NO_TEXT: Final = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")


class Source:
    """
    A file of damo's, or of tracers: `kind`, and its text in pieces.

    is_versioned: it begins as a binary record of damo does.

    file: open for reading; name: what errors call it. Raises `BadValueError` where it is none.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self._head = _read(file, _HEAD_BYTES)
        self._inflate = _ZLIB.match(self._head) is not None
        self.kind: Kind = self._kind()
        self.is_versioned = self._head.startswith(_BINARY_MAGIC)

    def _kind(self) -> Kind:
        head = self._head
        if self._inflate:
            return "json"
        if head.startswith(_PERF_MAGIC):
            raise self._refused(
                "a recording of perf", f"perf script -i {self.name} | isotherm import -"
            )
        if head.startswith(_TRACE_MAGIC):
            raise self._refused(
                "a recording of trace-cmd", f"trace-cmd report -i {self.name} | isotherm import -"
            )
        text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if not text:
            raise self._refused("empty", "damo record writes damon.data")
        if head.startswith(_BINARY_MAGIC) or _NO_TEXT.search(head):
            return "binary"
        return "json" if text.startswith((b"[", b"{")) else "perf script"

    def _refused(self, what: str, hint: str) -> BadValueError:
        return BadValueError(f"{quoted(self.name)} is {what}, no record of damo", hint=hint)

    def pieces(self) -> Iterator[bytes]:
        """Yield the text; raises `DamagedRecordingError` where it cannot be inflated."""
        if self._inflate:
            yield from self._inflated()
            return
        head, self._head = self._head, b""
        yield head.removeprefix(b"\xef\xbb\xbf")
        while data := self._more():
            yield data

    def _more(self) -> bytes:
        try:
            return _read(self._file, _CHUNK_BYTES)
        except OSError as err:
            raise DamagedRecordingError(f"it cannot be read on: {err.strerror}") from err

    def _inflated(self) -> Iterator[bytes]:
        inflater = zlib.decompressobj()
        data, self._head = self._head, b""
        taken = given = 0
        while data and not inflater.eof:
            taken += len(data)
            while data:
                try:
                    text = inflater.decompress(data, _CHUNK_BYTES)
                except zlib.error:
                    raise DamagedRecordingError(
                        f"its compressed data are broken by byte {taken}"
                    ) from None
                given += len(text)
                if given > FREE_INFLATION_BYTES + MAX_INFLATION * taken:
                    raise DamagedRecordingError("it inflates to more than a record can")
                yield text
                data = inflater.unconsumed_tail
            data = b"" if inflater.eof else self._more()
        while not inflater.eof and (text := inflater.decompress(b"", _CHUNK_BYTES)):
            yield text
        if not inflater.eof:
            raise DamagedRecordingError("its compressed data are cut short")
        if inflater.unused_data or self._more():
            raise DamagedRecordingError("something follows its compressed data")


def _read(file: BinaryIO, size: int) -> bytes:
    """Return so many bytes, or all there are."""
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def open_source(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file, or a pipe, to read; raises `BadValueError`."""
    try:
        if stat.S_ISCHR(os.stat(path).st_mode):  # noqa: PTH116 - of any length
            raise BadValueError(
                f"{quoted(os.fspath(path))} is a device, no record of damo",
                hint="name a file, or - for the standard input",
            )
        return open(path, "rb", buffering=0)  # noqa: PTH123 - of any length; closed later
    except OSError as err:
        raise BadValueError(
            f"cannot read {quoted(os.fspath(path))}: {(err.strerror or str(err)).lower()}",
            hint="name a file that damo record, perf script or trace-cmd report wrote",
        ) from err
