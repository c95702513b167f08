"""From the files of folds to what the output keeps: predictions, chance levels, learning curves, models with cards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from migxai.config import Config
from migxai.evaluation.learning_curve import Point, learning_curve
from migxai.evaluation.permutation import SCORES, permutation_p_value, pooled_scores
from migxai.evaluation.scoring import Scores
from migxai.group.fit import Experiment, fitted_models, permutation_files, permuted_experiments, read_folds
from migxai.group.job import Workspace
from migxai.group.plan import Plan
from migxai.io import read_json
from migxai.learning.estimators import is_deep, make_estimator, options_of
from migxai.learning.persistence import ModelCard, cohort_summary, save_model, software_versions, trunk_facts
from migxai.metrics.scores import aggregate_subjects
from migxai.metrics.types import FloatArray, IntArray

#: Scores that a model's card shows, at subject level.
CARD_METRICS = ("accuracy", "balanced_accuracy", "roc_auc", "roc_auc_ovr_macro", "f1_macro", "brier")
#: Models that a learning curve is measured of, where they were asked for: networks are not fitted in a moment.
CURVE_MODELS = ("svm",)
#: With more folds, as leave-one-out has, curves would take longer than the run.
CURVE_FOLDS = 20


@dataclass(frozen=True, eq=False)
class TestedFold:
    """What one fold of an experiment said of its n test subjects.

    `subjects` are their keys, `labels` their true classes (n,), and `probabilities` are (n, S, C).
    """

    comparison: str
    indicator: str
    model: str
    trial: int
    fold: int
    classes: tuple[str, ...]
    subjects: tuple[str, ...]
    labels: IntArray
    probabilities: FloatArray


def tested_folds(experiments: Sequence[Experiment], workspace: Workspace) -> Iterator[TestedFold]:
    """Read the folds of experiments that are complete; an InputError says which file is damaged."""
    for experiment in experiments:
        subjects = workspace.arrays[experiment.indicator].subjects
        for fold, result in zip(experiment.folds or (), read_folds(workspace.folds, experiment), strict=False):
            yield TestedFold(
                **experiment.names,
                trial=fold.trial,
                fold=fold.number,
                classes=experiment.classes,
                subjects=tuple(subjects[row] for row in result.rows),
                labels=np.asarray(experiment.labels)[fold.test],
                probabilities=result.probabilities,
            )


def prediction_tables(
    folds: Iterable[TestedFold], vote: Literal["mean", "majority"]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lay out predictions of subjects, and of slices for the models that see slices; `vote` lets slices decide.

    Columns of both are comparison, indicator, model, trial, fold, subject (and slice, from 1), label, predicted, and
    ``p[<class>]`` for every class of any comparison, missing where it is none of this one.
    """
    by_subject, by_slice = [], []
    for fold in folds:
        whole = aggregate_subjects(fold.probabilities, vote=vote)
        by_subject.append(_rows(fold, fold.subjects, fold.labels, whole))
        slices = fold.probabilities.shape[1]
        if slices > 1:
            subjects, labels = np.repeat(fold.subjects, slices).tolist(), np.repeat(fold.labels, slices)
            rows = _rows(fold, subjects, labels, fold.probabilities.reshape(-1, len(fold.classes)))
            rows.insert(6, "slice", np.tile(np.arange(1, slices + 1), len(fold.subjects)))
            by_slice.append(rows)
    return _joined(by_subject), _joined(by_slice)


def _rows(fold: TestedFold, subjects: Sequence[str], labels: IntArray, probabilities: FloatArray) -> pd.DataFrame:
    names = np.asarray(fold.classes)
    content: dict[str, Any] = {
        "comparison": fold.comparison,
        "indicator": fold.indicator,
        "model": fold.model,
        "trial": fold.trial,
        "fold": fold.fold,
        "subject": list(subjects),
        "label": names[labels],
        "predicted": names[probabilities.argmax(axis=1)],
    }
    content |= {f"p[{name}]": probabilities[:, place] for place, name in enumerate(fold.classes)}
    return pd.DataFrame(content)


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def permutation_table(experiments: Sequence[Experiment], config: Config, folder: Path) -> pd.DataFrame:
    """Set the scores of the first trial against those with permuted labels.

    A row for each comparison, indicator, model and score: what was observed in trial 1, how it compares with chance,
    and p = (1 + number of permutations that score as high) / (1 + permutations). An experiment of which a part failed
    is left out, and there is no row without permutations.
    """
    rows = []
    for experiment in permuted_experiments(experiments, config):
        paths, results = permutation_files(folder, experiment, config), read_folds(folder, experiment)
        if not results or not paths:
            continue
        parts = [read_json(path) for path in paths]
        labels = np.concatenate([np.asarray(experiment.labels)[fold.test] for fold in experiment.folds or ()])
        whole = np.concatenate([aggregate_subjects(item.probabilities, config.learning.vote) for item in results])
        for name, value in zip(SCORES, pooled_scores(labels, whole, experiment.classes), strict=True):
            null = np.concatenate([np.asarray(part[name], dtype=np.float64) for part in parts])
            rows.append(
                {
                    **experiment.names,
                    "level": "subject",
                    "metric": name,
                    "observed": value,
                    "p": permutation_p_value(value, null),
                    "permutations": len(null),
                    "null_mean": null.mean(),
                    "null_sd": null.std(ddof=1) if len(null) > 1 else np.nan,
                    "null_95th": np.quantile(null, 0.95),
                }
            )
    return pd.DataFrame(rows)


