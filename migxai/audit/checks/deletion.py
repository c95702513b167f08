"""Whether the network uses what maps point at: deletion and insertion curves (Petsiuk et al. 2018, arXiv:1806.07421).

The places that set the two classes apart most, by the maps of the other folds, are replaced by the mean slice of the
training people: what tells a person's class should then be lost sooner than when as many other voxels are replaced.
Insertion goes the other way, from the mean slice to the person's. Both are done for people that the network has not
seen, and compared with two other orders of the same coarseness: at random, and by the picture's edges.

Replacing anything may favour one class whatever the picture, as blurring does. So both classes weigh the same: what is
gained in one at the other's cost is no gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from migxai.audit.audited_maps import AuditedMaps, SliceChoice
    from migxai.metrics.types import FloatArray

#: Shares of the shown voxels of a slice that are replaced.
SHARES = (0.05, 0.1, 0.2, 0.4)
#: People, and slices of each, that go through the whole network 25 times; of a transformer, some ten times slower.
PEOPLE, SLICES = 16, 3
PEOPLE_TRANSFORMER, SLICES_TRANSFORMER = 8, 2
#: People of either class that are needed at the least, and the level of the test.
LEAST, ALPHA = 3, 0.05

#: What maps are compared with, and the names of the checks.
_OTHERS = {
    "random": "The network uses what maps point at, more than random places",
    "edges": "The network uses what maps point at, more than edges",
}
_LIMIT = f"more, p under {ALPHA:g} (t test, both classes weigh the same)"


@dataclass(frozen=True, eq=False)
class _Fold:
    """What is needed to change slices of the fold `number`: the `choice` of those on which classes are set most apart.

    Of these, (s, H0, W0): the `mean` over the training people, and how far the maps of other folds set classes `apart`.
    """

    number: int
    choice: SliceChoice
    mean: FloatArray
    apart: FloatArray


@dataclass(frozen=True, eq=False)
class _Person:
    """What changing slices of a person, whose class is `label`, does to the margin of that class over the other.

    Margins are less that of the mean slices, averaged over slices: of the slices as they are, and the area (3,) between
    the curves of insertion and of deletion by maps, at random and by edges.
    """

    label: int
    intact: float
    gaps: NDArray[np.float64]


def check(audited: AuditedMaps) -> list[Check]:
    """Delete and insert by maps, at random and by edges, and compare over people."""
    import numpy as np

    from migxai.audit.audited_maps import choose_people

    if audited.planes is None or audited.backbone is None:
        return _not_made(audited, "the slices or the network are not at hand")
    transformer = "rows" in audited.store.split.details
    basis, found = _basis(audited), []
    in_pair = np.isin(audited.labels, audited.pair)
    for number, places in choose_people(audited, PEOPLE_TRANSFORMER if transformer else PEOPLE, in_pair):
        fold = _prepare(audited, number, SLICES_TRANSFORMER if transformer else SLICES)
        if fold is not None:
            found += [_perturb(audited, fold, place, basis) for place in places.tolist()]
    if min(sum(person.label == label for person in found) for label in audited.pair) < LEAST:
        return _not_made(
            audited, f"{LEAST} tested people of each class are needed, and other folds whose maps set the classes apart"
        )
    return [_judge(audited, other, found, 1 + place) for place, other in enumerate(_OTHERS)]


def _not_made(audited: AuditedMaps, why: str) -> list[Check]:
    return [Check(name, audited.of, limit=_LIMIT, detail=f"Not made: {why}.") for name in _OTHERS.values()]


def _prepare(audited: AuditedMaps, number: int, slices: int) -> _Fold | None:
    """Choose a fold's slices; None if the other folds' maps set nothing apart."""
    import numpy as np

    from migxai.audit.audited_maps import choose_slices
    from migxai.explain.saliency_maps import difference

    assert audited.planes is not None
    fold, saliency = audited.folds[number], audited.trials[0]
    # The fold's own maps may not choose the places that its people are tested at.
    found = difference([saliency.select(saliency.fold != fold.number)], audited.pair)
    if found is None or not np.ptp(found) > 0:
        return None
    row = found if saliency.by_class else np.abs(found)
    whole = choose_slices(audited.space, np.arange(len(audited.space.geometry.indices)))
    apart = np.zeros(whole.shown.shape)
    apart[whole.shown] = row[whole.voxels]
    best = np.sort(np.argsort(-np.clip(apart, 0, None).sum(axis=(1, 2)), kind="stable")[:slices])
    train = audited.people[fold.train]
    mean: FloatArray = np.asarray(
        np.mean([audited.planes[row][best] for row in train.tolist()], axis=0, dtype=np.float64)
    )
    return _Fold(number, choose_slices(audited.space, best), mean, apart[best])


def _basis(audited: AuditedMaps) -> NDArray[np.float32]:
    """Return how each cell of a map is drawn in the plane, (cells, H0, W0)."""
    import numpy as np

    from migxai.explain.explainers import explain, pooled_receptive_fields
    from migxai.explain.methods import METHODS
    from migxai.explain.targets import Target
    from migxai.explain.volumes import to_planes

    features = audited.store.clean(audited.people[:1], np.zeros(1, dtype=np.intp))
    count = explain(audited.heads[0], features, audited.store.split, METHODS[audited.method], Target()).shape[-1]
    cells = np.eye(count * count, dtype=np.float32).reshape(-1, count, count)
    return to_planes(cells, pooled_receptive_fields(audited.store.split, count), audited.space.geometry)


def _perturb(audited: AuditedMaps, fold: _Fold, place: int, basis: NDArray[np.float32]) -> _Person:
    import numpy as np

    assert audited.planes is not None
    planes = np.asarray(audited.planes[audited.people[place]][fold.choice.slices], dtype=np.float64)
    rng = audited.generator(8, place)
    noise = np.tensordot(rng.standard_normal((len(planes), len(basis))), basis, axes=1)
    orders = (fold.apart, noise, coarse_edges(planes, fold.choice.shown, basis))
    pictures = [fold.mean, planes]
    for order in orders:
        for share in SHARES:
            top = top_share(order, fold.choice.shown, share)
            pictures += [np.where(top, fold.mean, planes), np.where(top, planes, fold.mean)]
    margins = _margins(audited, fold.number, np.concatenate(pictures)).reshape(len(pictures), len(planes))
    sign = 1.0 if audited.labels[place] == audited.pair[1] else -1.0
    scores = sign * (margins - margins[0]).mean(axis=1)
    curves = scores[2:].reshape(len(orders), len(SHARES), 2)
    return _Person(int(audited.labels[place]), float(scores[1]), (curves[..., 1] - curves[..., 0]).mean(axis=1))


def top_share(order: FloatArray, shown: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Mark the highest share of the shown voxels of each slice, (s, H0, W0)."""
    import numpy as np

    top = np.zeros(shown.shape, dtype=bool)
    for values, inside, marked in zip(order, shown, top, strict=True):
        places = np.flatnonzero(inside)
        count = round(share * len(places))
        highest = np.argsort(-values.ravel()[places], kind="stable")[:count]
        marked.ravel()[places[highest]] = True
    return top


