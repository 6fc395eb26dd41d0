from fractions import Fraction

import pytest

from isotherm.errors import BadValueError
from isotherm.model.scheme import (
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
from isotherm.schemefile.files import InexpressibleError, read, write
from isotherm.schemefile.lines.classic import format_classic, parse_classic
from isotherm.schemefile.lines.key_value import format_line, parse_line

MIB = 2**20
U64 = 2**64 - 1


def test_everything_a_line_can_say():
    line = (
        "pageout name=cold size=4K..2M access=0% age=2m.. every=1s quota=128M/s,10ms/s "
        "weights=0/3/1 goal=psi:some=10ms/s goal=memcg_used:node1:/app=20%:7 tuner=temporal "
        "fail_charge=1/4 filter=anon,!memcg:/critical,+young,+!active "
        "watermark=free:50%/40%/20% snapshots=9"
    )
    expected = Scheme(
        Action.PAGEOUT,
        Pattern(4096, 2 * MIB, Access(0, 0), Age(120_000_000, None)),
        name="cold",
        apply_interval_us=1_000_000,
        quota=Quota(
            10,
            128 * MIB,
            1000,
            Weights(0, 3, 1),
            (
                Goal(Metric.SOME_MEM_PSI_US, 10_000),
                Goal(Metric.NODE_MEMCG_USED_BP, 2000, current=7, nid=1, memcg="/app"),
            ),
            "temporal",
            (1, 4),
        ),
        watermarks=Watermarks("free_mem_rate", 5_000_000, 500, 400, 200),
        filters=(
            Filter(FilterType.ANON, matching=False),
            Filter(FilterType.MEMCG, memcg="/critical"),
            Filter(FilterType.YOUNG, allow=True),
            Filter(FilterType.ACTIVE, matching=False, allow=True),
        ),
        max_nr_snapshots=9,
    )
    assert parse_line(line) == expected
    assert format_line(expected) == line
    shuffled = " ".join(reversed(line.split()))
    assert set(parse_line(shuffled).quota.goals) == set(expected.quota.goals)


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("stat", Pattern()),
        ("stat access=5%..", Pattern(access=Access(5))),
        ("stat access=0.3%..1/3%", Pattern(access=Access(Fraction(3, 10), Fraction(1, 3)))),
        ("stat access=5..10%", Pattern(access=Access(5, 10))),
        ("stat access=3samples..", Pattern(access=Access(3, None, "samples"))),
        ("stat access=3samples", Pattern(access=Access(3, 3, "samples"))),
        ("stat access=..50%", Pattern(access=Access(0, 50))),
        ("stat age=7aggr..", Pattern(age=Age(7, None, "windows"))),
        ("stat age=0..5s", Pattern(age=Age(0, 5_000_000))),
        ("stat age=5s", Pattern(age=Age(5_000_000, 5_000_000))),
        ("stat size=12345678", Pattern(12345678, 12345678)),
        ("stat size=..max", Pattern()),
        ("STAT size=min..2M", Pattern(0, 2 * MIB)),
    ],
)
def test_ranges(line, pattern):
    assert parse_line(line) == Scheme(Action.STAT, pattern)


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("", None),
        ("quota=none", Quota()),
        ("quota=none/5s", Quota(reset_ms=5000)),
        ("quota=1G/m", Quota(size_bytes=2**30, reset_ms=60_000)),
        ("quota=12345678/s", Quota(size_bytes=12345678)),
        ("quota=120s/h", Quota(time_ms=120_000, reset_ms=3_600_000)),
        ("weights=size:0,access:3,age:1", Quota(weights=Weights(0, 3, 1))),
        ("quota=1M/5s goal=psi:some=10ms/s", Quota(0, MIB, 5000,
            goals=(Goal(Metric.SOME_MEM_PSI_US, 50_000),))),
        ("quota=1M/5s goal=psi:some=10ms", Quota(0, MIB, 5000,
            goals=(Goal(Metric.SOME_MEM_PSI_US, 10_000),))),
        ("goal=free:node0=0.5%", Quota(goals=(Goal(Metric.NODE_MEM_FREE_BP, 50),))),
        ("goal=user=10000:300", Quota(goals=(Goal(Metric.USER_INPUT, 10_000, 300),))),
    ],
)  # fmt: skip
def test_quotas(text, quota):
    scheme = parse_line(f"pageout {text}")
    assert scheme.quota == quota
    assert parse_line(format_line(scheme)) == scheme


