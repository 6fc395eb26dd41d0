"""Files of DAMON's admin tree: read, written, and what goes wrong said in words."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from isotherm.errors import BadValueError, IsothermError, NotPermittedError, NotSupportedError
from isotherm.kernel.damon.versions import first_release, first_release_of, generic
from isotherm.kernel.privilege import root_hint

ROOT = Path("/sys/kernel/mm/damon/admin/kdamonds")
#: All of DAMON's sysfs has one lock, which is only tried: somebody else's look is our EBUSY.
PATIENCE_S = 5.0
TAKEN_AWAY = "somebody else took the kernel's DAMON away"

Value = int | str | bool


class DamonFiles:
    """
    The tree under `root`, by relative paths: "0/contexts/0/operations".

    Whether this kernel has a parameter is told by its file. A write or command that finds the
    tree busy is tried again for `patience_s` seconds. Raises `NotSupportedError` for what this
    kernel lacks and for a tree that stays busy, `BadValueError` for what it refuses, and
    `NotPermittedError` without root.
    """

    def __init__(self, root: Path = ROOT, *, patience_s: float = PATIENCE_S) -> None:
        self.root = root
        self._patience_s = patience_s

    def has(self, path: str) -> bool:
        """Tell whether the file or directory exists here."""
        return os.path.exists(f"{self.root}/{path}")  # noqa: PTH110

    def read(self, path: str) -> str:
        """Return a file's text, without the newline."""
        try:
            fd = os.open(f"{self.root}/{path}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.read(fd, 65536).decode().strip()
            finally:
                os.close(fd)
        except OSError as err:
            raise self._translated(err, path, None) from err

    def number(self, path: str) -> int:
        """Return the number in a file."""
        return int(self.read(path))

    def flag(self, path: str) -> bool:
        """Return the truth value in a file."""
        return self.read(path) in ("Y", "1")

    def numbered(self, path: str) -> list[int]:
        """Return the names of the numbered directories in a directory; none if it is not there."""
        try:
            names = os.listdir(f"{self.root}/{path}")  # noqa: PTH208
        except OSError:
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def write(self, path: str, value: Value) -> None:
        """Write a value, as often as it takes while the tree is busy."""
        text = ("Y" if value else "N") if isinstance(value, bool) else str(value)
        deadline = time.monotonic() + self._patience_s
        pause_s = 0.001
        while True:
            try:
                self._store(path, text)
            except OSError as err:
                if err.errno != errno.EBUSY or time.monotonic() >= deadline:
                    raise self._translated(err, path, text) from err
            else:
                return
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.05)

    def put(self, path: str, value: Value, default: Value) -> None:
        """Write a parameter that older kernels may lack: they do what `default` says."""
        if self.has(path):
            self.write(path, value)
        elif value != default:
            raise self.missing(path)

    def resize(self, folder: str, name: str, count: int) -> None:
        """Have `count` numbered directories in `folder`, by its file nr_NAME."""
        path = f"{folder}/nr_{name}" if folder else f"nr_{name}"
        if count == 0 and not self.has(path):
            return
        if not self.has(path):
            raise self.missing(path)
        if self.number(path) != count:
            self.write(path, count)

    def missing(self, path: str) -> IsothermError:
        """Return the error of a file that is not there: taken away, or never of this kernel."""
        kdamond, _, rest = path.partition("/")
        context = f"{kdamond}/contexts/0"
        ours = context if f"{rest}/".startswith("contexts/0/") else kdamond
        if kdamond.isdecimal() and not self.has(ours):
            return IsothermError(TAKEN_AWAY)
        return lacks(path)

    def _store(self, path: str, text: str) -> None:
        fd = os.open(f"{self.root}/{path}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def _translated(self, err: OSError, path: str, text: str | None) -> IsothermError:
        what = generic(path)
        if err.errno == errno.ENODEV:  # it was there when it was opened
            return IsothermError(TAKEN_AWAY)
        if err.errno == errno.ENOENT:
            return self.missing(path)
        if err.errno in (errno.EACCES, errno.EPERM):
            return NotPermittedError(
                f"not allowed to touch {what} of the kernel's DAMON", hint=root_hint()
            )
        if err.errno == errno.EBUSY:
            return NotSupportedError(
                f"the kernel's DAMON stays busy: {what} cannot be set to {text!r}",
                hint="who uses it is shown by: isotherm doctor",
            )
        if text is not None and err.errno == errno.EINVAL:
            release = first_release_of(path, text)
            if release is not None and what != "state":
                return lacks(path, text)
            return BadValueError(f"the kernel's DAMON refuses {text!r} as {what}")
        return IsothermError(f"{what} of the kernel's DAMON: {err.strerror}")


def lacks(path: str, keyword: str = "") -> NotSupportedError:
    """Return the error of a parameter, or of a keyword for it, that this kernel does not have."""
    release = first_release_of(path, keyword) if keyword else first_release(path)
    what = f"{generic(path)} {keyword}".strip()
    since = f"Linux {release} is the first that has it" if release else "no Linux has it"
    return NotSupportedError(
        f"this kernel's DAMON has no {what}: {since}",
        hint="leave it out, or let isotherm do the work itself: --backend bpf",
    )
