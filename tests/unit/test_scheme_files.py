"""Documents, damo's files, presets, and where mistakes are found."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from isotherm.errors import BadValueError
from isotherm.model.attrs import Attrs
from isotherm.model.scheme import Access, Age, FilterType, Metric, Pattern, Quota
from isotherm.schemefile import explain, files
from isotherm.schemefile.documents.schema import json_schema
from isotherm.schemefile.presets import PRESETS
from isotherm.schemefile.scheme_file import Monitor, SchemeFile, TargetSpec

DATA = Path(__file__).parent.parent / "data"

YAML = """\
version: 1
monitor: {sample: 5ms, aggr: 100ms, regions: 10..1000}
targets: [{cgroup: /app}, {name: "^java"}]
schemes:
  - pageout access=0% age=2m.. quota=128M/s
  - 4K max 0 0 10s max pageout
  - name: thp-for-hot
    action: hugepage
    when:   {access: 50%.., age: 5s.., size: 2M..}
    quota:  {size: 64M, time: 10ms, per: 1s, weights: {size: 0, access: 3, age: 1}}
    goals:  [{metric: some_mem_psi, value: 10ms/s, tuner: consist}]
    filters: [allow anon, reject memcg /critical]
    watermarks: {metric: free_mem_rate, interval: 5s, high: 50%, mid: 40%, low: 20%}
"""
LINES = """\
# The same.
pageout access=0% age=2m.. quota=128M/s
4K max 0 0 10s max pageout   # a classic line among them