def test_a_rate_of_pressure_means_the_same_whatever_the_interval_of_the_quota():
    texts = ["1M/s", "1M/5s", "1M/100ms"]
    quotas = [parse_line(f"pageout quota={text} goal=psi:some=10ms/s").quota for text in texts]
    assert [quota.goals[0].target / quota.reset_ms for quota in quotas] == [10, 10, 10]


@pytest.mark.parametrize(
    ("text", "nid", "destinations"),
    [
        ("node1", 1, ()),
        ("node0:3+node1:1", None, (Destination(0, 3), Destination(1, 1))),
        ("node1:1", None, (Destination(1, 1),)),
        ("node2,node0:3+node1", 2, (Destination(0, 3), Destination(1, 1))),
    ],
)
def test_destinations(text, nid, destinations):
    scheme = parse_line(f"migrate_hot to={text}")
    assert (scheme.target_nid, scheme.destinations) == (nid, destinations)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("addr:0x1000-0x2000", Filter(FilterType.ADDR, False, bounds=(4096, 8192))),
        ("!addr:4K..8K", Filter(FilterType.ADDR, True, bounds=(4096, 8192))),
        ("target:2", Filter(FilterType.TARGET, False, target=2)),
        ("+huge:2M", Filter(FilterType.HUGEPAGE_SIZE, True, True, bounds=(2 * MIB, 2 * MIB))),
        ("probe:1..4", Filter(FilterType.PROBE_HITS_WSUM, False, bounds=(1, 4))),
        ("idle:30s", Filter(FilterType.IDLE, False, bounds=(30_000_000, 2**64 - 1))),
        ("underused:80%..", Filter(FilterType.UNDERUSED, False, bounds=(800, 1000))),
        ("!underused:..12.5%", Filter(FilterType.UNDERUSED, True, bounds=(0, 125))),
        ("+underused:10%..20%", Filter(FilterType.UNDERUSED, True, True, bounds=(100, 200))),
        ("underused:80%", None),
        ("underused:0.8..", None),
        ("underused:80%..70%", None),
        ("underused:0.01%..", None),
        ("underused:..101%", None),
        ("underused:..", None),
        ("underused", None),
        ("name:/lib/*", Filter(FilterType.NAME, False, name="/lib/*")),
        ('!name:"[heap]|[anon:a b]"', Filter(FilterType.NAME, True, name="[heap]|[anon:a b]")),
        ('!memcg:"/a b,c"', Filter(FilterType.MEMCG, True, memcg="/a b,c")),
        ("reject", None),
    ],
)
def test_filters(text, expected):
    if expected is None:
        with pytest.raises(BadValueError):
            parse_line(f"pageout filter={text}")
    else:
        assert parse_line(f"pageout filter={text}").filters == (expected,)


@pytest.mark.parametrize("bounds", [(0, 0), (0, 2**64 - 1), (4096, 2**64 - 1), (2**64 - 1,) * 2])
def test_sizes_of_huge_pages_are_read_back(bounds):
    scheme = Scheme(Action.STAT, filters=(Filter(FilterType.HUGEPAGE_SIZE, True, False, bounds),))
    assert parse_line(format_line(scheme)).filters == scheme.filters


def test_quotes_and_comments():
    assert parse_line('pageout name="a # b" # a comment').name == "a # b"
    assert parse_line("pageout name='a b'").name == "a b"
    assert parse_line("pageout name=it's").name == "it's"


