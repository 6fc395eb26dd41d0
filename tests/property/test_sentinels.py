"""The learn pass of sentinels in C against its readable twin, on what they saw at random."""

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm import _core
from isotherm.core.reference.sentinels import (
    AGES,
    BLIND,
    POOLS,
    READ,
    Evidence,
    Learner,
    Sentinel,
    share,
)

AMOUNTS = st.one_of(
    st.just(0.0), st.integers(0, 40).map(float), st.floats(0.0, 1e4, allow_subnormal=False)
)
RISKS = st.one_of(st.just(0.0), st.floats(1e-6, 1e5))
EVIDENCE = st.builds(
    lambda hits, risk: Evidence(
        [h if r else 0.0 for h, r in zip(hits, risk, strict=True)], list(risk)
    ),
    st.lists(AMOUNTS, min_size=AGES, max_size=AGES),
    st.lists(RISKS, min_size=AGES, max_size=AGES),
)


@st.composite
def passes(draw):
    """Sentinels at the same places, and what is fresh of them in each of some passes."""
    gaps = draw(st.lists(st.integers(1, 5000), min_size=1, max_size=30))
    places = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    # A hot part, so that there is something to find among what is drawn at random.
    hot = set(range(*sorted(draw(st.tuples(st.integers(0, 30), st.integers(0, 30))))))
    sentinels = []
    for i, place in enumerate(places):
        known, fresh = draw(EVIDENCE), draw(EVIDENCE)
        if i in hot:
            fresh = Evidence([16.0, 0.0, 0.0], [0.1, 0.0, 0.0])
        flags = draw(st.sampled_from([0, READ, READ, READ, READ | BLIND]))
        sentinels.append(
            Sentinel(
                place,
                draw(st.sampled_from([1, 4, 16])),
                flags,
                draw(st.integers(0, POOLS - 1)),
                draw(st.integers(0, 16)),
                draw(st.sampled_from([0.0, 0.125, 0.25, 4.0])),
                known,
                fresh,
            )
        )
    return sentinels, draw(st.lists(EVIDENCE, min_size=1, max_size=3))


def row(s):
    head = [s.place, s.pages, s.flags, s.pool, s.touched, s.waited_s]
    return [*head, *s.known.hits, *s.known.risk, *s.fresh.hits, *s.fresh.risk]


@settings(max_examples=100, deadline=None)
@given(passes(), st.floats(0.1, 1.0), st.floats(0.5, 1.0))
def test_both_learn_the_same(drawn, weight, memory):
    sentinels, more = drawn
    twin, core = Learner(), _core.Learner()
    for extra in more:
        numbers = array("d", [number for s in sentinels for number in row(s)])
        learned = core.learn(numbers, weight, memory)
        twin.learn(sentinels, weight, memory)
        segments, changes, surprise = core.found()
        assert segments == [(s.first, s.end, s.rate, s.low, s.high) for s in twin.segments]
        assert changes == twin.changes
        twin.changes = []
        assert list(surprise) == twin.surprise
        assert learned.tolist() == [float(number) for s in sentinels for number in row(s)]
        for place, segment in enumerate(twin.segments):
            assert core.share(place, 0.7) == share(segment, 0.7)
        for index, s in enumerate(sentinels):
            if index % 3:
                s.fresh.add(extra)
                s.flags |= READ
