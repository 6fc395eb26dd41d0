"""What looking at simulated memory costs: profiles of real ways to clear accessed bits."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from isotherm.errors import BadValueError, quoted

#: No single act costs more, in µs.
_MOST_US = 1e6


@dataclass(frozen=True, slots=True)
class Costs:
    """
    CPU time of the monitor, in µs.

    read_page, read_clump, read_table: reading one entry, 16 side by side, a table of 512, in
    between on straight lines; clear: clearing a range in which something was young, clear_old: in
    which nothing was, clear_page: besides, for each page (or huge page) of it; wake: sleeping and
    waking up.
    """

    read_page: float = 0.12
    read_clump: float = 0.135
    read_table: float = 0.75
    clear: float = 8.0
    clear_old: float = 0.5
    clear_page: float = 0.088
    wake: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= _MOST_US:
                raise BadValueError(
                    f"{field.name} of {value:g} us is no cost", hint="0 to 1000000 µs are possible"
                )

    def words(self) -> tuple[float, ...]:
        """Return all of them in ns, as `_core.SimWorld` takes them."""
        return tuple(1000 * float(getattr(self, field.name)) for field in fields(self))


#: cold: process_madvise(MADV_COLD) on a virtual machine with nested paging, as measured; bare: the
#: same where a flush of the TLB needs no hypervisor, assumed; page-idle: the page_idle bitmap.
PROFILES = {
    "cold": Costs(),
    "bare": Costs(clear=2.0, clear_page=0.05),
    "page-idle": Costs(clear=0.0, clear_old=0.0, clear_page=1.0),
}


def costs_named(text: str) -> Costs:
    """
    Return the costs that a text asks for: a profile, and what is to differ, "cold,wake=30".

    Raises `BadValueError`.
    """
    name, *changes = text.split(",")
    if name not in PROFILES:
        raise BadValueError(
            f"no costs are called {quoted(name)}", hint=f"one of {', '.join(PROFILES)}"
        )
    costs = PROFILES[name]
    names = [field.name for field in fields(Costs)]
    for change in changes:
        key, _, value = change.partition("=")
        if key not in names:
            raise BadValueError(
                f"{quoted(key)} is no cost", hint=f"one of {', '.join(names)}, in µs: wake=30"
            )
        try:
            costs = replace(costs, **{key: float(value)})
        except ValueError as err:
            if isinstance(err, BadValueError):
                raise
            raise BadValueError(
                f"a cost is a number of µs, not {quoted(value)}", hint="cold,wake=30"
            ) from None
    return costs
