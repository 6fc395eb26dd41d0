"""Keys of damo's files, of all its years: read, kept, or named; never lost silently."""

import json

import pytest

from isotherm.cli import main
from isotherm.errors import BadValueError
from isotherm.model.scheme import Access, Age, Pattern, Weights
from isotherm.schemefile import files

LEGACY = {
    "sz_bytes": {"min": "min", "max": "max"},
    "nr_accesses_unit": "percent",
    "nr_accesses": {"min": "min", "max": "min"},
    "age_unit": "usec",
    "age": {"min": "2s", "max": "max"},
}


def read(document, name="x.json"):
    file, _ = files.read(json.dumps(document), name)
    return file


def test_units_with_keys_of_their_own_are_read_as_damo_reads_them():
    file = read([{"action": "pageout", "access_pattern": LEGACY}])
    assert file.schemes[0].pattern == Pattern(access=Access(0, 0), age=Age(2_000_000))
    assert file.notes == ()


def test_a_unit_that_damo_passes_over_is_named():
    bare = {"min": 5, "max": "7"}
    pattern = {"nr_accesses_unit": "samples", "nr_accesses": bare, "age_unit": "aggr_intervals"}
    file = read([{"access_pattern": pattern | {"age": {"min": "7 aggr_intervals", "max": "max"}}}])
    assert file.schemes[0].pattern == Pattern(access=Access(5, 7), age=Age(7, None, "windows"))
    (note,) = file.notes
    assert note.startswith("x.json:1:")
    assert "nr_accesses_unit 'samples' is passed over" in note


def test_flat_patterns_and_weights_of_the_first_years():
    pattern = {
        "min_sz_bytes": "4K", "max_sz_bytes": "max", "min_nr_accesses": 1, "max_nr_accesses": 20,
        "nr_accesses_unit": "samples", "min_age": "min", "max_age": "7",
        "age_unit": "aggr_intervals",
    }  # fmt: skip
    quotas = {"sz_bytes": "1G", "weight_sz_permil": 0, "weight_nr_accesses_permil": "3"}
    file = read([{"access_pattern": pattern, "quotas": quotas}])
    (scheme,) = file.schemes
    assert scheme.pattern == Pattern(
        4096, 2**64 - 1, Access(1, 20, "samples"), Age(0, 7, "windows")
    )
    assert scheme.quota.weights == Weights(0, 3, 0)
    assert file.notes == ()
    percent = read([{"access_pattern": {"max_nr_accesses": "5 %", "min_age": "2 s"}}])
    assert percent.schemes[0].pattern == Pattern(access=Access(0, 5), age=Age(2_000_000))


@pytest.mark.parametrize(
    ("scheme", "where"),
    [
        ({"whatever": [{"deep": {}}]}, "key 'whatever'"),
        ({"access_pattern": {**LEGACY, "sz_unit": "B"}}, "access_pattern: key 'sz_unit'"),
        ({"access_pattern": {"age": {"min": 1, "max": 2, "mean": 1}}}, "age: key 'mean'"),
        ({"quotas": {"owner": 1}}, "quotas: key 'owner'"),
        ({"quotas": {"goals": [{"target_value": 5, "weight": 1}]}}, "goals: key 'weight'"),
        ({"quotas": {"weights": {"hugepage_permil": 1}}}, "weights: key 'hugepage_permil'"),
        ({"watermarks": {"source": "x"}}, "watermarks: key 'source'"),
        ({"filters": [{"filter_type": "anon", "cpumask": None}]}, "filters: key 'cpumask'"),
        ({"dests": [{"id": 1, "tier": 2}], "action": "migrate_hot"}, "dests: key 'tier'"),
        ({"a\x1b[31m\nb": 1}, r"key 'a\x1b[31m\nb'"),
    ],
)
def test_unknown_keys_are_named_and_not_fatal(scheme, where):
    alone = read([{"access_pattern": {}} | scheme])
    inside = read({"kdamonds": [{"contexts": [{"ops": "paddr", "schemes": [scheme]}]}]})
    assert alone.schemes[0].action == inside.schemes[0].action
    for file in (alone, inside):
        (note,) = file.notes
        assert note.startswith("x.json:1:")
        assert note.isprintable()
        assert where in note
        assert note.endswith("left out")


def test_unknown_keys_of_kdamonds_and_contexts_are_kept():
    context = {"ops": "paddr", "targets": [], "pages": [4096, None], "schemes": []}
    document = {"kdamonds": [{"cpu": 3, "contexts": [context]}], "version": 9}
    file = read(document)
    assert len(file.notes) == 3
    assert [note.rpartition(" is ")[2] for note in file.notes] == [
        "kept for damo alone", "kept for damo alone", "left out",
    ]  # fmt: skip
    again = json.loads(files.write(file, "damo-kdamonds"))
    assert again == {"kdamonds": document["kdamonds"]}
    with pytest.raises(BadValueError, match="'cpu'"):
        files.write(file, "yaml")


@pytest.mark.parametrize("slip", ["quota", "watermark", "filter", "access_patern", "actions"])
def test_a_slip_is_an_error_because_it_would_be_another_scheme(slip):
    with pytest.raises(BadValueError, match="has no key") as caught:
        read([{"access_pattern": {}, slip: {}}])
    assert "did you mean" in caught.value.hint


def test_the_commands_tell_what_is_left_out(tmp_path, capsys):
    path = tmp_path / "x.json"
    path.write_text('[{"action": "stat", "access_pattern": {}, "whatever": 1}]')
    for command in (["explain"], ["check"], ["fmt"], ["convert", "--to", "line"]):
        assert main(["scheme", *command, str(path)]) == 0
        out, err = capsys.readouterr()
        assert f"{path}:1:43: a scheme: key 'whatever' is not known, and is left out" in err
        assert "whatever" not in out


def test_thousands_of_unknown_keys_are_told_briefly():
    file = read([{"access_pattern": {}} | {f"unknown{n}": n for n in range(5000)}])
    assert len(file.notes) == 51
    assert file.notes[-1].startswith("4950 further keys")
