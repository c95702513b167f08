"""All checks of maps, one after the other, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migxai.audit.case import Case, Check

#: Modules of this package whose ``check(case)`` returns checks; a new one is one file and one name here.
CHECKS: tuple[str, ...] = (
    "presence",
    "weight_randomization",
    "label_permutation",
    "reproducibility",
    "deletion",
    "localization",
)


def run_battery(case: Case) -> list[Check]:
    """Make all checks of a case.

    Parameters
    ----------
    case
        Maps, and everything that they were made from.

    Returns
    -------
    list of Check
        In the order of `CHECKS`; the same for the same case and seed.

    Raises
    ------
    UsageError
        If the method does not fit the network.
    """
    from migxai.learning.devices import single_thread

    found: list[Check] = []
    with single_thread():
        for name in CHECKS:
            found += import_module(f"{__package__}.{name}").check(case)
    case.store.release()
    return found


def trusted(checks: Sequence[Check]) -> tuple[bool | None, str]:
    """Say what checks come to, and the sentence to stamp on figures.

    Parameters
    ----------
    checks
        Of one case, from `run_battery`.

    Returns
    -------
    verdict
        False if any check failed; None if none could be made; else True.
    sentence
        For people who see the figure.
    """
    failed = [check.name for check in checks if check.passed is False]
    made = sum(check.passed is not None for check in checks)
    if failed:
        return False, (
            f"Not to be interpreted: these maps failed {len(failed)} of {made} sanity checks ({'; '.join(failed)})."
        )
    if not made:
        return None, "No sanity check of these maps could be made: what they mean is not known."
    return True, f"These maps passed all {made} sanity checks that could be made."
