"""What a scheme gets that did not say how much it may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from isotherm.model.scheme import Action, Quota, Scheme, Weights

#: As DAMON_RECLAIM 128 MiB a second, but 50 ms of it: actions from user space take longer.
DEFAULT_QUOTA = Quota(time_ms=50, size_bytes=128 << 20, reset_ms=1000, weights=Weights(0, 1, 1))


#: For those who judge pages one by one: of a region the most may well stay, and what stays is
#: charged little, or the regions that come first use it up for ever. It has no time: what is
#: charged little looks slow, and the quota would shrink to nothing.
IDLE_QUOTA = replace(DEFAULT_QUOTA, time_ms=0, fail_charge=(1, 64))


def with_quotas(schemes: Sequence[Scheme]) -> tuple[Scheme, ...]:
    """Give `DEFAULT_QUOTA`, or `IDLE_QUOTA`, to those that act and said nothing of a quota."""
    return tuple(
        replace(scheme, quota=IDLE_QUOTA if scheme.idle_us else DEFAULT_QUOTA)
        if scheme.quota is None and (scheme.action is not Action.STAT or scheme.own is not None)
        else scheme
        for scheme in schemes
    )
