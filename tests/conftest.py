"""Options that all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run of CI: what it lets through must not depend on luck. A run by hand
# searches on.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# A machine's own DAMON is nobody's to test with; the guest's is there for that.
if "ISOTHERM_IN_GUEST" not in os.environ:
    os.environ["ISOTHERM_LEAVE_DAMON"] = "1"

DATA = Path(__file__).parent / "conformance" / "data"


def pytest_addoption(parser):
    parser.addoption(
        "--conformance-dir",
        action="append",
        type=Path,
        metavar="DIR",
        help="run the vectors of this directory (repeatable; default tests/conformance/data)",
    )


def kernel_tests_wish():
    wish = os.environ.get("ISOTHERM_KERNEL_TESTS", "auto")
    if wish not in ("auto", "require", "off"):
        raise pytest.UsageError(f"ISOTHERM_KERNEL_TESTS={wish}: must be auto, require or off")
    return wish


def pytest_collection_modifyitems(items):
    wish = kernel_tests_wish()
    if wish == "off":
        reason = "ISOTHERM_KERNEL_TESTS=off"
    elif wish == "auto" and os.geteuid() != 0:
        reason = "touches the running kernel: run as root, or set ISOTHERM_KERNEL_TESTS=require"
    else:
        return
    for item in items:
        if item.get_closest_marker("kernel"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Hold every skip to its reason; under `require`, a kernel test may not skip itself."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2].removeprefix("Skipped").removeprefix(":").strip()
        if reason in ("", "unconditional skip"):
            report.outcome, report.longrepr = "failed", "skipped without a reason"
        elif item.get_closest_marker("kernel") and kernel_tests_wish() == "require":
            report.outcome = "failed"
            report.longrepr = f"ISOTHERM_KERNEL_TESTS=require, but skipped: {reason}"
    return report
