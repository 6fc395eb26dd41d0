"""
Objects of the C core, used and closed by several threads at once: an error at most, never a crash.

`make sanitize` runs this under the address sanitizer, where memory that is freed below a thread
ends the process.
"""

import os
import threading
import time
from array import array

import pytest

from isotherm._core import (
    AccessBpf,
    PageMap,
    RegionTable,
    Rng,
    Sampler,
    Sentinels,
    Survey,
    TouchArea,
)
from isotherm.kernel.bpf import open_walker

pytestmark = pytest.mark.kernel

PAGE = 4096
ROUNDS = 40
#: What a call may end with when another thread has closed, or uses, what it works on.
CLOSED, IN_USE = ValueError, RuntimeError


class World:
    """A walker, an access check that watches this process, and a survey."""

    def __init__(self):
        self.pidfd = os.pidfd_open(os.getpid())
        self.area = TouchArea(64 * PAGE)
        self.area.populate()
        self.start, self.end = self.area.address, self.area.address + 64 * PAGE
        self.walker = open_walker()
        self.access = AccessBpf(self.walker, overhead_ns=1_000_000_000)
        self.access.set_targets([(0, os.getpid(), self.pidfd)])
        self.survey = Survey(self.walker)
        self.pagemap = os.open("/proc/self/pagemap", os.O_RDONLY)

    def turn(self):
        pages = (self.end - self.start) // PAGE
        addresses = array("Q", range(self.start, self.start + pages * PAGE, PAGE))
        zeros = array("I", [0]) * pages
        self.access.turn(addresses, zeros, zeros)

    def retarget(self):
        self.access.set_targets([(0, os.getpid(), self.pidfd)])
        self.access.set_mappings(0, array("Q", [self.start, self.end, 1]))

    def ask(self):
        self.access.stats()
        self.access.unobservable(0)
        self.access.take_cleared()
        self.walker.targets()
        self.walker.facts()

    def look(self):
        self.survey.read(self.pagemap, 0, self.start, self.end)
        self.survey.pick(self.start, self.end, 1, 0)
        self.survey.facts()

    def read(self):
        self.walker.read([(self.start, 0)] * 64, True)
        self.walker.read_tables(0, self.start & ~((2 << 20) - 1), 1)

    def sample(self):
        table = RegionTable()
        table.load([[(self.start, self.end)]])
        sampler = Sampler(table, Rng(), self.access.native())
        while True:
            sampler.run(100, 100_000)
            sampler.take()

    def map(self):
        """Keep a map, until what it looks at is closed."""
        page_map = PageMap(self.access, time.monotonic_ns())
        try:
            page_map.set_targets(array("I", [0]))
            page_map.set_areas(0, array("Q", [self.start, self.end, 0]))
            while True:
                page_map.step(time.monotonic_ns())
        finally:
            page_map.close()

    def watch(self):
        """Watch by sentinels likewise."""
        sentinels = self.sentinels()
        try:
            while True:
                sentinels.run(time.monotonic_ns() + 1_000_000)
                sentinels.cut(5_000, 20, 1_000_000, 10, 1000)
                sentinels.stats()
        finally:
            sentinels.close()

    def sentinels(self, beside=None):
        made = Sentinels(
            self.access, now_ns=time.monotonic_ns(), share_ns=1_000_000_000, seed=1, beside=beside
        )
        made.set_space(array("I", [0]), array("Q", [0, self.start, self.end]))
        return made

    def close(self):
        for thing in (self.survey, self.access, self.walker, self.access, self.survey):
            thing.close()

    def give_up(self):
        os.close(self.pagemap)
        os.close(self.pidfd)


def until_closed(step, unexpected):
    """Call over and over; being in use by another thread passes, being closed ends it."""
    try:
        while True:
            try:
                step()
            except IN_USE:
                continue
    except CLOSED:
        pass
    except BaseException as error:  # noqa: BLE001
        unexpected.append(error)


def hammer(world, steps, closers=2):
    """Run each step in a thread of its own, then close everything from several threads at once."""
    unexpected = []
    threads = [
        threading.Thread(target=until_closed, args=(step, unexpected), daemon=True)
        for step in steps
    ]
    for thread in threads:
        thread.start()
    threading.Event().wait(0.02)
    closing = [threading.Thread(target=world.close) for _ in range(closers)]
    for thread in closing:
        thread.start()
    for thread in (*closing, *threads):
        thread.join(60)
        assert not thread.is_alive()
    world.give_up()
    assert not unexpected


