"""The lazy simulated machine against one that is kept page by page."""

from array import array
from math import exp, isclose

from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm import _core
from isotherm.core.look import Check, PageState
from isotherm.model.ranges import PAGE
from support.small_world import SECOND, TABLE, SmallWorld

MIB2 = TABLE * PAGE
BASE = 0x10_0000_0000
FOREVER = 1 << 61
FREE = (0.0,) * 7
#: Pages of 4 KiB from the middle of a table on; a huge one and a half; memory shown twice; mapped
#: at the same place one after the other; and hidden.
AREAS = (
    (0, BASE + 100 * PAGE, BASE + 700 * PAGE, 100, 0, FOREVER, False, False),
    (0, BASE + 2 * MIB2, BASE + 4 * MIB2, 1024, 0, FOREVER, True, False),
    (1, BASE, BASE + 64 * PAGE, 2048, 0, FOREVER, False, False),
    (0, BASE + 5 * MIB2, BASE + 5 * MIB2 + 64 * PAGE, 2048, 0, FOREVER, False, False),
    (0, BASE + 6 * MIB2, BASE + 6 * MIB2 + 32 * PAGE, 2560, 0, 2 * SECOND, False, False),
    (0, BASE + 6 * MIB2, BASE + 6 * MIB2 + 32 * PAGE, 3072, 3 * SECOND, FOREVER, False, False),
    (1, BASE + MIB2, BASE + MIB2 + 16 * PAGE, 3584, 0, FOREVER, False, True),
)
LAST_FRAME = 3600
#: Pages, from the base on, and frames where areas begin: what lies near each other meets.
BEGINNINGS = ((100, 512, 1024, 0, 2560, 3072), (100, 512, 1024, 2048, 2560, 3072, 3584))


def near(beginnings, most):
    """Mostly a place close to where something begins, else anywhere."""
    close = st.sampled_from(beginnings).flatmap(lambda at: st.integers(at, at + 40))
    return st.one_of(close, close, close, st.integers(0, most)).map(lambda at: min(at, most))


@st.composite
def patterns(draw):
    first = draw(near(BEGINNINGS[1], LAST_FRAME - 1))
    size = draw(st.one_of(st.integers(1, 40), st.integers(1, LAST_FRAME)))
    last = min(first + size, LAST_FRAME)
    kind = draw(st.integers(0, 1))
    from_ns = draw(st.integers(0, 2 * SECOND))
    until_ns = from_ns + draw(st.integers(1, 8 * SECOND))
    rate = draw(st.floats(0.001, 20))
    rate_end, period, on = rate, 0, 0
    shape = draw(st.sampled_from(("steady", "ramp", "period")))
    if shape == "ramp" and kind == 0:
        rate_end = draw(st.floats(0.001, 20))
    elif shape == "period":
        period = draw(st.integers(1, 3 * SECOND))
        on = draw(st.integers(0, period))
    group = draw(st.sampled_from((1, 2, 3, 8)))
    levels = draw(st.integers(1, 4)) if group > 1 and kind == 0 else 1
    gain = draw(st.sampled_from((1.0, 2.0, 4.0)))
    unit = draw(st.sampled_from((1, 5, 16)))
    seed = draw(st.integers(0, 2**64 - 1))
    return (
        kind, first, last, from_ns, until_ns, period, on, rate, rate_end, unit, group, levels,
        gain, seed, draw(st.booleans()),
    )  # fmt: skip


