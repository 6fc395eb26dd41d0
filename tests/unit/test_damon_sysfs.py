from isotherm.kernel.damon import sysfs as damon_sysfs


def make(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_no_damon(tmp_path):
    assert damon_sysfs.read(tmp_path / "kdamonds", tmp_path / "module") is None


def test_contexts_are_read(tmp_path, monkeypatch):
    context = "0/contexts/0"
    make(
        tmp_path / "kdamonds",
        {
            "nr_kdamonds": 1,
            "0/state": "on",
            "0/pid": 77,
            f"{context}/avail_operations": "vaddr\nfvaddr\npaddr",
            f"{context}/operations": "vaddr",
            f"{context}/monitoring_attrs/intervals/sample_us": 5000,
            f"{context}/monitoring_attrs/intervals/intervals_goal/aggrs": 0,
            f"{context}/schemes/0/tried_regions/total_bytes": 0,
            f"{context}/targets/nr_targets": 2,
            f"{context}/targets/0/pid_target": 4242,
            f"{context}/targets/1/pid_target": 4243,
            f"{context}/targets/1/regions/0/start": 4096,
            f"{context}/targets/1/regions/0/end": 8192,
        },
    )
    make(tmp_path / "module", {"damon_reclaim/parameters/enabled": "Y"})
    monkeypatch.setattr(damon_sysfs, "TRACEFS", (tmp_path / "tracing",))
    make(
        tmp_path / "tracing", {"events/damon/damon_aggregated/enable": 0, "events/damon/enable": 0}
    )
    found = damon_sysfs.read(tmp_path / "kdamonds", tmp_path / "module")
    assert found == damon_sysfs.KernelDamon(
        readable=True,
        operations=("vaddr", "fvaddr", "paddr"),
        kdamonds=(damon_sysfs.Kdamond(0, True, 77, "vaddr", (4242, 4243), ((4096, 8192),), 5000),),
        modules=("damon_reclaim",),
        slots=1,
        features=("interval tuning", "tried regions"),
        events=("damon_aggregated",),
    )


def test_present_without_a_context(tmp_path, monkeypatch):
    monkeypatch.setattr(damon_sysfs, "TRACEFS", ())
    make(tmp_path / "kdamonds", {"nr_kdamonds": 0})
    found = damon_sysfs.read(tmp_path / "kdamonds", tmp_path / "module")
    assert found == damon_sysfs.KernelDamon(True, None, (), ())
