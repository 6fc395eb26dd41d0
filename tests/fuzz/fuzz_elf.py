"""BPF object files: refused, or a program comes out; the first byte says which is asked for."""

from __future__ import annotations

from importlib import resources

from binary import poke
from harness import Fuzzer, main

from isotherm import _core

_MAP, _KFUNC, _NUMBER = range(3)
#: Symbols of the shipped objects, and what they stand for.
_KNOWN = [
    ("area", _MAP, 3),
    ("tables", _MAP, 4),
    ("btf_id_word", _NUMBER, 5),
    *(
        (name, _KFUNC, 6)
        for name in (
            *("bpf_rdonly_cast", "bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy"),
            *("bpf_rcu_read_lock", "bpf_rcu_read_unlock", "bpf_task_from_pid"),
            "bpf_task_release",
        )
    ),
]
_SECTIONS = [f"{kind}/{name}" for kind in ("raw_tp", "syscall") for name in ("walk", "peek")]
_SECTIONS += ["raw_tp/folios", "syscall/tables", "syscall/resolve", "iter_task/processes"]
_EXAMPLES = [
    (resources.files("isotherm.bpf") / f"{name}.bpf.o").read_bytes()
    for name in ("walk_base", "walk_fast")
]
#: Section headers and names stand at the end.
_HEADS = 2500


def generate(rng):
    which = rng.randrange(len(_SECTIONS))
    return bytes([which]) + poke(rng, rng.choice(_EXAMPLES), heads=rng.choice((64, _HEADS)))


def check(data):
    section = _SECTIONS[data[0] % len(_SECTIONS)] if data else _SECTIONS[0]
    try:
        program = _core.bpf_program(data[1:], section, _KNOWN)
    except OSError:
        return "refused"
    assert len(program) % 8 == 0
    return "a program"


FUZZER = Fuzzer("elf", generate, check)

if __name__ == "__main__":
    main(FUZZER)
