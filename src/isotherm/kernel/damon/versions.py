"""
Which mainline release first had what of DAMON's sysfs: for error messages, never for decisions.

From mm/damon/sysfs*.c and the ABI document of Linux 7.3; what is not listed came with 5.18.
"""

from __future__ import annotations

import re

#: First release -> paths below a context; what lies under a path came with it, if not listed.
_PATHS = {
    "5.19": ("avail_operations",),
    "6.2": ("schemes/*/tried_regions",),
    "6.3": ("schemes/*/filters",),
    "6.6": (
        "schemes/*/filters/*/addr_start",
        "schemes/*/filters/*/addr_end",
        "schemes/*/filters/*/damon_target_idx",
        "schemes/*/tried_regions/total_bytes",
    ),
    "6.7": ("schemes/*/apply_interval_us",),
    "6.8": ("schemes/*/quotas/goals",),
    "6.9": ("schemes/*/quotas/effective_bytes", "schemes/*/quotas/goals/*/target_metric"),
    "6.11": ("schemes/*/target_nid",),
    "6.14": (
        "schemes/*/filters/*/allow",
        "schemes/*/stats/sz_ops_filter_passed",
        "schemes/*/tried_regions/*/sz_filter_passed",
    ),
    "6.15": (
        "monitoring_attrs/intervals/intervals_goal",
        "schemes/*/core_filters",
        "schemes/*/ops_filters",
        "schemes/*/filters/*/min",
        "schemes/*/filters/*/max",
    ),
    "6.16": ("schemes/*/quotas/goals/*/nid",),
    "6.17": ("refresh_ms", "schemes/*/dests"),
    "6.18": ("addr_unit",),
    "6.19": ("targets/*/obsolete_target", "schemes/*/quotas/goals/*/path"),
    "7.0": ("schemes/*/stats/nr_snapshots", "schemes/*/stats/max_nr_snapshots"),
    "7.1": ("schemes/*/quotas/goal_tuner",),
    "7.2": (
        "pause",
        "monitoring_attrs/probes",
        "schemes/*/quotas/fail_charge_num",
        "schemes/*/quotas/fail_charge_denom",
        "schemes/*/tried_regions/*/probes",
    ),
    "7.3": ("monitoring_attrs/probes/*/weight",),
}

#: Last name of a path -> first release -> keywords that it takes.
_KEYWORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "state": {
        "5.18": ("on", "off", "update_schemes_stats"),
        "5.19": ("commit",),
        "6.2": ("update_schemes_tried_regions", "clear_schemes_tried_regions"),
        "6.6": ("update_schemes_tried_bytes",),
        "6.8": ("commit_schemes_quota_goals",),
        "6.9": ("update_schemes_effective_quotas",),
        "6.15": ("update_tuned_intervals",),
    },
    "operations": {"5.18": ("vaddr", "paddr"), "5.19": ("fvaddr",)},
    "action": {
        "5.18": ("willneed", "cold", "pageout", "hugepage", "nohugepage", "stat"),
        "6.0": ("lru_prio", "lru_deprio"),
        "6.11": ("migrate_hot", "migrate_cold"),
        "7.2": ("collapse",),
    },
    "target_metric": {
        "6.9": ("user_input", "some_mem_psi_us"),
        "6.16": ("node_mem_used_bp", "node_mem_free_bp"),
        "6.19": ("node_memcg_used_bp", "node_memcg_free_bp"),
        "7.0": ("active_mem_bp", "inactive_mem_bp"),
        "7.2": ("node_eligible_mem_bp",),
    },
    "goal_tuner": {"7.1": ("consist", "temporal")},
    "type": {
        "6.3": ("anon", "memcg"),
        "6.6": ("addr", "target"),
        "6.10": ("young",),
        "6.15": ("active", "hugepage_size", "unmapped"),
    },
}

_SINCE = {path: release for release, paths in _PATHS.items() for path in paths}
_KEYWORD_SINCE = {
    (name, keyword): release
    for name, releases in _KEYWORDS.items()
    for release, keywords in releases.items()
    for keyword in keywords
}


def generic(path: str) -> str:
    """
    Return a path below `kdamonds` without the numbers: what of a context it is.

    "0/contexts/0/schemes/3/action" is "schemes/*/action".
    """
    stars = re.sub(r"/\d+(?=/|$)", "/*", f"/{path}")
    return stars.removeprefix("/*/").removeprefix("contexts/*/").removeprefix("/")


def first_release(path: str) -> str:
    """Return the first release of Linux whose DAMON has the file at this path."""
    parts = generic(path).split("/")
    for count in range(len(parts), 0, -1):
        release = _SINCE.get("/".join(parts[:count]))
        if release is not None:
            return release
    return "5.18"


def first_release_of(path: str, keyword: str) -> str | None:
    """Return the first release that takes `keyword` in the file at `path`; None if none does."""
    return _KEYWORD_SINCE.get((path.rpartition("/")[2], keyword))
