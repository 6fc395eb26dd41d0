"""The rule of tests/conftest.py: what is demanded may neither skip nor be expected to fail."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).parents[1] / "conftest.py"
WAYS = """
import pytest

@pytest.fixture
def nowhere():
    pytest.skip("no swap")

@pytest.mark.{marker}
@pytest.mark.skipif(True, reason="no swap")
def test_marked(): pass

@pytest.mark.{marker}
def test_said(): pytest.skip("no swap")

@pytest.mark.{marker}
def test_fixture(nowhere): pass

@pytest.mark.{marker}
@pytest.mark.xfail(reason="no swap")
def test_expected(): assert False

@pytest.mark.{marker}
@pytest.mark.xfail(reason="no swap", run=False)
def test_expected_and_not_run(): pass

@pytest.mark.{marker}
@pytest.mark.xfail(reason="no swap", strict=False)
def test_expected_in_vain(): pass

@pytest.mark.{marker}
def test_given_up(): pytest.xfail("no swap")
"""


@pytest.fixture
def outcomes(pytester, monkeypatch):
    """Run a test file under the rule with these variables; return outcomes and what was said."""
    for name in ("ISOTHERM_KERNEL_TESTS", "ISOTHERM_VM_TESTS", "ISOTHERM_IN_GUEST"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makeini("[pytest]\nmarkers =\n  kernel: root\n  vm: guests\n")

    def run(text, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        pytester.makepyfile(text)
        done = pytester.runpytest_inprocess("-rA", "-p", "no:cacheprovider")
        found = done.parseoutcomes()
        # What is refused before the test begins is an error of its setup.
        found["failed"] = found.pop("failed", 0) + found.pop("errors", 0)
        return found, done.stdout.str() + done.stderr.str()

    return run


@pytest.mark.parametrize(
    ("marker", "variable"), [("kernel", "ISOTHERM_KERNEL_TESTS"), ("vm", "ISOTHERM_VM_TESTS")]
)
def test_what_is_required_runs(outcomes, marker, variable):
    found, said = outcomes(WAYS.format(marker=marker), **{variable: "require"})
    assert found == {"failed": 7}
    assert said.count(f"{variable}=require, but skipped: no swap") >= 3
    assert said.count(f"{variable}=require, but expected to fail: ") >= 4


def test_what_is_not_required_may_say_why_not(outcomes):
    # The other variable demands nothing of these.
    found, _ = outcomes(WAYS.format(marker="vm"), ISOTHERM_KERNEL_TESTS="require")
    assert found == {"failed": 0, "skipped": 3, "xfailed": 3, "xpassed": 1}


def test_without_a_reason_nothing_is_skipped(outcomes):
    found, said = outcomes("""
        import pytest
        @pytest.mark.skip
        def test_skipped(): pass
        @pytest.mark.xfail
        def test_expected(): assert False
        def test_said(): pytest.skip()
    """)
    assert found == {"failed": 3}
    assert "skipped without a reason" in said
    assert "expected to fail without a reason" in said


def test_a_file_does_not_skip_itself(outcomes):
    found, said = outcomes("""
        import pytest
        pytest.skip("no swap", allow_module_level=True)
    """)
    assert found == {"failed": 1}
    assert "a whole file may not skip itself" in said


def test_a_guest_is_without_what_was_said_of_it_only(outcomes):
    text = """
        import pytest
        @pytest.mark.skipif(True, reason="no DAMON")
        def test_lacking(): pass
        @pytest.mark.skipif(True, reason="one node only")
        def test_another(): pass
    """
    found, said = outcomes(text, ISOTHERM_IN_GUEST="qemu", ISOTHERM_GUEST_LACKS="no DAMON")
    assert found == {"skipped": 1, "failed": 1}
    assert "in a guest all tests must run, but skipped: one node only" in said


def test_a_wish_is_one_of_three(outcomes):
    _, said = outcomes("def test_one(): pass", ISOTHERM_KERNEL_TESTS="maybe")
    assert "ISOTHERM_KERNEL_TESTS=maybe: must be auto, require or off" in said
