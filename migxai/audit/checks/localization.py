"""Whether the difference between classes lies where it is known to be: in cohorts that were simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    from migxai.audit.audited_maps import AuditedMaps, GroundTruth
    from migxai.metrics.types import FloatArray

#: The area under the curve that counts as located: what is usually called acceptable discrimination.
LEAST_AREA = 0.7
#: Rank that the best of the planted regions must reach.
TOP = 5

_AREA, _RANK = "Maps are higher where classes truly differ", "A region in which classes truly differ ranks high"


def check(audited: AuditedMaps) -> list[Check]:
    """Hold the difference between classes against the truth; nothing where no truth is known."""
    import numpy as np

    from migxai.explain.regions import regional_t
    from migxai.explain.saliency_maps import difference

    if audited.truth is None:
        return []
    found = difference(audited.trials, audited.pair)
    if found is None or not np.ptp(found) > 0:
        why = "Not made: there is no difference of maps between the classes."
        return [Check(name, audited.of, detail=why) for name in (_AREA, _RANK)]
    # A map that knows no classes may be higher or lower in either; of others the sign says which it speaks for.
    row = found if audited.trials[0].by_class else np.abs(found)
    t = regional_t(audited.trials, audited.pair, audited.truth.regions, tuple(audited.truth.names))
    return [
        _area(audited, audited.truth, row),
        _rank(audited, audited.truth, t if audited.trials[0].by_class else np.abs(t)),
    ]


def _area(audited: AuditedMaps, truth: GroundTruth, row: FloatArray) -> Check:
    from sklearn.metrics import roc_auc_score

    limit = f"area under the ROC curve at least {LEAST_AREA:g}"
    if truth.voxels.all() or not truth.voxels.any():
        return Check(_AREA, audited.of, limit=limit, detail="Not made: classes truly differ nowhere, or everywhere.")
    area = float(roc_auc_score(truth.voxels, row))
    return Check(
        _AREA,
        audited.of,
        value=f"{area:.2f}",
        number=area,
        limit=limit,
        passed=area >= LEAST_AREA,
        detail=f"Voxels: {int(truth.voxels.sum())} of {len(truth.voxels)} shown; 0.5 is chance.",
    )


def _rank(audited: AuditedMaps, truth: GroundTruth, t: FloatArray) -> Check:
    import numpy as np

    limit = f"among the first {TOP}"
    planted = np.isin(list(truth.names.values()), truth.planted) & ~np.isnan(t)
    if not planted.any():
        return Check(_RANK, audited.of, limit=limit, detail="Not made: slices show none of the regions.")
    ranks = 1 + (t[None, :] > t[planted][:, None]).sum(axis=1)
    best = int(ranks.min())
    name = np.array(list(truth.names.values()))[planted][ranks.argmin()]
    return Check(
        _RANK,
        audited.of,
        value=f"{name} is number {best}",
        number=best,
        limit=limit,
        passed=best <= TOP,
        detail=f"Of {np.count_nonzero(~np.isnan(t))} regions that slices show, by t of people's means.",
    )


ENTRY = CheckEntry(name="localization", title="Maps are higher where classes truly differ", order=100, of_maps=check)