def coarse_edges(planes: FloatArray, shown: NDArray[np.bool_], basis: FloatArray) -> FloatArray:
    """Return how steep slices (s, H0, W0) are, averaged over the cells of a map and drawn as a map is."""
    import numpy as np

    steep = np.stack([np.hypot(*np.gradient(plane)) for plane in planes]) * shown
    held = np.tensordot(shown.astype(np.float64), basis, axes=([1, 2], [1, 2]))
    of_cells = np.tensordot(steep, basis, axes=([1, 2], [1, 2]))
    means = np.divide(of_cells, held, out=np.zeros_like(of_cells), where=held > 0)
    drawn: FloatArray = np.tensordot(means, basis, axes=1)
    return drawn


def _margins(audited: AuditedMaps, number: int, planes: FloatArray) -> NDArray[np.float64]:
    """Run slices (B, H0, W0) through the whole network; return how far it favours the second class of the pair."""
    import torch

    from migxai.learning.slices import to_pixels

    assert audited.backbone is not None
    with torch.inference_mode():
        pixels = torch.from_numpy(to_pixels(planes, audited.space.geometry)).unsqueeze(1)
        features = {name: made.float() for name, made in audited.backbone.features(pixels).items()}
        logits = audited.heads[number](features).double().numpy()
    margins: NDArray[np.float64] = logits[:, audited.pair[1]] - logits[:, audited.pair[0]]
    return margins


def _judge(audited: AuditedMaps, other: str, found: list[_Person], column: int) -> Check:
    import numpy as np

    better = [
        np.array([person.gaps[0] - person.gaps[column] for person in found if person.label == label])
        for label in audited.pair
    ]
    p = p_of_sum(*better)
    # Means over both classes, as shares of the intact margin.
    values = np.array([[one.intact, one.gaps[0], one.gaps[column]] for one in found])
    of = np.array([one.label for one in found])
    intact, ours, theirs = np.mean([values[of == label].mean(axis=0) for label in audited.pair], axis=0).tolist()
    shares = f"{ours / intact:.2f}, {other} {theirs / intact:.2f}, " if intact > 0 else ""
    return Check(
        _OTHERS[other],
        audited.of,
        value=f"{shares}p = {p:.2g}",
        number=(ours - theirs) / intact if intact > 0 else float("nan"),
        limit=_LIMIT,
        passed=p < ALPHA,
        detail=f"Area between the curves of insertion and deletion, {len(found)} people"
        + (
            ", as a share of what intact slices differ from mean ones by."
            if intact > 0
            else "; intact slices tell nothing."
        ),
    )


def p_of_sum(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Test whether the means of two samples add up to more than zero, with a variance for each (Welch), one-sided."""
    import numpy as np
    from scipy import stats

    if not np.ptp(first) and not np.ptp(second):
        return 0.0 if first.mean() + second.mean() > 0 else 1.0
    return float(stats.ttest_ind(first, -second, equal_var=False, alternative="greater").pvalue)


ENTRY = CheckEntry(
    name="deletion",
    title="The network uses what maps point at",
    citation="Petsiuk V, Das A, Saenko K. RISE: randomized input sampling for explanation of black-box models. BMVC "
    "2018. arXiv:1806.07421",
    order=90,
    of_maps=check,
)
