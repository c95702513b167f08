"""Learning curves of the models of regional means, as a table: those are fitted in a moment, networks are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from migxai.config import Config
from migxai.evaluation.learning_curve import Point, learning_curve
from migxai.group.fit import Unit
from migxai.group.plan import Plan, nuisance_table
from migxai.learning.types import Inputs

#: Models that a curve is measured of, where they were asked for.
MODELS = ("svm",)
#: With more folds, as leave-one-out has, curves would take longer than the run.
MOST_FOLDS = 20


def learning_curve_table(plan: Plan, units: Sequence[Unit], config: Config, predictions: pd.DataFrame) -> pd.DataFrame:
    """Measure how accuracy grows with the people trained on, in the first trial.

    Parameters
    ----------
    plan
        Who is compared, and their maps.
    units
        All units.
    config
        The run's configuration.
    predictions
        Of people; a unit that failed has none, and no curve.

    Returns
    -------
    pandas.DataFrame
        Columns comparison, indicator, model and those of `Point`; no row if none of `MODELS` was run
        in at most `MOST_FOLDS` folds.
    """
    nuisance, names = nuisance_table(plan.roster.people)
    done = set(predictions[["comparison", "indicator", "model"]].itertuples(index=False, name=None))
    rows = []
    for unit in units:
        if unit.model not in MODELS or not unit.folds or unit.folds[0].trial != 1 or len(unit.folds) > MOST_FOLDS:
            continue
        if (unit.comparison, unit.indicator, unit.model) not in done:
            continue
        inputs = Inputs(
            tuple(plan.roster.people["key"]), plan.maps[unit.indicator].regions, nuisance, tuple(map(str, names))
        )
        points = learning_curve(
            unit.model,
            inputs,
            np.asarray(unit.labels),
            unit.folds,
            classes=unit.classes,
            settings=config.learning,
            seed=unit.seed(config.random_seed),
            people=np.asarray(unit.people),
        )
        rows += [(unit.comparison, unit.indicator, unit.model, *point) for point in points]
    return pd.DataFrame(rows, columns=["comparison", "indicator", "model", *Point._fields])
