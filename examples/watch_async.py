"""
Watch memory beside other work of an event loop: `python examples/watch_async.py`.

The memory is a simulated one, so that it runs anywhere; `isotherm.monitor(pid=...)` watches a
process in its place.
"""

import asyncio

import isotherm
from isotherm.backends.sim.ops import SimOps
from isotherm.backends.sim.workloads import fixed
from isotherm.clock import VirtualClock

MIB = 1 << 20


async def watch(session: isotherm.MonitorSession) -> int:
    """Return the working set of the last window of five seconds."""
    last = 0
    async for snapshot in session.snapshots(duration="5s"):
        last = snapshot.working_set_bytes
    return last


async def main() -> None:
    # 64 MiB, of which the first 16 are in use.
    clock = VirtualClock()
    memory = SimOps(fixed(64 * MIB, hot=((0, 16 * MIB),)), clock)
    with isotherm.monitor(ops=memory, clock=clock, sample="5ms", aggr="100ms", seed=1) as session:
        found, _ = await asyncio.gather(watch(session), asyncio.sleep(0))
    print(f"working set: {found / MIB:.0f} MiB")


if __name__ == "__main__":
    asyncio.run(main())
