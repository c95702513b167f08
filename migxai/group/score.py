"""From the folds' files to what the output keeps: predictions, and models with their cards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from migxai.config import Config
from migxai.evaluation.permutation import SCORES, compare_with_null, pooled_scores
from migxai.evaluation.scoring import Scores
from migxai.group.explain import first_method
from migxai.group.features import MapArrays
from migxai.group.fit import Unit, fitted_models, permuted_path, read_folds
from migxai.group.plan import Plan
from migxai.group.prediction_tables import TestedFold
from migxai.group.workflow import permutation_starts, permuted_units
from migxai.io import read_json
from migxai.learning.cards import ModelCard, cohort_summary, software_versions, trunk_facts
from migxai.learning.estimators import is_deep, make_estimator, options_of
from migxai.learning.persistence import save_model
from migxai.metrics.scores import aggregate_subjects
from migxai.metrics.types import IntArray

#: Scores that a model's card shows, at subject level.
CARD_METRICS = ("accuracy", "balanced_accuracy", "roc_auc", "roc_auc_ovr_macro", "f1_macro", "brier")


def tested_folds(units: Sequence[Unit], arrays: Mapping[str, MapArrays], folder: Path) -> Iterator[TestedFold]:
    """Read the folds of units that are complete.

    Raises
    ------
    InputError
        If a fold's file is damaged.
    """
    for unit in units:
        subjects = arrays[unit.indicator].subjects
        for fold, result in zip(unit.folds or (), read_folds(folder, unit), strict=False):
            yield TestedFold(
                comparison=unit.comparison,
                indicator=unit.indicator,
                model=unit.model,
                trial=fold.trial,
                fold=fold.number,
                classes=unit.classes,
                subjects=tuple(subjects[row] for row in result.rows),
                labels=np.asarray(unit.labels)[fold.test],
                probabilities=result.probabilities,
            )


def permutation_table(units: Sequence[Unit], config: Config, folder: Path) -> pd.DataFrame:
    """Set the scores of the first trial against those with permuted labels.

    Parameters
    ----------
    units
        All units.
    config
        The run's configuration.
    folder
        Where results are kept.

    Returns
    -------
    pandas.DataFrame
        A row for each comparison, indicator, model and score: what was observed in trial 1, how it compares with
        chance, and p = (1 + number of permutations that score as high) / (1 + permutations). A unit of which a part
        failed is left out. No row without permutations.
    """
    rows = []
    for unit in permuted_units(units, config):
        method = first_method(config, unit.model)
        paths = [permuted_path(folder, unit, first, method) for first in permutation_starts(config)]
        results = read_folds(folder, unit)
        if not results or not all(path.is_file() for path in paths):
            continue
        parts = [read_json(path) for path in paths]
        labels = np.concatenate([np.asarray(unit.labels)[fold.test] for fold in unit.folds or ()])
        whole = np.concatenate([aggregate_subjects(item.probabilities, config.learning.vote) for item in results])
        for name, value in zip(SCORES, pooled_scores(labels, whole, unit.classes), strict=True):
            null = np.concatenate([np.asarray(part[name], dtype=np.float64) for part in parts])
            result = compare_with_null(value, null)
            rows.append(
                {
                    "comparison": unit.comparison,
                    "indicator": unit.indicator,
                    "model": unit.model,
                    "level": "subject",
                    "metric": name,
                    "observed": result.observed,
                    "p": result.p,
                    "permutations": len(null),
                    "null_mean": null.mean(),
                    "null_sd": null.std(ddof=1) if len(null) > 1 else np.nan,
                    "null_95th": np.quantile(null, 0.95),
                }
            )
    return pd.DataFrame(rows)


def save_models(
    folder: Path,
    config: Config,
    plan: Plan,
    units: Sequence[Unit],
    arrays: Mapping[str, MapArrays],
    folds: Path,
    scores: Scores,
) -> None:
    """Write the models of all complete units, each with its card.

    Raises
    ------
    OutputError, ResourceError
        If a file cannot be written.
    """
    for unit in units:
        if unit.folds is not None and config.learning.save_models != "folds":
            continue
        metrics = _card_metrics(scores, unit)
        for name, rows, tensors in fitted_models(folds, unit):
            estimator = make_estimator(unit.model, config.learning, n_classes=len(unit.classes), seed=0)
            card = _card(config, plan, unit, rows, metrics, arrays[unit.indicator])
            save_model(folder / f"{unit.cell}_{name}.safetensors", estimator.restore(tensors), card)


def _card(
    config: Config, plan: Plan, unit: Unit, places: IntArray, metrics: dict[str, Any], arrays: MapArrays
) -> ModelCard:
    rows = np.asarray(unit.people)[places]
    people = plan.roster.people.iloc[rows]
    geometry, deep = plan.template.geometry, is_deep(unit.model)
    options = {name: getattr(config.learning, name) for name in options_of(unit.model)}
    return ModelCard(
        comparison=unit.comparison,
        classes=unit.classes,
        model=unit.model,
        indicator=unit.indicator,
        definition=dict(plan.roster.definitions[unit.indicator]),
        space=plan.roster.space or "",
        res=plan.roster.res or "",
        grid={"shape": list(geometry.shape), "affine": [list(row) for row in geometry.affine]},
        options={name: "file" if isinstance(value, Path) else value for name, value in options.items()},
        cohort=cohort_summary(
            np.asarray(unit.labels)[places],
            unit.classes,
            sites=list(people["site"].astype(str)),
            ages=pd.to_numeric(people["age"], errors="coerce").tolist(),
            sexes=list(people["sex"].fillna("n/a").astype(str)),
        ),
        slicing=geometry.to_dict() if deep else None,
        trunk=trunk_facts(unit.model, config.learning, config.random_seed) if deep else None,
        regions=None if deep else {"atlas": plan.template.atlas.name, "indices": list(plan.template.atlas.indices)},
        metrics=metrics,
        inputs={"maps": hashlib.sha256("".join(arrays.hashes[row] for row in rows).encode()).hexdigest()},
        versions=software_versions(deep),
    )


def _card_metrics(scores: Scores, unit: Unit) -> dict[str, Any]:
    """Return the cross-validated scores of a unit's model over all trials."""
    table = scores.table
    chosen = table[
        (table["comparison"] == unit.comparison)
        & (table["indicator"] == unit.indicator)
        & (table["model"] == unit.model)
        & (table["level"] == "subject")
        & table["metric"].isin(CARD_METRICS)
    ]
    return {str(row.metric): {"value": row.value, "low": row.low, "high": row.high} for row in chosen.itertuples()}
