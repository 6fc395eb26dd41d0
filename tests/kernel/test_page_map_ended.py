"""What ended while it was watched: what was known of it before stands."""

import json
import sys

import pytest

from isotherm.cli import main

pytestmark = pytest.mark.kernel
MIB = 1 << 20
#: Uses 16 MiB all the time, and ends by itself.
SHORT = """
import time
memory = bytearray(16 << 20)
end = time.monotonic() + 4
while time.monotonic() < end:
    for i in range(0, len(memory), 4096): memory[i] = 1
    time.sleep(0.05)
"""


@pytest.mark.parametrize("words", [("wss",), ("record", "--map"), ("record",)])
def test_a_program_that_ended_is_told_as_it_was(words, tmp_path, capfd):
    path = tmp_path / "a.isotherm"
    command = ["--", sys.executable, "-c", SHORT]
    if words == ("wss",):
        assert main(["wss", "-d", "20s", "--format", "json", *command]) == 0
        document = json.loads(capfd.readouterr().out)
    else:
        assert main([*words, "-d", "20s", "-o", str(path), *command]) == 0
        capfd.readouterr()
        assert main(["report", str(path), "--format", "json"]) == 0
        document = json.loads(capfd.readouterr().out)
    assert document["resident_bytes"] > 16 * MIB
    assert document["curve"][-1]["bytes"] >= 16 * MIB
    sizes = [point["bytes"] for point in document["curve"]]
    assert sizes == sorted(sizes)
