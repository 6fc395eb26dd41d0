"""The schedule of a hot area, asked in closed form, against touches listed one by one."""

from hypothesis import given
from hypothesis import strategies as st

from isotherm.backends.sim.world import Area, HotArea, Space, _hash
from isotherm.model.ranges import PAGE, union

AT = 64 * PAGE


@st.composite
def hot_areas(draw):
    first = draw(st.integers(0, 8))
    begin = draw(st.integers(0, 60))
    return HotArea(
        AT + first * PAGE,
        AT + (first + draw(st.integers(1, 12))) * PAGE,
        period_ns=draw(st.integers(1, 40)),
        order=draw(st.sampled_from(["sequential", "together", "random"])),
        phase_ns=draw(st.integers(0, 30)),
        from_ns=begin,
        until_ns=begin + draw(st.integers(1, 80)),
    )


def listed(hot):
    """Every touch of the area: (time, page)."""
    found = []
    periods = (hot.until_ns - hot.phase_ns) // hot.period_ns + 2
    for period in range(-(hot.phase_ns // hot.period_ns) - 2, periods):
        for page in range(hot.pages):
            offset = {
                "sequential": page * hot.period_ns // hot.pages,
                "together": 0,
                "random": _hash(page, period) * hot.period_ns >> 32,
            }[hot.order]
            at = hot.phase_ns + period * hot.period_ns + offset
            if hot.from_ns <= at < hot.until_ns:
                found.append((at, hot.start // PAGE + page))
    return found


windows = st.tuples(st.integers(0, 160), st.integers(0, 60)).map(lambda w: (w[0], w[0] + w[1]))


@given(hot_areas(), windows)
def test_truth_is_what_was_touched(hot, window):
    since, until = window
    want = {page for at, page in listed(hot) if since < at <= until}
    pieces = list(hot.truth(since, until))
    got = {page for piece in pieces for page in range(piece.start // PAGE, piece.end // PAGE)}
    assert got == want
    assert sum(piece.size for piece in pieces) == len(want) * PAGE


@given(hot_areas(), windows, st.integers(0, 22), st.integers(1, 8))
def test_touched_is_what_was_touched(hot, window, first, count):
    since, until = window
    start, end = AT + first * PAGE, AT + (first + count) * PAGE
    want = any(since < at <= until and start <= page * PAGE < end for at, page in listed(hot))
    assert hot.touched(start, end, since, until) == want


@given(st.lists(hot_areas(), max_size=4), windows)
def test_a_space_is_the_union_of_its_hot_areas_where_it_is_mapped(hots, window):
    since, until = window
    areas = (
        Area(AT, AT + 7 * PAGE),
        Area(AT + 9 * PAGE, AT + 30 * PAGE, from_ns=20, until_ns=90),
    )
    space = Space("s", areas, tuple(hots))
    mapped = {
        page
        for area in areas
        if area.from_ns <= until < area.until_ns
        for page in range(area.start // PAGE, area.end // PAGE)
    }
    want = {page for hot in hots for at, page in listed(hot) if since < at <= until} & mapped
    truth = space.truth(since, until)
    assert {p for r in truth for p in range(r.start // PAGE, r.end // PAGE)} == want
    assert list(union(truth)) == truth
    for page in mapped:
        address = page * PAGE
        assert space.touched(address, address + PAGE, since, until) == (page in want)
