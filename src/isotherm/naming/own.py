"""A program's names for its own memory: `isotherm.name(array, "features")`."""

from __future__ import annotations

import atexit
import ctypes
import os
import weakref
from contextlib import suppress
from typing import Any, TypeVar

from isotherm.errors import BadValueError, OutputError, quoted
from isotherm.kernel import procfs
from isotherm.naming.side_file import MOST_NAME, MOST_PARTS, Part, folders, text_of, trusted

T = TypeVar("T")


def name(data: T, called: str) -> T:
    """
    Call the memory of `data` by a name, for whoever watches this process; return `data`.

    data: whatever has a buffer: a NumPy array, an `array.array`, a `mmap`, a memoryview. The name
    holds as long as the object lives; of one that moves its memory (a `resize`) say it again.
    called: at most 64 characters. Costs a small file, written now and when it goes; nothing is
    done for it afterwards. Raises `BadValueError` for what has no buffer, or cannot be followed,
    and `OutputError` where the file cannot be written.
    """
    if not called or len(called) > MOST_NAME or any(ord(c) < 32 for c in called):
        raise BadValueError(
            f"{quoted(called)} is no name for memory",
            hint=f"from 1 to {MOST_NAME} characters, without control characters",
        )
    start, size = _place(data)
    if size:
        _NAMES.add(data, Part(start, start + size, called))
    return data


class _Names:
    """What this process named; a child that was forked has what it named itself."""

    def __init__(self) -> None:
        self._parts: dict[int, Part] = {}
        self._next = 0
        self._pid = 0
        self._path = ""

    def add(self, data: object, part: Part) -> None:
        """Take a part until `data` goes, and tell of it."""
        if self._pid != os.getpid():
            self._parts, self._pid = {}, os.getpid()
            self._path = f"{_folder()}/{self._pid}"
            atexit.register(self._remove, self._pid, self._path)
        if len(self._parts) >= MOST_PARTS:
            raise BadValueError(f"more than {MOST_PARTS} parts of the memory have a name")
        try:
            weakref.finalize(data, self._forget, self._next, self._pid).atexit = False
        except TypeError:
            raise BadValueError(
                f"{type(data).__name__} objects cannot be followed: it is not known when they go",
                hint="name a memoryview of it, and keep that",
            ) from None
        self._parts[self._next] = part
        self._next += 1
        self._write()

    def _forget(self, key: int, pid: int) -> None:
        if pid == os.getpid() and key in self._parts:
            del self._parts[key]
            with suppress(OutputError):
                self._write()

    def _write(self) -> None:
        text = text_of(procfs.stat(self._pid).start_ticks, list(self._parts.values()))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with suppress(FileNotFoundError):
                os.unlink(f"{self._path}.new")  # noqa: PTH108
            descriptor = os.open(f"{self._path}.new", flags, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            os.replace(f"{self._path}.new", self._path)  # noqa: PTH105
        except OSError as err:
            raise OutputError(f"cannot write {self._path}: {err.strerror}") from err

    @staticmethod
    def _remove(pid: int, path: str) -> None:
        if pid == os.getpid():
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108


_NAMES = _Names()


def _place(data: Any) -> tuple[int, int]:
    """Return address and bytes of a buffer, which may be one that is only read."""
    try:
        view = memoryview(data)
    except TypeError:
        raise BadValueError(
            f"{type(data).__name__} has no buffer",
            hint="what has one: NumPy arrays, array.array, mmap, memoryview",
        ) from None
    if not view.contiguous:
        raise BadValueError("the memory is not in one piece", hint="name its base")
    if not view.nbytes:
        return 0, 0
    buffer = (ctypes.c_char * 128)()  # a Py_buffer: its first word is the address
    get, give = ctypes.pythonapi.PyObject_GetBuffer, ctypes.pythonapi.PyBuffer_Release
    get(ctypes.py_object(view), buffer, 0)
    address = ctypes.c_void_p.from_buffer(buffer).value or 0
    give(buffer)
    return address, view.nbytes


def _folder() -> str:
    why = ""
    for folder in folders(os.geteuid()):
        try:
            if folder.startswith("/run/") and not os.path.isdir(os.path.dirname(folder)):  # noqa: PTH112, PTH120
                continue
            if not os.path.lexists(folder):
                os.mkdir(folder, 0o700)  # noqa: PTH102
            if trusted(os.lstat(folder), os.geteuid()):
                return folder
            why = f"{folder} is somebody else's, or others may write to it"
        except OSError as err:
            why = f"{folder}: {err.strerror}"
    raise OutputError(f"no place for names of memory: {why}")
