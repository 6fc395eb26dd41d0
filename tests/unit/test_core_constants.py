"""Numbers that the C core and Python share are written once, in C."""

import enum

import pytest

from isotherm import _core
from isotherm.actions.filters import RuleTest
from isotherm.core.look import WAS_YOUNG, Check
from isotherm.kernel.pages.pagemap import Fact
from isotherm.model import ranges


def test_the_model_knows_the_page_without_the_core():
    assert ranges.PAGE == _core.PAGE


@pytest.mark.parametrize(
    ("kind", "prefix"), [(Check, "CHECK_"), (Fact, "PAGE_"), (RuleTest, "TEST_")]
)
def test_enumerations_are_complete(kind, prefix):
    exported = {
        name.removeprefix(prefix): value
        for name, value in vars(_core).items()
        if name.startswith(prefix) and isinstance(value, int)
    }
    if kind is Check:
        assert exported.pop("WAS_YOUNG") == WAS_YOUNG
    assert {member.name: member.value for member in kind} == exported


def test_facts_are_bits():
    assert issubclass(Fact, enum.IntFlag)
    assert sorted(fact.value for fact in Fact) == [1 << bit for bit in range(len(Fact))]


def test_a_failure_has_a_code_and_a_text():
    assert issubclass(_core.CoreError, OSError)
    with pytest.raises(_core.CoreError) as caught:
        _core.Walker(b"", b"")
    codes = [value for name, value in vars(_core).items() if name.startswith("FAIL_")]
    assert len(set(codes)) == len(codes)
    assert caught.value.code in codes
    assert caught.value.errno
    assert caught.value.strerror
