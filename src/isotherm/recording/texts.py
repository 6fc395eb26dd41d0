"""
Names as Arrow's text: names come from outside and need not be UTF-8, Arrow's text must be.

Python keeps bytes that are no text as lone surrogates (U+DC80 to U+DCFF). NUL, which no name of
the kernel holds, and four hexadecimal digits stand for each of them, and for NUL itself.
"""

from __future__ import annotations

import re

from isotherm.recording.flatbuffer import BadMessageError
from isotherm.recording.format import MAX_TEXT_BYTES

_SPECIAL = re.compile("[\0\ud800-\udfff]")
_SPELLED = re.compile("\0(.{0,4})", re.DOTALL)


def encode_text(text: str) -> bytes:
    """Return `text` as UTF-8, cut to `MAX_TEXT_BYTES`."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = b"\0"
    if b"\0" in data:
        data = _SPECIAL.sub(lambda found: f"\0{ord(found[0]):04x}", text).encode()
    return data if len(data) <= MAX_TEXT_BYTES else _cut(data)


def _cut(data: bytes) -> bytes:
    """Cut between two characters, and not within a spelled-out one."""
    cut = data[:MAX_TEXT_BYTES].decode(errors="ignore").encode()
    last = cut.rfind(b"\0", len(cut) - 4)
    return cut if last < 0 else cut[:last]


def decode_text(data: memoryview) -> str:
    """Return the text of UTF-8; raises `BadMessageError` for what `encode_text` does not write."""
    if len(data) > MAX_TEXT_BYTES:
        raise BadMessageError(f"a text is longer than {MAX_TEXT_BYTES} bytes")
    try:
        text = str(data, "utf-8")
        return _SPELLED.sub(_unspell, text) if "\0" in text else text
    except ValueError:
        raise BadMessageError("a text is not UTF-8") from None


def _unspell(found: re.Match[str]) -> str:
    digits = found[1]
    if len(digits) != 4 or not digits.isascii() or not digits.isalnum():
        raise ValueError(digits)
    code = int(digits, 16)
    if code and not 0xD800 <= code <= 0xDFFF:
        raise ValueError(digits)
    return chr(code)
