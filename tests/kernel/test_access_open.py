"""What opening the access check leaves behind when it fails."""

from pathlib import Path

import pytest

from isotherm._core import AccessBpf
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
