"""Which people the checks look at: a few of each fold and class, by the fold that tested them."""

from __future__ import annotations

from itertools import chain, zip_longest

import numpy as np
from numpy.typing import NDArray

from migxai.audit.case import Case
from migxai.explain.saliency_maps import Evidence
from migxai.metrics.types import IntArray


def spread(case: Case, count: int, allowed: NDArray[np.bool_] | None = None) -> list[tuple[int, IntArray]]:
    """Choose people in turn from every fold and class.

    Parameters
    ----------
    case
        Whose folds they are from.
    count
        How many at the most.
    allowed
        Who may be chosen, (n,) (default: everybody).

    Returns
    -------
    list
        Of folds that someone is chosen from: the fold's place among ``case.folds``, and the people's places, ascending.
    """
    queues = []
    for number, fold in enumerate(case.folds):
        tested = [place for place in fold.test.tolist() if allowed is None or allowed[place]]
        of_class = [[place for place in tested if case.labels[place] == label] for label in range(len(case.classes))]
        # One of each class in turn.
        in_turn = chain.from_iterable(zip_longest(*of_class))
        queues.append([(number, place) for place in in_turn if place is not None])
    # Someone of each fold in turn.
    chosen = [one for one in chain.from_iterable(zip_longest(*queues)) if one is not None][:count]
    return [
        (number, np.array(sorted(place for fold, place in chosen if fold == number), dtype=np.intp))
        for number in sorted({fold for fold, _ in chosen})
    ]


def rows_of(evidence: Evidence, places: IntArray) -> IntArray:
    """Say which rows of a trial's maps are those of some people."""
    order = np.argsort(evidence.places, kind="stable")
    rows: IntArray = order[np.searchsorted(evidence.places, places, sorter=order)]
    return rows
