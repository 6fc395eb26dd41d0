"""Random schemes, with everything a file can say."""

from fractions import Fraction

from hypothesis import strategies as st

from isotherm.model.attrs import IntervalsGoal
from isotherm.model.scheme import (
    OWN_FILTERS,
    Access,
    Action,
    Age,
    Destination,
    Filter,
    FilterType,
    Goal,
    Metric,
    Pattern,
    Quota,
    Scheme,
    Watermarks,
    Weights,
)
from isotherm.schemefile.goals import OF_MEMCG, OF_NODE
from isotherm.schemefile.scheme_file import Monitor, SchemeFile, TargetSpec

U64 = 2**64 - 1
MIGRATES = (Action.MIGRATE_HOT, Action.MIGRATE_COLD)

sizes = st.integers(0, U64) | st.integers(0, 2**30).map(lambda n: n * 4096)
prints = st.characters(exclude_categories=["C", "Z"]) | st.just(" ")
names = st.text(prints, max_size=12)
inside_paths = st.characters(exclude_categories=["Cs"], exclude_characters="\0\n")
paths = st.text(inside_paths, min_size=1, max_size=12).map("/".__add__)
small = st.integers(0, 2**31)
percents = st.integers(0, 100) | st.integers(0, 100_000).map(lambda n: Fraction(n, 1000))


def bounds(values, *, open_end=True):
    """A pair of ordered values; the second may be None."""
    pairs = st.tuples(values, values).map(sorted).map(tuple)
    return pairs | values.map(lambda low: (low, None)) if open_end else pairs


accesses = st.one_of(
    bounds(percents).map(lambda pair: Access(*pair, "percent")),
    bounds(st.integers(0, 2**31)).map(lambda pair: Access(*pair, "samples")),
)
ages = st.one_of(
    bounds(st.integers(0, 2**50)).map(lambda pair: Age(*pair, "us")),
    bounds(st.integers(0, 2**31)).map(lambda pair: Age(*pair, "windows")),
)
patterns = st.builds(
    lambda size, access, age: Pattern(*size, access, age),
    bounds(sizes, open_end=False),
    accesses,
    ages,
)


@st.composite
def goals(draw):
    metric = draw(st.sampled_from([one for one in Metric if one is not Metric.OWN]))
    return Goal(
        metric,
        draw(st.integers(1, 2**40 if metric is Metric.SOME_MEM_PSI_US else 10_000)),
        current=draw(small),
        nid=draw(st.integers(0, 9)) if metric in OF_NODE else 0,
        memcg=draw(paths) if metric in OF_MEMCG else "",
        complement=draw(st.booleans()),
    )


quotas = st.builds(
    Quota,
    time_ms=small,
    size_bytes=sizes,
    reset_ms=st.sampled_from([0, 1000, 60_000, U64]) | small,
    weights=st.builds(Weights, small, small, small),
    goals=st.lists(goals(), max_size=3).map(tuple),
    tuner=st.sampled_from(["consist", "temporal"]),
    fail_charge=st.tuples(small, small),
)


#: What the kernel and damo know.
KERNEL_FILTERS = tuple(one for one in FilterType if one not in OWN_FILTERS)


@st.composite
def filters(draw, kinds=tuple(FilterType)):
    kind = draw(st.sampled_from(kinds))
    ranged = (FilterType.ADDR, FilterType.HUGEPAGE_SIZE, FilterType.PROBE_HITS_WSUM)
    if kind is FilterType.IDLE:
        idle = (draw(st.integers(1, 2**50)), U64)
        return Filter(kind, draw(st.booleans()), draw(st.booleans()), bounds=idle)
    if kind is FilterType.UNDERUSED:
        shares = draw(st.tuples(*[st.integers(0, 1000)] * 2).map(sorted).map(tuple))
        return Filter(kind, draw(st.booleans()), draw(st.booleans()), bounds=shares)
    return Filter(
        kind,
        draw(st.booleans()),
        draw(st.booleans()),
        bounds=draw(bounds(sizes, open_end=False)) if kind in ranged else None,
        memcg=draw(paths) if kind is FilterType.MEMCG else "",
        target=draw(st.integers(0, 99)) if kind is FilterType.TARGET else 0,
        name=draw(st.text(prints, min_size=1, max_size=12)) if kind is FilterType.NAME else "",
    )


