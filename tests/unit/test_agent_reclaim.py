"""Groups that give back what they do not use: rules, guards and files of cgroups, made by hand."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from isotherm.agent.openmetrics import END, text_of
from isotherm.agent.pressure import group_guard, parse_limit
from isotherm.agent.reclaim import GroupReclaim, Reclaim, reclaim_families
from isotherm.agent.sums import GroupSum
from isotherm.errors import BadValueError
from isotherm.model.page_use import PageUse, UseRow

S, MIB = 1_000_000_000, 1 << 20
WINDOWS = (60 * S, 1800 * S)
RULE = Reclaim("/app/*", 1800 * S, 3 * MIB, "psi=10ms/s")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Tree:
    """A memory hierarchy as files of a folder: what is written to memory.reclaim stays there."""

    def __init__(self, root):
        self.root = root

    def make(self, path, **files):
        folder = self.root / path.lstrip("/")
        folder.mkdir(parents=True)
        names = {"memory_reclaim": "", "memory_current": "1000000\n"} | files
        for name, text in names.items():
            (folder / name.replace("_", ".", 1)).write_text(text)
        return folder

    def folder(self, path):
        found = self.root / path.lstrip("/")
        return found if found.is_dir() else None


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


@pytest.fixture
def clock():
    return Clock()


def pressure(total):
    return f"some avg10=0.00 avg60=0.00 avg300=0.00 total={total}\nfull avg10=0.00 total=0\n"


def sums(**idle):
    found = {}
    for name, (short, long) in idle.items():
        row = UseRow(0, "", "anon", None, 0, 0, 0, (), (), (), (0, 0), (short, long))
        found["cgroup", name] = GroupSum(row, path=f"/app/{name}")
    return found


def use():
    return PageUse(5 * S, 7200 * S, WINDOWS, ())


def reclaim(tree, clock, *, apply=True, swap=MIB, rules=(RULE,)):
    return GroupReclaim(rules, apply=apply, folder_of=tree.folder, now=clock, swap=lambda: swap)


def turns(made, clock, count=1):
    for _ in range(count):
        clock.now += 1.0
        made.turn(1.0)


def test_it_asks_for_what_is_idle_at_its_rate_and_no_more(tree, clock):
    web = tree.make("/app/web", memory_pressure=pressure(0))
    made = reclaim(tree, clock)
    made.learn(sums(web=(99 * MIB, 7 * MIB)), use())
    asked = []
    for _ in range(4):
        turns(made, clock)
        asked.append(made.told()["/app/web"].asked // MIB)
    assert asked == [3, 6, 7, 7]
    assert (web / "memory.reclaim").read_text().startswith(str(MIB))
    made.learn(sums(web=(99 * MIB, 2 * MIB)), use())
    turns(made, clock)
    assert made.told()["/app/web"].asked == 9 * MIB


def test_only_groups_of_a_rule_that_are_there_are_asked(tree, clock):
    for path in ("/app/web", "/app/db", "/other"):
        tree.make(path, memory_pressure=pressure(0))
    rules = (Reclaim("/app/web", 60 * S, MIB, "psi=1ms/s"), RULE)
    made = reclaim(tree, clock, rules=rules)
    known = sums(web=(5, 6), db=(7, 8), gone=(9, 9))
    known["cgroup", "other"] = GroupSum(known["cgroup", "web"].row, path="/other")
    made.learn(known, use())
    assert {path: given.idle for path, given in made.told().items()} == {
        "/app/web": 5,
        "/app/db": 8,
    }
    made.learn(sums(db=(7, 8)), use())
    assert set(made.told()) == {"/app/db"}


@pytest.mark.parametrize("more", [{"apply": False}, {"swap": 0}])
def test_a_dry_run_asks_for_nothing_nor_does_who_has_no_swap(tree, clock, more):
    web = tree.make("/app/web", memory_pressure=pressure(0))
    made = reclaim(tree, clock, **more)
    made.learn(sums(web=(9 * MIB, 9 * MIB)), use())
    turns(made, clock, 3)
    given = made.told()["/app/web"]
    assert (given.asked, given.idle) == (0, 9 * MIB)
    assert given.why_not
    assert (web / "memory.reclaim").read_text() == ""


def test_a_group_that_may_not_swap_is_left_alone(tree, clock):
    tree.make("/app/web", memory_pressure=pressure(0), **{"memory_swap.max": "0\n"})
    tree.make("/app/db", memory_pressure=pressure(0), **{"memory_swap.max": "max\n"})
    made = reclaim(tree, clock)
    made.learn(sums(web=(MIB, MIB), db=(MIB, MIB)), use())
    turns(made, clock)
    assert [given.asked for given in made.told().values()] == [0, MIB]


def test_harm_to_one_group_holds_back_that_one_alone(tree, clock):
    web = tree.make("/app/web", memory_pressure=pressure(0))
    tree.make("/app/db", memory_pressure=pressure(0))
    made = reclaim(tree, clock)
    made.learn(sums(web=(500 * MIB, 500 * MIB), db=(500 * MIB, 500 * MIB)), use())
    turns(made, clock)
    (web / "memory.pressure").write_text(pressure(10_001))
    turns(made, clock, 3)
    told = made.told()
    assert told["/app/web"].asked == 3 * MIB
    assert "held back: its memory pressure is above 10ms a second" in told["/app/web"].why_not
    assert told["/app/db"].asked == 12 * MIB
    turns(made, clock, 3)  # five seconds of quiet, and it begins anew with a sixteenth
    assert 0 < told["/app/web"].asked - 3 * MIB < MIB


def test_without_pressure_refaults_tell_of_harm_and_that_is_said(tree):
    text = "workingset_refault_anon 5\nworkingset_refault_file 6\npgfault 99\n"
    folder = tree.make("/a", memory_stat=text)
    guard = group_guard(folder, "psi=10ms/s")
    assert guard.sensor.describe() == (
        "more than 100 pages a second come back to it (its pressure is not measured)"
    )
    assert not guard.look((), 1 * S)
    (folder / "memory.stat").write_text(text.replace("anon 5", "anon 105"))
    assert not guard.look((), 2 * S)
    (folder / "memory.stat").write_text(text.replace("anon 5", "anon 206"))
    assert guard.look((), 3 * S)
    assert guard.share == 0


def test_what_is_known_no_more_is_not_acted_on(tree, clock):
    tree.make("/app/web", memory_pressure=pressure(0))
    made = reclaim(tree, clock)
    made.learn(sums(web=(9 * MIB, 9 * MIB)), use())
    clock.now += 400
    turns(made, clock)
    assert made.told()["/app/web"].asked == 0
    assert "too old" in made.told()["/app/web"].why_not


def test_a_kernel_without_the_file_or_that_refuses_is_told(tree, clock):
    web = tree.make("/app/web", memory_pressure=pressure(0))
    (web / "memory.reclaim").unlink()
    db = tree.make("/app/db", memory_pressure=pressure(0))
    (db / "memory.reclaim").unlink()
    (db / "memory.reclaim").symlink_to("/dev/full")
    made = reclaim(tree, clock)
    made.learn(sums(web=(9 * MIB, 9 * MIB), db=(MIB, MIB)), use())
    turns(made, clock)
    lines = "\n".join(made.lines())
    assert "/app/web: idle 9.0 MiB, asked for 0 B, gave 0 B (memory.reclaim: No such file" in lines
    assert "No space left" in lines
    assert not (web / "memory.reclaim").exists()


def test_what_is_told_is_read_by_prometheus(tree, clock):
    tree.make("/app/web", memory_pressure=pressure(0))
    made = reclaim(tree, clock)
    made.learn(sums(web=(9 * MIB, 9 * MIB)), use())
    turns(made, clock)
    text = text_of(reclaim_families(made.told(), dry_run=False)) + END
    told = {
        sample.name: (sample.labels, sample.value)
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    assert told["isotherm_reclaim_idle_bytes"] == ({"cgroup": "/app/web"}, 9 * MIB)
    assert told["isotherm_reclaim_asked_bytes_total"][1] == 3 * MIB
    assert told["isotherm_reclaim_share_ratio"][1] == 1
    assert told["isotherm_reclaim_dry_run"] == ({}, 0)
    assert not [sample for one in reclaim_families({}, dry_run=True) for sample in one.samples]


@pytest.mark.parametrize("text", ["psi", "psi=10ms", "psi=10ms/m", "refault=x/s", "cmd=true"])
def test_guards_that_are_none(text):
    with pytest.raises(BadValueError):
        parse_limit(text)


def test_it_runs_in_a_thread_and_ends(tree):
    tree.make("/app/web", memory_pressure=pressure(0))
    made = GroupReclaim((RULE,), apply=True, folder_of=tree.folder, swap=lambda: 0)
    made.learn(sums(web=(1, 1)), use())
    made.start()
    made.close()
