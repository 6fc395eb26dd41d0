"""
Make the pictures of the documentation, and what examples print: `uv run docs/pictures.py`.

The same each time. An example is the block after `<!-- made by docs/pictures.py -->`: a command,
and its output.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
EXAMPLE = re.compile(
    r"(?<=<!-- made by docs/pictures\.py -->\n```console\n)"
    r"\$ isotherm (?P<words>.*)\n(?:.*\n)*?(?=```)"
)
#: What a map of pages is sure of changes with every change of it.
BOUNDS = re.compile(r"(^ map +says ).*\n(?: {12}.*\n)*", re.MULTILINE)


def isotherm(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "isotherm", *words], check=True)


def printed(match: re.Match[str]) -> str:
    """Return the block of an example, with what the command prints."""
    command = [sys.executable, "-m", "isotherm", *match["words"].split()]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    said = BOUNDS.sub(r"\1...\n...\n", done.stdout)
    return f"$ isotherm {match['words']}\n{said}"


def main() -> None:
    for page in sorted(HERE.rglob("*.md")):
        text = page.read_text("utf-8")
        if (made := EXAMPLE.sub(printed, text)) != text:
            page.write_text(made, "utf-8")
    with tempfile.TemporaryDirectory() as folder:
        recording = str(Path(folder, "phases.isotherm"))
        how = ("--workload", "phases", "--size", "256M", "-d", "60s", "--seed", "1")
        isotherm("simulate", *how, "-o", recording)
        isotherm("report", recording, "heatmap", "--force", "-o", str(HERE / "heatmap.png"))


if __name__ == "__main__":
    main()
