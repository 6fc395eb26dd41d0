"""As much of HTTP/1.1 as a scrape needs: one request for one text, and the connection ends."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

from isotherm.agent.openmetrics import CONTENT_TYPE

PATH = b"/metrics"
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/(\d)\.(\d)")
_FIELD = re.compile(_TOKEN + rb":[ \t]*[\t -~\x80-\xff]*")
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
_PLAIN = "text/plain; charset=utf-8"


class Scrapes:
    """
    Answers `GET /metrics` with what `text` returns.

    text: the metrics, ready: nothing is asked of the machine for an answer.
    """

    def __init__(self, text: Callable[[], bytes]) -> None:
        self._text = text
        #: How many requests were answered with metrics, and how many with an error.
        self.served = self.refused = 0

    def greet(self, connection: socket.socket) -> bytes | None:
        """Everybody who can connect may ask."""
        del connection
        return None

    def answer(self, heard: bytes, connection: socket.socket | None = None) -> bytes | None:
        """Return the answer to a request whose head is complete."""
        del connection
        # RFC 9112, 2.2: who parses leniently takes a line feed alone, and skips an empty line.
        heard = heard.lstrip(b"\r\n")
        head, end, _ = heard.replace(b"\r\n", b"\n").partition(b"\n\n")
        if not end:
            first, ended, _ = heard.partition(b"\n")
            # What cannot become a request need not be waited for.
            if ended and _REQUEST.fullmatch(first.rstrip(b"\r")) is None:
                return self._error(400)
            return None
        line, *fields = head.split(b"\n")
        asked = _REQUEST.fullmatch(line)
        if asked is None or not all(map(_FIELD.fullmatch, fields)):
            return self._error(400)
        method, target, major, _ = asked.groups()
        if major != b"1":
            return self._error(505)
        if method not in (b"GET", b"HEAD"):
            return self._error(405)
        path = target.partition(b"?")[0]
        if path != PATH:
            return self._error(404)
        self.served += 1
        return _response(200, CONTENT_TYPE, self._text(), body=method == b"GET")

    def too_long(self) -> bytes:
        """Return the answer to a head without an end."""
        return self._error(431)

    def _error(self, status: int) -> bytes:
        self.refused += 1
        text = f"{_REASONS[status].lower()}: this is GET /metrics\n".encode()
        return _response(status, _PLAIN, text)


def _response(status: int, kind: str, text: bytes, *, body: bool = True) -> bytes:
    allow = "Allow: GET, HEAD\r\n" if status == 405 else ""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
        f"Content-Type: {kind}\r\n"
        f"Content-Length: {len(text)}\r\n"
        f"{allow}"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (text if body else b"")
