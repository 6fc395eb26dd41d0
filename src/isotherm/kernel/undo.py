"""
What was changed on the system is written to a state file first, and undone: at the end by who
changed it, or, if that was killed, by the next isotherm that starts.

A state file is JSON: {"format": 1, "boot_id", "pid", "start_ticks", "pid_namespace", "purpose",
"changes": [{"kind": ..., ...}]}. It lies in `state_folder()`, is replaced as a whole, and is
deleted when everything is undone. Only state that a reboot resets belongs here: files of another
boot are dropped.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from isotherm.errors import IsothermError, NotPermittedError, TargetGoneError
from isotherm.kernel import procfs

FORMAT = 1
Change = Mapping[str, Any]
#: Undoes one change; called with what was noted of it. Undoing twice must do no harm.
Undoer = Callable[[Change], None]
#: What a state file has to say to be one.
_KEYS = {"boot_id", "pid", "start_ticks", "pid_namespace", "purpose", "changes"}


def state_path() -> Path:
    """Return where state files of this user would lie; nothing is made."""
    if os.geteuid() == 0:
        return Path("/run/isotherm")
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "isotherm"
    return Path(tempfile.gettempdir()) / f"isotherm-{os.geteuid()}"


def state_folder() -> Path:
    """Return where state files of this user lie; made if need be, refused if others may write."""
    folder = state_path()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.lstat()
    if facts.st_uid != os.geteuid() or not stat.S_ISDIR(facts.st_mode) or facts.st_mode & 0o022:
        raise NotPermittedError(
            f"{folder} is not ours alone", hint="it says what to undo: remove it if it is no one's"
        )
    return folder


#: Of each thread: the folders that it has locked.
_HELD = threading.local()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only isotherm that claims or undoes in `folder`; may be nested in a thread."""
    held: set[Path] = _HELD.__dict__.setdefault("folders", set())
    if folder in held:
        yield
        return
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        held.add(folder)
        yield
    finally:
        held.discard(folder)
        os.close(fd)


class StateFile:
    """
    What this process changed for one purpose.

    `note` before a change, `undo_all` at the end. The file appears with the first note.
    """

    def __init__(
        self, purpose: str, undoers: Mapping[str, Undoer], folder: Path | None = None
    ) -> None:
        self._folder = folder or state_folder()
        own = procfs.stat(os.getpid())
        self._content: dict[str, Any] = {
            "format": FORMAT,
            "boot_id": boot_id(),
            "pid": own.pid,
            "start_ticks": own.start_ticks,
            "pid_namespace": _pid_namespace(),
            "purpose": purpose,
            "changes": [],
        }
        self._undoers = {**UNDOERS, **undoers}
        self._path = self._folder / f"{purpose}.{own.pid}.{id(self):x}.json"

    def note(self, kind: str, **details: Any) -> dict[str, Any]:
        """
        Write down a change that is about to be made; details are what undoing it needs.

        The returned value may be changed, then `save` it.
        """
        change = {"kind": kind, **details}
        self._content["changes"].append(change)
        self.save()
        return change

    def save(self) -> None:
        """Replace the file by what is known now."""
        fresh = self._path.with_suffix(".new")
        with locked(self._folder):
            fresh.write_text(json.dumps(self._content))
            fresh.replace(self._path)

    def undo_all(self) -> None:
        """
        Undo all changes, the last one first, and delete the file.

        All are tried; the first error is raised then, and the file keeps what could not be undone.
        """
        errors = _undo(self._content, self._undoers)
        if errors:
            self.save()
            raise errors[0]
        self._path.unlink(missing_ok=True)


def recover(undoers: Mapping[str, Undoer], folder: Path | None = None) -> list[str]:
    """
    Undo what killed processes left behind; return a line for each of their files.

    Files of living processes stay, as do those whose owner lives in another PID namespace or
    whose changes are of kinds that `undoers` does not know.
    """
    folder = folder or state_folder()
    found = []
    with locked(folder):
        for path in folder.glob("*.new"):  # a kill in the middle of writing left it
            path.unlink(missing_ok=True)
        for path in sorted(folder.glob("*.json")):
            content = _read(path)
            if content is None or _is_alive(content):
                continue
            if content["boot_id"] == boot_id():
                known = {**UNDOERS, **undoers}
                if not all(change["kind"] in known for change in content["changes"]):
                    continue
                errors = _undo(content, known)
                outcome = f"failed: {errors[0]}" if errors else "undone"
                found.append(f"{content['purpose']} of process {content['pid']}: {outcome}")
            path.unlink(missing_ok=True)
    return found


def living(purpose: str, folder: Path | None = None) -> list[Change]:
    """Return the changes that living processes have made for a purpose; changes nothing."""
    changes: list[Change] = []
    for path in sorted((folder or state_path()).glob(f"{purpose}.*.json")):
        content = _read(path)
        if content and content["boot_id"] == boot_id() and _is_alive(content):
            changes += content["changes"]
    return changes


def boot_id() -> str:
    """Return what tells this boot from others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _read(path: Path) -> dict[str, Any] | None:
    """Return what a file says, None if it is not of this format or vanished."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    right = isinstance(content, dict) and content.get("format") == FORMAT
    return content if right and content.keys() >= _KEYS else None


def _is_alive(content: Mapping[str, Any]) -> bool:
    if content["pid_namespace"] != _pid_namespace():
        return True
    try:
        facts = procfs.stat(content["pid"])
    except TargetGoneError:
        return False
    except IsothermError:
        return True
    return facts.start_ticks == content["start_ticks"] and not facts.is_zombie


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _undo(content: dict[str, Any], undoers: Mapping[str, Undoer]) -> list[Exception]:
    errors: list[Exception] = []
    left = []
    while content["changes"]:
        change = content["changes"].pop()
        try:
            undoers[change["kind"]](change)
        except (IsothermError, OSError, LookupError, TypeError, ValueError) as err:
            # The last ones of a change that does not say what its kind has to.
            errors.append(err)
            left.append(change)
    content["changes"] = left[::-1]
    return errors


def _undo_write(change: Change) -> None:
    """Of {"path", "text"}: write the old text back."""
    with contextlib.suppress(FileNotFoundError):
        Path(change["path"]).write_text(change["text"])


def _undo_folder(change: Change) -> None:
    """Of {"path"}: remove a directory that was made, as in tracefs or cgroupfs."""
    with contextlib.suppress(FileNotFoundError):
        Path(change["path"]).rmdir()


#: What undoes the kinds of changes that anybody may note.
UNDOERS: dict[str, Undoer] = {"write": _undo_write, "folder": _undo_folder}
