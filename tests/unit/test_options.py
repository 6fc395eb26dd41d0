"""What can be asked of a session: what makes no sense is told before anything starts."""

import pytest

import isotherm
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import MIB, fixed
from isotherm.clock import VirtualClock
from isotherm.errors import BadValueError
from isotherm.session.options import Options
from isotherm.targets.sources import CgroupSource, NameSource, PidSource


@pytest.mark.parametrize(
    ("asked", "phrase"),
    [
        ({}, "nothing to monitor"),
        ({"pid": 1, "command": ["true"]}, "only one of"),
        ({"pid": 0}, "no pid"),
        ({"pid": True}, "no pid"),
        ({"pid": 1.5}, "no pid"),
        ({"pid": "1 x"}, "is not a pid"),
        ({"pid": []}, "no pid was given"),
        ({"name": "a\nb"}, "no name"),
        ({"cgroup": "../.."}, "leads out"),
        ({"cgroup": "a\0b"}, "no path"),
        ({"command": "sleep 1"}, "list of words"),
        ({"pid": 1, "seed": -1}, "a seed is"),
        ({"pid": 1, "seed": "x"}, "a seed is"),
        ({"pid": 1, "seed": 1 << 64}, "a seed is"),
        ({"pid": 1, "backend": None}, "a backend is a name"),
        ({"pid": 1, "backend": "ebpf"}, "no backend 'ebpf'"),
        ({"pid": 1, "policy": "luck"}, "luck"),
        ({"pid": 1, "overhead": 0}, "too little"),
        ({"pid": 1, "overhead": "0%"}, "too little"),
        ({"pid": 1, "overhead": float("nan")}, "percentage"),
        ({"pid": 1, "overhead": 1e9}, "more CPUs"),
        ({"pid": 1, "sample": "5"}, "no unit"),
        ({"pid": 1, "guard": "luck=1/s"}, "luck"),
        ({"pid": [1, 2], "operations": "fvaddr", "ranges": [(0, 4096)]}, "one process"),
        ({"pid": 1, "clock": VirtualClock()}, "leave out clock"),
    ],
)
def test_nonsense(asked, phrase):
    with pytest.raises(BadValueError, match=phrase) as caught:
        Options.of(**asked)
    assert "\n" not in caught.value.message


def test_what_is_no_keyword_is_no_value_either():
    with pytest.raises(TypeError, match="'smple' is no keyword"):
        isotherm.monitor(pid=1, smple="1ms")


def test_who_is_meant_in_every_spelling():
    options = Options.of(pid=["1,2", 3], name=["a", "b"], cgroup="app")
    pids, first, second, group = options.sources
    assert isinstance(pids, PidSource)
    assert pids.pids() == [1, 2, 3]
    assert isinstance(first, NameSource)
    assert isinstance(second, NameSource)
    assert isinstance(group, CgroupSource)
    assert group.group == "/app"
    assert options.overhead == 0.01
    assert Options.of(pid=1, overhead="0.3%").overhead == pytest.approx(0.003)


@pytest.mark.parametrize(
    ("asked", "lasts", "sample_us", "aggr_us"),
    [
        ({}, None, 5_000, 100_000),
        ({}, 10**9, 5_000, 100_000),
        ({}, 42_000_000, 5_000, 40_000),
        ({}, 2_000_000, 2_000, 2_000),
        ({"aggr": "1s"}, 42_000_000, 5_000, 1_000_000),
    ],
)
def test_default_windows_fit_into_what_lasts(asked, lasts, sample_us, aggr_us):
    ops = SimOps(fixed(MIB, hot=()), VirtualClock())
    wish = Options.of(pid=1, **asked).lasting(lasts).wish
    attrs = wish.over(ops.recommended_attrs)
    assert (attrs.sample_us, attrs.aggr_us) == (sample_us, aggr_us)


@pytest.mark.parametrize(
    ("length", "windows"), [("1s", 10), ("1040ms", 10), ("1060ms", 11), ("90ms", 1), ("40ms", 0)]
)
def test_a_duration_is_kept_amid_a_window(length, windows):
    """A window of 100 ms that is half over may end."""
    clock = VirtualClock()
    ops = SimOps(fixed(64 * MIB, hot=((0, MIB),)), clock)
    with isotherm.monitor(ops=ops, clock=clock, seed=1, sample="5ms", aggr="100ms") as session:
        begun = clock.now_ns()
        assert len(list(session.snapshots(duration=length))) == windows
        assert clock.now_ns() - begun <= 1_150_000_000
