"""What maps of pages may say: any figures that do not contradict each other."""

from __future__ import annotations

from hypothesis import strategies as st

from isotherm.model.page_use import WINDOWS_NS, GroupUse, PageUse, UseRow

name = st.text(max_size=12)  # lone surrogates as well: bytes that are no text
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
lengths = st.sampled_from(WINDOWS_NS) | st.integers(1, 2**63)


@st.composite
def page_uses(draw, nr_targets):
    """Any figures that do not contradict each other."""
    windows = tuple(sorted(draw(st.sets(lengths, max_size=24))))
    watched = draw(st.integers(windows[-1] if windows else 0, 2**64 - 1))
    rows = draw(st.lists(use_rows(nr_targets, len(windows)), max_size=3 * bool(nr_targets)))
    stopped = st.none() | st.integers(0, watched)
    rest = draw(st.tuples(st.booleans(), name, u64, stopped, u64, name, u64))
    groups = tuple(
        GroupUse(title, *row[4:11])
        for title, row in draw(
            st.dictionaries(name.filter(bool), use_rows(1, len(windows)), max_size=2)
        ).items()
    )
    return PageUse(draw(u64), watched, windows, tuple(rows), *rest, groups)


@st.composite
def use_rows(draw, nr_targets, nr_windows):
    resident = draw(u64)
    unseen = draw(st.integers(0, resident))
    some = st.integers(0, resident)
    used = [sorted(draw(st.tuples(some, some, some))) for _ in range(nr_windows)]
    idle = [sorted(draw(st.tuples(some, some)), reverse=True) for _ in range(nr_windows)]
    return UseRow(
        draw(st.integers(0, nr_targets - 1)),
        draw(name),
        draw(st.sampled_from(["anon", "file", "shmem"])),
        draw(st.none() | u32),
        resident,
        unseen,
        draw(st.integers(0, resident - unseen)),
        *(tuple(values[i] for values in used) for i in range(3)),
        *(tuple(values[i] for values in idle) for i in range(2)),
        returned=draw(
            st.just(())
            | st.lists(u64, min_size=nr_windows, max_size=nr_windows).map(
                lambda sizes: tuple(sorted(sizes, reverse=True))
            )
        ),
    )
