"""A program's names for its own memory: `isotherm.name(array, "features")`."""

from __future__ import annotations

import atexit
import ctypes
import itertools
import os
import threading
import weakref
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

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


class _Here(NamedTuple):
    """Our number, our file, and when we began, in clock ticks since boot."""

    pid: int
    path: str
    start_ticks: int


class _Names:
    """
    What this process named; a child that was forked has what it named itself.

    Objects go at any time, in any thread, and in the middle of what is done here: what a finalizer
    does waits for nobody, and leaves the file to whoever is writing it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._parts: dict[int, Part] = {}
        self._keys = itertools.count()
        self._here = _Here(0, "", 0)
        self._is_old = False  # the file, or about to be
        self._is_writing = False

    def add(self, data: object, part: Part) -> None:
        """Take a part until `data` goes, and tell of it."""
        try:
            with self._lock:
                self._take(data, part)
        finally:
            self._tell(wait=True)

    def _take(self, data: object, part: Part) -> None:
        if self._here.pid != os.getpid():
            self._here, self._parts = _here(), {}
            atexit.register(self._remove, self._here.pid, self._here.path)
        if len(self._parts) >= MOST_PARTS:
            raise BadValueError(f"more than {MOST_PARTS} parts of the memory have a name")
        key = next(self._keys)
        try:
            weakref.finalize(data, self._forget, key, self._here.pid).atexit = False
        except TypeError:
            raise BadValueError(
                f"{type(data).__name__} objects cannot be followed: it is not known when they go",
                hint="name a memoryview of it, and keep that",
            ) from None
        self._parts[key] = part
        self._is_old = True

    def _forget(self, key: int, pid: int) -> None:
        if pid == os.getpid() and self._parts.pop(key, None) is not None:
            self._is_old = True
            with suppress(OutputError):
                self._tell(wait=False)

    def _tell(self, *, wait: bool) -> None:
        """
        Write the file until it is true.

        A call inside another, and one that does not wait, leaves it to the one that writes: that
        looks again after it let go of the lock.
        """
        lock = self._lock
        while self._is_old and lock.acquire(blocking=wait):
            try:
                if self._is_writing:
                    return
                self._write_all()
            finally:
                lock.release()

    def _write_all(self) -> None:
        self._is_writing = True
        try:
            while self._is_old:
                self._is_old = False
                self._write()
        except BaseException:
            self._is_old = True
            raise
        finally:
            self._is_writing = False

    def _write(self) -> None:
        _, path, start_ticks = self._here
        # A copy in one step: parts go in the middle of a loop over them.
        text = text_of(start_ticks, list(self._parts.copy().values()))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with suppress(FileNotFoundError):
                os.unlink(f"{path}.new")  # noqa: PTH108
            descriptor = os.open(f"{path}.new", flags, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            os.replace(f"{path}.new", path)  # noqa: PTH105
        except OSError as err:
            raise OutputError(f"cannot write {path}: {err.strerror}") from err

    @staticmethod
    def _remove(pid: int, path: str) -> None:
        if pid == os.getpid():
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108


_NAMES = _Names()


def _begin_again() -> None:
    """Forget what the parent named, and whichever of its threads held the lock."""
    global _NAMES  # noqa: PLW0603
    _NAMES = _Names()


os.register_at_fork(after_in_child=_begin_again)


def _here() -> _Here:
    pid = os.getpid()
    try:
        return _Here(pid, f"{_folder()}/{pid}", procfs.stat(pid).start_ticks)
    except OSError as err:
        raise OutputError(f"no place for names of memory: {err.strerror}") from err


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
