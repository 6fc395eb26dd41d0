"""Options that all tests share."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from support.wishes import demand, wish

# The same examples in every run of CI: what it lets through must not depend on luck. A run by hand
# searches on.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# A machine's own DAMON is nobody's to test with; the guest's is there for that.
if "ISOTHERM_IN_GUEST" not in os.environ:
    os.environ["ISOTHERM_LEAVE_DAMON"] = "1"

# What somebody measured on this machine is not told here.
os.environ["XDG_STATE_HOME"] = "/nonexistent"

# Who is started in the background ignores interrupts, and under nohup that the terminal is gone;
# so would every program of a test. What is handled here, however, is the default in those.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

DATA = Path(__file__).parent / "conformance" / "data"


def pytest_addoption(parser):
    parser.addoption(
        "--conformance-dir",
        action="append",
        type=Path,
        metavar="DIR",
        help="run the vectors of this directory (repeatable; default tests/conformance/data)",
    )


def pytest_collection_modifyitems(items):
    asked = wish("kernel")
    if asked == "off":
        reason = "ISOTHERM_KERNEL_TESTS=off"
    elif asked == "auto" and os.geteuid() != 0:
        reason = "touches the running kernel: run as root, or set ISOTHERM_KERNEL_TESTS=require"
    else:
        return
    for item in items:
        if item.get_closest_marker("kernel"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Hold skips and expected failures to a reason; what is demanded may be neither."""
    report = yield
    expected = hasattr(report, "wasxfail")
    if not (report.skipped or expected):
        return report
    text = report.wasxfail.removeprefix("reason") if expected else report.longrepr[2]
    reason = text.removeprefix("Skipped").removeprefix(":").strip()
    what = "expected to fail" if expected else "skipped"
    if reason in ("", "unconditional skip"):
        report.outcome, report.longrepr = "failed", f"{what} without a reason"
    elif demanded := demand(item, reason):
        report.outcome, report.longrepr = "failed", f"{demanded}, but {what}: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """A file that skips itself is not seen by the rule above: its tests must say so one by one."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"a whole file may not skip itself, but its tests: {report.longrepr[2]}"
    return report
