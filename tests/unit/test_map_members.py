"""What a map of pages does when targets come and go: for the others nothing."""

from array import array

import pytest

from isotherm.core.look import TargetRanges
from isotherm.core.native_map import NativePageMap
from isotherm.model.mappings import Mappings
from isotherm.model.ranges import PAGE
from isotherm.model.target import Target
from support.page_memory import BASE, OLD, SECOND, PageMemory

NAMES = ("[heap]", "[anon:arena]")


class Counted(Mappings):
    """An address map that counts how often it is read."""

    reads = 0

    @property
    def texts(self):
        type(self).reads += 1
        return self.own_texts

    def __init__(self, pages):
        self.bounds = array("Q", [BASE, BASE + pages * PAGE])
        self.kinds = array("I", [0])
        self.own_texts = (("rw-p", NAMES[pages % 2]),)


@pytest.fixture
def memory():
    return PageMemory()


@pytest.fixture
def made(memory):
    made = NativePageMap(memory, memory, share=1000.0)
    yield made
    made.close()


def known(number, pages=None):
    """A target that has so many pages, by default its number and one."""
    return TargetRanges(Target(number, f"of {number}"), (), Counted(pages or number + 1))


def resident(made, memory, targets):
    """Fill the memory of targets by their places, look at it; return (place, pages, name)."""
    memory.pages.clear()
    for place, one in enumerate(targets):
        memory.set(0, one.mappings.bounds[1] // PAGE - BASE // PAGE, OLD, place)
    until = memory.now + 5 * SECOND
    while memory.now < until:
        memory.now = max(memory.now + SECOND // 100, min(until, made.step()))
    return [(row.target, row.resident // PAGE, row.what) for row in made.sum().rows]


def expected(targets):
    pages = [one.mappings.bounds[1] // PAGE - BASE // PAGE for one in targets]
    return [(place, nr, NAMES[nr % 2]) for place, nr in enumerate(pages)]


def test_when_one_comes_or_goes_the_maps_of_the_others_are_not_read_again(made):
    many = [known(number) for number in range(50)]
    made.update(many)
    own = TargetRanges(Target(50, "of 50"), (), Mappings.of(list(Counted(7))))
    Counted.reads = 0
    made.update([*many, own])
    assert Counted.reads == 0
    made.update([*many[1:], own])
    assert Counted.reads == 0


def test_figures_are_of_whom_they_were_when_others_come_and_go(made, memory):
    first = [known(number) for number in range(3)]
    made.update(first)
    assert resident(made, memory, first) == expected(first)
    then = [*first[1:], known(5)]
    made.update(then)
    assert sorted(resident(made, memory, then)) == expected(then)


def test_who_was_away_is_known_again_when_it_is_back(made, memory):
    both = [known(0), known(1)]
    made.update(both)
    made.update(both[:1])
    made.update(both)
    assert resident(made, memory, both) == expected(both)


def test_of_those_that_went_no_more_is_kept_than_of_a_few(made, memory):
    stays = known(0)
    for number in range(1, 100):
        made.update([stays, known(number, 3)])
        assert made._rows.nr_targets < 30
    last = [stays, known(100, 4)]
    made.update(last)
    assert resident(made, memory, last) == expected(last)
