"""What came back in the later half of the time, and what before that."""

import pytest

from isotherm.analysis.cold import FaultCost, cold
from isotherm.analysis.returns import Returns
from isotherm.model.target import Target
from isotherm.report.cold import Swap, document, lines
from support.snapshots import MIB, S, page_use, snapshot, use_row

TARGETS = snapshot(0).targets
PAGE = 4096


def told(seconds, back, what="[heap]", **changes):
    row = use_row({seconds: 64 * MIB}, watched_ns=seconds * S, back=back, what=what, **changes)
    return page_use(row, watched_ns=seconds * S)


def found(returns, use, targets=TARGETS):
    cost = FaultCost(10_000, 100_000)
    return cold(use, targets, {}, swap_free_bytes=1 << 40, cost=cost, before=returns)


def at(answer, seconds):
    return next(age for age in answer.ages if age.age_ns == seconds * S)


def test_what_came_back_while_a_load_began_is_not_promised_for_ever():
    returns = Returns()
    # 40 MiB in the first 20 s, and nothing after that.
    for second in range(1, 61):
        use = told(second, {6: 2 * MIB * min(second, 20)})
        returns.add(use, TARGETS)
    answer = found(returns, use)
    age = at(answer, 2)
    assert age.seen_ns == 58 * S
    assert age.earlier_ns == pytest.approx(29 * S, abs=2 * S)
    assert (age.refaults_per_s, age.stall_share) == (0, 0)
    assert age.earlier_per_s == pytest.approx(40 * MIB / PAGE / (age.earlier_ns / S))
    text = " ".join(" ".join(lines(answer, Swap(None), 80)).split())
    assert "nothing came back after that time in the last" in text
    assert "; before, " not in text  # after 20 s nothing ever did
    said = document(answer, Swap(None))["ages"]
    assert said[1]["earlier_refaults_per_s"] == age.earlier_per_s
    assert {
        part["returned_bytes"] for part in document(answer, Swap(None))["mappings"][0]["ages"]
    } == {0}
    only = cold(
        use, TARGETS, {}, swap_free_bytes=1 << 40, cost=age.cost, age_ns=5 * S, before=returns
    )
    text = " ".join(" ".join(lines(only, Swap(None), 80)).split())
    assert "pages/s: so it is while a load begins" in text


def test_what_comes_back_all_the_time_is_the_same_in_both_halves():
    returns = Returns()
    for second in range(1, 91):
        use = told(second, {6: max(0, second - 5) * MIB})
        returns.add(use, TARGETS)
    age = at(found(returns, use), 5)
    assert age.refaults_per_s == pytest.approx(MIB / PAGE)
    assert age.earlier_per_s == pytest.approx(MIB / PAGE)
    assert age.counted_ns + age.earlier_ns == 85 * S


def test_days_are_parted_in_the_middle_as_well():
    returns = Returns()
    for hour in range(1, 1001):
        use = told(3600 * hour, {600: hour * MIB})
        returns.add(use, TARGETS)
    age = at(found(returns, use), 60)
    assert age.counted_ns == pytest.approx(1_800_000 * S, rel=0.1)
    assert age.refaults_per_s == pytest.approx(MIB / PAGE / 3600)


def test_where_no_moment_parts_the_time_all_of_it_counts():
    use = told(30, {6: 25 * MIB})
    for returns in (None, Returns()):
        age = at(found(returns, use), 5)
        assert (age.counted_ns, age.earlier_ns, age.earlier_per_s) == (25 * S, 0, None)
        assert age.refaults_per_s == pytest.approx(MIB / PAGE)
    # Of what can be seen in the last moment only, nothing was told before.
    returns = Returns()
    for second in (1, 2, 15, 30):
        use = told(second, {6: max(0, second - 5) * MIB})
        returns.add(use, TARGETS)
    age = at(found(returns, use), 20)
    assert (age.counted_ns, age.earlier_ns) == (10 * S, 0)


def test_counts_are_those_of_a_target_whatever_place_it_has():
    one, other = Target(3, "a", 5), Target(4, "b", 6)
    returns = Returns()
    returns.add(told(10, {6: 8 * MIB}, target=1), (other, one))
    returns.add(told(16, {6: 9 * MIB}, target=0), (one,))
    use = told(30, {6: 9 * MIB}, target=0)
    age = at(found(returns, use, (one,)), 5)
    # The one that was told of it when it was another's place has nothing new.
    assert age.refaults_per_s == 0
    assert age.earlier_bytes == 9 * MIB
    new = at(found(returns, use, (other,)), 5)
    assert new.refaults_per_s == pytest.approx(9 * MIB / PAGE / 14)
