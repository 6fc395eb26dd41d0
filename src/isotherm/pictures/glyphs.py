"""
Letters as small pictures, and how wide a text is.

PNG has no text. A library that draws it would be the largest dependency of all for axes of a heat
map; 11 KiB of letters of DejaVu Sans, drawn beforehand (`_build/glyphs.py`), do as well.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from isotherm.errors import escaped

Face = Literal["text", "title"]
#: Pixels of the pictures for one unit of a figure.
PIXELS = 2


@dataclass(frozen=True, slots=True)
class Glyph:
    """
    A letter: `cover` has a byte 0..255 for each of width x height pixels.

    left, top: where they begin, from the pen and the top of the line; advance: of the pen.
    """

    width: int
    height: int
    left: int
    top: int
    advance: int
    cover: bytes


@dataclass(frozen=True, slots=True)
class Letters:
    """A face: its letters, its size and how far its baseline is below the top, in pixels."""

    size: int
    ascent: int
    glyphs: dict[str, Glyph]

    def of(self, text: str) -> list[Glyph]:
        """Return the letters of a text; what there is no picture of is spelled out."""
        return [self.glyphs[letter] for letter in "".join(map(self._spelled, text))]

    def _spelled(self, letter: str) -> str:
        if letter in self.glyphs:
            return letter
        return letter.encode("ascii", "backslashreplace").decode()


@cache
def letters(face: Face) -> Letters:
    """Return a face of the package."""
    return _all()[face]


@cache
def _all() -> dict[str, Letters]:
    packed = files(__package__).joinpath("glyphs.bin").read_bytes()
    head, _, pictures = zlib.decompress(packed).partition(b"\n")
    at, faces = 0, {}
    for face, index in json.loads(head).items():
        size, ascent, _ = index.pop("")
        glyphs = {}
        for letter, (width, height, left, top, advance) in index.items():
            cover = pictures[at : at + width * height]
            at += len(cover)
            glyphs[letter] = Glyph(width, height, left, top, advance, cover)
        faces[face] = Letters(size, ascent, glyphs)
    return faces


def width_of(text: str, face: Face = "text") -> float:
    """Return the width of a text in units of a figure."""
    return sum(glyph.advance for glyph in letters(face).of(escaped(text))) / PIXELS


def fitted(text: str, width: float, face: Face = "text") -> str:
    """Return a text on one line within a width: without its middle, if it is too long."""
    text = escaped(text)
    if width_of(text, face) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        short = f"{text[: kept // 3]}…{text[len(text) - (kept - kept // 3) :]}"
        if width_of(short, face) <= width:
            return short
    return ""
