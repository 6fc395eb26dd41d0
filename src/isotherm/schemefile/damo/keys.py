"""
The keys of damo's files, of all its releases, and what becomes of others.

damo passes over keys that it does not know, and its releases have had several that are gone. A
key that is not in these tables is named and left out, for its file says the rest; but one letter
beside a known key it is a slip, and a scheme without its `quotas` is another scheme: that is an
error.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from isotherm.schemefile.bounds import MAX_MISTAKES
from isotherm.schemefile.source import Node, unknown

#: Key -> the keys of the mapping that it holds (or of those in its list); None where it holds none
#: or anything.
Keys = Mapping[str, "Keys | None"]

_ENDS: Keys = dict.fromkeys(("min", "max"))
PATTERN: Keys = {
    "sz_bytes": _ENDS,
    "nr_accesses": _ENDS,
    "age": _ENDS,
    # Until 2023; today's damo passes over the units, and the text of the numbers says them.
    **dict.fromkeys(("nr_accesses_unit", "age_unit")),
    # Until 2022, in place of the mappings above.
    **dict.fromkeys(("min_sz_bytes", "max_sz_bytes", "min_nr_accesses", "max_nr_accesses")),
    **dict.fromkeys(("min_age", "max_age")),
}
GOAL: Keys = dict.fromkeys(
    (
        *("metric", "complement", "nid", "memcg_path", "target_value", "current_value"),
        *("target_value_bp", "current_value_bp"),
    )
)
WEIGHTS: Keys = dict.fromkeys(("sz_permil", "nr_accesses_permil", "age_permil"))
QUOTAS: Keys = {
    **dict.fromkeys(("time_ms", "sz_bytes", "reset_interval_ms")),
    **dict.fromkeys(("fail_charge_num", "fail_charge_denom")),
    "goals": GOAL,
    **dict.fromkeys(("goal_tuner", "effective_sz_bytes")),
    "weights": WEIGHTS,
    # Until 2022, in place of weights.
    **{f"weight_{key}": None for key in WEIGHTS},
}
WATERMARKS: Keys = dict.fromkeys(
    ("metric", "interval_us", "high_permil", "mid_permil", "low_permil")
)
FILTER: Keys = {
    **dict.fromkeys(("filter_type", "matching", "allow", "filter_pass", "memcg_path")),
    "address_range": dict.fromkeys(("start", "end")),
    "damon_target_idx": None,
    "hugepage_size": _ENDS,
    "probe_hits_wsum_range": _ENDS,
    "name": None,
}
#: What the kernel reports and nobody asks for; read and dropped.
STATUS = ("stats", "tried_regions", "tried_bytes")
SCHEME: Keys = {
    **dict.fromkeys(("name", "action", "target_nid", "apply_interval_us", "max_nr_snapshots")),
    "dests": dict.fromkeys(("id", "weight")),
    "access_pattern": PATTERN,
    "quotas": QUOTAS,
    "watermarks": WATERMARKS,
    "filters": FILTER,
    **dict.fromkeys(("comment", "comments", *STATUS)),
}
INTERVALS_GOAL: Keys = dict.fromkeys(("access_bp", "aggrs", "min_sample_us", "max_sample_us"))
INTERVALS: Keys = {
    **dict.fromkeys(("sample_us", "aggr_us", "ops_update_us")),
    "intervals_goal": INTERVALS_GOAL,
}
TARGET: Keys = {
    **dict.fromkeys(("pid", "obsolete", "name")),
    "regions": None,  # those of a record hold what was found there
}
#: Of a context, what isotherm has no words for; kept as it is.
KEPT_OF_CONTEXT = ("addr_unit", "probes", "sample_control", "pause")
CONTEXT: Keys = {
    "ops": None,
    "targets": TARGET,
    "intervals": INTERVALS,
    "nr_regions": _ENDS,
    **dict.fromkeys((*KEPT_OF_CONTEXT, "name")),
    "schemes": SCHEME,
}
KEPT_OF_KDAMOND = ("state", "pid", "refresh_ms")
KDAMOND: Keys = {**dict.fromkeys((*KEPT_OF_KDAMOND, "name")), "contexts": CONTEXT}
KDAMONDS: Keys = {"kdamonds": KDAMOND}

#: Key of a unit -> what it is the unit of, and which unit bare numbers have.
_UNITS = {"nr_accesses_unit": ("nr_accesses", "percent"), "age_unit": ("age", "usec")}
#: How like a known key a slip is: "quota", but not "quota_unit".
_SLIP = 0.85
#: Of keys that nobody would miss there are no slips.
_NEVER_MEANT = frozenset({"name", "comment", "comments", *STATUS, "nr_accesses_unit", "age_unit"})


def notes_on_keys(node: Node, what: str, keys: Keys) -> list[str]:
    """
    Return a sentence for each key that is left out, with its place.

    node: a mapping, or a list of such; what: its name for people; keys: of the table above.

    Raises `SchemeError` for a slip.
    """
    notes: list[str] = []
    _look(node, what, keys, notes)
    if len(notes) > MAX_MISTAKES:
        left = len(notes) - MAX_MISTAKES
        notes[MAX_MISTAKES:] = [f"{left} further keys are not known, and are left out"]
    return notes


def _look(node: Node, what: str, keys: Keys, notes: list[str]) -> None:
    for item in node.items or ():
        _look(item, what, keys, notes)
    for key, value in (node.pairs or {}).items():
        if key in keys:
            inner = keys[key]
            if keys is PATTERN and _misses_unit(node, key):
                notes.append(
                    f"{value.word.place}: {what}: {key} {value.word.said} is passed over, as damo "
                    f"does; bare numbers are {_UNITS[key][1]}"
                )
            if inner is not None:
                _look(value, key, inner, notes)
            continue
        place = node.keys.get(key, node.word)
        meant = [known for known in keys if known not in _NEVER_MEANT]
        if len(key) < 50 and difflib.get_close_matches(key.lower(), meant, n=1, cutoff=_SLIP):
            raise unknown(place, f"{what} has no key", key, meant)
        kept = "kept for damo alone" if keys is CONTEXT or keys is KDAMOND else "left out"
        notes.append(f"{place.place}: {what}: key {place.said} is not known, and is {kept}")


def _misses_unit(node: Node, key: str) -> bool:
    """Whether a unit is named that today's damo would not see: the numbers stand without it."""
    if key not in _UNITS or node.pairs is None:
        return False
    of, usual = _UNITS[key]
    bounds = node.pairs[of].pairs if of in node.pairs else None
    bare = any(end.word.text.isdecimal() for end in (bounds or {}).values())
    return bare and node.pairs[key].word.text != usual
