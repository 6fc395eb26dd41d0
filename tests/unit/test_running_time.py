"""How long targets stood still, from looks at who does."""

from isotherm.core.look import TargetRanges
from isotherm.core.running_time import RunningTime
from isotherm.model.target import Mapping, Target

MS, SECOND = 1_000_000, 1_000_000_000


class Who:
    """Stands still as told."""

    def __init__(self):
        self.pids, self.still, self.began, self.looks = (), {}, {}, 0

    def follow(self, pids):
        self.pids = pids

    def now(self):
        self.looks += 1
        return [self.still.get(pid, False) for pid in self.pids]

    def stacks(self):
        return [self.began.get(pid, 0) for pid in self.pids]


class Followed:
    def __init__(self, *pids, share=1.0):
        self.who, self.told = Who(), {}
        self.time = RunningTime(share, self.take, self.who)
        self.follow(*pids)

    def follow(self, *pids):
        self.time.follow([TargetRanges(Target(pid or 0, "p", pid), ()) for pid in pids])

    def take(self, index, stopped_ns, still, now_ns):
        self.told[index] = (stopped_ns, still, now_ns)

    def look(self, ms, *still):
        self.who.still = dict.fromkeys(still, True)
        self.time.look(ms * MS)


def test_who_runs_is_not_told_of():
    followed = Followed(1, 2)
    for ms in range(1000, 2000, 100):
        followed.look(ms)
    assert (followed.told, followed.time.stopped_ns) == ({}, 0)


def test_the_time_between_looks_counts_if_it_stood_still_at_either():
    followed = Followed(1, 2)
    followed.look(1000)
    followed.look(1100, 2)
    assert followed.told == {1: (100 * MS, True, 1100 * MS)}
    followed.look(1200, 2)
    followed.look(1300)
    assert followed.told == {1: (300 * MS, False, 1300 * MS)}
    followed.look(1400)
    assert followed.time.stopped_ns == 300 * MS


def test_time_of_which_something_was_noted_is_not_taken_back():
    followed = Followed(1)
    followed.look(1000)
    followed.time.settle(1060 * MS)
    followed.look(1100, 1)
    followed.time.settle(1160 * MS)  # of what stood still there is nothing to take back
    followed.look(1200, 1)
    assert followed.told[0][0] == 140 * MS


def test_who_came_while_it_stood_still_did_so_since_the_look_before():
    followed = Followed(1)
    followed.look(1000)
    followed.follow(1, 5)
    followed.look(1100, 5)
    assert followed.told == {1: (100 * MS, True, 1100 * MS)}


def test_what_is_said_of_who_is_left_is_kept():
    followed = Followed(1, 2)
    followed.look(1000, 2)
    followed.look(1100, 2)
    followed.follow(2)
    followed.look(1200, 2)
    assert followed.told[0] == (200 * MS, True, 1200 * MS)


def test_looks_come_seldom_where_there_is_little_to_spend():
    for share, least, most in ((1.0, 100, 100), (0.000_001, 1000, 1000)):
        followed = Followed(1, share=share)
        followed.look(1000)
        assert (1000 + least) * MS <= followed.time.due_ns <= (1000 + most) * MS


def test_where_there_are_no_processes_nobody_looks():
    followed = Followed(None)
    followed.look(1000)
    assert followed.who.looks == 0
    assert followed.time.due_ns > 1 << 61
    followed.follow(None, 7)
    followed.look(1000)
    assert followed.who.looks == 1


def test_a_stack_elsewhere_is_that_of_another_program():
    followed = Followed(1, 2)
    stack = Mapping(0x7000, 0x9000, "rw-p", "[stack]")
    other = Mapping(0x1000, 0x2000, "r-xp", "/bin/p")
    maps = [TargetRanges(Target(pid, "p", pid), (), (other, stack)) for pid in (1, 2)]
    followed.time.follow(maps)
    followed.who.began = {1: 0x8000, 2: 0x8000}
    followed.look(1000)
    assert followed.time.executed == set()
    followed.who.began = {1: 0x8000, 2: 0x5000}
    followed.look(1100)
    assert followed.time.executed == {1}
    # Until its map is that of what it runs; nothing is said where either is not known.
    followed.time.follow(maps)
    followed.look(1200)
    assert followed.time.executed == {1}
    moved = TargetRanges(Target(2, "p", 2), (), (Mapping(0x4000, 0x6000, "rw-p", "[stack]"),))
    followed.time.follow([maps[0], moved])
    followed.who.began = {1: 0, 2: 0x5000}
    followed.look(1300)
    assert followed.time.executed == set()
