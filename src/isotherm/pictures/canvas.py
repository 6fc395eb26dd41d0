"""What a figure is drawn on: rectangles, letters and cells. A unit is two pixels of a PNG."""

from __future__ import annotations

import html
import struct
import zlib
from base64 import b64encode
from typing import Literal, Protocol

from isotherm.errors import escaped
from isotherm.pictures.glyphs import PIXELS, Face, letters, width_of
from isotherm.pictures.palette import RGB, UNKNOWN, css

Anchor = Literal["start", "middle", "end"]
#: Distance of two stripes, in units.
_STRIPE = 3


class Canvas(Protocol):
    """Coordinates are units from the upper left; what is drawn later lies above."""

    def rect(self, x: float, y: float, width: float, height: float, colour: RGB) -> None:
        """Fill a rectangle."""

    def striped(self, x: float, y: float, width: float, height: float) -> None:
        """Fill a rectangle as what is unknown."""

    def cells(self, x: float, y: float, width: float, height: float, rows: list[bytes]) -> None:
        """Fill a rectangle with rows of cells, 3 bytes (RGB) each."""

    def text(
        self, x: float, y: float, text: str, colour: RGB, anchor: Anchor = "start",
        *, face: Face = "text",
    ) -> None:  # fmt: skip
        """Write a text from outside; y is its baseline."""

    def data(self) -> bytes:
        """Return the file."""


def png(width: int, height: int, pixels: bytes) -> bytes:
    """Return a PNG of RGB pixels, row by row."""
    stride = 3 * width
    packer = zlib.compressobj(6)
    packed = bytearray()
    for row in range(height):
        packed += packer.compress(b"\0" + pixels[row * stride : (row + 1) * stride])
    packed += packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    made = bytearray(b"\x89PNG\r\n\x1a\n")
    for kind, data in ((b"IHDR", head), (b"IDAT", bytes(packed)), (b"IEND", b"")):
        made += struct.pack(">I", len(data)) + kind + data
        made += struct.pack(">I", zlib.crc32(kind + data))
    return bytes(made)