@pytest.mark.parametrize(
    ("line", "column", "said"),
    [
        ("pagout", 1, "did you mean pageout"),
        ("pageout axess=0%", 9, "did you mean access"),
        ("pageout age=5", 13, "5s"),
        ("pageout age=2m..5x", 17, "5x"),
        ("pageout age=5s..1s", 13, "upside down"),
        ("pageout age=5s..7aggr", 13, "mixes"),
        ("pageout age=max..", 13, "no lower bound"),
        ("pageout access=5", 16, "no unit"),
        ("pageout access=101%..", 16, "100%"),
        ("pageout access=1.5samples..", 16, "fractions"),
        ("pageout size=4K..1K", 14, "upside down"),
        ("pageout quota=128m/s", 15, "128M"),
        ("pageout quota=128M", 15, "128M/s"),
        ("pageout quota=128M/s,10ms/5s", 27, "two intervals"),
        ("pageout quota=0/s", 15, "quota=none"),
        ("pageout quota=1500us/s", 15, "whole number of milliseconds"),
        ("pageout filter=anon,yong", 21, "did you mean young"),
        ("pageout filter=anon:1", 21, "takes no"),
        ("pageout filter=memcg", 21, "memcg:/app"),
        ("pageout filter=name", 20, "name:[heap]"),
        ('pageout filter=name:"a\\u0007"', 21, "do not print"),
        ("pageout goal=free=5%", 14, "of a node"),
        ("pageout goal=free:node0=0%", 14, "above 0"),
        ("pageout goal=active=0.001%", 21, "finer than"),
        ("pageout goal=psi:some=10us/s quota=1M/1ms", 23, "whole number of µs"),
        ("pageout watermark=free:20%/40%/50%", 19, "out of order"),
        ("pageout watermark=free:500/400/200", 24, "in percent"),
        ("pageout size=4K size=8K", 17, "twice"),
        ("pageout stat", 9, "second action"),
        ("pageout age", 9, "age=..."),
        ("pageout to=node1", 1, "no destination"),
        ("size=4K..", 1, "needs an action"),
        ("pageout tuner=consistent", 15, "did you mean consist"),
        ("pageout weights=1/2", 17, "not three"),
    ],
)
def test_errors_say_place_value_and_what_was_meant(line, column, said):
    with pytest.raises(BadValueError) as caught:
        parse_line(line)
    assert caught.value.message.startswith(f"<schemes>:1:{column}: ")
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_python_callables_are_refused():
    own = Scheme(Action.STAT, own=lambda _target, start, end: end - start)
    goal = Goal(Metric.OWN, 1, read=lambda: 1)
    for scheme in (own, Scheme(Action.STAT, quota=Quota(goals=(goal,)))):
        with pytest.raises(InexpressibleError, match="callable"):
            format_line(scheme)


@pytest.mark.parametrize(
    ("classic", "line"),
    [
        ("min max 5 max min max hugepage", "hugepage access=5%.."),
        ("2M max min min 7s max nohugepage", "nohugepage size=2M.. access=0% age=7s.."),
        ("4K max 0 0 10s max pageout", "pageout size=4K.. access=0% age=10s.."),
        ("4K  max\t0 0 5s max PAGEOUT 1G 1s", "pageout size=4K.. access=0% age=5s.. quota=1G/s"),
        (
            "4K max 0 0 5s max pageout 1G 1s 0 3 7",
            "pageout size=4K.. access=0% age=5s.. quota=1G/s weights=0/3/7",
        ),
        (
            "4K max 0 0 5s max pageout 1G 1s 0 3 7 free_mem_rate 5s 500 400 200",
            (
                "pageout size=4K.. access=0% age=5s.. quota=1G/s weights=0/3/7 "
                "watermark=free:50%/40%/20%"
            ),
        ),
        (
            "4K max 0 0 5s max pageout 10ms 1G 1s 0 3 7 free_mem_rate 5s 500 400 200 # prcl",
            (
                "pageout size=4K.. access=0% age=5s.. quota=1G/s,10ms/s weights=0/3/7 "
                "watermark=free:50%/40%/20%"
            ),
        ),
    ],
)
def test_classic_lines_of_all_lengths(classic, line):
    scheme = parse_classic(classic)
    assert format_line(scheme) == line
    again = format_classic(scheme)
    assert parse_classic(again) == scheme
    assert len(again.split()) == len(classic.split("#")[0].split())


