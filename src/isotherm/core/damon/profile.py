"""Which rules of DAMON and DAMOS hold: they differ between releases of Linux."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from isotherm.errors import BadValueError

ProfileName = Literal["7.3", "7.2", "6.12"]


@dataclass(frozen=True, slots=True)
class Profile:
    """
    The rules of a release; the defaults are the newest's.

    Of regions. stores_moving_sum: rates are a sum kept in each region, else computed when asked
    for; age_resets_at_zero: age begins anew when accesses begin or end, however few;
    enforces_min_regions: regions are cut until there are enough, else first ranges are divided
    evenly and merging stops at a size; splits_above_half: of more than half of the most regions,
    some are split; notes_every_count: the count of regions is remembered where nothing was split;
    samples_whole_regions: of a region of 4 GiB and more, every byte may be sampled.

    Of schemes. quota_holds_from_start: a quota is in force before its size was computed;
    computes_first_window: that of a quota; fills_below_unit: a quota is used up when less than the
    smallest region is left; ranks_filtered: what core filters keep out does not count among the
    regions that compete for a quota; has_allow_filters, has_fail_charge, has_tuners: there are
    such; psi_starts_neutral: the first look at memory pressure leaves the quota alone, else all
    pressure since boot counts.
    """

    name: ProfileName = "7.3"
    stores_moving_sum: bool = False
    age_resets_at_zero: bool = True
    enforces_min_regions: bool = True
    splits_above_half: bool = True
    notes_every_count: bool = True
    samples_whole_regions: bool = True
    quota_holds_from_start: bool = True
    computes_first_window: bool = True
    fills_below_unit: bool = True
    ranks_filtered: bool = True
    has_allow_filters: bool = True
    has_fail_charge: bool = True
    has_tuners: bool = True
    psi_starts_neutral: bool = True


NEWEST = Profile()
_7_2 = replace(
    NEWEST,
    name="7.2",
    stores_moving_sum=True,
    splits_above_half=False,
    notes_every_count=False,
    psi_starts_neutral=False,
)
_6_12 = replace(
    _7_2,
    name="6.12",
    age_resets_at_zero=False,
    enforces_min_regions=False,
    samples_whole_regions=False,
    quota_holds_from_start=False,
    computes_first_window=False,
    fills_below_unit=False,
    ranks_filtered=False,
    has_allow_filters=False,
    has_fail_charge=False,
    has_tuners=False,
)
PROFILES: Mapping[str, Profile] = MappingProxyType(
    {profile.name: profile for profile in (NEWEST, _7_2, _6_12)}
)


def profile_of(name: str) -> Profile:
    """Return the profile of this name; raises `BadValueError` if there is none."""
    if name not in PROFILES:
        raise BadValueError(f"no profile {name!r}", hint=f"there are {', '.join(PROFILES)}")
    return PROFILES[name]
