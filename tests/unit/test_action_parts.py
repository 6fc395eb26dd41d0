"""Small parts of the actions: nodes, destinations, reasons, and pieces of a map."""

import errno
from collections import Counter

from isotherm.actions import limits
from isotherm.actions.memory import SHARED, _sorted_out
from isotherm.actions.treat import weighted_node
from isotherm.actions.ways import NEVER, WAYS
from isotherm.kernel import numa
from isotherm.kernel.pages import madvise
from isotherm.model.scheme import Action, Destination, Scheme
from isotherm.model.target import Mapping


def test_lists_of_nodes():
    assert numa.parse_list("0\n") == (0,)
    assert numa.parse_list("0-2,5,7-8\n") == (0, 1, 2, 5, 7, 8)
    assert numa.parse_list("\n") == ()
    assert 0 in numa.memory_nodes()


def test_folios_go_to_nodes_by_weight():
    to = (Destination(3, 5), Destination(1, 0), Destination(0, 2))
    assert [weighted_node(to, index) for index in range(9)] == [3, 3, 3, 3, 3, 0, 0, 3, 3]
    assert Counter(weighted_node(to, i) for i in range(700)) == {3: 500, 0: 200}


def test_refusals_are_counted_by_reason():
    outcomes = bytes([0, errno.EINVAL, 0, errno.EBUSY, errno.EAGAIN])
    assert madvise.refusals(outcomes) == {
        madvise.reason(errno.EINVAL): 1,
        madvise.reason(errno.EBUSY): 2,
    }
    assert "NOHUGEPAGE" in madvise.reason(errno.EINVAL, madvise.COLLAPSE)


def test_every_action_has_a_way_and_never_is_never():
    assert set(WAYS) == set(Action)
    assert not [way for way in WAYS.values() if way.need & NEVER]


MAPS = b"""\
1000-2000 rw-p 00000000 00:00 0
2000-3000 rw-s 00000000 00:01 17 /memfd:shared (deleted)
3000-4000 ---p 00000000 00:00 0
4000-5000 r--p 00000000 fd:01 17 /lib/libc.so
5000-6000 rw-p 00000000 00:06 17 /dev/nvidia0
6000-7000 r-xp 00000000 00:00 0 [vdso]
7000-8000 rw-p 00000000 00:00 0 [heap]
8000-9000 rw-p 00000000 00:0f 17 anon_inode:kvm-vcpu:0
"""


def test_that_pages_are_left_alone_for_want_of_their_folios_is_told_beforehand():
    blind = {"accessed": False, "flags": False, "cgroups": False}
    (told,) = limits.warnings_for(Scheme(Action.COLD), blind)
    assert "kpageflags" in told
    assert limits.warnings_for(Scheme(Action.STAT), blind) == []
    assert limits.warnings_for(Scheme(Action.COLD), blind | {"flags": True}) == []


def test_only_private_ordinary_mappings_may_be_acted_on():
    found, left = _sorted_out(MAPS)
    assert [(one.start, one.is_anonymous) for one in found] == [
        (0x1000, True),
        (0x4000, False),
        (0x7000, True),
    ]
    assert isinstance(found[0], Mapping)
    # Without access rights there is no memory, and that of the kernel is nobody's.
    assert [(mapping.start, why) for mapping, why in left] == [
        (0x2000, SHARED),
        (0x5000, "device memory: left alone"),
        (0x8000, "kernel memory: left alone"),
    ]
