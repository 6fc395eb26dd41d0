"""A goal metric from outside: registered by name, said in every spelling, aimed at end to end."""

import json

import pytest

import isotherm
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import MIB, MS, fixed
from isotherm.cli import main
from isotherm.clock import VirtualClock
from isotherm.errors import BadValueError
from isotherm.kernel import undo
from isotherm.model import own
from isotherm.model.scheme import Action, Goal, Metric, Quota, Scheme
from isotherm.schemefile import files
from isotherm.schemefile.goals import METRICS

TOTAL, HOT = 64 * MIB, 8 * MIB
#: Aim to have this much paged out.
AIM = 24 * MIB


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(undo, "state_folder", lambda: tmp_path)


class World:
    """A simulated process, and the metric that looks at it."""

    def __init__(self):
        self.clock = VirtualClock(1000 * MS)
        self.ops = SimOps(fixed(TOTAL, ((0, HOT),)), self.clock)
        self.reads = 0

    def paged_out(self):
        self.reads += 1
        return TOTAL - self.ops.resident_bytes(0)

    def run(self, schemes, duration=3):
        options = {"ops": self.ops, "clock": self.clock, "seed": 7, "duration": duration}
        options["regions"] = (10, 100)
        return isotherm.apply(schemes, **options)


@pytest.fixture
def world():
    made = World()
    with isotherm.register_metric("paged_out", made.paged_out, unit="bytes", about="so far"):
        yield made
    assert "paged_out" not in own.METRICS.known


#: The quota allows 4 MiB in 100 ms until 24 MiB are out, then nothing.
TEXTS = {
    "line": "pageout access=0% quota=4M/100ms goal=paged_out=24M tuner=temporal",
    "line with a colon": "pageout access=0% quota=4M/100ms goal=paged_out:24M tuner=temporal",
    "yaml": (
        "- action: pageout\n  when: {access: 0%}\n"
        "  quota: {size: 4M, per: 100ms, tuner: temporal}\n"
        "  goals: [{metric: paged_out, value: 24M}]\n"
    ),
    "json": json.dumps(
        [
            {
                "action": "pageout",
                "when": {"access": "0%"},
                "quota": {"size": "4M", "per": "100ms", "tuner": "temporal"},
                "goals": ["paged_out=24M"],
            }
        ]
    ),
    "damo": json.dumps(
        [
            {
                "action": "pageout",
                "access_pattern": {"nr_accesses": {"min": 0, "max": 0}},
                "quotas": {
                    "sz_bytes": "4 MiB",
                    "reset_interval_ms": 100,
                    "goal_tuner": "temporal",
                    "goals": [{"metric": "paged_out", "target_value": "24 MiB"}],
                },
            }
        ]
    ),
}


@pytest.mark.parametrize("spelling", TEXTS)
def test_a_goal_aims_at_it_by_name_in_every_spelling(spelling, world, tmp_path):
    path = tmp_path / f"mine.{spelling if spelling in ('yaml', 'json') else 'txt'}"
    path.write_text(TEXTS[spelling])
    result = world.run(str(path))
    assert result.schemes[0].quota.goals[0].own.name == "paged_out"
    assert world.reads > 20
    # Without the goal all that is idle would be out after two seconds.
    assert AIM <= world.paged_out() <= AIM + 2 * 4 * MIB
    assert result.states[0].score >= 1
    assert result.states[0].stats.errors == {}


def test_without_the_goal_everything_idle_goes(world):
    world.run("pageout access=0% quota=4M/100ms")
    assert world.paged_out() > TOTAL - HOT - 8 * MIB


def test_python_says_the_same(world):
    metric = own.METRICS.known["paged_out"]
    goal = Goal(Metric.OWN, AIM, read=metric)
    quota = Quota(size_bytes=4 * MIB, reset_ms=100, goals=(goal,), tuner="temporal")
    scheme = Scheme(Action.PAGEOUT, files.load("stat access=0%").schemes[0].pattern, quota=quota)
    assert (scheme,) == files.load(TEXTS["line"]).schemes
    world.run(scheme)
    assert AIM <= world.paged_out() <= AIM + 2 * 4 * MIB


@pytest.mark.parametrize(
    "read",
    [lambda: 1 / 0, lambda: None, lambda: float("nan"), lambda: "much"],
)
@pytest.mark.parametrize("tuner", ["consist", "temporal"])
def test_a_metric_that_fails_is_counted_and_ends_nothing(read, tuner, world):
    with isotherm.register_metric("broken", read):
        result = world.run(f"pageout access=0% quota=4K/100ms goal=broken=5 tuner={tuner}; stat")
    (why, times), *others = result.states[0].stats.errors.items()
    assert others == []
    assert why.startswith("goal broken: ")
    assert times > 10
    assert world.paged_out() <= 20 * 4096
    assert result.states[1].stats.sz_tried > 0


@pytest.mark.parametrize(
    ("unit", "text", "target"),
    [("count", "5000", 5000), ("bytes", "4K", 4096), ("us", "10ms", 10_000), ("bp", "5%", 500)],
)
def test_values_are_written_in_the_unit_of_the_metric(unit, text, target):
    with isotherm.register_metric("mine", lambda: 1, unit=unit):
        (scheme,) = files.load(f"stat goal=!mine={text}:7").schemes
        (goal,) = scheme.quota.goals
        assert (goal.target, goal.current, goal.complement) == (target, 7, True)
        for spelling in ("line", "yaml", "json"):
            written = files.write(files.SchemeFile((scheme,)), spelling)
            name = "x.yaml" if spelling == "yaml" else "x"
            assert files.read(written, name)[0].schemes == (scheme,)
        with pytest.raises(BadValueError, match="damo lacks it"):
            files.write(files.SchemeFile((scheme,)), "damo")
        for wrong in (f"stat goal=mine=x{text}", "stat goal=mine:node0=5", "stat goal=mine=0"):
            with pytest.raises(BadValueError, match="<schemes>:1:"):
                files.load(wrong)


def test_it_is_explained_and_checked(world, capsys):
    assert main(["scheme", "explain", TEXTS["line"]]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "until paged_out is 24M (so far)" in out
    assert f"goal paged_out={AIM}" in out
    assert main(["scheme", "convert", "--to", "line", TEXTS["line with a colon"]]) == 0
    assert capsys.readouterr().out == f"{TEXTS['line']}\n"
    assert main(["scheme", "explain", "stat goal=paged_ot=5"]) == 2
    assert "did you mean paged_out?" in capsys.readouterr().err
    assert main(["scheme", "schema"]) == 0
    assert "paged_out" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", "Free", "free", "psi", "user_input", "node_mem_used", "a:b"])
def test_names_that_cannot_be_are_refused(name):
    with pytest.raises(BadValueError):
        isotherm.register_metric(name, lambda: 1)


def test_a_name_is_taken_once(world):
    with pytest.raises(BadValueError, match="exists"):
        isotherm.register_metric("paged_out", lambda: 1)
    for wrong in ({"read": 5}, {"read": lambda: 1, "unit": "furlongs"}):
        with pytest.raises(BadValueError, match="needs a function"):
            isotherm.register_metric("other", **wrong)


def test_every_word_of_goals_is_reserved():
    words = {name.partition(":")[0] for name in METRICS} | {str(metric) for metric in Metric}
    assert words <= own.METRICS.reserved
