"""Who uses how much at a moment: what is known, what is not, and where it is hot."""

from dataclasses import replace

import pytest

from isotherm.analysis.usage import (
    OTHERS,
    WINDOWS_NS,
    Cell,
    Figures,
    strip,
    unlooked,
    usage_by_pages,
    usage_by_regions,
)
from isotherm.model.target import Target
from support.snapshots import HEAP, MIB, T0, S, page_use, phases, snapshot, use_row

WEB = Target(3, "web", 30, group="unit web.service")
APP = Target(5, "app", 50, 90 * MIB, 60 * MIB, group="unit app.service")
APP2 = Target(6, "app", 60, 90 * MIB, 20 * MIB, 7 * MIB, group="unit app.service")
ROWS = (
    use_row({0.05: 8 * MIB, 4: 6 * MIB, 25: 40 * MIB}, target=0),
    use_row({0.05: MIB}, target=0, what="/bin/web", kind="file", unseen=2 * MIB),
    use_row({15: 3 * MIB}, target=1, uncovered=4 * MIB),
)


def test_sums_by_process_group_and_name():
    usage = usage_by_pages(page_use(*ROWS), (WEB, APP), T0)
    web = usage.targets[3]
    assert (web.resident, web.unknown) == (57 * MIB, 2 * MIB)
    assert web.used == (9 * MIB, 15 * MIB, None)
    assert web.idle == (46 * MIB, 40 * MIB, None)
    assert [(part.what, part.kind) for part in usage.parts[3]] == [
        ("[heap]", "anon"), ("/bin/web", "file")
    ]  # fmt: skip
    app = usage.groups["unit app.service"]
    assert (app.resident, app.unknown, app.used[0], app.idle[0]) == (7 * MIB, 4 * MIB, 0, 3 * MIB)
    assert usage.total.resident == 64 * MIB
    assert usage.by_pages


def test_half_of_what_is_seen_is_as_old_as_is_said():
    usage = usage_by_pages(page_use(*ROWS), (WEB, APP), T0)
    assert usage.targets[3].age_ns == 20 * S  # 40 of 55 MiB, for 25 s
    assert usage.targets[5].age_ns == 10 * S
    young = usage_by_pages(page_use(use_row({0.05: MIB})), (WEB,), T0)
    assert young.targets[3].age_ns == 0
    blind = usage_by_pages(page_use(use_row({}, unseen=MIB)), (WEB,), T0)
    assert blind.targets[3].age_ns is None


def test_who_was_not_looked_at_yet_is_unknown_and_not_nothing():
    use = page_use(*ROWS[:2])
    assert unlooked(use, (WEB, APP, APP2)) == {1: 60 * MIB, 2: 7 * MIB}
    usage = usage_by_pages(use, (WEB, APP, APP2), T0)
    late = usage.targets[6]
    assert (late.resident, late.unknown) == (7 * MIB, 7 * MIB)
    assert late.used == (None,) * len(WINDOWS_NS)
    group = usage.groups["unit app.service"]
    assert (group.resident, group.unknown) == (67 * MIB, 67 * MIB)
    assert usage.total.resident == (57 + 67) * MIB
    assert usage.total.unknown == (2 + 67) * MIB
    assert usage.total.used[0] == 9 * MIB


def test_many_names_are_summed_up():
    rows = [use_row({0.05: MIB}, what=f"/lib/{i:04}") for i in range(2000)]
    parts = usage_by_pages(page_use(*rows), (WEB,), T0).parts[3]
    assert len(parts) == 1501
    assert parts[-1].what == OTHERS
    assert sum(part.figures.resident for part in parts) == 2000 * MIB


def test_by_regions_used_idle_and_unknown_are_all_of_it():
    snapshots = phases(60)
    last = snapshots[-1]
    usage = usage_by_regions(last, snapshots[0].mappings, 6 * S)
    for figures in (usage.total, *usage.targets.values()):
        for used, idle in zip(figures.used, figures.idle, strict=True):
            assert (used is None) == (idle is None)
            if used is not None:
                assert used + idle + figures.unknown == figures.resident
    app, helper = usage.targets[7], usage.targets[9]
    # 8 MiB of the heap for 3 s, of the warm stack what was seen; what was hot before is idle.
    assert app.used == (8 * MIB + MIB * 3 // 4, None, None)
    assert app.unknown == MIB // 4
    assert (helper.resident, helper.unknown, helper.used[0]) == (20 * MIB, 4 * MIB, 0)
    assert {part.what for part in usage.parts[7]} == {"[heap]", "[stack]"}
    assert not usage.by_pages


def test_shares_tell_of_their_window_alone():
    one = replace(snapshot(30, [(0, HEAP, HEAP + 4 * MIB, 5, 30, 0)]), shares=True)
    usage = usage_by_regions(one, {}, 30 * S)
    assert usage.total == Figures(4 * MIB, 0, (None,) * 3, (None,) * 3, None)


def test_a_strip_has_equal_cells_without_the_gaps():
    rows = [
        (0, HEAP, HEAP + MIB, 20, 1, 0),
        (0, HEAP + 100 * MIB, HEAP + 102 * MIB, 0, 1, 0),
        (0, HEAP + 300 * MIB, HEAP + 301 * MIB, 3, 1, MIB),
        (1, HEAP, HEAP + MIB, 10, 1, MIB // 2),
    ]
    one = snapshot(0, rows, targets=(WEB, APP, APP2))
    assert strip(one, 0, 4) == (Cell(1, 0), Cell(0, 0), Cell(0, 0), Cell(None, 1))
    assert strip(one, 0, 2) == (Cell(0.5, 0), Cell(0, 0.5))
    assert strip(one, 1, 1) == (Cell(0.5, 0.5),)
    assert strip(one, 2, 4) == ()


@pytest.mark.parametrize("cells", [1, 3, 7, 64, 1000])
def test_a_strip_loses_nothing(cells):
    rows = [(0, HEAP + i * 7919 * 4096, HEAP + (i * 7919 + i + 1) * 4096, i % 21, 0, 0)
            for i in range(40)]  # fmt: skip
    one = snapshot(0, rows)
    whole = sum(end - start for _, start, end, *_ in rows)
    found = strip(one, 0, cells)
    assert sum(min(cell.heat, 1) for cell in found) * whole / cells == pytest.approx(
        sum((end - start) * min(1, count / 20) for _, start, end, count, *_ in rows), rel=1e-9
    )
