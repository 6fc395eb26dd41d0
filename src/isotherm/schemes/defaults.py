"""What a scheme gets that did not say how much it may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isotherm.model.scheme import Action, Quota, Scheme, Weights

#: As DAMON_RECLAIM 128 MiB a second, but 50 ms of it: actions from user space take longer.
DEFAULT_QUOTA = Quota(time_ms=50, size_bytes=128 << 20, reset_ms=1000, weights=Weights(0, 1, 1))


def with_quotas(schemes: Sequence[Scheme]) -> tuple[Scheme, ...]:
    """Give `DEFAULT_QUOTA` to those that act and said nothing of a quota."""
    return tuple(
        replace(scheme, quota=DEFAULT_QUOTA)
        if scheme.quota is None and (scheme.action is not Action.STAT or scheme.own is not None)
        else scheme
        for scheme in schemes
    )
