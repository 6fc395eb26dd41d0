"""Schemes by name, for what people want most often."""

from __future__ import annotations

from typing import NamedTuple


class Preset(NamedTuple):
    """lines: the schemes, as in a file; about: what it is for, and where its numbers come from."""

    lines: str
    about: str


PRESETS = {
    "prcl": Preset(
        "pageout name=prcl size=4K.. access=0%..75% every=2s filter=idle:30s quota=128M/2s "
        "fail_charge=1/64",
        "Proactive reclaim: pages that were not accessed for 30 s, each for itself, also between "
        "hot ones, 64 MiB a second at most. The kernel's DAMON_RECLAIM takes whole regions that "
        "were idle for 2 min, and rests while memory is plentiful (watermarks 50%, 40%, 20%): "
        "'pageout access=0% age=2m.. watermark=free:50%/40%/20% quota=128M/s,10ms/s'.",
    ),
    "ethp": Preset(
        "hugepage name=ethp-hot access=5%.. quota=512M/s,200ms/s weights=0/1/1 fail_charge=1/64\n"
        "nohugepage name=ethp-sparse every=1s quota=256M/s,100ms/s fail_charge=1/64 "
        "filter=underused:80%..",
        "Huge pages where memory is hot, none where they hold next to nothing: most of their "
        "speed for less of their bloat, wherever a program begins. A huge page has one accessed "
        "bit, so what it holds tells: one of which 80% is zeros is split, and is made huge again "
        "only once 90% is in use. The rate of what is hot is that of the DAMOS paper (HPDC '22), "
        "which splits what was not accessed for 7 s. Hot memory is made huge at about 100 MiB a "
        "second, a fifth of a CPU, once; what is huge already costs next to no quota.",
    ),
    "lru-sort": Preset(
        "lru_prio name=hot access=50%.. quota=5ms/s weights=0/1/1\n"
        "lru_deprio name=cold access=0% age=2m.. quota=5ms/s weights=0/1/1",
        "Keeps the kernel's lists of hot and cold pages in order, so that reclaim under pressure "
        "takes the right ones. The numbers of DAMON_LRU_SORT, without its watermarks.",
    ),
    "tier": Preset(
        "migrate_hot name=promote access=5%.. every=1s quota=200M/s weights=0/1/1 "
        "goal=used:node0=99.7% filter=+young to=node0\n"
        "migrate_cold name=demote access=0% every=1s quota=200M/s weights=0/1/1 "
        "goal=free:node0=0.5% filter=!young to=node1",
        "Two tiers: hot memory to node 0 until it is 99.7% full, cold memory to node 1 until 0.5% "
        "of node 0 is free, each 200 MiB a second at most. After the kernel's sample mtier.",
    ),
    "stat": Preset(
        "stat name=idle access=0% age=30s..\nstat name=used access=1%..",
        "Changes nothing: counts memory idle for 30 s, and memory in use.",
    ),
}
