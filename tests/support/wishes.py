"""What is wished of tests that need a privilege or a guest: auto, require or off."""

import os

import pytest

#: By marker, the variable that says auto, require or off.
VARIABLES = {"kernel": "ISOTHERM_KERNEL_TESTS", "vm": "ISOTHERM_VM_TESTS"}
#: In a guest: why a test may be skipped there; whoever boots it knows what its kernel is without.
LACKS = "ISOTHERM_GUEST_LACKS"


def wish(marker):
    """Return auto, require or off, for tests with this marker."""
    name = VARIABLES[marker]
    value = os.environ.get(name, "auto")
    if value not in ("auto", "require", "off"):
        raise pytest.UsageError(f"{name}={value}: must be auto, require or off")
    return value


def demand(item, reason):
    """Return what demands that `item` runs, though `reason` speaks against it; "" if nothing."""
    if "ISOTHERM_IN_GUEST" in os.environ:
        return "" if reason == os.environ.get(LACKS) else "in a guest all tests must run"
    for marker, name in VARIABLES.items():
        if item.get_closest_marker(marker) and wish(marker) == "require":
            return f"{name}=require"
    return ""
