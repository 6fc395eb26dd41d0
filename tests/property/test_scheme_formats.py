"""What is written in any spelling is read back as an equal object."""

import json

import pytest
from hypothesis import given as given_examples
from hypothesis import settings
from hypothesis import strategies as st

from isotherm.errors import BadValueError
from isotherm.model.scheme import Action, FilterType, Scheme
from isotherm.schemefile import files
from isotherm.schemefile.damo import keys
from isotherm.schemefile.documents import document
from isotherm.schemefile.documents import scheme as document_scheme
from isotherm.schemefile.lines.classic import format_classic, parse_classic
from isotherm.schemefile.lines.key_value import format_line, parse_line
from isotherm.schemefile.scheme_file import SchemeFile
from support import schemes as random_schemes


def given(*positional, **named):
    """Examples of whole files may take their time."""

    def decorate(test):
        return settings(deadline=None)(given_examples(*positional, **named)(test))

    return decorate


@given(random_schemes.schemes())
def test_a_line_is_read_back(scheme):
    assert parse_line(format_line(scheme)) == scheme


@given(random_schemes.classic_schemes())
def test_a_classic_line_is_read_back(scheme):
    assert parse_classic(format_classic(scheme)) == scheme


@given(random_schemes.schemes())
def test_a_classic_line_says_all_or_refuses(scheme):
    try:
        line = format_classic(scheme)
    except files.InexpressibleError:
        return
    assert parse_classic(line) == scheme


@pytest.mark.parametrize("spelling", ["yaml", "json"])
@given(file=random_schemes.documents)
def test_a_document_is_read_back(spelling, file):
    text = files.write(file, spelling)
    assert files.read(text, f"x.{spelling}") == (file, spelling)


@pytest.mark.parametrize("spelling", ["line", "damo"])
@given(data=st.data())
def test_a_list_of_schemes_is_read_back(spelling, data):
    kinds = tuple(FilterType) if spelling == "line" else random_schemes.KERNEL_FILTERS
    schemes = st.lists(random_schemes.schemes(kinds), min_size=1, max_size=3)
    file = SchemeFile(tuple(data.draw(schemes)))
    assert files.read(files.write(file, spelling)) == (file, spelling)


@pytest.mark.parametrize("spelling", ["damo", "damo-kdamonds"])
@pytest.mark.parametrize("rule", ["idle:30s", "name:[heap]", "underused:80%.."])
def test_what_damo_does_not_know_is_refused(spelling, rule):
    file = SchemeFile((parse_line(f"pageout filter={rule}"),))
    with pytest.raises(files.InexpressibleError, match=rule.split(":")[0]):
        files.write(file, spelling)


@pytest.mark.parametrize("spelling", ["damo-kdamonds", "damo-kdamonds-yaml"])
@given(file=random_schemes.kdamonds())
def test_a_kdamonds_file_is_read_back(spelling, file):
    assert files.read(files.write(file, spelling)) == (file, spelling)


@given(random_schemes.documents, st.sampled_from(["yaml", "json"]), st.data())
def test_spellings_agree(file, spelling, data):
    """A document converted to another spelling is the same file."""
    other = data.draw(st.sampled_from(["yaml", "json"]))
    again, _ = files.read(files.write(file, spelling), f"x.{spelling}")
    assert files.read(files.write(again, other), f"x.{other}")[0] == file


@given(random_schemes.schemes(random_schemes.KERNEL_FILTERS), st.data())
def test_a_damaged_text_is_read_or_refused_with_its_place(scheme, data):
    spelling = data.draw(st.sampled_from(["line", "yaml", "json", "damo"]))
    text = files.write(SchemeFile((scheme,)), spelling)
    at = data.draw(st.integers(0, len(text)))
    piece = data.draw(st.sampled_from(["", '"', "{", "=", "..", "9", "\n", ":", "é", "\0", "#"]))
    damaged = text[:at] + piece + text[at + data.draw(st.integers(0, 3)) :]
    suffix = spelling if spelling in ("yaml", "json") else "txt"
    try:
        files.read(damaged, f"x.{suffix}")
    except BadValueError as err:
        refused = err
    else:
        return
    name, line, column, _ = refused.message.split(":", 3)
    assert (name, refused.exit_code) == (f"x.{suffix}", 2)
    assert int(line) >= 1
    assert int(column) >= 1


@given(st.text(random_schemes.prints, max_size=200))
def test_names_of_any_text_that_prints_are_read_back(name):
    for spelling in ("line", "yaml", "json", "damo", "damo-kdamonds-yaml"):
        file = SchemeFile((Scheme(Action.STAT, name=name),))
        suffix = spelling if spelling == "json" else "yaml"
        again, _ = files.read(
            files.write(file, spelling), f"x.{suffix}" if spelling not in ("line", "damo") else "x"
        )
        assert again.schemes == file.schemes


KEYS = sorted(
    {
        *document.DOCUMENT_KEYS, *document.MONITOR_KEYS, *document.GOAL_KEYS,
        *document.TARGET_KEYS, *document_scheme.SCHEME_KEYS, *document_scheme.WHEN_KEYS,
        *document_scheme.QUOTA_KEYS, *document_scheme.GOAL_KEYS, *document_scheme.FILTER_KEYS,
        *document_scheme.WATERMARK_KEYS, *keys.SCHEME, *keys.PATTERN,
        *keys.QUOTAS, *keys.GOAL, *keys.WATERMARKS, *keys.FILTER,
        *keys.CONTEXT, *keys.INTERVALS, "kdamonds", "min", "max", "start", "end",
    }
)  # fmt: skip
VALUES = ["", "0", "max", "5%", "5 %", "7 samples", "5s..", "4K", "stat", "memcg", "free:node0"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(VALUES),
    lambda one: st.lists(one, max_size=3)
    | st.dictionaries(st.sampled_from(KEYS), one, max_size=4),
    max_leaves=12,
)  # fmt: skip
FORMS = [
    lambda one: one,
    lambda one: {"kdamonds": one},
    lambda one: {"schemes": [one], "monitor": one, "targets": [one]},
    lambda one: [{"access_pattern": one, "quotas": one}],
    lambda one: [{"access_pattern": {}, "filters": [one], "watermarks": one, "dests": one}],
    lambda one: {"schemes": [{"action": "stat", "when": one, "quota": one}]},
    lambda one: {"schemes": [{"action": "stat", "goals": [one], "filters": [one]}]},
    lambda one: {"kdamonds": [{"contexts": [{"intervals": one, "targets": [one]}]}]},
    lambda one: {"kdamonds": [{"contexts": [{"nr_regions": one, "schemes": [one]}]}]},
]


@given(anything, st.sampled_from(FORMS), st.sampled_from(["yaml", "json"]))
def test_any_document_is_read_or_refused(value, form, spelling):
    text = json.dumps(form(value))
    try:
        file, _ = files.read(text, f"x.{spelling}")
    except BadValueError as err:
        refused = err
    else:
        for one in file.contexts:
            again = files.write(SchemeFile(one.schemes), "json")
            assert files.read(again)[0].schemes == one.schemes
        return
    assert refused.message.startswith(f"x.{spelling}:1:")
