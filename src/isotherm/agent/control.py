"""
`isotherm ctl`: questions to an agent over a socket, from root and the members of one group.

A question is a line: a word, or a word, a space and a JSON document. What changes something is
done for root, and for the user who runs the agent, alone.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from isotherm.agent.server import MOST_BYTES
from isotherm.errors import IsothermError, NotPermittedError, TargetGoneError, quoted
from isotherm.schemefile.documents.json_tree import read_json
from isotherm.schemefile.source import Node

SCHEMA: Final = "isotherm.agent/1"
COMMANDS: Final = ("status", "targets", "schemes", "recording", "commit", "record")
#: A word without a document and its line feed.
_LONGEST = 64
_CREDENTIALS = struct.Struct("3i")
#: From <asm-generic/socket.h>; Python has no name for it, and takes so many bytes at the most.
_SO_PEERGROUPS = 59
_MOST_TOLD = 1024
#: An answer is not waited for longer, and is not larger.
_PATIENCE_S = 10.0
_MOST_HEARD = 64 << 20


class Questions:
    """
    Answers `isotherm ctl`.

    answers: what each command returns, for JSON; changes: likewise what each command that changes
    something does with its document; group: the id of the group whose members may ask, beside
    root and the user who runs the agent; None is nobody.
    """

    def __init__(
        self,
        answers: Mapping[str, Callable[[], object]],
        group: int | None,
        changes: Mapping[str, Callable[[Node], object]] | None = None,
    ) -> None:
        self._answers = answers
        self._changes = changes or {}
        self._group = group

    def greet(self, connection: socket.socket) -> bytes | None:
        """Refuse who is neither root, nor us, nor in the group."""
        _, user, group = _credentials(connection)
        if user in (0, os.geteuid()):
            return None
        if self._group is not None and self._group in (group, *_groups_of(connection)):
            return None
        return _document({"error": "not permitted", "hint": "root and the agent's group may ask"})

    def answer(self, heard: bytes, connection: socket.socket | None = None) -> bytes | None:
        """Return the answer to a whole line, from whom a connection says; None is nobody."""
        line, end, _ = heard.partition(b"\n")
        if not end:
            endless = len(heard) > _LONGEST and b" " not in heard[:_LONGEST]
            return self.too_long() if endless else None
        word, _, told = line.decode("utf-8", "backslashreplace").partition(" ")
        if word in self._answers and not told:
            return _document({"schema": SCHEMA, word: self._answers[word]()})
        if word not in self._changes:
            return _document({"error": f"no command {quoted(word)}", "hint": ", ".join(COMMANDS)})
        if connection is None or _credentials(connection)[1] not in (0, os.geteuid()):
            hint = "root changes what an agent does, its group may ask"
            return _document({"error": "not permitted", "hint": hint})
        try:
            done = self._changes[word](read_json(told, "the request"))
        except IsothermError as err:
            return _document({"error": err.message, "hint": err.hint or ""})
        return _document({"schema": SCHEMA, word: done})

    def too_long(self) -> bytes:
        """Return the answer to what is no command."""
        return _document(
            {"error": f"a command is a line of {MOST_BYTES} bytes", "hint": ", ".join(COMMANDS)}
        )


def _document(told: object) -> bytes:
    return json.dumps(told).encode() + b"\n"


def _credentials(connection: socket.socket) -> tuple[int, int, int]:
    """Return process, user and group of who connected."""
    pid, user, group = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return pid, user, group


def _groups_of(connection: socket.socket) -> tuple[int, ...]:
    """Return the supplementary groups of who is at the other end; none where that is not told."""
    try:
        told = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_TOLD)
    except OSError:
        return ()
    return struct.unpack(f"{len(told) // 4}I", told[: len(told) // 4 * 4])


def ask(
    path: Path, command: str, document: object = None, *, trusted: bool = False
) -> dict[str, Any]:
    """
    Return what an agent answers.

    path: of its socket; command: one of `COMMANDS`; document: goes with it, unless it is None;
    trusted: only root's agent, or our own, is asked. Raises `TargetGoneError` where no agent
    listens, `NotPermittedError`, and `IsothermError` for what is no answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as asking:
        asking.settimeout(_PATIENCE_S)
        try:
            asking.connect(os.fspath(path))
            if trusted and _credentials(asking)[1] not in (0, os.geteuid()):
                raise NotPermittedError(f"{path} is another user's", hint="what it says may harm")
            with_it = "" if document is None else f" {json.dumps(document)}"
            asking.sendall(f"{command}{with_it}\n".encode())
            told = _heard(asking)
        except PermissionError:
            raise NotPermittedError(
                f"{path} is not yours to ask", hint="as root, or as a member of the agent's group"
            ) from None
        except (FileNotFoundError, ConnectionRefusedError):
            raise TargetGoneError(
                f"no agent listens at {path}", hint="sudo isotherm agent starts one"
            ) from None
        except OSError as err:
            raise IsothermError(f"the agent at {path} does not answer: {err}") from None
    try:
        answer = json.loads(told)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise IsothermError(f"{path} answers, but is no agent")
    if "error" in answer:
        error, hint = str(answer["error"]), str(answer.get("hint", ""))
        kind = NotPermittedError if error == "not permitted" else IsothermError
        raise kind(f"the agent refuses: {error}", hint=hint)
    return answer


def _heard(asking: socket.socket) -> bytes:
    parts, size = [], 0
    while data := asking.recv(1 << 16):
        parts.append(data)
        size += len(data)
        if size > _MOST_HEARD:
            raise OSError("it says too much")
    return b"".join(parts)
