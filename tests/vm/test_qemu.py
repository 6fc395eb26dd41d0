"""The tests of inside_qemu/, in guests with other kernels than the host's."""

import sys
from pathlib import Path

import pytest
import qemu_guest
from guest import failures
from kit import WITHOUT_DAMON

from support.wishes import LACKS

ROOT = Path(__file__).parents[2]
INSIDE = Path(__file__).parent / "inside_qemu"
#: Those of physical memory first, while it is in one piece.
FILES = sorted(INSIDE.glob("test_*.py"), key=lambda path: path.stem != "test_nodes")

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("emulated")]


def run(*paths, **options):
    pytest_of_guest = [sys.executable, "-m", "pytest", "-q", "-rfEP", "-p", "no:cacheprovider"]
    done = qemu_guest.run(
        [*pytest_of_guest, "--timeout=0", *paths], cwd=ROOT, timeout_s=1800, **options
    )
    print(done.output)
    print(f"guest: {done.seconds:.1f} s with boot")
    assert done.returncode == 0, failures(done.output)


@pytest.mark.timeout(1900)
def test_two_nodes_huge_pages_and_side_by_side():
    run(*FILES, nodes_mib=(1024, 1024))


@pytest.mark.timeout(1900)
def test_a_kernel_without_damon():
    lacks = {LACKS: WITHOUT_DAMON}
    run(*FILES, series="6.1", nodes_mib=(1024, 1024), env=lacks)


@pytest.mark.timeout(1900)
def test_a_kernel_with_the_page_idle_bitmap():
    names = ("test_bpf.py", "test_page_map.py", "test_side_by_side.py")
    run(*(INSIDE / name for name in names), series=qemu_guest.IDLE)


@pytest.mark.parametrize("series", qemu_guest.KERNELS)
def test_a_guest_boots_and_tells_the_status(series):
    done = qemu_guest.run(["sh", "-c", "uname -r; exit 3"], series=series, timeout_s=300)
    print(f"boot of {series} to a command and off again: {done.seconds:.2f} s")
    assert done.returncode == 3
    assert done.output.startswith(series.partition("-")[0] + ".")
