"""Small parts of the actions: nodes, destinations, reasons, and pieces of a map."""

import errno
from collections import Counter

import pytest

from isotherm.actions import limits
from isotherm.actions.filters import not_kept_out, rules, why_not
from isotherm.actions.memory import SHARED, Piece, _sorted_out, called
from isotherm.actions.treat import weighted_node
from isotherm.actions.ways import NEVER, WAYS
from isotherm.kernel import numa
from isotherm.kernel.pages import madvise
from isotherm.model.scheme import Action, Destination, Scheme
from isotherm.model.target import Mapping
from isotherm.model.text import NamePattern
from isotherm.schemefile.lines.key_value import parse_line


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


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("[heap]", ["[heap]"]),
        ("[anon:*]|anonymous", ["anonymous", "[anon:a]", "[anon:]"]),
        ("*.so", ["/lib/a.so"]),
        ("/lib/*", ["/lib/a.so", "/lib/a.so (deleted)"]),
        ("h", []),
        ("[?eap]", ["[heap]"]),
    ],
)
def test_names_are_meant_as_they_stand_but_for_stars(pattern, names):
    known = ["anonymous", "[heap]", "[anon:a]", "[anon:]", "/lib/a.so", "/lib/a.so (deleted)"]
    assert [name for name in known if NamePattern(pattern).matches(name)] == names


def named(start, end, name):
    return Mapping(start, end, "rw-p", name)


def test_pieces_are_cut_where_parts_of_them_have_names():
    pieces = [
        Piece(0x1000, 0x5000, True, 0x1000, title="anonymous"),
        Piece(0x8000, 0x9000, True, 0x8000, title="[heap]"),
    ]
    names = [named(0x2000, 0x3000, "[anon:a]"), named(0x4000, 0x5000, "[anon:b]")]
    found = [(piece.start, piece.end, piece.title) for piece in called(pieces, names)]
    assert found == [
        (0x1000, 0x2000, "anonymous"),
        (0x2000, 0x3000, "[anon:a]"),
        (0x3000, 0x4000, "anonymous"),
        (0x4000, 0x5000, "[anon:b]"),
        (0x8000, 0x9000, "[heap]"),
    ]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("name:a", ["a"]),
        ("!name:a", ["b", "c"]),
        ("!name:a,name:b", ["b"]),
        ("+name:a,name:b", ["a", "b"]),
        ("anon,name:a", ["a", "b", "c"]),  # who knows what is anonymous must look at it
    ],
)
def test_what_is_kept_out_by_name_is_not_looked_at(text, kept):
    filters = parse_line(f"stat filter={text}").filters
    pieces = [Piece(0, 1, True, 0, title=title) for title in "abc"]
    assert [piece.title for piece in not_kept_out(filters, pieces)] == kept


def test_a_filter_of_names_is_a_rule_about_one_mapping():
    filters = parse_line("stat filter=anon,!name:a,+young").filters
    assert len(rules(filters, "a")) == 3 * 5
    assert list(rules(filters, "a")[8:10]) == [1, 0]  # it is what is meant: keep it out
    assert rules(filters, "b") == rules(filters[::2])


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


@pytest.mark.parametrize("gives_back", [False, True])
def test_that_zeros_stay_in_memory_where_the_kernel_keeps_them_is_told(
    tmp_path, monkeypatch, gives_back
):
    (tmp_path / "here").touch()
    monkeypatch.setattr(
        limits, "_GIVES_ZEROS_BACK", tmp_path / ("here" if gives_back else "missing")
    )
    sources = {"accessed": True, "flags": True, "cgroups": True, "huge": True}
    told = [
        limits.warnings_for(parse_line(f"nohugepage {text}"), sources)
        for text in ("filter=underused:80%..", "access=0%")
    ]
    assert ["zeros stay in memory" in " ".join(one) for one in told] == [not gives_back, False]


def test_which_huge_pages_are_told_of_is_asked_before_contents():
    (rule,) = parse_line("stat filter=underused:80%..").filters
    sources = {"accessed": False, "flags": True, "cgroups": True, "huge": False}
    assert "Linux 6.7" in why_not(rule, sources, mapped=False)
    assert why_not(rule, sources | {"huge": True}, mapped=False) == ""


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
