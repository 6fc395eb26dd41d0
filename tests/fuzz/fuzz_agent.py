"""The agent's configuration, and what is said on its sockets: refused in a line, or understood."""

from __future__ import annotations

import json
import socket

from harness import NASTY, Fuzzer, main, mutate

from isotherm.agent.config import Settings, committed, decode
from isotherm.agent.control import Questions
from isotherm.agent.http import Scrapes
from isotherm.agent.reading import passed_on
from isotherm.errors import BadValueError
from isotherm.schemefile.documents.yaml_tree import read_yaml

CONFIGURATIONS = [
    b"version: 1\ntargets: [{cgroup: /app/*}, {unit: nginx}, {pod: a/b}]\n",
    b"monitor: {sample: 2s, aggr: 40s, regions: 10..500}\nschemes: [pageout access=0% age=2m..]\n",
    b"agent:\n  overhead: 0.5%\n  apply: yes\n  guard: psi=10ms/s\n  ring: off\n",
    b"agent: {ring: {folder: /r, for: 2h, size: 64M, every: 10s}, control: {socket: /x}}",
    b"agent: {metrics: {listen: '127.0.0.1:1', windows: [1m, 10s], groups: 4, referenced: 1m}}",
    b"agent: {reclaim: [{cgroup: /a/*, idle: 30m, quota: 16M/s, guard: psi=10ms/s}]}\n",
    b"schemes: [{action: stat, when: {access: 0%}, name: x}]\ntargets: [{all: true}]\n",
]
REQUESTS = [
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
    b"HEAD /metrics?a=b HTTP/1.0\n\n",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
]
QUESTIONS = [
    b"status\n",
    b"targets\n",
    b"x" * 80,
    b'commit {"version": 1, "schemes": [{"action": "pageout", "when": {"age": "1m.."}}]}\n',
    b'commit {"schemes": ["stat access=0%"]}\n',
    b'record {"seconds": 60}\n',
]
TEXT = b"a 1\n# EOF\n"
#: We are at its other end: who may change what an agent does.
CONNECTION, _ = socket.socketpair()
ASKED = Questions(
    {"status": lambda: 1},
    None,
    {"commit": lambda node: len(committed(node)), "record": lambda node: node.native()},
)


def generate(rng):
    if rng.random() < 0.05:
        return rng.choice(NASTY)
    kind = rng.choice((CONFIGURATIONS, CONFIGURATIONS, REQUESTS, QUESTIONS))
    data = rng.choice(kind)
    return data if rng.random() < 0.05 else mutate(rng, data, rng.choice(kind))


def check(data):
    answer = Scrapes(lambda: TEXT).answer(data)
    assert answer is None or (answer.startswith(b"HTTP/1.1 ") and b"\r\n\r\n" in answer)
    told = ASKED.answer(data, CONNECTION)
    assert told is None or (told.endswith(b"\n") and isinstance(json.loads(told), dict))
    refused = tree = settings = None
    try:
        tree = read_yaml(data.decode("utf-8", "replace"), "file")
        settings = decode(tree)
    except BadValueError as err:
        refused = err
    if refused is not None:
        assert refused.message.startswith("file:"), refused.message
        assert refused.message.isprintable()
        assert refused.hint.isprintable()
        return "refused"
    assert isinstance(settings, Settings)
    # What the process that reads passes on says the same to the agent.
    assert passed_on(json.dumps({"document": tree.native()}).encode()) == settings
    return "understood"


FUZZER = Fuzzer("agent", generate, check)

if __name__ == "__main__":
    main(FUZZER)
