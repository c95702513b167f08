"""A model that learned permuted labels (Adebayo et al. 2018, arXiv:1810.03292).

What maps show must be gone in a model that had nothing to learn: its maps must be others, and what the true model's
maps add up to must tell apart people it has not seen, which a model of permuted labels cannot.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from migxai.audit.audited_maps import AuditedMaps, SliceChoice
    from migxai.learning.heads import Head
    from migxai.learning.splits import Fold
    from migxai.metrics.types import FloatArray, IntArray

#: Folds, permutations of each fold's labels, and epochs at the most; training is nearly all that the checks cost.
FOLDS, PERMUTATIONS, EPOCHS = 2, 2, 5
#: Permutations are the least like the true labels of so many: few of them then do.
DRAWS = 50
#: Relabellings of tested people that give p, and the level that it must stay under.
RELABELLINGS, ALPHA = 1999, 0.05

_SEPARATION = "Evidence tells unseen people apart, and permuted labels give none"
_MAPS = "Maps change when labels are permuted"


def check(audited: AuditedMaps) -> list[Check]:
    """Train a few heads on permuted labels, and set their maps and their evidence against the true ones."""
    import numpy as np

    from migxai.audit.audited_maps import choose_slices, maps_on_slices

    choice, folds = choose_slices(audited.space), _chosen_folds(audited)
    models = [[_permute(audited, number, turn, choice) for number in folds] for turn in range(PERMUTATIONS)]
    shown = np.concatenate([maps_on_slices(audited, audited.folds[number].test, choice) for number in folds])
    return [
        _separation(audited, [[area for _, area in turn] for turn in models]),
        _likeness(audited, shown, [np.concatenate([maps for maps, _ in turn]) for turn in models]),
    ]


def _chosen_folds(audited: AuditedMaps) -> list[int]:
    """Return folds that test both classes of the pair, or any where none does."""
    both = [
        number
        for number, fold in enumerate(audited.folds)
        if all((audited.labels[fold.test] == label).any() for label in audited.pair)
    ]
    return (both or list(range(len(audited.folds))))[:FOLDS]


def _permute(audited: AuditedMaps, number: int, turn: int, choice: SliceChoice) -> tuple[FloatArray, float]:
    """Train a model on permuted labels; return its maps of a fold's test people (n, C, v), and its area."""
    from migxai.audit.audited_maps import explain_slices
    from migxai.explain.saliency_maps import favouring

    fold, rng = audited.folds[number], audited.generator(4, number, turn)
    labels = unlike(audited.labels[fold.train], rng)
    head = _train(audited, fold, labels, rng)
    maps = explain_slices(head, audited, audited.people[fold.test], choice)
    # Tested people get permuted labels too: with the true ones a model of chance may still tell them apart, either way.
    area = area_under(
        favouring(maps, audited.pair).sum(axis=1), rng.permutation(audited.labels[fold.test]), audited.pair
    )
    return maps, area


def unlike(labels: IntArray, rng: np.random.Generator) -> IntArray:
    """Permute labels such that they have little to do with the true ones: the fewest that agree beyond chance."""
    import numpy as np

    classes = int(labels.max()) + 1
    counts = np.bincount(labels, minlength=classes)
    expected = np.outer(counts, counts) / len(labels)

    def association(permuted: IntArray) -> float:
        table = np.zeros((classes, classes))
        np.add.at(table, (labels, permuted), 1)
        return float(np.abs(table - expected).sum())

    return min((rng.permutation(labels) for _ in range(DRAWS)), key=association)


def _train(audited: AuditedMaps, fold: Fold, labels: IntArray, rng: np.random.Generator) -> Head:
    from migxai.audit.audited_maps import draw_head
    from migxai.learning.devices import choose_device
    from migxai.learning.training import Schedule, train_head

    head = draw_head(audited, rng)
    schedule = Schedule.of(audited.settings)
    schedule = replace(schedule, epochs=min(schedule.epochs, EPOCHS), epoch_choice="last")
    device = choose_device(audited.settings.device)
    train_head(head, audited.store, audited.people[fold.train], labels, schedule, int(rng.integers(2**31)), device)
    return head


