"""What schemes did, by mapping: each byte once, and nothing that no scheme did."""

from isotherm.analysis.applied import Outcomes
from isotherm.core.act import Done
from isotherm.core.look import TargetRanges
from isotherm.model.ranges import Range, parts
from isotherm.model.scheme_state import TriedRegion
from isotherm.model.target import Mapping, Target
from isotherm.schemes.engine import Event

A = Mapping(100, 200, "rw-p", "/a")
B = Mapping(200, 240, "rw-p", "")
C = Mapping(300, 400, "rw-p", "/c")
WORLD = TargetRanges(Target(7, "x", 4242), (Range(100, 400),), mappings=(A, B, C))


def event(start, end, applied, *, target=0, kind="done"):
    tried = TriedRegion(target, start, end, 0, 0, 0, applied)
    return Event(kind, 3, 1, tried, Done(applied))


def test_a_region_is_divided_between_the_mappings_it_lies_in():
    assert list(parts((A, B, C), 150, 310)) == [
        (A, Range(150, 200)),
        (B, Range(200, 240)),
        (C, Range(300, 310)),
    ]


def test_touching_is_not_lying_in():
    assert not list(parts((A, B, C), 240, 300))
    assert not list(parts((A, B, C), 0, 100))
    assert not list(parts((A, B, C), 400, 900))
    assert not list(parts((), 0, 900))


def test_sums_by_scheme_and_mapping():
    outcomes = Outcomes()
    outcomes.take(event(150, 240, 45), [WORLD])
    outcomes.take(event(150, 200, 0), [WORLD])
    outcomes.take(event(160, 200, 20), [WORLD])
    one = outcomes.by_scheme[3]
    assert dict(one.asked) == {"/a": 50 + 50 + 40, "anonymous": 40}
    assert dict(one.done) == {"/a": 25 + 20, "anonymous": 20}
    assert {name: found.size for name, found in one.different.items()} == {
        "/a": 50,
        "anonymous": 40,
    }


def test_what_says_nothing_is_passed_over():
    outcomes = Outcomes()
    outcomes.take(event(150, 240, 45, kind="apply"), [WORLD])
    outcomes.take(Event("quota", 0, 1, effective_bytes=3), [WORLD])
    outcomes.take(event(150, 240, 45, target=1), [WORLD])  # it ended meanwhile
    assert not outcomes.by_scheme
    outcomes.take(event(240, 300, 0), [WORLD])  # was unmapped meanwhile
    assert not outcomes.by_scheme[3].asked


def test_a_mapping_without_a_name_is_anonymous():
    assert [one.title for one in (A, B)] == ["/a", "anonymous"]