pages = near(BEGINNINGS[0], 7 * TABLE)
counts = st.one_of(st.integers(1, 40), st.integers(1, 1200))
steps = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 2 * SECOND)),
    st.tuples(st.just("wait"), st.integers(1, SECOND // 20)),
    st.tuples(st.just("clear"), st.just(0), pages, counts),
    st.tuples(st.just("clear"), st.integers(0, 1), pages, counts),
    st.tuples(st.just("read"), st.integers(0, 1), pages, st.integers(1, 200)),
    st.tuples(st.just("sample"), st.integers(0, 1), st.lists(pages, min_size=1, max_size=5)),
    st.tuples(st.just("peek"), st.integers(0, 1), pages, st.integers(1, 64)),
)


def sample(world, small, process, places):
    """A batch is prepared, which clears what is young, and checked a while later."""
    addresses = array("Q", [BASE + page * PAGE for page in places])
    count = len(addresses)
    world.turn(addresses, array("I", [process] * count), array("I", [0] * count))
    for address in addresses:
        if small.state(process, address) == PageState.YOUNG:
            small.cleared[small.bit(small.area_at(process, address), address)] = small.now_ns
    wait(world, small, SECOND // 10)
    found = world.turn(array("Q"), array("I"), array("I"))
    for address, result in zip(addresses, found, strict=True):
        wanted = {PageState.YOUNG: Check.ACCESSED, PageState.UNOBSERVABLE: Check.UNOBSERVABLE}
        assert result == wanted.get(small.state(process, address), Check.IDLE), hex(address)


def wait(world, small, ns):
    world.sleep_until(world.now_ns() + ns)
    small.now_ns += ns
    assert world.now_ns() == small.now_ns


def read(world, small, process, first, count):
    start = BASE + first * PAGE
    states = world.read(process, start, start + count * PAGE)
    wanted = [small.state(process, start + i * PAGE) for i in range(count)]
    assert list(states) == wanted


def clear(world, small, process, first, count):
    start, end = BASE + first * PAGE, BASE + (first + count) * PAGE
    assert world.clear(process, [(start, end)]) == small.clear(process, start, end)[1]


def peek(world, small, process, first, count):
    start = BASE + first * PAGE
    present, young = world.peek(process, start, count)
    for i in range(count):
        area = small.area_at(process, start + i * PAGE)
        there = area is not None and not area[6]
        assert present >> i & 1 == there
        state = small.state(process, start + i * PAGE)
        assert young >> i & 1 == (there and state == PageState.YOUNG)


STEPS = {"wait": wait, "read": read, "clear": clear, "sample": sample, "peek": peek}


@settings(deadline=None, max_examples=300)
@given(st.lists(patterns(), max_size=4), st.lists(steps, max_size=25))
def test_the_lazy_world_is_the_one_kept_page_by_page(uses, actions):
    world, small = _core.SimWorld(AREAS, uses, FREE), SmallWorld(AREAS, uses)
    world.set_targets(array("I", [0, 1]))
    for name, *arguments in actions:
        STEPS[name](world, small, *arguments)
    read(world, small, 0, 90, 700)


@settings(deadline=None)
@given(
    patterns(), st.integers(0, 3 * SECOND), st.integers(1, 3 * SECOND), st.floats(0.01, 100), pages
)
def test_the_truth_is_the_sum_over_single_pages(pattern, since, length, hot, first):
    """Of small pages and one pattern it is exact: means are summed up page by page here."""
    small = SmallWorld(AREAS, [pattern])
    world = _core.SimWorld(AREAS, [pattern], FREE)
    small.now_ns = until = since + length
    start, end = BASE + first * PAGE, BASE + (first + 300) * PAGE
    uses = small.patterns[0].uses(until) - small.patterns[0].uses(since)
    means = []
    for address in range(start, end, PAGE):
        area = small.area_at(0, address)
        if area is not None and area[6]:
            return
        page = None if area is None else small.bit(area, address)[0]
        inside = page is not None and pattern[1] <= page < pattern[2]
        means.append(uses * small.patterns[0].weight(page) if inside else 0.0)
    none = (lambda mean: max(0.0, 1 - mean)) if pattern[0] else (lambda mean: exp(-mean))
    found = world.truth(array("Q", [0, start, end]), since, until, hot)
    need = hot * length / 1e9 * (1 - 1e-9)
    wanted = (
        PAGE * sum(mean >= need for mean in means),
        PAGE * sum(1 - none(mean) for mean in means),
        sum(means),
    )
    for got, want in zip(found, wanted, strict=True):
        assert isclose(got, want, rel_tol=1e-6, abs_tol=1e-3), (found, wanted)


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 5), st.integers(0, 2**32))
def test_of_each_group_one_unit_is_chosen_and_of_each_group_of_those_one(
    unit, group, levels, seed
):
    """Counted by shares: of a whole number of the largest groups the shares are exact."""
    levels = min(levels, 3)
    nr = unit * group**levels * 2
    if nr > 20_000 or group == 1:
        return
    areas = ((0, BASE, BASE + nr * PAGE, 0, 0, FOREVER, False, False),)
    rates = 10.0**-levels
    pattern = (0, 0, nr, 0, FOREVER, 0, 0, rates, rates, unit, group, levels, 10.0, seed, False)
    world = _core.SimWorld(areas, [pattern], FREE)
    for level in range(1, levels + 1):
        hot = rates * 10.0 ** (level - 1) * 0.999
        truth = world.truth(array("Q", [0, BASE, BASE + nr * PAGE]), 0, SECOND, hot)
        assert isclose(truth[0], nr // group**level * PAGE)
