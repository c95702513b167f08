"""All checks, one after the other, and what those of maps come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from migxai.audit.checks import CHECKS, Check, CheckEntry
from migxai.errors import InputError

if TYPE_CHECKING:
    from migxai.audit.audited_maps import AuditedMaps
    from migxai.evaluation.results import GroupFolder, Results


def check_maps(audited: AuditedMaps) -> list[Check]:
    """Make all checks of the maps of one network, indicator and comparison, in the order of `CHECKS`.

    They are the same for the same maps and seed.

    Raises
    ------
    UsageError
        If the method does not fit the network.
    """
    from migxai.learning.devices import single_thread

    found: list[Check] = []
    with single_thread():
        for entry in CHECKS.values():
            if entry.of_maps is not None:
                found += _make(entry, entry.of_maps, audited)
    audited.store.release()
    return found


def check_results(results: Results) -> list[Check]:
    """Make migxai's own checks of a run's results; they follow from its tables, so each report makes them anew."""
    return [
        check
        for entry in CHECKS.values()
        if entry.of_results and not entry.origin
        for check in entry.of_results(results)
    ]


def check_results_by_extensions(folder: GroupFolder) -> list[Check]:
    """Make the checks of a run's results that other packages brought, for ``audit.json``.

    They are kept there, so that a report shows them also where the packages are not installed. An `InputError` says if
    the group level has not been run, or a file is damaged.
    """
    entries = [entry for entry in CHECKS.values() if entry.of_results and entry.origin]
    if not entries:
        return []
    from migxai.evaluation.results import read_results

    results = read_results(folder)
    return [check for entry in entries if entry.of_results for check in _make(entry, entry.of_results, results)]


def _make(entry: CheckEntry, check: Callable[[Any], list[Check]], what: object) -> list[Check]:
    if not entry.origin:
        return check(what)
    try:
        return [replace(found, extension=entry.origin) for found in check(what)]
    except Exception as error:  # whatever another package does, it must not end the run
        return [Check(entry.title, detail=f"Not made: it failed ({error!r}).", extension=entry.origin)]


def trusted(checks: Sequence[Check]) -> tuple[bool | None, str]:
    """Say what checks of one network's maps come to, and the sentence to stamp on figures.

    The verdict is False if any check failed; None if none could be made; else True.
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


def checks_of_audit(audit: Mapping[str, Any]) -> list[Check]:
    """Read the checks of an ``audit.json``.

    ``{"checks": [{"name": ..., "of": ..., "value": ..., "limit": ..., "passed": true, "detail": ...}, ...]}``, of which
    ``name`` and ``passed`` must be there; other keys are left to their readers. An `InputError` says what is wrong.
    """
    found = []
    items = audit.get("checks", [])
    if not isinstance(items, list):
        raise InputError("group/audit.json: checks is no list; run the audit again.")
    for item in items:
        if not isinstance(item, Mapping) or not {"name", "passed"} <= set(item):
            raise InputError("group/audit.json holds a check without name or passed; run the audit again.")
        if item["passed"] not in (True, False, None):
            raise InputError(f"group/audit.json: passed of {item['name']!r} is neither true, false nor null.")
        texts: dict[str, Any] = {
            key: _text(item.get(key)) for key in ("name", "of", "value", "limit", "detail", "extension")
        }
        if texts["extension"]:
            texts["detail"] = f"{texts['detail']} Checked by {texts['extension']}, an extension of migxai.".lstrip()
        found.append(Check(**texts, passed=item["passed"]))
    return found


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
