"""
Make src/isotherm/pictures/glyphs.bin: letters as small pictures, for text in PNG files.

`uv run --no-project --with pillow _build/glyphs.py`, with DejaVu Sans (LICENSE.DejaVu) installed.
The file is deflated: a JSON line {size: {letter: [width, height, left, top, advance]}}, then the
pictures one after the other, a byte of coverage a pixel in 16 steps.
"""

import json
import zlib
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONTS = Path("/usr/share/fonts/truetype/dejavu")
#: Name of a face in the file -> font, size in pixels.
FACES = {"text": ("DejaVuSans.ttf", 22), "title": ("DejaVuSans-Bold.ttf", 30)}
LETTERS = [chr(code) for code in range(32, 127)] + list("…→↑·µ–×≥")
HERE = Path(__file__).parents[1] / "src/isotherm/pictures/glyphs.bin"


def main() -> None:
    index, pictures = {}, []
    for face, (file, size) in FACES.items():
        font = ImageFont.truetype(str(FONTS / file), size)
        index[face] = {"": [size, *font.getmetrics()]}
        for letter in LETTERS:
            left, top, right, bottom = font.getbbox(letter)
            width, height = right - left, bottom - top
            index[face][letter] = [width, height, left, top, round(font.getlength(letter))]
            if width and height:
                image = Image.new("L", (width, height), 0)
                ImageDraw.Draw(image).text((-left, -top), letter, fill=255, font=font)
                pictures.append(bytes(round(value / 17) * 17 for value in image.tobytes()))
    head = json.dumps(index, separators=(",", ":")).encode()
    HERE.write_bytes(zlib.compress(head + b"\n" + b"".join(pictures), 9))
    print(HERE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