def area_under(values: FloatArray, labels: IntArray, pair: tuple[int, int], strata: IntArray | None = None) -> float:
    """Return how often, of two people of one stratum, the one of the second class has the higher value.

    With values, classes and strata of each person, (n,); without strata all people are compared with each other. NaN if
    no stratum holds both classes.
    """
    import numpy as np

    of = np.zeros(len(labels), dtype=np.intp) if strata is None else strata
    first, second = (labels == label for label in pair)
    pairs = np.outer(second, first) & (of[:, None] == of)
    if not pairs.any():
        return float("nan")
    higher = (values[:, None] > values) + 0.5 * (values[:, None] == values)
    return float(higher[pairs].mean())


def _separation(audited: AuditedMaps, permuted: list[list[float]]) -> Check:
    import numpy as np

    saliency, pair = audited.trials[0], audited.pair
    limit = f"above every model of permuted labels, p under {ALPHA:g}"
    if not saliency.by_class:
        why = "Not made: maps of this method do not say which class they speak for."
        return Check(_SEPARATION, audited.of, limit=limit, detail=why)
    totals = saliency.favouring(pair).sum(axis=1, dtype=np.float64)
    observed = area_under(totals, saliency.labels, pair, saliency.fold)
    strata: NDArray[np.integer] = saliency.fold
    if np.isnan(observed):
        # No fold tests both classes, as with leave-one-out.
        strata = np.zeros_like(strata)
        observed = area_under(totals, saliency.labels, pair)
    if np.isnan(observed):
        return Check(_SEPARATION, audited.of, limit=limit, detail="Not made: a class has nobody who was tested.")
    rng = audited.generator(5)
    null = [area_under(totals, _relabelled(saliency.labels, strata, rng), pair, strata) for _ in range(RELABELLINGS)]
    p = (1 + sum(one >= observed - 1e-9 for one in null)) / (1 + RELABELLINGS)
    chance = [np.nanmean(areas) for areas in permuted if np.isfinite(areas).any()]
    return Check(
        _SEPARATION,
        audited.of,
        value=f"area {observed:.2f}, p = {p:.2g}",
        number=observed,
        limit=limit,
        passed=bool(p < ALPHA and all(observed > one for one in chance)),
        detail=("Maps of both classes add up to the same in everybody. " if not np.ptp(totals) > 0 else "")
        + "How often the maps of someone of the second class add up to more for it than those of someone of the "
        f"first; with permuted labels {', '.join(f'{one:.2f}' for one in chance) or 'not known'}.",
    )


def _relabelled(labels: IntArray, strata: IntArray, rng: np.random.Generator) -> IntArray:
    import numpy as np

    made = labels.copy()
    for stratum in np.unique(strata):
        places = np.flatnonzero(strata == stratum)
        made[places] = rng.permutation(labels[places])
    return made


def _likeness(audited: AuditedMaps, shown: FloatArray, others: list[FloatArray]) -> Check:
    from migxai.audit.audited_maps import DIFFERENT, map_similarity

    similarity = map_similarity(shown, others)
    if similarity.passed is None:
        return Check(_MAPS, audited.of, limit=DIFFERENT, detail="Not made: no map that can be compared.")
    return Check(
        _MAPS,
        audited.of,
        value=f"{similarity.signed:.2f}",
        number=similarity.signed,
        limit=DIFFERENT,
        passed=similarity.passed,
        detail=f"{len(shown)} people, {len(others)} models each, trained for "
        f"{min(audited.settings.epochs, EPOCHS)} epochs. {similarity.detail}",
    )


ENTRY = CheckEntry(
    name="label-permutation",
    title="Maps change, and say nothing of classes, when labels are permuted",
    citation="Adebayo J, Gilmer J, Muelly M, Goodfellow I, Hardt M, Kim B. Sanity checks for saliency maps. NeurIPS "
    "2018. arXiv:1810.03292",
    order=70,
    of_maps=check,
)
