"""What older releases of Linux do otherwise, rule by rule, computed by hand."""

import pytest

from isotherm import _core
from isotherm.clock import VirtualClock
from isotherm.core.damon.arithmetic import divided
from isotherm.core.damon.profile import NEWEST, PROFILES, profile_of
from isotherm.core.look import WAS_YOUNG, Check, TargetRanges
from isotherm.core.monitor import Monitor
from isotherm.core.ops import Ops
from isotherm.core.reference import regions, rng, sampler
from isotherm.errors import BadValueError
from isotherm.model.attrs import Attrs
from isotherm.model.ranges import Range
from isotherm.model.target import Target

UNIT = 4096
GIB = 1 << 30


class Scripted(Ops):
    """All samples of a tick have the same result: the next of a script, then idle."""

    def __init__(self, *script, ranges=()):
        self.script = [*script, Check.IDLE]
        self.ranges = ranges
        self.chosen = []

    def targets(self):
        return [TargetRanges(Target(0, "0"), tuple(Range(*pair) for pair in self.ranges))]

    def prepare(self, addresses):
        self.batch = [*addresses]
        self.chosen.append(self.batch)

    def check(self):
        return bytes([self.script.pop(0) if len(self.script) > 1 else self.script[0]]) * len(
            self.batch
        )


class Twin:
    """A table of one of the twins, with a sampler and random numbers."""

    def __init__(self, profile, *, native, samples=20, script=()):
        kind = _core.RegionTable if native else regions.RegionTable
        self.table = kind(UNIT, PROFILES[profile], samples)
        self.ops = Scripted(*script)
        self.rng = (_core.Rng if native else rng.Rng)("splitmix", 1)
        if native:
            access = _core.python_access(self.ops)
            self.sampler = _core.Sampler(self.table, self.rng, access, VirtualClock())
        else:
            self.sampler = sampler.PySampler(self.table, self.rng, self.ops, VirtualClock())

    def load(self, *rows):
        self.table.load([[(start * UNIT, end * UNIT, *rest) for start, end, *rest in rows]])

    def many(self, nr):
        self.load(*((100 * i, 100 * i + 100) for i in range(nr)))

    def tick(self, nr=1):
        assert self.sampler.run(nr, 1000) == nr

    def rate(self, left_bp):
        (rate,) = self.table.mvsum(left_bp)
        assert self.table.region(0, left_bp)[2] == rate
        return rate


@pytest.fixture(params=[False, True], ids=["python", "native"])
def twin(request):
    return lambda profile, **options: Twin(profile, native=request.param, **options)


older = pytest.mark.parametrize("profile", ["7.2", "6.12"])


def test_the_newest_is_the_default_and_others_are_refused():
    assert profile_of("7.3") is NEWEST is PROFILES["7.3"]
    with pytest.raises(BadValueError, match=r"no profile '5.10'"):
        profile_of("5.10")
    with pytest.raises(BadValueError, match="profile"):
        Monitor(Scripted(), profile="5.10")


@older
def test_the_stored_sum_drops_a_share_of_the_last_window_per_sample(twin, profile):
    one = twin(profile, samples=3, script=[Check.IDLE, Check.IDLE, Check.ACCESSED])
    one.load((0, 1, 3, 0))
    one.table.reset()
    sums, rates = [*one.table.moving_sums()], []
    for left_bp in (6_666, 3_333, 0):
        one.tick()
        sums += one.table.moving_sums()
        rates.append(one.rate(left_bp))
    assert sums == [30_000, 20_000, 10_000, 10_000]
    assert rates == [2, 1, 1]
    one = twin("7.3", samples=3)
    one.load((0, 1, 3, 0))
    one.table.reset()
    one.tick(2)
    assert one.rate(3_333) == 0  # 0 + 3 * 3333 / 10000


@older
def test_the_stored_sum_is_the_count_at_the_end_of_a_window(twin, profile):
    one = twin(profile, samples=3)
    one.load((0, 1, 1, 0), (1, 2, 0, 0))
    one.table.reset()
    one.tick(3)
    assert [*one.table.moving_sums()] == [1, 0]  # 10000 - 3 * 3333
    one.table.end_window(3)
    assert [*one.table.moving_sums()] == [0, 0]
    one.load((0, 1, 3, 0), (1, 2, 1, 0))
    one.table.merge(2, 2 * UNIT)
    assert [*one.table.moving_sums()] == [20_000]


@older
def test_the_stored_sum_has_32_bits(twin, profile):
    one = twin(profile, samples=2)
    one.load((0, 1, 0, 1))
    one.tick()
    assert [*one.table.moving_sums()] == [2**32 - 5_000]
    assert one.rate(5_000) == (2**32 - 5_000) // 10_000