@pytest.mark.parametrize(
    ("classic", "line"),
    [
        ("2M\tnull\t5\tnull\tnull\tnull\thugepage", "hugepage size=2M.. access=5%.."),
        ("2M null null 5 13s null nohugepage", "nohugepage size=2M.. access=0%..5% age=13s.."),
        ("null null null null null null stat", "stat"),
        ("NULL 4K Null null null 5s cold", "cold size=0..4K age=0us..5s"),
        ("null null 0 0 5s null pageout null 1s", "pageout access=0% age=5s.. quota=none"),
        (
            "4K max 0 0 5s max pageout 1G 1s null 3 null",
            ("pageout size=4K.. access=0% age=5s.. quota=1G/s weights=0/3/0"),
        ),
        (
            "4K max 0 0 5s max 2 1G null 0 3 7 null null null null null",
            ("pageout size=4K.. access=0% age=5s.. quota=1G/0ms weights=0/3/7"),
        ),
        ("min max 5 max min max 3", "hugepage access=5%.."),
        ("4K null 0 5 1s 2s 5", "stat size=4K.. access=0%..5% age=1s..2s"),
    ],
)
def test_null_and_numbered_actions_of_the_first_lines(classic, line):
    scheme = parse_classic(classic)
    assert format_line(scheme) == line
    assert parse_classic(format_classic(scheme)) == scheme


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        (
            "0 18446744073709551615 1 20 0 42949 3",
            ("hugepage access=1samples..20samples age=0aggr..42949aggr"),
        ),
        (
            "4096 18446744073709551615 0 0 50 4294967295 2",
            ("pageout size=4K.. access=0samples age=50aggr.."),
        ),
        (
            f"4096 {2**64 - 1} 0 0 600 4294967295 2 10 134217728 1000 0 0 1 1 5000000 500 400 200",
            (
                "pageout size=4K.. access=0samples age=600aggr.. quota=128M/s,10ms/s "
                "weights=0/0/1 watermark=free:50%/40%/20%"
            ),
        ),
        (
            "0 100 0 7 0 9 5 0 0 0 0 0 0 0 0 0 0 0 12 34567 12 34567 0",
            ("stat size=..100 access=0samples..7samples age=0aggr..9aggr quota=none/0ms"),
        ),
        (
            "0 100 0 7 0 9 0 4096 1000",
            ("willneed size=..100 access=0samples..7samples age=0aggr..9aggr quota=4K/s"),
        ),
    ],
)
def test_lines_of_debugfs_are_in_the_kernels_units(numbers, line):
    scheme = parse_classic(numbers)
    assert scheme == parse_line(line)
    again = format_classic(scheme)
    assert parse_classic(again) == scheme
    assert again.split() == numbers.split()[: len(again.split())] or len(numbers.split()) == 9


@pytest.mark.parametrize(
    ("line", "column", "said"),
    [
        ("0 100 0 7 0 9 6", 15, "5 stat"),
        ("4K null 0 null 1s null 77", 24, "0 willneed"),
        ("0 9 0 7 0 9 5 0 0 0 0 0 0 2 0 0 0 0", 27, "1 free_mem_rate"),
        ("0 9 5 4 0 9 5", 1, "upside down"),
        (f"0 {2**64} 0 4 0 9 5", 3, "2^64"),
        ("4K null 0 null 1s null null", 24, "no action"),
        ("0 9 0 7 0 9 ٣", 13, "no action"),
    ],
)
def test_errors_of_lines_of_numbers(line, column, said):
    with pytest.raises(BadValueError) as caught:
        parse_classic(line)
    assert caught.value.message.startswith(f"<schemes>:1:{column}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("collapse access=3samples age=3aggr", "no number"),
        (f"stat access=0samples..{2**32}samples age=3aggr", "bound"),
        ("stat name=x access=3samples age=3aggr", "a name"),
    ],
)
def test_what_lines_of_debugfs_cannot_say_is_named(line, said):
    with pytest.raises(InexpressibleError, match=said):
        format_classic(parse_line(line))


def test_a_file_of_the_first_lines_is_classic():
    text = "# <min/max size> <frequency> <age> <action>\nnull null 5 null null null hugepage\n"
    file, spelling = read(text)
    assert spelling == "classic"
    assert write(file, "yaml") == (
        "version: 1\nschemes:\n- action: hugepage\n  when:\n    access: 5%..\n"
    )


@pytest.mark.parametrize(
    ("line", "column", "said"),
    [
        ("4K max 0 0 10s max", 1, "7, 9, 12, 17, 18"),
        ("4K max 0 0 10s max pagout", 20, "did you mean pageout"),
        ("4K max 0 0 10q max pageout", 12, "10q"),
        ("4K max max max 0 max pageout", 8, "no lower bound"),
        ("4K 1K 0 0 10s max pageout", 1, "upside down"),
    ],
)
def test_errors_of_classic_lines(line, column, said):
    with pytest.raises(BadValueError) as caught:
        parse_classic(line)
    assert caught.value.message.startswith(f"<schemes>:1:{column}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stat name=x", "a name"),
        ("stat access=3samples..", "samples"),
        ("stat age=3aggr..", "aggregation intervals"),
        ("stat filter=anon", "filters"),
        ("stat goal=active=5%", "goals"),
        ("stat every=1s", "every"),
        ("stat watermark=free:50%/40%/20%", "watermarks without a quota"),
    ],
)
def test_what_classic_lines_cannot_say_is_named(line, said):
    with pytest.raises(InexpressibleError, match=said):
        format_classic(parse_line(line))
