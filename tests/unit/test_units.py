from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm import units
from isotherm.errors import BadValueError


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("4K", 4096),
        ("2.5 GiB", 2684354560),
        ("12345678", 12345678),
        ("1,024kb", 1048576),
        ("max", 2**64 - 1),
        (0, 0),
    ],
)
def test_sizes_are_1024_based_and_exact(text, nbytes):
    assert units.size(text) == nbytes


@pytest.mark.parametrize("text", ["", "4X", "K", "-1", "4K4", "1.5", "17E", "4 K and more", -1])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(BadValueError):
        units.size(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("100ms", 100_000_000),
        ("3 s 400 ms", 3_400_000_000),
        ("1m30s", 90_000_000_000),
        ("0.5us", 500),
        (2, 2_000_000_000),
        (0.25, 250_000_000),
        ("7", 7_000_000_000),
    ],
)
def test_durations_add_up(text, ns):
    assert units.duration_ns(text) == ns


@pytest.mark.parametrize("text", ["", "s", "5 parsecs", "-5s", "5s!", "0.1ns", "nan"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(BadValueError):
        units.duration_ns(text)


def test_a_duration_below_a_microsecond_is_no_microseconds():
    with pytest.raises(BadValueError):
        units.duration_us("500ns")


def test_percent():
    assert units.percent("5%") == Fraction(1, 20)
    assert units.percent("0.3 %") == Fraction(3, 1000)
    for bad in ("five", "-1%", "1/0"):
        with pytest.raises(BadValueError):
            units.percent(bad)


@pytest.mark.parametrize("text", ["10", "10..", "..5", "a..b", "1...2", (1, 2, 3)])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(BadValueError):
        units.int_range(text)


def test_ranges():
    assert units.int_range("10..1000") == units.int_range((10, 1000)) == (10, 1000)


@given(st.integers(0, 2**64 - 1))
def test_an_exact_size_is_read_back_as_itself(nbytes):
    assert units.size(units.exact_size(nbytes)) == nbytes


@given(st.integers(0, 10**15))
def test_an_exact_duration_is_read_back_as_itself(us):
    assert units.duration_us(units.exact_duration(us)) == us


@given(st.integers(0, 2**63))
def test_a_size_for_people_is_short_and_near(nbytes):
    number, unit = units.format_size(nbytes).split()
    assert len(number) <= 4
    assert abs(float(number) * units.size(f"1{unit}") - nbytes) <= nbytes * 0.051


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (5_000_000, "5ms"),
        (1_500_000_000, "1.5s"),
        (150_000_000_000, "2m30s"),
        (180_000_000_000, "3m"),
        (7_260_000_000_000, "2h01m"),
    ],
)
def test_durations_for_people(ns, text):
    assert units.format_duration(ns) == text