class Png:
    """A canvas of pixels."""

    def __init__(self, width: int, height: int, ground: RGB) -> None:
        self.width, self.height = width * PIXELS, height * PIXELS
        self.pixels = bytearray(bytes(ground) * (self.width * self.height))

    def _box(self, x: float, y: float, width: float, height: float) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom in pixels, at least one pixel apart."""
        left, top = round(x * PIXELS), round(y * PIXELS)
        right = max(left + 1, round((x + width) * PIXELS))
        bottom = max(top + 1, round((y + height) * PIXELS))
        return max(0, left), max(0, top), min(self.width, right), min(self.height, bottom)

    def rect(self, x: float, y: float, width: float, height: float, colour: RGB) -> None:
        left, top, right, bottom = self._box(x, y, width, height)
        for row in range(top, bottom):
            self._put(row, left, bytes(colour) * (right - left))

    def striped(self, x: float, y: float, width: float, height: float) -> None:
        left, top, right, bottom = self._box(x, y, width, height)
        period, thick = 2 * _STRIPE * PIXELS, _STRIPE * PIXELS
        dark, light = (bytes(colour) for colour in UNKNOWN)
        line = b"".join(dark if i % period < thick else light for i in range(period)) * (
            (right - left) // period + 2
        )
        for row in range(top, bottom):
            shift = 3 * ((row + left) % period)
            self._put(row, left, line[shift : shift + 3 * (right - left)])

    def cells(self, x: float, y: float, width: float, height: float, rows: list[bytes]) -> None:
        left, top, right, bottom = self._box(x, y, width, height)
        columns = len(rows[0]) // 3
        of = [3 * (i * columns // (right - left)) for i in range(right - left)]
        drawn, line = -1, b""
        for row in range(top, bottom):
            at = (row - top) * len(rows) // (bottom - top)
            if at != drawn:
                drawn, source = at, rows[at]
                line = b"".join([source[i : i + 3] for i in of])
            self._put(row, left, line)

    def text(
        self, x: float, y: float, text: str, colour: RGB, anchor: Anchor = "start",
        *, face: Face = "text",
    ) -> None:  # fmt: skip
        text = escaped(text)
        font = letters(face)
        share = {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
        pen = round((x - share * width_of(text, face)) * PIXELS)
        top = round(y * PIXELS) - font.ascent
        for glyph in font.of(text):
            self._blend(pen + glyph.left, top + glyph.top, glyph.width, glyph.cover, colour)
            pen += glyph.advance

    def _put(self, row: int, left: int, line: bytes) -> None:
        at = 3 * (row * self.width + left)
        self.pixels[at : at + len(line)] = line

    def _blend(self, left: int, top: int, width: int, cover: bytes, colour: RGB) -> None:
        for i, share in enumerate(cover):
            row, column = top + i // width, left + i % width
            if share and 0 <= row < self.height and 0 <= column < self.width:
                at = 3 * (row * self.width + column)
                for part in range(3):
                    below = self.pixels[at + part]
                    self.pixels[at + part] = below + (colour[part] - below) * share // 255

    def data(self) -> bytes:
        return png(self.width, self.height, bytes(self.pixels))


class Svg:
    """A canvas of vectors; cells are a picture within it. Nothing is fetched from elsewhere."""

    def __init__(self, width: int, height: int, ground: RGB) -> None:
        self.width, self.height = width, height
        self._parts: list[str] = []
        self.rect(0, 0, width, height, ground)

    def rect(self, x: float, y: float, width: float, height: float, colour: RGB) -> None:
        self._parts.append(f'<rect {_place(x, y, width, height)} fill="{css(colour)}"/>')

    def striped(self, x: float, y: float, width: float, height: float) -> None:
        self._parts.append(f'<rect {_place(x, y, width, height)} fill="url(#unknown)"/>')

    def cells(self, x: float, y: float, width: float, height: float, rows: list[bytes]) -> None:
        picture = b64encode(png(len(rows[0]) // 3, len(rows), b"".join(rows))).decode()
        self._parts.append(
            f'<image {_place(x, y, width, height)} preserveAspectRatio="none" '
            f'style="image-rendering:pixelated" href="data:image/png;base64,{picture}"/>'
        )

    def text(
        self, x: float, y: float, text: str, colour: RGB, anchor: Anchor = "start",
        *, face: Face = "text",
    ) -> None:  # fmt: skip
        size = letters(face).size / PIXELS
        weight = ' font-weight="bold"' if face == "title" else ""
        # A font that is wider than ours must not run into what stands beside.
        length = f' textLength="{width_of(text, face):.5g}" lengthAdjust="spacingAndGlyphs"'
        whole = length if text.strip() and text.isascii() else ""
        self._parts.append(
            f'<text x="{x:.5g}" y="{y:.5g}" fill="{css(colour)}" font-size="{size:g}"{weight}'
            f'{whole} text-anchor="{anchor}">{html.escape(escaped(text), quote=False)}</text>'
        )

    def data(self) -> bytes:
        dark, light = map(css, UNKNOWN)
        size = 2 * _STRIPE
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" '
            'font-family="DejaVu Sans, Verdana, system-ui, sans-serif">'
            f'<defs><pattern id="unknown" width="{size}" height="{size}" '
            'patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            f'<rect width="{size}" height="{size}" fill="{light}"/>'
            f'<rect width="{_STRIPE}" height="{size}" fill="{dark}"/></pattern></defs>\n'
            + "\n".join(self._parts)
            + "\n</svg>\n"
        ).encode("utf-8", "replace")


def _place(x: float, y: float, width: float, height: float) -> str:
    return f'x="{x:.6g}" y="{y:.6g}" width="{width:.6g}" height="{height:.6g}"'
