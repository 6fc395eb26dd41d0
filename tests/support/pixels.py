"""What stands in a PNG, read without the code that writes it."""

from __future__ import annotations

import struct
import zlib

RGB = tuple[int, int, int]


class Pixels:
    """The pixels of a PNG of 8-bit RGB or RGBA, without interlacing."""

    def __init__(self, data: bytes) -> None:
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        at, packed = 8, b""
        while at < len(data):
            size, kind = struct.unpack(">I4s", data[at : at + 8])
            body = data[at + 8 : at + 8 + size]
            (check,) = struct.unpack(">I", data[at + 8 + size : at + 12 + size])
            assert check == zlib.crc32(kind + body)
            if kind == b"IHDR":
                self.width, self.height, depth, colours, *rest = struct.unpack(">IIBBBBB", body)
                assert (depth, rest) == (8, [0, 0, 0])
                self._each = {2: 3, 6: 4}[colours]
            packed += body if kind == b"IDAT" else b""
            at += 12 + size
        self._rows = self._unfiltered(zlib.decompress(packed))

    def _unfiltered(self, raw: bytes) -> list[bytes]:
        stride, each, rows = self.width * self._each, self._each, []
        before = bytearray(stride)
        assert len(raw) == self.height * (stride + 1)
        for y in range(self.height):
            kind, *line = raw[y * (stride + 1) : (y + 1) * (stride + 1)]
            row = bytearray(line)
            for i in range(stride) if kind else ():
                left = row[i - each] if i >= each else 0
                corner = before[i - each] if i >= each else 0
                above = before[i]
                near = left + above - corner
                nearest = min((left, above, corner), key=lambda value: abs(near - value))
                guess = (0, left, above, (left + above) // 2, nearest)[kind]
                row[i] = (row[i] + guess) & 255
            rows.append(bytes(row))
            before = row
        return rows

    def at(self, x: float, y: float) -> RGB:
        """Return the colour at a place."""
        at = int(x) * self._each
        red, green, blue = self._rows[int(y)][at : at + 3]
        return red, green, blue

    def area(self, x: int, y: int, width: int, height: int) -> set[RGB]:
        """Return the colours in a rectangle."""
        return {self.at(x + i, y + j) for i in range(width) for j in range(height)}
