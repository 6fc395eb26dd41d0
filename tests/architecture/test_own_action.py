"""An own action from outside: registered by name, said in every spelling, done end to end."""

import json

import pytest

import isotherm
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import BASE, MIB, MS, fixed
from isotherm.cli import main
from isotherm.clock import VirtualClock
from isotherm.errors import BadValueError
from isotherm.kernel import undo
from isotherm.model import own
from isotherm.model.scheme import Access, Action, Scheme
from isotherm.schemefile import files
from isotherm.schemefile.presets import PRESETS

TOTAL, HOT = 64 * MIB, 8 * MIB


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(undo, "state_folder", lambda: tmp_path)


class Dropper:
    """What a user has written: notes what it was given, treats half of it."""

    def __init__(self):
        self.given = []

    def __call__(self, target, start, end):
        self.given.append((target, start, end))
        return (end - start) // 2


@pytest.fixture
def drop():
    dropper = Dropper()
    with isotherm.register_action("drop", dropper, like="pageout", about="Drop the cache in"):
        yield dropper
    assert "drop" not in own.ACTIONS.known


def run(schemes, **options):
    clock = VirtualClock(1000 * MS)
    ops = SimOps(fixed(TOTAL, ((0, HOT),)), clock)
    return isotherm.apply(
        schemes, ops=ops, clock=clock, seed=7, regions=(10, 100), duration=2, **options
    ), ops


TEXTS = {
    "line": "drop access=0% age=500ms.. quota=none",
    "classic": "min max min min 500ms max drop max 1s",
    "yaml": "- action: drop\n  when: {access: 0%, age: 500ms..}\n  quota: none\n",
    "json": '[{"action": "drop", "when": {"access": "0%", "age": "500ms.."}, "quota": "none"}]',
    "damo": json.dumps(
        [
            {
                "action": "drop",
                "access_pattern": {
                    "nr_accesses": {"min": "0 %", "max": "0 %"},
                    "age": {"min": 500_000, "max": "max"},
                },
                "quotas": {"sz_bytes": 0},
            }
        ]
    ),
}


@pytest.mark.parametrize("spelling", TEXTS)
def test_it_is_done_by_name_in_every_spelling(spelling, drop, tmp_path):
    path = tmp_path / f"mine.{spelling if spelling in ('yaml', 'json') else 'txt'}"
    path.write_text(TEXTS[spelling])
    result, ops = run(str(path))
    (state,) = result.states
    assert state.action == state.title == "drop"
    assert state.stats.errors == {}
    sizes = [end - start for _, start, end in drop.given]
    assert sum(sizes) == state.stats.sz_tried > TOTAL - HOT - MIB
    assert state.stats.sz_applied == sum(size // 2 for size in sizes)
    # What is in use was left alone, and the simulator's own actions did nothing.
    idle_share = sum(
        end - max(start, BASE + HOT) for _, start, end in drop.given if end > BASE + HOT
    )
    assert idle_share > 0.95 * sum(sizes)
    assert ops.resident_bytes(0) == TOTAL


def test_a_quota_and_a_dry_run_hold_for_it(drop):
    result, _ = run("drop access=0% quota=4M/s")
    assert 0 < sum(end - start for _, start, end in drop.given) <= 3 * 4 * MIB
    drop.given.clear()
    result, _ = run("drop access=0% quota=4M/s", dry_run=True)
    assert drop.given == []
    assert result.states[0].stats.sz_applied > 0


def test_without_a_quota_it_gets_a_careful_one(drop):
    result, _ = run("drop access=0%")
    assert result.schemes[0].quota.size_bytes == 128 * MIB


def test_what_it_raises_is_counted_and_ends_nothing(folder):
    def fail(target, start, end):
        raise RuntimeError("no luck")

    with isotherm.register_action("fails", fail):
        result, _ = run("fails access=0% quota=none; stat")
    broken, counted = result.states
    assert broken.stats.errors["RuntimeError: no luck"] == broken.stats.nr_tried > 0
    assert broken.stats.sz_applied == 0
    assert counted.stats.sz_tried > 0


def test_it_takes_regions_as_the_action_that_it_is_like(drop):
    (scheme,) = files.load("drop access=0%").schemes
    assert (scheme.action, scheme.own.function) == (Action.PAGEOUT, drop)
    assert scheme == Scheme(Action.PAGEOUT, scheme.pattern, own=own.ACTIONS.known["drop"])


def test_it_is_explained_checked_and_converted(drop, capsys):
    line = "drop access=0% age=30s.. quota=128M/s"
    assert main(["scheme", "explain", line]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "drop: Drop the cache in memory that was not accessed for at least 30s" in out
    assert "action=drop" in out
    for spelling in ("line", "classic", "yaml", "json"):
        assert main(["scheme", "convert", "--to", spelling, line]) == 0
        text = capsys.readouterr().out
        name = "x.yaml" if spelling == "yaml" else "x"
        assert files.read(text, name)[0].schemes == files.load(line).schemes
    assert main(["scheme", "convert", "--to", "damo", line]) == 2
    assert "damo lacks it" in capsys.readouterr().err
    assert main(["scheme", "schema"]) == 0
    assert '"drop"' in capsys.readouterr().out
    assert main(["scheme", "explain", "drpo"]) == 2
    assert "did you mean drop?" in capsys.readouterr().err


def test_without_registering_the_name_means_nothing(capsys):
    assert main(["scheme", "explain", "drop access=0%"]) == 2
    assert "there is no action 'drop'" in capsys.readouterr().err


def test_a_function_without_a_name_works_in_python_and_cannot_be_written():
    seen = []
    access = isotherm.Pattern(access=Access(0, 0))
    scheme = Scheme(Action.STAT, access, own=lambda *region: seen.append(region) or 4096)
    result, _ = run(scheme)
    assert result.states[0].stats.nr_applied == len(seen) > 0
    with pytest.raises(BadValueError, match="callable"):
        files.write(files.SchemeFile((scheme,)), "line")


@pytest.mark.parametrize(
    "name", ["", "Drop", "pageout", "min", "null", "a b", "a=b", "é", "x" * 41, "7up", "prcl", 5]
)
def test_names_that_cannot_be_are_refused(name):
    with pytest.raises(BadValueError):
        isotherm.register_action(name, Dropper())


def test_a_name_is_taken_once(drop):
    with pytest.raises(BadValueError, match="exists"):
        isotherm.register_action("drop", Dropper(), like="pageout")
    for wrong in ({"function": 5}, {"function": drop, "like": "pagout"}):
        with pytest.raises(BadValueError, match="needs a function"):
            isotherm.register_action("other", **wrong)


def test_every_word_of_scheme_texts_is_reserved():
    assert {*map(str, Action), "min", "max", "null", *PRESETS} - {"lru-sort"} <= (
        own.ACTIONS.reserved
    )
