"""What a recording says, in Python: `python examples/analyse.py run.isotherm`."""

import sys

import isotherm


def main(path: str) -> None:
    recording = isotherm.open(path)
    print(recording)

    first, last = recording[0], recording[-1]
    print(f"{len(recording)} windows, of {last.aggr_us / 1000:.0f} ms at the end")
    print(f"{len(first.regions)} regions in the first, {len(last.regions)} in the last")

    half, most = recording.wss().percentiles(50, 100)
    print(f"working set: {half:,} bytes in half of the windows, {most:,} at most")

    ages = recording.ages()
    for idle in ages.ages:
        if idle.bytes:
            print(f"idle for {idle.age_ns / 1e9:g} s or longer: {idle.bytes:,} bytes")
    print(f"unknown: {ages.unknown_bytes:,} bytes")

    grid = recording.heatmap(columns=60, rows=12)
    for row in reversed(grid.heat):
        print("".join(" " if heat is None else ".:-=+*#%@"[int(heat * 8)] for heat in row))


if __name__ == "__main__":
    main(sys.argv[1])
