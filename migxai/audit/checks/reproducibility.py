"""Whether models that learned from other people, or from other starts, set classes apart in the same places.

Random heads set classes apart somewhere too, and two of them may agree by chance, above all where classes differ much
in few places. So agreement is held against that of heads drawn at random for the same people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migxai.audit.checks import Check, CheckEntry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from migxai.audit.audited_maps import AuditedMaps, SliceChoice

#: Random heads a fold; sets of heads, one a fold, drawn from them; and how many of those the true ones must surpass.
HEADS, SETS, BEYOND = 6, 400, 0.95
#: Correlations this close are equal: maps that no head changes agree as much with any other heads.
TIE = 1e-3
#: Heads of a method that does not depend on the class, whose maps have no sign to speak of.
HEADS_BLIND = 3

_FOLDS, _TRIALS = "Folds agree on where classes differ", "Trials agree on where classes differ"
_LIMIT = f"above {BEYOND:.0%} of random heads"


@dataclass(frozen=True)
class _Chance:
    """What random heads give, with `heads` rows a fold, M, in matrices (F M, F M).

    Correlations between folds' differences, and inner products of what each adds to the difference over all people.
    """

    folds: NDArray[np.float64]
    products: NDArray[np.float64]
    heads: int


def check(audited: AuditedMaps) -> list[Check]:
    """Correlate differences between classes over folds and over trials."""
    import numpy as np

    from migxai.audit.audited_maps import choose_slices
    from migxai.explain.saliency_maps import difference, fold_differences, mean_correlation

    choice, pair = choose_slices(audited.space), audited.pair
    by_fold = fold_differences(audited.trials[:1], pair)[:, choice.voxels]
    differences = [difference([trial], pair) for trial in audited.trials]
    by_trial = np.array([one[choice.voxels] for one in differences if one is not None])
    r_folds, r_trials = mean_correlation(by_fold), mean_correlation(by_trial)
    chance = None if np.isnan(r_folds) and np.isnan(r_trials) else _random_heads(audited, choice)
    rng = audited.generator(6)
    if np.isnan(r_folds) or chance is None:
        folds = _not_made(audited, _FOLDS, by_fold, "fold")
    else:
        folds = _judge(audited, _FOLDS, r_folds, _chance_of_folds(chance, rng), f"{len(by_fold)} folds")
    if np.isnan(r_trials) or chance is None:
        return [folds, _not_made(audited, _TRIALS, by_trial, "trial")]
    of_trials = _chance_of_trials(chance, len(by_trial), rng)
    return [folds, _judge(audited, _TRIALS, r_trials, of_trials, f"{len(by_trial)} trials")]


def _random_heads(audited: AuditedMaps, choice: SliceChoice) -> _Chance | None:
    """Make the differences of random heads; None if no fold tests both classes."""
    import numpy as np

    from migxai.audit.audited_maps import draw_head, explain_slices
    from migxai.explain.saliency_maps import favouring

    rng, pair = audited.generator(7), audited.pair
    heads = HEADS if audited.trials[0].by_class else HEADS_BLIND
    totals = [(audited.trials[0].labels == label).sum() for label in pair]
    differences, parts = [], []
    for fold in audited.folds:
        labels = audited.labels[fold.test]
        first, second = (labels == label for label in pair)
        if not first.any() or not second.any():
            continue
        both = first | second
        for _ in range(heads):
            maps = explain_slices(draw_head(audited, rng), audited, audited.people[fold.test[both]], choice)
            size = np.abs(maps).mean(dtype=np.float64)
            values = favouring(maps, pair) / (size if size > 0 else 1.0)
            one, other = values[first[both]], values[second[both]]
            differences.append(other.mean(axis=0, dtype=np.float64) - one.mean(axis=0, dtype=np.float64))
            parts.append(other.sum(axis=0) / totals[1] - one.sum(axis=0) / totals[0])
    if not differences:
        return None
    centred = [rows - rows.mean(axis=1, keepdims=True) for rows in (np.array(differences), np.array(parts))]
    lengths = np.sqrt((centred[0] ** 2).sum(axis=1, keepdims=True))
    unit = np.divide(centred[0], lengths, out=np.zeros_like(centred[0]), where=lengths > 0)
    return _Chance(unit @ unit.T, centred[1] @ centred[1].T, heads)


def _chance_of_folds(chance: _Chance, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return mean correlations of sets of random heads, one a fold, (SETS,)."""
    import numpy as np

    starts = np.arange(0, len(chance.folds), chance.heads)
    upper = np.triu_indices(len(starts), k=1)
    if not upper[0].size:
        return np.zeros(0)
    chosen = [starts + rng.integers(chance.heads, size=len(starts)) for _ in range(SETS)]
    return np.array([chance.folds[np.ix_(heads, heads)][upper].mean() for heads in chosen])


def _chance_of_trials(chance: _Chance, trials: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return mean correlations of so many sets of random heads with no head in common, (SETS,)."""
    import numpy as np

    starts = np.arange(0, len(chance.products), chance.heads)
    count = min(trials, chance.heads)
    upper, found = np.triu_indices(count, k=1), []
    for _ in range(SETS):
        orders = np.array([rng.permutation(chance.heads)[:count] for _ in starts]).T
        member = np.zeros((count, len(chance.products)))
        member[np.arange(count)[:, None], starts + orders] = 1
        products = member @ chance.products @ member.T
        lengths = np.sqrt(np.diag(products))
        if (lengths > 0).all():
            found.append((products / np.outer(lengths, lengths))[upper].mean())
    return np.array(found)


def _judge(audited: AuditedMaps, name: str, r: float, chance: NDArray[np.float64], what: str) -> Check:
    import numpy as np

    if not chance.size:
        return Check(name, audited.of, f"{r:.2f}", r, _LIMIT, detail="Random heads give no difference.")
    bound = float(np.quantile(chance, BEYOND))
    return Check(
        name,
        audited.of,
        value=f"{r:.2f}",
        number=r,
        limit=f"{_LIMIT}: {bound:.2f}",
        passed=bool(r > bound + TIE),
        detail=f"Mean correlation over {what} between the two classes' differences; random heads have "
        f"{chance.mean():.2f} on average.",
    )


def _not_made(audited: AuditedMaps, name: str, rows: NDArray[np.float64], what: str) -> Check:
    import numpy as np

    varying = int((np.ptp(rows, axis=1) > 0).sum()) if len(rows) else 0
    count = f"{varying or 'no'} {what}" + ("" if varying == 1 else "s")
    why = f"Not made: maps of {count} set the two classes apart anywhere; two are needed."
    return Check(name, audited.of, limit=_LIMIT, detail=why)


ENTRY = CheckEntry(
    name="reproducibility", title="Folds and trials agree on where classes differ", order=80, of_maps=check
)
