"""Who shares an address space, of made-up processes whose spaces are numbers."""

import errno
import os
import random

from isotherm.targets.pids import PidSource
from isotherm.targets.processes import Process
from isotherm.targets.spaces import Spaces


class Machine:
    """Processes by pid, each with the number of its address space; counts what is asked."""

    def __init__(self, **space_of):
        self.space_of = {int(pid[1:]): space for pid, space in space_of.items()}
        self.asked = 0
        self.made = {}
        self.ended = set()

    def order(self, first, second):
        self.asked += 1
        for pid in (first, second):
            if pid not in self.space_of:
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        one, other = self.space_of[first], self.space_of[second]
        return (one > other) - (one < other)

    def members(self):
        for pid in self.space_of:
            if pid not in self.made:
                made = Process(len(self.made), pid, 1, f"p{pid}", -1, PidSource([pid]))
                self.made[pid] = made
        return [self.made[pid] for pid in sorted(self.space_of, key=self.id_of)]

    def id_of(self, pid):
        return self.made[pid].target_id


def sharing_on(machine):
    return Spaces(machine.order, has_memory=lambda tid: tid not in machine.ended)


def pids(found):
    return [process.pid for process in found]


def apart(sharing, machine):
    return pids(sharing.apart(machine.members()))


def test_of_those_that_share_the_first_one_counts():
    machine = Machine(p10=7, p11=3, p12=7, p13=5, p14=3, p15=7)
    assert apart(sharing_on(machine), machine) == [10, 11, 13]


def test_an_exec_gives_one_a_space_of_its_own_and_an_end_passes_it_on():
    machine = Machine(p10=7, p11=7, p12=7)
    sharing = sharing_on(machine)
    assert apart(sharing, machine) == [10]
    machine.space_of[12] = 9
    assert apart(sharing, machine) == [10, 12]
    del machine.space_of[10]
    assert apart(sharing, machine) == [11, 12]


def test_an_exec_of_the_first_one_leaves_the_space_to_the_others():
    machine = Machine(p10=7, p11=7, p12=7)
    sharing = sharing_on(machine)
    assert apart(sharing, machine) == [10]
    machine.space_of[10] = 1
    assert apart(sharing, machine) == [10, 11]


def test_who_has_gone_in_the_meantime_keeps_nobody_apart_for_long():
    machine = Machine(p10=5, p11=7, p12=5, p13=7)
    sharing = sharing_on(machine)
    members = machine.members()
    del machine.space_of[11]
    assert 10 in pids(sharing.apart(members))
    assert apart(sharing, machine) == [10, 13]


def test_threads_that_have_ended_share_nothing():
    machine = Machine(p10=0, p11=0)
    machine.ended |= {10, 11}
    assert apart(sharing_on(machine), machine) == [10, 11]


def test_where_spaces_are_not_compared_all_are_apart():
    def refused(first, second):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    machine = Machine(p10=5, p11=5)
    sharing = Spaces(refused)
    assert apart(sharing, machine) == [10, 11]
    assert apart(sharing, machine) == [10, 11]


def test_of_five_hundred_only_a_new_one_costs_and_little():
    draw = random.Random(5)
    machine = Machine(**{f"p{pid}": draw.random() for pid in range(1000, 1500)})
    sharing = sharing_on(machine)
    assert len(apart(sharing, machine)) == 500
    assert machine.asked < 5000
    apart(sharing, machine)
    machine.asked = 0
    assert len(apart(sharing, machine)) == 500
    assert machine.asked == 0
    machine.space_of[2000] = machine.space_of[1234]
    assert len(apart(sharing, machine)) == 500
    assert machine.asked < 600
