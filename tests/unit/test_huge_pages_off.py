"""Programs that begin without huge pages, whatever the default of the machine is."""

import ctypes
import subprocess
import sys

import pytest

from isotherm.errors import BadValueError
from isotherm.kernel.huge_pages import can_except_advised, off_for_children
from isotherm.session.options import Options

#: What PR_GET_THP_DISABLE tells there: 1 for off, 3 for off but where it is advised.
ASK = "import ctypes; print(ctypes.CDLL(None).prctl(42, 0, 0, 0, 0))"


def told():
    return int(subprocess.check_output([sys.executable, "-c", ASK]))


def own():
    return ctypes.CDLL(None).prctl(42, 0, 0, 0, 0)


def test_what_is_started_begins_without_and_we_stay_as_we_were():
    before = own()
    with off_for_children():
        assert told() == (3 if can_except_advised() else 1)
    assert own() == before
    assert told() == before


def test_to_ask_changes_nothing():
    before = own()
    can_except_advised()
    assert own() == before


def test_only_a_command_can_begin_without():
    with pytest.raises(BadValueError, match="for a command only"):
        Options.of(pid=1, no_thp=True)
    assert Options.of(command=["true"], no_thp=True).no_thp