def learning_curve_table(
    experiments: Sequence[Experiment], workspace: Workspace, predictions: pd.DataFrame
) -> pd.DataFrame:
    """Measure how accuracy grows with the people trained on, in the first trial.

    Columns are comparison, indicator, model and those of `Point`. There is no row if none of `CURVE_MODELS` was run in
    at most `CURVE_FOLDS` folds, nor one of an experiment without predictions, which failed.
    """
    columns = ["comparison", "indicator", "model"]
    done = set(predictions[columns].itertuples(index=False, name=None))
    rows = []
    for experiment in experiments:
        key = tuple(experiment.names.values())
        folds = experiment.folds or ()
        if experiment.model in CURVE_MODELS and experiment.trial == 1 and len(folds) <= CURVE_FOLDS and key in done:
            points = learning_curve(
                experiment.model,
                workspace.inputs(experiment.model, experiment.indicator),
                np.asarray(experiment.labels),
                folds,
                classes=experiment.classes,
                settings=workspace.settings,
                seed=experiment.seed(workspace.seed),
                people=np.asarray(experiment.people),
            )
            rows += [(*key, *point) for point in points]
    return pd.DataFrame(rows, columns=[*columns, *Point._fields])


def save_models(
    folder: Path, plan: Plan, experiments: Sequence[Experiment], workspace: Workspace, scores: Scores
) -> None:
    """Write the models of all complete experiments, each with its card."""
    for experiment in experiments:
        if experiment.folds is not None and workspace.settings.save_models != "folds":
            continue
        metrics = _card_metrics(scores, experiment)
        for name, places, tensors in fitted_models(workspace.folds, experiment):
            classes = len(experiment.classes)
            estimator = make_estimator(experiment.model, workspace.settings, n_classes=classes, seed=0)
            card = _card(plan, experiment, places, metrics, workspace)
            save_model(folder / f"{experiment.series}_{name}.safetensors", estimator.restore(tensors), card)


def _card(
    plan: Plan, experiment: Experiment, places: IntArray, metrics: dict[str, Any], workspace: Workspace
) -> ModelCard:
    """Say of a model what it was made of; places are those of the people it learned from."""
    rows, settings = np.asarray(experiment.people)[places], workspace.settings
    people, hashes = plan.cohort.people.iloc[rows], workspace.arrays[experiment.indicator].hashes
    template, deep = plan.template, is_deep(experiment.model)
    options = {name: getattr(settings, name) for name in options_of(experiment.model)}
    return ModelCard(
        **experiment.names,
        classes=experiment.classes,
        definition=dict(plan.cohort.definitions[experiment.indicator]),
        space=plan.cohort.space or "",
        res=plan.cohort.res or "",
        grid={"shape": list(template.geometry.shape), "affine": [list(row) for row in template.geometry.affine]},
        options={name: "file" if isinstance(value, Path) else value for name, value in options.items()},
        cohort=cohort_summary(
            np.asarray(experiment.labels)[places],
            experiment.classes,
            sites=list(people["site"].astype(str)),
            ages=pd.to_numeric(people["age"], errors="coerce").tolist(),
            sexes=list(people["sex"].fillna("n/a").astype(str)),
        ),
        slicing=template.geometry.to_dict() if deep else None,
        trunk=trunk_facts(experiment.model, settings, workspace.seed) if deep else None,
        regions=None if deep else {"atlas": template.atlas.name, "indices": list(template.atlas.indices)},
        metrics=metrics,
        inputs={"maps": hashlib.sha256("".join(hashes[row] for row in rows).encode()).hexdigest()},
        versions=software_versions(deep, experiment.model),
    )


def _card_metrics(scores: Scores, experiment: Experiment) -> dict[str, Any]:
    """Return the cross-validated scores of a model over all trials."""
    table, wanted = scores.table, experiment.names | {"level": "subject"}
    chosen = table[(table[list(wanted)] == list(wanted.values())).all(axis=1) & table["metric"].isin(CARD_METRICS)]
    return {str(row.metric): {"value": row.value, "low": row.low, "high": row.high} for row in chosen.itertuples()}
