"""Every spelling of schemes: refused in one short line with its place, or read back as equal."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from harness import NASTY, Fuzzer, main, mutate

from isotherm.errors import BadValueError
from isotherm.model.attrs import Attrs
from isotherm.model.own import register_action, register_metric
from isotherm.model.scheme import Action
from isotherm.schemefile import explain, files
from isotherm.schemefile.damo import keys
from isotherm.schemefile.documents import document
from isotherm.schemefile.documents import scheme as document_scheme
from isotherm.schemefile.draft import SETTERS
from isotherm.schemefile.filters import FILTERS
from isotherm.schemefile.goals import METRICS
from isotherm.schemefile.presets import PRESETS
from isotherm.schemefile.scheme_file import SchemeFile
from isotherm.schemefile.source import InexpressibleError, SchemeError

register_action("fuzzed", lambda _target, start, end: end - start, like="cold")
register_metric("requests", lambda: 7)
register_metric("backlog", lambda: 4096, unit="bytes")

NAMES = ("x", "x.json", "x.yaml", "<stdin>")
_DATA = Path(__file__).parent.parent / "data"
_LINES = "\n".join(preset.lines for preset in PRESETS.values())
_LINES += """
stat snapshots=3 name="a b" access=3samples..7samples age=7aggr.. filter=addr:0x1000-0x2000
migrate_hot to=node0:3+node1:1 goal=!memcg_used:node0:/app=20%:5 tuner=temporal filter=+memcg:/a
fuzzed age=1m.. goal=requests:5 goal=backlog=4K quota=none/5s filter=probe:1..4,idle:30s,+!unmapped
cold access=1/3%..5% goal=psi:some=10ms/s quota=128M/2s,10ms/2s watermark=none:5%/4%/3%
"""
_CLASSIC = f"""4K max 0 0 10s max pageout 10ms 1G 1s 0 3 7 free_mem_rate 5s 500 400 200
2M null 5 null null null hugepage
4096 {2**64 - 1} 0 0 600 4294967295 2 10 134217728 1000 0 0 1 1 5000000 500 400 200
"""
_MONITOR = """\
monitor: {sample: 5ms, aggr: 100ms, regions: 10..1000, goal: {access: 4%, sample: 5ms..10s}}
targets: [{pid: 1, regions: [0x1000-0x2000]}, {name: ^x}, {cgroup: /a}]
schemes: [stat, {action: cold, quota: {size: 4K, time: 1ms, per: 2s, weights: 0/1/1}}]
"""


def _examples():
    texts = [_MONITOR, _CLASSIC, *_LINES.strip().split("\n"), *_CLASSIC.strip().split("\n")]
    for line in _LINES.strip().split("\n"):
        for spelling in files.SPELLINGS:
            with contextlib.suppress(InexpressibleError):
                texts.append(files.write(files.read(line)[0], spelling))
    texts += [(_DATA / f"{name}.kdamonds").read_text() for name in ("vaddr", "paddr")]
    return [text.encode() for text in texts]


EXAMPLES = _examples()
_VALUES = (
    *("0", "1", "5", "4K", "2M..", "..2M", "5%", "0%..5%", "5%..", "3samples", "2m..", "7aggr.."),
    *("max", "min", "null", "none", "128M/s", "10ms/s", "128M/s,10ms/s", "free:50%/40%/20%@5s"),
    *(
        "node1",
        "psi:some=10ms/s",
        "free:node0=5%",
        "requests:5",
        "anon",
        "!memcg:/app",
        "idle:30s",
    ),
    *("1/4", "size:0,access:3", "0/3/1", "5 s", "3 samples", "12,345", "4 KiB", "true", "a b"),
    *("7 aggr_intervals", "1e400", "nan", "9" * 50, "18446744073709551616", "-1", "", "\x1b[2J"),
    *("٣", "1e9999999999"),
)
_KEYS = (
    *(*document.DOCUMENT_KEYS, *document.MONITOR_KEYS, *document.TARGET_KEYS, *document.GOAL_KEYS),
    *(*document_scheme.SCHEME_KEYS, *document_scheme.WHEN_KEYS, *document_scheme.QUOTA_KEYS),
    *(*document_scheme.GOAL_KEYS, *document_scheme.FILTER_KEYS, *document_scheme.WATERMARK_KEYS),
    *(*keys.KDAMOND, *keys.CONTEXT, *keys.SCHEME, *keys.PATTERN, *keys.QUOTAS, *keys.GOAL),
    *(*keys.FILTER, *keys.WATERMARKS, *keys.WEIGHTS, *keys.INTERVALS, *keys.TARGET),
    *("kdamonds", "min", "max", "x"),
)
_ACTIONS = (*map(str, Action), "fuzzed", "PAGEOUT", "pagout", "3")
_FILTERS = tuple(FILTERS)


def _line(rng):
    parts = [rng.choice(_ACTIONS)]
    for key in rng.sample(sorted(SETTERS), rng.randint(0, 5)):
        value = rng.choice(_VALUES)
        if key == "filter":
            value = (
                rng.choice(("", "!", "+", "+!"))
                + rng.choice(_FILTERS)
                + rng.choice(("", f":{value}"))
            )
        elif key == "goal":
            metric = rng.choice((*METRICS, "requests", "backlog", "own", ""))
            value = f"{metric}{rng.choice(('', ':node0', ':node1:/a'))}={value}"
        parts.append(f"{key}={value}")
    if rng.random() < 0.1:
        rng.shuffle(parts)
    return " ".join(parts)


def _classic(rng):
    count = rng.choice((7, 7, 9, 12, 17, 18, 18, 23, 6))
    if rng.random() < 0.5:
        return "\t".join(
            str(rng.choice((0, 1, 2, 5, 100, 2**32 - 1, 2**64 - 1))) for _ in range(count)
        )
    words = [
        rng.choice(("min", "max", "null", "0", "5", "4K", "10s", "1G", "none"))
        for _ in range(count)
    ]
    words[6:7] = [rng.choice(_ACTIONS)]
    return " ".join(words)


def _value(rng, depth=0):
    """Return a random value of JSON, with the keys that files have."""
    kind = rng.random()
    if depth > 5 or kind < 0.4:
        return rng.choice((*_VALUES, *_ACTIONS, 0, 1, 5, -1, 2**64, 0.5, None, True, _line(rng)))
    if kind < 0.6:
        return [_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(_KEYS): _value(rng, depth + 1) for _ in range(rng.randint(0, 4))}


def _document(rng):
    value = _value(rng)
    form = rng.randrange(6)
    whole = (
        value,
        {"kdamonds": [{"contexts": [{"ops": "vaddr", "schemes": [value]}]}]},
        {"schemes": [value], "monitor": _value(rng), "targets": [_value(rng)]},
        [{"access_pattern": _value(rng, 4), "quotas": value, "filters": [value]}],
        {"schemes": [{"action": rng.choice(_ACTIONS), "when": value, "quota": _value(rng)}]},
        {"schemes": [{"action": "stat", "goals": [value], "filters": [_value(rng)]}]},
    )[form]
    return json.dumps(whole)


def generate(rng):
    """Return the name of a file on the first line, then its text."""
    way = rng.random()
    if way < 0.2:
        text = "\n".join(_line(rng) for _ in range(rng.randint(1, 3))).encode()
    elif way < 0.3:
        text = _classic(rng).encode()
    elif way < 0.5:
        text = _document(rng).encode("utf-8", "surrogatepass")
    else:
        text = rng.choice(EXAMPLES)
        if rng.random() < 0.02:
            text = rng.choice(NASTY) * rng.choice((1, 100))
    if rng.random() < 0.7:
        text = mutate(rng, text, rng.choice(EXAMPLES))
    return rng.choice(NAMES).encode() + b"\n" + text


def _refused(err):
    for one in (err, *(err.others if isinstance(err, SchemeError) else ())):
        assert len(one.message) < 700, len(one.message)
        assert one.message.isprintable(), one.message
        assert one.hint.isprintable(), one.hint
        assert one.exit_code == 2


def check(data):
    name, _, rest = data.partition(b"\n")
    try:
        text = files.decode_text(rest, name.decode("ascii", "replace"))
        file, spelling = files.read(text, name.decode("ascii", "replace"))
    except BadValueError as err:
        _refused(err)
        return "refused"
    for note in file.notes:
        assert note.isprintable()
        assert len(note) < 700
    _written_back(file, spelling, ("line", "yaml", "json", "classic", "damo")[len(data) % 5])
    for scheme in (scheme for context in file.contexts for scheme in context.schemes):
        assert explain.sentence(scheme).isprintable()
        assert explain.kernel_units(scheme, Attrs()).isprintable()
        explain.warnings(scheme, Attrs())
    return spelling


def _written_back(file, spelling, other):
    """Write what was read in its own spelling and in another; both are read back as equal."""
    if not any((context.schemes or context.targets) for context in file.contexts):
        return  # a text without schemes looks like any other
    suffix = ".yaml" if spelling.endswith("yaml") else ""
    try:
        again, found = files.read(files.write(file, spelling), f"x{suffix}")
    except InexpressibleError:
        if spelling in ("line", "yaml", "json"):
            raise
    else:
        assert again == file
        assert found == spelling or spelling in ("damo", "classic", "line")
    bare = SchemeFile(file.schemes) if other in ("line", "classic", "damo") else file
    if bare.schemes:
        with contextlib.suppress(InexpressibleError):
            assert files.read(files.write(bare, other), f"x.{other}")[0] == bare, other


FUZZER = Fuzzer("schemes", generate, check, cpu_s=2.0)

if __name__ == "__main__":
    main(FUZZER)
