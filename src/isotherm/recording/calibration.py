"""
What `isotherm calibrate` measured, kept for each machine of a user, and read with distrust.

The file lies in $XDG_STATE_HOME/isotherm, by default ~/.local/state/isotherm. Its name holds a
hash of the machine's id: a home may be that of several machines. It is JSON, {"format":
"isotherm.calibration/1", ...} with the fields of `model.calibration.Calibration`; what does not
fit is as if there were none.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import platform
import stat
import tempfile
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from isotherm.errors import OutputError
from isotherm.kernel.procfs import read_file
from isotherm.model.calibration import Calibration, Digest, Measured, digest

FORMAT = "isotherm.calibration/1"
_MAX_BYTES = 1 << 20
_MAX_TEXT = 200
_MAX_RUNS = 1000


def calibration_path() -> Path:
    """Return where this user keeps what was measured on this machine."""
    asked = os.environ.get("XDG_STATE_HOME", "")
    # The specification has relative paths ignored.
    base = Path(asked) if asked.startswith("/") else Path("~/.local/state").expanduser()
    return base / "isotherm" / f"calibration-{_machine_id()}.json"


def _machine_id() -> str:
    """Return a hash that tells machines apart and does not give the id away."""
    known = b""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError):
            known = known or read_file(path).strip()
    known = known or platform.node().encode(errors="replace")
    return hashlib.sha256(b"isotherm calibration " + known).hexdigest()[:16]


def keep(calibration: Calibration, path: Path | None = None) -> Path:
    """Write it in one piece in place of what was there; raises `OutputError`."""
    path = calibration_path() if path is None else path
    text = json.dumps({"format": FORMAT, **asdict(calibration)}, indent=1) + "\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, fresh = tempfile.mkstemp(dir=path.parent, prefix=path.stem)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(text)
            Path(fresh).replace(path)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise
    except OSError as err:
        raise OutputError(
            f"cannot keep what was measured in {path}: {(err.strerror or '').lower()}",
            hint="XDG_STATE_HOME=DIRECTORY keeps it elsewhere; --no-save not at all",
        ) from None
    return path


def kept(path: Path | None = None) -> Calibration | None:
    """Return what was measured on this machine; None if nothing, or nothing that makes sense."""
    try:
        return _parsed(_read(calibration_path() if path is None else path))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def kept_digest(backend: str, policy: str) -> Digest | None:
    """Return what was measured here with a backend and a policy; None if nothing."""
    found = kept()
    return None if found is None else digest(found, backend, policy)


def _read(path: Path) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "no regular file")
        found = os.read(fd, _MAX_BYTES + 1)
    finally:
        os.close(fd)
    if len(found) > _MAX_BYTES:
        raise ValueError("too long")
    return found.decode()


def _parsed(text: str) -> Calibration:
    """Raises ValueError, KeyError, TypeError or RecursionError for anything else than we write."""
    data = json.loads(text)
    if data["format"] != FORMAT:
        raise ValueError(data["format"])
    runs = data["runs"]
    if not isinstance(runs, list) or len(runs) > _MAX_RUNS:
        raise ValueError("runs")
    if not isinstance(data["left_out"], dict):
        raise TypeError("left_out")
    left_out = {_text(key): _text(value) for key, value in data["left_out"].items()}
    return Calibration(
        release=_text(data["release"]),
        version=_text(data["version"]),
        wall_ns=_whole(data["wall_ns"]),
        quick=_flag(data["quick"]),
        overhead=_number(data["overhead"]),
        load=_number(data["load"]),
        runs=tuple(Measured(**_checked(Measured, run)) for run in runs),
        left_out=left_out,
    )


def parsed_digest(data: object) -> Digest | None:
    """Return the digest that a recording holds; None for none, or one that makes no sense."""
    try:
        return Digest(**_checked(Digest, data)) if data else None
    except (ValueError, KeyError, TypeError):
        return None


def _checked(kind: type[Measured | Digest], data: Any) -> dict[str, Any]:
    """Return the fields of `kind`, each of the type that it is declared with."""
    return {known.name: _BY_TYPE[str(known.type)](data[known.name]) for known in fields(kind)}


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ValueError(value)
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ValueError(value)
    return value


def _number(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or abs(value) > 1e18:
        raise ValueError(value)
    if not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def _maybe(value: object) -> float | None:
    return None if value is None else _number(value)


_BY_TYPE: dict[str, Callable[[object], object]] = {
    "str": _text,
    "bool": _flag,
    "int": _whole,
    "float": _number,
    "float | None": _maybe,
}