def test_closing_while_others_call():
    for _ in range(ROUNDS):
        world = World()
        hammer(world, [world.turn, world.retarget, world.ask, world.look, world.read])


def test_closing_while_a_sampler_runs():
    for _ in range(ROUNDS):
        world = World()
        hammer(world, [world.sample])


def test_two_samplers_of_one_access_check():
    for _ in range(ROUNDS):
        world = World()
        hammer(world, [world.sample, world.sample, world.retarget])


def test_closing_only_the_walker_under_a_sampler():
    world = World()
    sampling = threading.Thread(target=until_closed, args=(world.sample, unexpected := []))
    sampling.start()
    threading.Event().wait(0.02)
    world.walker.close()
    sampling.join(60)
    assert not sampling.is_alive()
    assert not unexpected
    world.close()
    world.give_up()


def test_closing_under_sentinels_and_a_map():
    for _ in range(ROUNDS // 8):
        world = World()
        hammer(world, [world.map, world.watch, world.watch, world.retarget])


@pytest.mark.parametrize("closed", ["access", "walker"])
def test_sentinels_and_a_map_outlive_what_they_look_at(closed):
    world = World()
    page_map = PageMap(world.access, time.monotonic_ns())
    page_map.set_targets(array("I", [0]))
    page_map.set_areas(0, array("Q", [world.start, world.end, 0]))
    sentinels = world.sentinels(page_map)
    sentinels.step(time.monotonic_ns())
    page_map.step(time.monotonic_ns())
    getattr(world, closed).close()
    for call in (
        lambda: sentinels.step(time.monotonic_ns() + 10**9),
        lambda: sentinels.run(time.monotonic_ns() + 10**9),
        lambda: sentinels.before_clear(0, array("Q", [world.start, PAGE])),
        lambda: page_map.step(time.monotonic_ns() + 10**9),
        page_map.stats,
        sentinels.stats,
        world.sentinels,
        lambda: PageMap(world.access, 0),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()
    for thing in (sentinels, page_map, sentinels):
        thing.close()
    world.close()
    world.give_up()


def test_sentinels_beside_a_map_of_another_walker_are_refused():
    one, other = World(), World()
    page_map = PageMap(other.access, 0)
    with pytest.raises(ValueError, match="something else"):
        Sentinels(one.access, beside=page_map)
    page_map.close()
    for world in (one, other):
        world.close()
        world.give_up()


def test_what_is_closed_says_so_every_time():
    world = World()
    world.close()
    for step in (world.turn, world.retarget, world.look, world.read, world.sample):
        for _ in range(2):
            with pytest.raises(ValueError, match="closed"):
                step()
    for call in (
        world.access.stats,
        world.access.native,
        world.walker.targets,
        world.survey.facts,
    ):
        with pytest.raises(ValueError, match="closed"):
            call()
    with pytest.raises(ValueError, match="closed"):
        Survey(world.walker)
    with pytest.raises(ValueError, match="closed"):
        AccessBpf(world.walker)
    world.give_up()


def test_closing_a_walker_closes_what_uses_it():
    world = World()
    world.walker.close()
    for step in (world.turn, world.look, world.retarget):
        with pytest.raises(ValueError, match="closed"):
            step()
    world.close()
    world.give_up()


def test_targets_are_told_of_a_walker_whose_targets_an_access_check_replaced():
    walker = open_walker()
    walker.set_targets([os.getpid()] * 100)
    access = AccessBpf(walker)
    assert walker.targets() == []
    pidfd = os.pidfd_open(os.getpid())
    access.set_targets([(7, os.getpid(), pidfd)])
    assert [target[0] for target in walker.targets()] == [os.getpid()]
    access.close()
    walker.close()
    os.close(pidfd)


def test_an_access_check_notices_that_the_targets_are_not_its_own_any_more():
    world = World()
    world.turn()
    world.walker.set_targets([])
    with pytest.raises(RuntimeError, match="somebody else"):
        world.turn()
    world.retarget()
    world.turn()
    world.close()
    world.give_up()


def test_a_survey_of_a_target_that_the_walker_does_not_have():
    world = World()
    with pytest.raises(OSError, match="Invalid argument"):
        world.survey.read(world.pagemap, 1 << 40, world.start, world.start)
    world.close()
    world.give_up()
