"""
Reading what runtimes leave on disk and say on sockets.

Some of it belongs to users who are not root, and a daemon may hang: every read is bounded in size,
and none waits for long. What cannot be read, or is not what it should be, is as if it were not
there.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from pathlib import Path
from typing import Any

#: The longest file, and the longest answer of a socket.
_MOST_BYTES = 4 << 20
_CHUNK = 1 << 16
#: For so long a daemon is waited for.
_PATIENCE_S = 2.0


def read_json(path: Path, most: int = _MOST_BYTES) -> Any:
    """Return the value in a regular file of at most so many bytes; None if there is none."""
    try:
        # A pipe in the place of the file would keep us waiting.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            return None
        text = b""
        while len(text) <= most and (chunk := os.read(fd, _CHUNK)):
            text += chunk
    except OSError:
        return None
    finally:
        os.close(fd)
    return None if len(text) > most else parsed(text)


def parsed(text: bytes) -> Any:
    """Return the value of JSON text; None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def get_json(path: Path, resource: str) -> Any:
    """
    Return what an HTTP server on a Unix socket gives for a resource; None for anything else.

    Old HTTP, so that the answer ends with the connection.
    """
    until = time.monotonic() + _PATIENCE_S
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk:
            talk.settimeout(_PATIENCE_S)
            talk.connect(os.fspath(path))
            talk.sendall(f"GET {resource} HTTP/1.0\r\nHost: isotherm\r\n\r\n".encode())
            while (left := until - time.monotonic()) > 0 and len(answer) <= _MOST_BYTES:
                talk.settimeout(left)
                chunk = talk.recv(_CHUNK)
                if not chunk:
                    break
                answer += chunk
            else:
                return None
    except (OSError, ValueError):
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    return parsed(body) if head.split(b" ", 2)[1:2] == [b"200"] else None


def text_at(value: Any, *keys: str) -> str:
    """Return the text that nested objects have under these keys; "" if they have none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def texts(value: Any) -> list[str]:
    """Return the texts of a list; none of anything else."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def names_in(folder: Path) -> list[str]:
    """Return what a directory holds, in order; nothing if it cannot be read."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names
    except OSError:
        return []
