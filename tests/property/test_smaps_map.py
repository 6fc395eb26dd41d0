"""The map of smaps against pages of which everything is known: its bounds hold the truth."""

from dataclasses import replace
from fractions import Fraction
from math import floor

from hypothesis import given
from hypothesis import strategies as st

from isotherm.backends.clear_refs.epochs import Epochs, Watch
from isotherm.backends.clear_refs.smaps_map import SmapsMap
from isotherm.backends.clear_refs.usage import use_of
from isotherm.kernel.smaps import SmapsEntry
from isotherm.model.ranges import PAGE
from isotherm.model.target import Mapping
from isotherm.recording.reader import open_recording
from isotherm.recording.writer import RecordingWriter
from support.snapshots import snapshot

S = 1_000_000_000
BASE = 0x7F0000000000
#: Of each page: by how many it is mapped, and whether it was used.
pages = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=40)


def entry(mapped_by, used, *, flags=(), at=0):
    """A mapping as smaps tells of it, given who maps each page, and which pages were used."""
    pss = sum(Fraction(PAGE, sharers) for sharers in mapped_by)
    return SmapsEntry(
        mapping=Mapping(BASE + (at << 30), BASE + (at << 30) + (1 << 20), "rw-p", f"[anon:{at}]"),
        rss_bytes=len(mapped_by) * PAGE,
        pss_bytes=floor(pss / 1024) * 1024,
        private_bytes=sum(sharers == 1 for sharers in mapped_by) * PAGE,
        referenced_bytes=sum(used) * PAGE,
        anon_huge_bytes=0,
        swap_bytes=0,
        locked_bytes=0,
        hugetlb_bytes=0,
        flags=frozenset(flags),
    )


@given(pages)
def test_what_is_used_of_shared_memory_lies_between_its_bounds(known):
    mapped_by, used = [sharers for sharers, _ in known], [use for _, use in known]
    true = sum(Fraction(PAGE, sharers) for sharers, use in known if use)
    found = use_of(entry(mapped_by, used), alone=True)
    assert found.low - 1024 <= true <= found.high + 1024  # Pss is rounded down to KiB
    assert found.low <= found.used <= found.high <= found.resident
    assert found.own_idle <= sum(sharers == 1 and not use for sharers, use in known) * PAGE
    if max(mapped_by) == 1:
        assert found.low == found.used == found.high == true
    others = use_of(entry(mapped_by, used), alone=False)
    assert others.high >= found.high


def test_what_cannot_be_seen_or_taken():
    plain = entry([1, 1, 2], [True, False, False])
    for flag in ("ht", "pf", "io", "mm"):
        hidden = use_of(entry([1, 1, 2], [False] * 3, flags=[flag]), alone=True)
        assert hidden.unseen == hidden.resident == plain.pss_bytes
        assert hidden.used == hidden.own_idle == 0
    locked = use_of(entry([1, 1, 2], [True, False, False], flags=["lo"]), alone=True)
    assert (locked.used, locked.own_idle) == (use_of(plain, alone=True).used, 0)
    assert use_of(plain, alone=True).own_idle == PAGE


def test_what_was_read_once_can_be_recorded(tmp_path):
    """At that moment nobody has watched for any time."""
    watch = Watch(None, 100 * S, 100 * S, 100 * S)
    watch.take([entry([1] * 16, [False] * 16)], 100 * S, alone=True)
    epochs = Epochs()
    epochs.watches = {0: watch}
    for use in (SmapsMap(epochs).sum_known(), SmapsMap(Epochs()).sum_known()):
        with RecordingWriter(tmp_path / "x.isotherm", {}, force=True) as writer:
            writer.write(replace(snapshot(0), page_use=use))
        assert [one.page_use for one in open_recording(tmp_path / "x.isotherm")] == [use]


@st.composite
def histories(draw):
    """What is used in each second, and after which seconds it is read, or read and cleared."""
    seconds = draw(st.integers(2, 40))
    used = [draw(st.sets(st.integers(0, 15), max_size=6)) for _ in range(seconds)]
    events = [draw(st.sampled_from(["", "", "read", "clear"])) for _ in range(seconds)]
    return used, events


@given(histories())
def test_bounds_hold_whatever_was_used_and_whenever_it_was_read(history):
    used, events = history
    watch = Watch(None, 100 * S, 100 * S, 100 * S)
    since, cleared = set(), [0]
    for second, (now, event) in enumerate(zip(used, events, strict=True), start=1):
        since |= now
        if event or second == len(used):
            shown = entry([1] * 16, [page in since for page in range(16)])
            watch.take([shown], (100 + second) * S, alone=True)
        if event == "clear" and second < len(used):
            watch.end_epoch((100 + second) * S)
            since = set()
            cleared.append(second)
    epochs = Epochs()
    epochs.watches = {0: watch}
    (row,) = SmapsMap(epochs).sum_known().rows
    windows = SmapsMap(epochs).sum_known().windows_ns
    end = len(used)
    assert windows[-1] == end * S
    ever = [set().union(*used[:n]) for n in range(end + 1)]
    for at, length in enumerate(windows):
        seconds = length // S
        last = set().union(*used[end - seconds :])
        # A window of this length that lies in one epoch is measured; it may be an older one.
        inside = [
            set().union(*used[begin : begin + seconds])
            for begin in cleared
            if begin + seconds <= end
            and not any(begin < clear < begin + seconds for clear in cleared)
        ]
        sizes = [len(pages) * PAGE for pages in (*inside, last)]
        assert row.used_low[at] <= max(len(pages) for pages in (*inside, ever[end])) * PAGE
        assert row.used_high[at] >= min(sizes)
        assert row.used_low[at] <= row.used[at] <= row.used_high[at] <= row.resident
        assert row.idle[at] <= (16 - len(last)) * PAGE
        assert row.idle_own[at] == row.idle[at]
    # Within the running epoch all is exact.
    age = end - cleared[-1]
    if age == end:
        assert row.used_low[-1] == row.used_high[-1] == len(ever[end]) * PAGE
    assert list(row.used) == sorted(row.used)
    assert list(row.idle) == sorted(row.idle, reverse=True)


def test_bits_that_somebody_else_clears_amid_an_epoch_do_not_make_memory_idle():
    watch = Watch(None, 0, 0, 0)
    watch.take([entry([1] * 8, [True] * 6 + [False] * 2)], S, alone=True)
    watch.take([entry([1] * 8, [True] + [False] * 7)], 2 * S, alone=True)
    epochs = Epochs()
    epochs.watches = {0: watch}
    (row,) = SmapsMap(epochs).sum_known().rows
    assert row.used == row.used_low == row.used_high == (6 * PAGE,) * 2
    assert row.idle == row.idle_own == (2 * PAGE,) * 2
