"""The audit log of actions: a JSON line for each region that something was done to."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from isotherm.core.look import TargetRanges
from isotherm.errors import OutputError
from isotherm.model.ranges import parts
from isotherm.model.scheme import Scheme
from isotherm.recording.files import RefusedError, append
from isotherm.schemes.engine import Event

SCHEMA = "isotherm.audit/1"


class AuditLog:
    """
    Appends to a file; a context manager.

    path: a regular file of ours, made for its owner alone if it is not there, or a character
    device; no link is followed. dry_run: whether each line says that nothing was really done.

    Each line says: time (UTC), schema, scheme, action, pid, process, mappings (names of what the
    range lies in), start, end (hexadecimal), asked and done (bytes), error (null, or reasons and
    how often). Lines are whole: each is written at once. Raises `OutputError`.
    """

    def __init__(self, path: Path, *, dry_run: bool = False) -> None:
        self._path = path
        self._dry_run = dry_run
        try:
            self._file = os.fdopen(append(path), "ab", buffering=0)
        except OSError as err:
            raise self._cannot(err.strerror) from None
        except RefusedError as err:
            raise self._cannot(err.why) from None

    def write(self, event: Event, scheme: Scheme, targets: Sequence[TargetRanges]) -> None:
        """Note an event of the kind "done"; others are passed over."""
        tried, done = event.tried, event.done
        if event.kind != "done" or tried is None or done is None:
            return
        known = targets[tried.target] if tried.target < len(targets) else None
        names = [] if known is None else _names(known, tried.start, tried.end)
        line: dict[str, Any] = {
            "time": _now(),
            "schema": SCHEMA,
            "scheme": scheme.title,
            "action": scheme.does,
            "pid": known.target.pid if known else None,
            "process": known.target.name if known else None,
            "mappings": names,
            "start": f"{tried.start:#x}",
            "end": f"{tried.end:#x}",
            "asked": tried.size,
            "done": done.applied_bytes,
            "error": done.errors or None,
        }
        if self._dry_run:
            line["dry_run"] = True
        self._put(line)

    def _put(self, line: dict[str, Any]) -> None:
        data = json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n"
        try:
            written = self._file.write(data)
        except OSError as err:
            raise self._cannot(err.strerror) from None
        if written != len(data):  # a disk that fills up takes a part first
            raise self._cannot("only a part of a line was taken")

    def _cannot(self, why: str | None) -> OutputError:
        return OutputError(
            f"cannot write the log {self._path}: {why}",
            hint="--log FILE in a folder that exists, on a disk with free space",
        )

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _names(known: TargetRanges, start: int, end: int) -> list[str]:
    names = (mapping.title for mapping, _ in parts(known.mappings, start, end))
    return list(dict.fromkeys(names))


def _now() -> str:
    now_ns = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_ns // 1_000_000_000))
    return f"{seconds}.{now_ns // 1_000_000 % 1000:03d}Z"