@older
def test_what_was_not_seen_is_no_hit(twin, profile):
    script = [Check.MISSED, Check.UNOBSERVABLE, Check.ACCESSED | WAS_YOUNG, Check.IDLE | WAS_YOUNG]
    one = twin(profile, script=script)
    one.load((0, 1))
    one.tick(4)
    assert [*one.table.moving_sums()] == [10_000]


@older
def test_the_stored_sum_follows_the_intervals(twin, profile):
    one = twin(profile, samples=20, script=[Check.ACCESSED])
    one.load((0, 1, 4, 8))
    one.table.rescale(20, 10, 100_000, 100_000, aggregating=False)
    assert [*one.table.moving_sums()] == [20_000]
    one.table.rescale(10, 40, 100_000, 100_000, aggregating=True)
    assert [*one.table.moving_sums()] == [160_000]  # 8 of 20 is 16 of 40
    one.tick()
    assert [*one.table.moving_sums()] == [160_000 - 4_000 + 10_000]


@pytest.mark.parametrize(("profile", "ages"), [("7.3", [0, 0]), ("7.2", [0, 0]), ("6.12", [8, 8])])
def test_age_when_accesses_begin_or_end(twin, profile, ages):
    one = twin(profile)
    one.load((0, 1, 1, 0, 7), (2, 3, 0, 1, 7))
    one.table.merge(1, UNIT)
    assert [*one.table.columns().age] == ages


@pytest.mark.parametrize(("profile", "nr"), [("7.3", 10), ("7.2", 10), ("6.12", 1)])
def test_the_least_count_of_regions(twin, profile, nr):
    one = twin(profile)
    one.load((0, 100))
    assert one.table.enforce_min(10) == 10 * UNIT
    assert len(one.table) == nr


def test_without_enforcement_merging_stops_at_the_size(twin):
    one = twin("6.12")
    one.load(*((at, at + 5) for at in range(0, 100, 5)))
    one.table.merge(0, one.table.enforce_min(10))
    assert len(one.table) == 10


def test_first_ranges_are_divided_evenly():
    ranges = [(0, 100 * UNIT), (200 * UNIT, 203 * UNIT)]
    # A piece is 10.3 units: nine of 11 units, the last with one more; the second is smaller.
    want = [(11 * i * UNIT, 11 * (i + 1) * UNIT) for i in range(8)]
    want += [(88 * UNIT, 100 * UNIT), (200 * UNIT, 203 * UNIT)]
    assert divided(ranges, 10, UNIT) == want
    assert divided([(1, 3 * UNIT - 1)], 10, UNIT) == [
        (0, UNIT),
        (UNIT, 2 * UNIT),
        (2 * UNIT, 3 * UNIT),
    ]


@pytest.mark.parametrize(("profile", "nr"), [("7.3", 11), ("7.2", 11), ("6.12", 10)])
@pytest.mark.parametrize("native", [False, True])
def test_a_monitor_begins_with(profile, nr, native):
    # The limit of 11 units cuts 100 into nine and a rest; evenly divided there is none.
    ops = Scripted(ranges=[(0, 100 * UNIT), (200 * UNIT, 203 * UNIT)])
    attrs = Attrs(min_nr_regions=10, max_nr_regions=100)
    with Monitor(
        ops, attrs, clock=VirtualClock(), seed=1, native=native, profile=profile
    ) as watched:
        next(watched.snapshots())
    assert len(ops.chosen[0]) == nr


@pytest.mark.parametrize(("profile", "more"), [("7.3", 2), ("7.2", 0), ("6.12", 0)])
def test_above_half_of_the_most(twin, profile, more):
    one = twin(profile)
    one.many(6)
    one.table.split(10, one.rng)  # every 10 // (10 - 6) = 2nd in 7.3
    assert len(one.table) == 6 + (3 if more else 0)
    one.many(10)
    one.table.split(10, one.rng)
    assert len(one.table) == 10


@pytest.mark.parametrize(("profile", "pieces"), [("7.3", 2), ("7.2", 3), ("6.12", 3)])
def test_the_count_remembered(twin, profile, pieces):
    """Whether a round that splits nothing counts as the one before."""
    one = twin(profile)
    for nr in (4, 100, 4):
        one.many(nr)
        one.table.split(100, one.rng)
    assert len(one.table) == 4 * pieces


@pytest.mark.parametrize(("size", "reach"), [(5 * GIB, GIB), (8 * GIB, 4 * GIB), (GIB, GIB)])
def test_what_of_a_big_region_is_sampled(twin, size, reach):
    for profile, end in (("7.3", size), ("7.2", size), ("6.12", reach)):
        one = twin(profile)
        one.table.load([[(GIB, GIB + size)]])
        one.tick(200)
        chosen = [address for (address,) in one.ops.chosen]
        assert GIB + 0.9 * end < max(chosen) < GIB + end
        assert GIB <= min(chosen) < GIB + 0.1 * end
