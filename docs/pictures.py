"""Make the pictures of the documentation: `uv run docs/pictures.py`. The same each time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def isotherm(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "isotherm", *words], check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        recording = str(Path(folder, "phases.isotherm"))
        how = ("--workload", "phases", "--size", "256M", "-d", "60s", "--seed", "1")
        isotherm("simulate", *how, "-o", recording)
        isotherm("report", recording, "heatmap", "--force", "-o", str(HERE / "heatmap.png"))


if __name__ == "__main__":
    main()
