"""
SQL over a recording: `python examples/ask_duckdb.py run.isotherm`.

Needs `pip install 'isotherm[arrow]' duckdb`. DuckDB reads the recording through Arrow's PyCapsule
interface, a batch at a time.
"""

import sys

import duckdb

import isotherm


def main(path: str) -> None:
    recording = isotherm.open(path)  # noqa: F841 - DuckDB finds it by its name
    found = duckdb.sql(
        """
        select name, max(used) as most
        from (
            select name, "window", sum("end" - start) filter (nr_accesses > 0) as used
            from recording group by name, "window"
        )
        group by name order by most desc
        """
    )
    for name, most in found.fetchall() if found else ():
        print(f"{name}: {most or 0:.0f} bytes were accessed in the busiest window")


if __name__ == "__main__":
    main(sys.argv[1])
