"""
Build the C core and the BPF objects.

Everything declarative is in pyproject.toml; this file only says what needs a compiler.
ISOTHERM_WERROR=1 turns warnings into errors: in CI, not for users, whose compiler may be newer.
ISOTHERM_SANITIZE=1 builds with address and undefined-behaviour sanitizers (`make sanitize`),
ISOTHERM_COVERAGE=DIR for gcov, with the objects in DIR (`make coverage`).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = Path("src/isotherm/_native")
BPF = Path("isotherm/bpf")


def bpf_compiler() -> list[str]:
    """Prefer the system's clang; `_build/backend.py` asks for ziglang only when there is none."""
    if clang := shutil.which("clang"):
        return [clang, "-target", "bpf"]
    return [sys.executable, "-m", "ziglang", "cc", "-target", "bpfel-freestanding"]


class BuildExt(build_ext):
    """Compile the extension as usual, then each src/isotherm/bpf/*.bpf.c beside it."""

    def run(self) -> None:
        super().run()
        out_root = Path("src") if self.inplace or self.editable_mode else Path(self.build_lib)
        for source in sorted(("src" / BPF).glob("*.bpf.c")):
            target = out_root / BPF / source.with_suffix(".o").name
            target.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                [*bpf_compiler(), "-O2", "-Wall", "-Werror", "-c", source, "-o", target],
                check=True,
            )


# -iquote finds "walker/walker.h" and "bpf/walk_abi.h", and keeps out of <sys/...>.
cflags = [
    "-std=gnu11",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    # The same sums on every machine: twins are compared bit by bit.
    "-ffp-contract=off",
    "-iquote",
    str(NATIVE),
    "-iquote",
    "src/isotherm",
]
ldflags: list[str] = []
if os.environ.get("ISOTHERM_WERROR"):
    cflags += ["-Werror"]
options: dict[str, dict[str, str]] = {"bdist_wheel": {"py_limited_api": "cp311"}}
# What was built in another way is never taken for up to date.
if os.environ.get("ISOTHERM_SANITIZE"):
    cflags += ["-O1", "-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
    ldflags += ["-fsanitize=address,undefined"]
    options["build"] = {"build_base": "build/sanitize"}
if objects := os.environ.get("ISOTHERM_COVERAGE"):
    cflags += ["-O1", "--coverage", "-fprofile-update=atomic"]
    ldflags += ["--coverage"]
    options["build"] = {"build_base": objects}

setup(
    ext_modules=[
        Extension(
            "isotherm._core",
            [str(p) for p in sorted(NATIVE.glob("*/*.c"))],
            depends=[
                str(p) for p in (*NATIVE.glob("*/*.h"), *Path("src/isotherm/bpf").glob("*.h"))
            ],
            extra_compile_args=cflags,
            extra_link_args=ldflags,
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": BuildExt},
    options=options,
)
