"""What releases of Linux before the newest do not have, of what a scheme may ask."""

from __future__ import annotations

from collections.abc import Sequence

from isotherm.core.damon.profile import Profile
from isotherm.errors import BadValueError
from isotherm.model.scheme import Quota, Scheme


def check_profile(profile: Profile, schemes: Sequence[Scheme]) -> None:
    """Raise `BadValueError` for the first scheme that asks for what the profile does not have."""
    for scheme in schemes:
        if missing := _missing(profile, scheme):
            raise BadValueError(
                f"scheme {scheme.title!r}: profile {profile.name} does not have {missing}",
                hint="leave it out, or take a newer profile",
            )


def _missing(profile: Profile, scheme: Scheme) -> str:
    quota = scheme.quota or Quota()
    if not profile.has_allow_filters and any(rule.allow for rule in scheme.filters):
        return "a filter that allows"
    if not profile.has_fail_charge and quota.fail_charge[1]:
        return "a charge for what failed"
    if not profile.has_tuners and quota.tuner != Quota().tuner:
        return f"the goal tuner {quota.tuner}"
    return ""