hugepage name=thp-for-hot size=2M.. access=50%.. age=5s.. quota=64M/s,10ms/s weights=0/3/1 \
goal=psi:some=10ms/s tuner=consist filter=+anon,!memcg:/critical watermark=free:50%/40%/20%
"""


def test_all_spellings_are_one():
    from_yaml, spelling = files.read(YAML, "x.yaml")
    assert spelling == "yaml"
    assert files.read(LINES)[0].schemes == from_yaml.schemes
    assert files.read(files.write(from_yaml, "json"), "x.json") == (from_yaml, "json")
    assert from_yaml.monitor == Monitor(5000, 100_000, None, 10, 1000)
    assert from_yaml.targets == (TargetSpec(cgroup="/app"), TargetSpec(name="^java"))
    assert from_yaml.monitor.attrs() == Attrs(5000, 100_000, 1_000_000, 10, 1000)


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        (YAML, "yaml"),
        (LINES, "line"),
        ("4K max 0 0 10s max pageout\n", "classic"),
        ('{"schemes": ["stat"]}', "json"),
        ("- stat\n", "yaml"),
        ('[{"action": "stat", "access_pattern": {}}]', "damo"),
        ('[{"action": "stat", "filters": [{"filter_type": "anon"}]}]', "damo"),
        ('[{"action": "stat", "filters": ["allow anon"]}]', "json"),
        ('[{"contexts": [{"ops": "vaddr", "targets": []}]}]', "damo-kdamonds"),
        ("kdamonds:\n- contexts:\n  - ops: vaddr\n    targets: []\n", "damo-kdamonds-yaml"),
    ],
)
def test_a_spelling_is_recognised_by_how_it_begins(text, spelling):
    assert files.read(text)[1] == spelling


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("version = 1\n", "x.toml"),
        ("stat\n", "X.TOML"),
        ("# mine\n[[schemes]]\naction = 'stat'\n", "x"),
        ("[monitor]\n", "<stdin>"),
    ],
)
def test_toml_is_refused_with_what_is_read_instead(text, name):
    with pytest.raises(BadValueError) as caught:
        files.read(text, name)
    assert caught.value.message == f"{name}:1:1: schemes are not written in TOML"
    for spelling in ("lines", "YAML", "JSON", "damo"):
        assert spelling in caught.value.hint


@pytest.mark.parametrize(
    ("name", "text", "place", "said"),
    [
        ("x.yaml", YAML.replace("age: 5s..", "age: 5q.."), "9:34", "5q"),
        ("x.yaml", YAML.replace("when: ", "wxen: "), "9:5", "did you mean when"),
        ("x.yaml", YAML.replace("pageout access", "pageout axess"), "5:13", "did you mean access"),
        ("x.yaml", YAML.replace("5ms", "5"), "2:19", "no unit"),
        ("x.yaml", YAML.replace("version: 1", "version: 7"), "1:10", "version 7"),
        ("x.yaml", "schemes: [\n  stat,\n", "3:1", "YAML"),
        ("x.yaml", "schemes: {stat: 1}", "1:10", "must be a list"),
        ("x.yaml", "schemes:\n- *nothing\n", "2:3", "alias"),
        ("x.yaml", "schemes:\n- action: stat\n  action: stat\n", "3:3", "twice"),
        ("x.yaml", "schemes: &a\n- *a\n", "1:10", "contains itself"),
        ("x.json", '{"schemes": [\n  "stat",\n  "pagout"\n]}', "3:3", "did you mean pageout"),
        ("x.json", '{"schemes": [\n  "stat" "cold"\n]}', "2:10", "comma"),
        ("x.json", '{"schemes": [],\n "schemes": []}', "2:2", "twice"),
        ("x.json", '{"schemes": [', "1:14", "missing"),
        ("x.json", "[" * 100_000, "1:1", "deeply"),
        ("x.schemes", LINES.replace("size=2M", "size=2Q"), "5:32", "2Q"),
        ("x.schemes", LINES.replace("10s", "10q"), "3:12", "10q"),
        ("x.schemes", "# nothing\n", "1:1", "no scheme"),
        ("x.schemes", f"stat size={'9' * 9999}", "1:11", "no number"),
        ("x.schemes", f"stat snapshots={'9' * 9999}", "1:16", "whole number"),
        ("x.schemes", "stat access=1e999999999%", "1:13", "percent"),
        ("x.schemes", f"stat filter=addr:0x{'9' * 9}-0x9z", "1:30", "no number"),
        ("x.json", f'[{{"apply_interval_us": {"9" * 9999}}}]', "1:24", "no number"),
        ("x.json", '[{"apply_interval_us": "1e999999999"}]', "1:24", "duration"),
        ("x.yaml", 'schemes: ["\\UFFFFFFFF"]', "1:1", "YAML"),
    ],
)
def test_mistakes_are_told_with_their_place(name, text, place, said):
    with pytest.raises(BadValueError) as caught:
        files.read(text, name)
    assert caught.value.message.startswith(f"{name}:{place}: ")
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_mistakes_of_a_file_are_found():
    with pytest.raises(BadValueError) as caught:
        files.read("pagout\nstat\nstat age=5\n", "x")
    assert [one.message[:6] for one in (caught.value, *caught.value.others)] == [
        "x:1:1:",
        "x:3:10",
    ]


def test_load_takes_presets_files_and_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(YAML)
    Path("prcl").write_text("stat name=mine\n")
    assert files.load("mine.yaml") == files.read(YAML, "mine.yaml")[0]
    assert files.load("prcl").schemes[0].action == "pageout"
    assert files.load("./prcl").schemes[0].name == "mine"
    assert [one.action for one in files.load("stat name=';' ; cold\npageout").schemes] == [
        "stat", "cold", "pageout",
    ]  # fmt: skip
    for wrong, said in {
        "plrc": "did you mean prcl",
        "nothing.yaml": "no scheme file",
        "": "presets",
        str(tmp_path): "directory",
    }.items():
        with pytest.raises(BadValueError) as caught:
            files.load(wrong)
        assert said in str(caught.value)


@pytest.mark.parametrize("name", ["vaddr", "paddr"])
@pytest.mark.parametrize("spelling", ["damo-kdamonds", "damo-kdamonds-yaml"])
def test_real_kdamonds_files_are_kept_without_loss(name, spelling):
    file, found = files.load_path(DATA / f"{name}.kdamonds")
    assert found == "damo-kdamonds"
    assert file.monitor.ops == name
    assert (file.monitor.sample_us, file.monitor.aggr_us) == (10_000, 200_000)
    assert (file.monitor.min_nr_regions, file.monitor.max_nr_regions) == (10, 1000)
    assert file.context_kept["sample_control"]["primitives_enabled"]["page_table"] is True
    assert files.read(files.write(file, spelling), "x")[0] == file
    plain = files.without_status(file)
    assert files.read(files.write(plain, "yaml"), "x.yaml")[0] == plain


def test_what_only_damo_can_say_is_not_lost_silently():
    text = '[{"refresh_ms": 7, "contexts": [{"ops": "vaddr", "targets": [], "pause": true}]}]'
    file = files.without_status(files.read(text)[0])
    with pytest.raises(BadValueError, match="refresh_ms"):
        files.write(file, "yaml")
    assert files.write(files.only_schemes(file), "yaml") == "version: 1\nschemes: []\n"
    two = '[{"contexts": [{"ops": "vaddr", "targets": []}, {"ops": "paddr", "targets": []}]}]'
    file, _ = files.read(two)
    assert [one.monitor.ops for one in file.contexts] == ["vaddr", "paddr"]
    with pytest.raises(BadValueError, match="2 contexts"):
        files.write(file, "yaml")


def damo(**parts):
    return files.read(json.dumps([{"access_pattern": {}, **parts}]))[0].schemes[0]


def test_numbers_as_damo_writes_them():
    scheme = damo(
        action="pageout",
        access_pattern={
            "sz_bytes": {"min": "4.000 KiB", "max": "max"},
            "nr_accesses": {"min": "0.3 %", "max": "18,446,744,073,709,551,616 %"},
            "age": {"min": "3 s 400 ms", "max": "max"},
        },
        apply_interval_us="1 s",
        quotas={
            "time_ms": "10 ms",
            "sz_bytes": "12,345,678",
            "reset_interval_ms": "1 s",
            "goals": [{"target_value_bp": "5 %", "current_value_bp": "100"}],
            "weights": {"sz_permil": "0 %", "nr_accesses_permil": "0.3 %", "age_permil": 3},
            "effective_sz_bytes": "0 B",
        },
        watermarks={
            "metric": "free_mem_rate", "interval_us": "5 s",
            "high_permil": "50 %", "mid_permil": 400, "low_permil": "200",
        },
        filters=[{"filter_type": "anon", "matching": "yes", "filter_pass": True}],
        stats={"nr_tried": "7"},
    )  # fmt: skip
    assert scheme.pattern == Pattern(4096, access=Access(Fraction(3, 10)), age=Age(3_400_000))
    assert scheme.apply_interval_us == 1_000_000
    assert (scheme.quota.time_ms, scheme.quota.size_bytes, scheme.quota.reset_ms) == (
        10, 12_345_678, 1000,
    )  # fmt: skip
    assert scheme.quota.weights == (0, 3, 3)
    goal = scheme.quota.goals[0]
    assert (goal.metric, goal.target, goal.current) == (Metric.USER_INPUT, 500, 100)
    marks = scheme.watermarks
    assert (marks.high, marks.mid, marks.low, marks.interval_us) == (500, 400, 200, 5_000_000)
    assert (scheme.filters[0].type, scheme.filters[0].allow) == (FilterType.ANON, True)


@pytest.mark.parametrize(
    ("bounds", "access"),
    [
        (("5 %", "5%"), Access(5, 5)),
        ((5, 100), Access(5, 100)),
        (("3 samples", "4,294,967,295 samples"), Access(3, None, "samples")),
        (("0 samples", "max"), Access(0, None, "samples")),
    ],
)
def test_damo_accesses(bounds, access):
    pattern = {"nr_accesses": {"min": bounds[0], "max": bounds[1]}}
    assert damo(access_pattern=pattern).pattern.access == access


@pytest.mark.parametrize(
    ("bounds", "age"),
    [
        (("5 s", "max"), Age(5_000_000)),
        ((5_000_000, 6_000_000), Age(5_000_000, 6_000_000)),
        (("7 aggr_intervals", "4294967295 aggr_intervals"), Age(7, None, "windows")),
    ],
)
def test_damo_ages(bounds, age):
    assert damo(access_pattern={"age": {"min": bounds[0], "max": bounds[1]}}).pattern.age == age


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"action": "pagout"}, "did you mean pageout"),
        ({"quota": {}}, "did you mean quotas"),
        ({"access_pattern": {"age": {"min": "5 s", "max": "7 aggr_intervals"}}}, "one unit"),
        ({"access_pattern": {"age": {"min": "5 s"}}}, "needs a max"),
        ({"access_pattern": {"nr_accesses": {"min": "5 %", "max": "7 samples"}}}, "one unit"),
        ({"quotas": {"time_ms": "1500 us"}}, "whole number of milliseconds"),
        ({"quotas": {"goals": [{"metric": "psi", "target_value": 1}]}}, "goal metric"),
        ({"filters": [{"filter_type": "anom"}]}, "did you mean anon"),
    ],
)
def test_mistakes_in_damo_files_are_told(parts, said):
    with pytest.raises(BadValueError) as caught:
        damo(**parts)
    assert caught.value.message.startswith("<schemes>:1:")
    assert said in str(caught.value)


def test_presets_are_what_they_say():
    assert list(PRESETS) == ["prcl", "ethp", "lru-sort", "tier", "stat"]
    loaded = {name: files.load(name) for name in PRESETS}
    assert [len(file.schemes) for file in loaded.values()] == [1, 2, 2, 2, 2]
    (prcl,) = loaded["prcl"].schemes
    limits = prcl.pattern.limits(Attrs())
    assert limits == (4096, 2**64 - 1, 0, 15, 0, 2**32 - 1)
    assert prcl.quota == Quota(size_bytes=128 * 2**20, reset_ms=2000, fail_charge=(1, 64))
    assert prcl.idle_us == 30_000_000
    for file in loaded.values():
        assert not [found for one in file.schemes for found in explain.warnings(one, Attrs())]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("stat", "Only count all memory."),
        (
            "pageout size=4K.. access=0% age=2m.. quota=128M/s,10ms/s filter=anon,!memcg:/x",
            (
                "Page out memory that was not accessed in regions of at least 4K for at least 2m, "
                "only anonymous memory, without memory of cgroup /x, "
                "at most 128M and 10ms of work per 1s."
            ),
        ),
        (
            "migrate_cold to=node1 goal=free:node0=5% watermark=free:50%/40%/20%",
            (
                "Migrate, coldest first, all memory, to node 1, until 5% of node 0 is free, "
                "while 20% to 50% of memory is free (again below 40%, looked at every 5s)."
            ),
        ),
        (
            "stat access=3samples..9samples age=2aggr quota=none snapshots=2",
            (
                "Only count memory accessed in 3 to 9 samples of a window for "
                "2 aggregation intervals, without a limit, for 2 snapshots."
            ),
        ),
        (
            "cold filter=+young every=1s goal=psi:some=10ms/s",
            (
                "Mark as cold all memory, letting through pages accessed since the last look, "
                "nothing else, every 1s, until some task waits for memory 10ms per 1s."
            ),
        ),
    ],
)
def test_a_scheme_in_a_sentence(line, sentence):
    assert explain.sentence(files.load(f"{line} ").schemes[0]) == sentence


def test_a_scheme_in_the_kernels_units():
    scheme = files.load("hugepage access=5%..10% age=1s..").schemes[0]
    units = explain.kernel_units(scheme, Attrs(5000, 200_000))
    assert "nr_accesses=2..4 of 40 age=5..4294967295" in units
    never = files.load("stat access=25samples..;stat age=1ms..2ms").schemes
    found = [explain.warnings(one, Attrs()) for one in never]
    assert ["matches nothing" in one[0] for one in found] == [True, True]


def accepts(schema, value, root):
    """Whether a JSON Schema of the few words that ours uses accepts a value."""
    if "$ref" in schema:
        return accepts(root["$defs"]["scheme"], value, root)
    if "anyOf" in schema:
        return any(accepts(one, value, root) for one in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": float,
             "boolean": bool}  # fmt: skip
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not isinstance(value, tuple(kinds[name] for name in names)):
        return False
    if isinstance(value, dict):
        known = schema["properties"]
        fits = all(key in known and accepts(known[key], one, root) for key, one in value.items())
        return fits and all(key in value for key in schema.get("required", []))
    if isinstance(value, list):
        return all(accepts(schema["items"], one, root) for one in value)
    return True


def test_the_schema_accepts_what_is_written_and_no_unknown_key():
    schema = json_schema()
    for file in (files.read(YAML, "x.yaml")[0], *map(files.load, PRESETS)):
        document = json.loads(files.write(file, "json"))
        assert accepts(schema, document, schema)
        document["schemes"][0]["wxen"] = {}
        assert not accepts(schema, document, schema)


def test_an_empty_document_has_no_schemes():
    assert files.read("version: 1\n", "x.yaml")[0] == SchemeFile()
