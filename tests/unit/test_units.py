from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm import units
from isotherm.errors import BadValueError, shown


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


HOSTILE = [
    *("1e400", "1e9999999999", "9" * 5000, "0." + "9" * 5000, "1/" + "9" * 5000, "nan", "inf"),
    *("-1", "-0.5", "-inf", "5\0s", "5\ns", "\x1b[2J", "٣", "²", "½", "5\u2028ms", "a" * 300),
    *("5" + " " * 100_000 + "x", "0x10", "1e5", "5 %%", "\udc80", "5" * 99 + "q"),
]


@pytest.mark.parametrize("read", [units.size, units.duration_ns, units.duration_us])
@pytest.mark.parametrize("text", HOSTILE, ids=shown)
def test_what_makes_no_sense_is_refused_in_one_short_line_with_a_hint(read, text):
    for reader in (read, units.percent, units.cpu_share, units.int_range):
        with pytest.raises(BadValueError) as caught:
            reader(text)
        assert len(caught.value.message) < 200
        assert caught.value.message.isprintable()
        assert caught.value.hint.isprintable()
        assert caught.value.hint


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -1, -0.5, 10**5000, -(10**5000), 1e300, None, [], b"5s"],
    ids=units.said,
)
def test_values_of_python_are_refused_likewise(value):
    for read in (units.size, units.duration_ns, units.duration_us, units.cpu_share):
        with pytest.raises(BadValueError) as caught:
            read(value)
        assert len(caught.value.message) < 200
    with pytest.raises(BadValueError):
        units.int_range((0, value))


def test_a_number_alone_could_be_any_unit():
    """5 µs between samples took 78 % of a CPU; who wrote 5 may have meant 5 ms."""
    with pytest.raises(BadValueError) as caught:
        units.duration_us("5")
    assert caught.value.message == "'5' has no unit"
    assert caught.value.hint == "5ms? 5us? 5s?"
    assert units.duration_us(5) == units.duration_us("5us") == units.duration_us("5", bare="us")
    assert units.duration_us("0") == 0


def test_the_longest_times_are_those_that_64_bits_hold():
    assert units.duration_ns("9223372036854775807ns") == 2**63 - 1
    assert units.duration_us("18446744073709551615us") == 2**64 - 1
    for read, text in ((units.duration_ns, "9223372037s"), (units.duration_us, "213503982335d")):
        with pytest.raises(BadValueError, match="too long"):
            read(text)


@pytest.mark.parametrize(
    ("text", "share"), [("1%", 0.01), ("0.5 %", 0.005), ("200%", 2), (3, 0.03)]
)
def test_a_share_of_a_cpu(text, share):
    assert units.cpu_share(text) == share


@pytest.mark.parametrize("text", ["0", "0%", 0, "0.0000001%", "6401%", "1e3%"])
def test_no_share_of_a_cpu(text):
    with pytest.raises(BadValueError, match=r"CPU|percentage"):
        units.cpu_share(text)


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
