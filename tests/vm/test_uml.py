"""The tests of inside_uml/, each file in a User-Mode Linux guest of its own."""

import sys
from pathlib import Path

import pytest
import uml_guest
from guest import failures

ROOT = Path(__file__).parents[2]
FILES = sorted((Path(__file__).parent / "inside_uml").glob("test_*.py"))


pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("bootable")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_in_guest(path):
    done = uml_guest.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rfEP",
            "-p",
            "no:cacheprovider",
            "--timeout=0",
            path,
        ],
        cwd=ROOT,
        zram_mib=256,
        timeout_s=540,
    )
    print(done.output)
    print(f"guest: {done.seconds:.1f} s with boot")
    assert done.returncode == 0, failures(done.output)


def test_a_guest_boots_quickly_and_tells_the_status():
    done = uml_guest.run(["sh", "-c", "uname -r; exit 3"])
    print(f"boot to a command and off again: {done.seconds:.2f} s")
    assert done.returncode == 3
    assert done.output.startswith("6.12.")
