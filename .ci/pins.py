"""
Pin every dependency to one version, without an address: `make pins`; --check only compares.

pyproject.toml's [tool.uv] has the pins for uv, so that `uv run` in a fresh clone obeys them;
constraints.txt has the same for pip (`pip install -c constraints.txt isotherm`).
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT, CONSTRAINTS = ROOT / "pyproject.toml", ROOT / "constraints.txt"
#: What _build/backend.py asks for beside what pyproject.toml says.
COMPILER = "ziglang==0.17.*"
LISTS = ("constraint-dependencies", "build-constraint-dependencies")
PLAIN = ("--no-header", "--no-annotate")


def uv(*words, text=None):
    done = subprocess.run(
        ["uv", *words, "-q"], cwd=ROOT, input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"uv {words[0]}: {done.stderr}")
    return [line for line in done.stdout.splitlines() if not line.startswith(("#", "-"))]


def to_run():
    """Return what the project, its extras and its groups resolve to under the pins in force."""
    words = ("--no-hashes", "--no-emit-project", "--all-groups", "--all-extras")
    return uv("export", *words, *PLAIN)


def to_build():
    needs = [*tomllib.loads(PROJECT.read_text())["build-system"]["requires"], COMPILER]
    return uv("pip", "compile", "--universal", *PLAIN, "-", text="\n".join(needs))


def put(*pins):
    """Write the lists of pyproject.toml."""
    text = PROJECT.read_text()
    for name, lines in zip(LISTS, pins, strict=True):
        rows = "".join(f'    "{line}",\n' for line in lines)
        text, done = re.subn(
            rf"^{name} = \[\n.*?^\]", f"{name} = [\n{rows}]".replace("\\", r"\\"), text,
            flags=re.MULTILINE | re.DOTALL,
        )  # fmt: skip
        if done != 1:
            raise SystemExit(f"pyproject.toml: {name} = [ ... ] not found")
    PROJECT.write_text(text)


def check():
    pins = tomllib.loads(PROJECT.read_text())["tool"]["uv"]
    run, build = (pins[name] for name in LISTS)
    if to_run() != run or CONSTRAINTS.read_text().splitlines() != run + build:
        raise SystemExit("dependencies and their pins differ: `make pins` writes them anew")


def main():
    if sys.argv[1:] == ["--check"]:
        return check()
    put([], [])
    uv("lock", "--upgrade")
    run, build = to_run(), to_build()
    put(run, build)
    return CONSTRAINTS.write_text("".join(f"{line}\n" for line in run + build))


if __name__ == "__main__":
    main()
