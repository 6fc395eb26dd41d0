"""What opening the access check leaves behind when it fails."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from isotherm._core import (
    FAIL_OTHER,
    FAIL_PRIVILEGE,
    FAIL_SELF_TEST,
    AccessBpf,
    CoreError,
    Walker,
)
from isotherm.kernel.bpf import open_walker

pytestmark = pytest.mark.kernel


def descriptors():
    """Those that are open; the one that lists them is not there any more when it is looked for."""
    return sorted(one.name for one in Path("/proc/self/fd").iterdir() if one.exists())


def test_a_bitmap_that_is_not_there_closes_nothing_of_others(tmp_path):
    walker = open_walker()
    before = descriptors()
    with pytest.raises(OSError, match="bitmap: No such file"):
        AccessBpf(walker, overhead_ns=10_000_000, page_idle=str(tmp_path / "bitmap"))
    assert descriptors() == before
    walker.close()


def test_what_cannot_be_opened_says_why_by_a_code(tmp_path):
    with pytest.raises(CoreError, match="not a BPF object file") as caught:
        Walker(b"no object", b"")
    assert caught.value.code == FAIL_OTHER
    walker = open_walker()
    with pytest.raises(CoreError, match="bitmap: No such file") as caught:
        AccessBpf(walker, page_idle=str(tmp_path / "bitmap"))
    assert (caught.value.code, caught.value.errno) == (FAIL_OTHER, errno.ENOENT)
    (tmp_path / "bitmap").touch()
    with pytest.raises(CoreError, match="read as accessed") as caught:
        AccessBpf(walker, page_idle=str(tmp_path / "bitmap"))
    assert caught.value.code == FAIL_SELF_TEST
    walker.close()


def test_missing_privileges_are_told_apart_from_missing_support():
    """In a process without any capability."""
    program = (
        "import os\n"
        "from isotherm._core import CoreError, Walker\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: Walker(b'', b'')\n"
        "except CoreError as error: print(error.code)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert told.stdout == f"{FAIL_PRIVILEGE}\n", told.stderr
