"""ISOTHERM_VM_TESTS=auto|require|off: whether guests are booted, and whether they must."""

import os

import pytest
import qemu_guest
import uml_guest
from guest import GuestError

from support.wishes import wish

# Tests of the guest's own kernel, collected there only.
collect_ignore = [] if "ISOTHERM_IN_GUEST" in os.environ else ["inside_uml", "inside_qemu"]
#: By fixture, which a test uses: whether its guest was made before.
MADE = {
    "bootable": uml_guest.find_kernel,
    "emulated": lambda: all(map(qemu_guest.find_kernel, qemu_guest.KERNELS)),
}


def boots(run):
    """The guest boots here, or the test is skipped, or fails where guests are required."""
    try:
        run(["true"])
    except (GuestError, OSError) as err:
        if wish("vm") == "require":
            raise
        pytest.skip(f"no guest boots here: {str(err)[-300:]}")


@pytest.fixture(scope="session")
def bootable():
    """User-Mode Linux."""
    boots(uml_guest.run)


@pytest.fixture(scope="session")
def emulated():
    """QEMU."""
    boots(qemu_guest.run)


def pytest_collection_modifyitems(items):
    asked = wish("vm")
    for item in items:
        if not item.get_closest_marker("vm"):
            continue
        if asked == "off":
            reason = "ISOTHERM_VM_TESTS=off"
        elif asked == "auto" and not all(
            made() for name, made in MADE.items() if name in item.fixturenames
        ):
            reason = "the guest was not made yet: `make test-vm` does"
        else:
            continue
        item.add_marker(pytest.mark.skip(reason=reason))
