"""ISOTHERM_VM_TESTS=auto|require|off: whether guests are booted, and whether they must."""

import os

import guest
import pytest

# Tests of the guest's own kernel, collected there only.
collect_ignore = [] if "ISOTHERM_IN_GUEST" in os.environ else ["inside"]


def wish_of():
    wish = os.environ.get("ISOTHERM_VM_TESTS", "auto")
    if wish not in ("auto", "require", "off"):
        raise pytest.UsageError(f"ISOTHERM_VM_TESTS={wish}: must be auto, require or off")
    return wish


@pytest.fixture(scope="session")
def bootable():
    """A guest boots here, or the test is skipped, or fails where guests are required."""
    try:
        guest.run(["true"], timeout_s=60)
    except (guest.GuestError, OSError) as err:
        if wish_of() == "require":
            raise
        pytest.skip(f"no guest boots here: {str(err)[-300:]}")


def pytest_collection_modifyitems(items):
    wish = wish_of()
    if wish == "off":
        reason = "ISOTHERM_VM_TESTS=off"
    elif wish == "auto" and guest.find_kernel() is None:
        reason = "no User-Mode Linux here: `make test-vm` builds it"
    else:
        return
    for item in items:
        if item.get_closest_marker("vm"):
            item.add_marker(pytest.mark.skip(reason=reason))
