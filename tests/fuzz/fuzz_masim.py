"""masim configurations: refused with one line that says where, or a world that can be made."""

from __future__ import annotations

from array import array

from harness import NASTY, Fuzzer, main, mutate

from isotherm.backends.sim.costs import PROFILES
from isotherm.backends.sim.masim import parse_masim
from isotherm.backends.sim.workload import SECOND
from isotherm.errors import BadValueError

EXAMPLES = (
    b"""#regions
a, 256, none
b, 64, none

# phase 1
one
1000
a, 1, 64, 80, wo

two
1000
b, 1, 64, 50, ro
a, 0, 4096, 50, rw
""",
    b"a, 100000000\nb, 100000000\n\ninitial\n10000\na, 0, 4096, 1\nb, 0, 65536, 1\n",
    b"big, 4TiB\r\n\r\nlong\r\n86400000\r\nbig, 1, 0, 1\r\nbig, 0, 1, 0\r\n",
)


def generate(rng):
    if rng.random() < 0.05:
        return rng.choice(NASTY)
    data = rng.choice(EXAMPLES)
    if rng.random() < 0.4:
        lines = data.split(b"\n")
        at = rng.randrange(len(lines))
        if rng.random() < 0.5:
            lines[at] = rng.choice(lines)
        else:
            lines[at : at + 1] = [lines[at]] * rng.choice((0, 2, 5000))
        data = b"\n".join(lines)
        if rng.random() < 0.5:
            return data
    return mutate(rng, data, rng.choice(EXAMPLES))


def check(data):
    text = data.decode("utf-8", "surrogateescape")
    refusal: BadValueError | None = None
    try:
        workload = parse_masim(text, "some.cfg")
    except BadValueError as err:
        refusal = err
    if refusal is not None:
        assert refusal.message.isprintable()
        assert refusal.message.startswith("some.cfg:")
        assert len(refusal.message) < 500
        assert refusal.hint.isprintable()
        return "refused"
    world = workload.world(PROFILES["cold"])
    world.set_targets(array("I", [0]))
    everything = array("Q", [0, 0, 1 << 55])
    hot, used, uses = world.truth(everything, 0, SECOND // 1000, workload.hot_rate)
    assert 0 <= hot <= workload.size_at(0)
    assert 0 <= used <= workload.size_at(0) * (1 + 1e-9)
    assert uses >= 0
    area = workload.areas[0]
    world.clear(0, [(area.start, area.start + 4096)])
    world.sleep_until(SECOND // 1000)
    world.read(0, area.start, area.start + 4096)
    return "accepted"


FUZZER = Fuzzer("masim", generate, check)

if __name__ == "__main__":
    main(FUZZER)