permils = st.lists(st.integers(0, 1000), min_size=3, max_size=3).map(lambda x: sorted(x)[::-1])
watermarks = st.builds(
    lambda metric, interval, marks: Watermarks(metric, interval, *marks),
    st.sampled_from(["none", "free_mem_rate"]),
    st.integers(1, 2**40) | st.just(5_000_000),
    permils,
)


@st.composite
def schemes(draw, kinds=tuple(FilterType)):
    action = draw(st.sampled_from(Action))
    destinations = st.lists(st.builds(Destination, st.integers(0, 9), small), max_size=3)
    return Scheme(
        action,
        draw(patterns),
        name=draw(names),
        apply_interval_us=draw(st.integers(0, 2**40)),
        quota=draw(st.none() | st.just(Quota()) | quotas),
        watermarks=draw(st.just(Watermarks()) | watermarks),
        filters=tuple(draw(st.lists(filters(kinds), max_size=4))),
        target_nid=draw(st.none() | st.integers(-1, 9)) if action in MIGRATES else None,
        destinations=tuple(draw(destinations)) if action in MIGRATES else (),
        max_nr_snapshots=draw(small),
    )


def classic_schemes():
    """Schemes of what classic lines have fields for."""
    marks = st.just(Watermarks()) | watermarks
    plain_quotas = st.builds(
        Quota,
        time_ms=small,
        size_bytes=sizes,
        reset_ms=small,
        weights=st.builds(Weights, small, small, small),
    )
    classic_patterns = st.builds(
        lambda size, access, age: Pattern(*size, Access(*access), Age(*age)),
        bounds(sizes, open_end=False),
        bounds(percents),
        bounds(st.integers(0, 2**50)),
    )
    limited = st.builds(
        Scheme, st.sampled_from(Action), classic_patterns, quota=plain_quotas, watermarks=marks
    )
    return limited | st.builds(Scheme, st.sampled_from(Action), classic_patterns)


monitors = st.builds(
    Monitor,
    sample_us=st.none() | small,
    aggr_us=st.none() | small,
    update_us=st.none() | small,
    min_nr_regions=st.none() | small,
    max_nr_regions=st.none() | small,
    goal=st.none()
    | st.builds(IntervalsGoal, st.integers(0, 10_000), small, st.integers(0, 9), small),
    ops=st.sampled_from(["", "vaddr", "fvaddr", "paddr"]),
)
addresses = bounds(sizes, open_end=False)
regions = st.lists(addresses, max_size=2).map(tuple)
processes = st.builds(TargetSpec, pid=st.none() | small, regions=regions, obsolete=st.booleans())
targets = (
    processes
    | st.builds(TargetSpec, name=names, regions=regions)
    | st.builds(TargetSpec, cgroup=paths)
)
documents = st.builds(
    SchemeFile,
    st.lists(schemes(), max_size=3).map(tuple),
    monitors,
    st.lists(targets, max_size=2).map(tuple),
)
complete_monitors = st.builds(
    Monitor,
    small,
    small,
    small,
    small,
    small,
    st.none() | st.builds(IntervalsGoal),
    st.just("vaddr"),
)
plain_json = st.recursive(
    st.none() | st.booleans() | small | names, lambda one: st.lists(one, max_size=2), max_leaves=4
)


@st.composite
def kdamonds(draw):
    """Files of several kdamonds with several contexts."""
    contexts = []
    for kdamond in range(draw(st.integers(1, 2))):
        kept = draw(st.dictionaries(st.sampled_from(["state", "pid", "refresh_ms"]), plain_json))
        for _ in range(draw(st.integers(1, 2))):
            keys = st.sampled_from(["addr_unit", "probes", "sample_control", "pause"])
            contexts.append(
                SchemeFile(
                    tuple(draw(st.lists(schemes(KERNEL_FILTERS), max_size=2))),
                    draw(complete_monitors),
                    tuple(draw(st.lists(processes, max_size=2))),
                    kdamond,
                    kept,
                    draw(st.dictionaries(keys, plain_json)),
                )
            )
    first, *others = contexts
    return SchemeFile(
        first.schemes, first.monitor, first.targets, 0, first.kdamond_kept, first.context_kept,
        tuple(others),
    )  # fmt: skip
