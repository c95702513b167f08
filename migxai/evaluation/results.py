"""The folder that the group level writes, as tables, and what it holds, read back for audit and report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from migxai.cohort.datasets import cohort_name
from migxai.errors import InputError
from migxai.evaluation.cohort_statistics import describe_cohort
from migxai.evaluation.paper import COMPARISON_NAMES, paper_order, table_1, table_2, table_3
from migxai.evaluation.predictions import PredictionSet, read_predictions, split_predictions
from migxai.evaluation.scoring import Scores, score_predictions
from migxai.indicators.registry import INDICATORS
from migxai.io import read_json, read_tsv, write_json, write_tsv
from migxai.learning.estimators import model_titles

#: Digits of probabilities in tables: more than any score can depend on.
PROBABILITY = "%.6f"


@dataclass(frozen=True)
class GroupFolder:
    """Names of what lies in ``group``."""

    root: Path

    @classmethod
    def of(cls, output_dir: Path) -> GroupFolder:
        """Return the group folder of an output dataset."""
        return cls(output_dir / "group")

    def file(self, name: str) -> Path:
        """Return the path of one of its files."""
        return self.root / name

    @property
    def features(self) -> Path:
        """Folder of the stores of frozen features."""
        return self.root / "features"

    @property
    def models(self) -> Path:
        """Folder of saved models."""
        return self.root / "models"

    @property
    def description(self) -> Path:
        """What was run, and whether all of it is there."""
        return self.root / "description.json"


def read_description(folder: GroupFolder) -> dict[str, Any]:
    """Read what was run; InputError if nothing was, or if the file is none that the group level wrote."""
    if not folder.description.is_file():
        raise InputError("The output directory holds no results of the group level; run it first (migxai ... group).")
    content = read_json(folder.description, folder.root)
    missing = [name for name in ("Comparisons", "CrossValidation", "Seed", "Options", "State") if name not in content]
    if missing:
        raise InputError(f"group/{folder.description.name} has no {missing[0]}; run the group level again.")
    return content


def write_predictions(folder: GroupFolder, subjects: pd.DataFrame, slices: pd.DataFrame) -> None:
    """Write predictions of subjects and of slices, or remove those of an earlier run where there are none."""
    write_if_any(folder.file("predictions.tsv"), subjects, float_format=PROBABILITY)
    write_if_any(folder.file("predictions_slices.tsv"), slices, float_format=PROBABILITY)


def write_if_any(path: Path, table: pd.DataFrame, *, float_format: str | None = None) -> None:
    """Write a table, or remove that of an earlier run if there is nothing to write."""
    if table.empty:
        path.unlink(missing_ok=True)
    else:
        write_tsv(path, table, float_format=float_format)


def write_scores(folder: GroupFolder, description: Mapping[str, Any]) -> Scores:
    """Score the predictions that lie in the folder, and lay the scores out as the paper does.

    Reading them back makes the tables follow from the files beside them, whenever they are written anew. InputError if
    predictions are missing or damaged.
    """
    classes = {name: list(groups) for name, groups in description["Comparisons"].items()}
    slices = folder.file("predictions_slices.tsv")
    scores = score_predictions(
        read_predictions(folder.file("predictions.tsv")),
        read_predictions(slices) if slices.is_file() else None,
        classes,
        cv=description["CrossValidation"],
        seed=int(description["Seed"]),
        bootstraps=int(description["Options"]["bootstraps"]),
    )
    write_tsv(folder.file("metrics.tsv"), scores.table.replace("", pd.NA))
    write_json(folder.file("metrics.json"), scores.document)
    write_if_any(folder.file("model_comparisons.tsv"), scores.comparisons)
    write_if_any(folder.file("table2.tsv"), table_2(scores.table))
    write_if_any(folder.file("table3.tsv"), table_3(scores.table))
    return scores


def write_cohort_statistics(folder: GroupFolder, people: pd.DataFrame, groups: Sequence[str], seed: int) -> None:
    """Write the paper's Table 1 of this cohort."""
    described = describe_cohort(people, "group", groups=groups, seed=seed)
    if described:
        write_tsv(folder.file("table1.tsv"), table_1(described))


#: Columns of text; all others of these tables are numbers.
_TEXT = {
    "metrics.tsv": {"comparison", "indicator", "model", "level", "metric", "averaging", "how"}
    | {"interval_method", "exact_method"},
    "permutations.tsv": {"comparison", "indicator", "model", "level", "metric"},
    "model_comparisons.tsv": {"comparison", "indicator", "level", "metric", "model_a", "model_b", "test", "how"},
    "learning_curve.tsv": {"comparison", "indicator", "model"},
}

#: Names in ``GeneratedBy``, and words in definitions, of data that nobody was scanned for.
_MADE_UP = re.compile(r"migxai-demo|simulated", re.IGNORECASE)


@dataclass(frozen=True)
class Score:
    """A score of one model with its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float
    sd: float


@dataclass(frozen=True)
class PermutationScore:
    """A score of the first trial against the same with permuted labels."""

    observed: float
    p: float
    permutations: int
    mean: float
    top: float


@dataclass(frozen=True)
class ScoredModel:
    """What one model reached on one indicator in one comparison, at subject level: scores by metric, n people."""

    comparison: str
    indicator: str
    model: str
    n: int
    trials: int
    scores: Mapping[str, Score]
    permuted: Mapping[str, PermutationScore] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """Comparison, indicator and model."""
        return self.comparison, self.indicator, self.model

    @property
    def name(self) -> str:
        """Model and indicator in words: ``GoogLeNet on ReHo``."""
        return f"{model_name(self.model)} on {indicator_name(self.indicator)}"

    @property
    def area(self) -> str:
        """The name of its area under the ROC curve."""
        return "roc_auc" if "roc_auc" in self.scores else "roc_auc_ovr_macro"


@dataclass(frozen=True, eq=False)
class Results:
    """All files of the group level that the report reads: tables by file name, empty ones where there is no file.

    `predictions` are those of subjects, one set for each model, indicator and comparison; `document` is
    ``metrics.json``, empty if there is none. `versions` of software are as the models' cards have them; several where
    models were made with different ones.
    """

    folder: GroupFolder
    description: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    predictions: Sequence[PredictionSet]
    document: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.description["Seed"])

    @property
    def comparisons(self) -> dict[str, list[str]]:
        """Comparisons and their classes, in order."""
        return {str(name): [str(label) for label in labels] for name, labels in self.description["Comparisons"].items()}

    @cached_property
    def scored_models(self) -> tuple[ScoredModel, ...]:
        """Every model's scores, those of the paper's models first and in its order."""
        return _scored_models(self.tables["metrics.tsv"], self.tables["permutations.tsv"])

    def scored_models_of(self, comparison: str) -> list[ScoredModel]:
        """Return the models' scores in one comparison."""
        return [model for model in self.scored_models if model.comparison == comparison]

    def predictions_of(self, model: ScoredModel) -> PredictionSet | None:
        """Return the predictions behind a model's scores."""
        return next((one for one in self.predictions if one.key[:3] == model.key), None)

    def title(self, comparison: str) -> str:
        """Name a comparison in words."""
        return COMPARISON_NAMES.get(comparison) or " versus ".join(self.comparisons[comparison])

    def class_counts(self, comparison: str) -> dict[str, int]:
        """Return how many people each class of a comparison has; empty if it is not known."""
        table = self.tables["classes.tsv"]
        if table.empty:
            return {}
        rows = table[(table["comparison"] == comparison) & (table["class"] != "all")]
        return {str(name): int(count) for name, count in zip(rows["class"], rows["all"], strict=True)}

    @cached_property
    def people(self) -> pd.DataFrame:
        """Everybody whom the datasets name; ``key`` is what predictions call them."""
        table = self.tables["cohort.tsv"]
        return table if table.empty else table.assign(key=table["dataset"] + "/" + table["participant_id"])

    @cached_property
    def simulated(self) -> bool:
        """Whether the maps are made up, by their definitions or by the dataset's description."""
        if _MADE_UP.search(str(self.description.get("Indicators", ""))):
            return True
        path = self.folder.root.parent / "dataset_description.json"
        content = read_json(path) if path.is_file() else {}
        return bool(_MADE_UP.search(str(content.get("GeneratedBy", ""))))

    def participant_report(self, key: str) -> str:
        """Return the address of a person's own report from the group's, empty if there is none.

        Only people of the dataset that the reports lie in have one: sub-01 of another site is somebody else.
        """
        dataset, _, participant = key.rpartition("/")
        there = (self.folder.root.parent / f"{participant}.html").is_file()
        return f"../{participant}.html" if there and dataset == self._own_dataset else ""

    @cached_property
    def _own_dataset(self) -> str:
        output = self.folder.root.parent
        return cohort_name(output) if (output / "dataset_description.json").is_file() else ""


def read_results(folder: GroupFolder) -> Results:
    """Read what the report is made from; InputError if the group level has not been run, or a file is damaged."""
    description = read_description(folder)
    names = ("cohort.tsv", "classes.tsv", "table1.tsv", "table2.tsv", "table3.tsv", "regions.tsv")
    tables = {name: _read(folder.file(name)) for name in names}
    tables |= {name: _numbers(_read(folder.file(name)), text) for name, text in _TEXT.items()}
    predictions = folder.file("predictions.tsv")
    classes = {str(name): [str(one) for one in labels] for name, labels in description["Comparisons"].items()}
    metrics = folder.file("metrics.json")
    return Results(
        folder=folder,
        description=description,
        tables=tables,
        predictions=tuple(split_predictions(read_predictions(predictions), classes, "subject"))
        if predictions.is_file()
        else (),
        document=read_json(metrics, folder.root) if metrics.is_file() else {},
        versions=_versions(folder, description),
    )


def model_name(model: str) -> str:
    """Name a model as the paper does."""
    return model_titles().get(model, model)


def indicator_name(indicator: str) -> str:
    """Name an indicator as the paper does."""
    return INDICATORS.title(indicator)


def _read(path: Path) -> pd.DataFrame:
    return read_tsv(path, path.parent) if path.is_file() else pd.DataFrame()


def _numbers(table: pd.DataFrame, text: set[str]) -> pd.DataFrame:
    """Turn all columns but those of text into numbers, ``n/a`` into NaN."""
    columns = [name for name in table.columns if name not in text]
    return table.assign(**{name: pd.to_numeric(table[name], errors="coerce") for name in columns})


def _scored_models(metrics: pd.DataFrame, permutations: pd.DataFrame) -> tuple[ScoredModel, ...]:
    if metrics.empty:
        return ()
    keys = ["comparison", "indicator", "model"]
    permuted: dict[tuple[str, ...], dict[str, PermutationScore]] = {}
    for row in permutations.to_dict("records"):
        one = PermutationScore(row["observed"], row["p"], int(row["permutations"]), row["null_mean"], row["null_95th"])
        permuted.setdefault((row["comparison"], row["indicator"], row["model"]), {})[row["metric"]] = one
    models = []
    for (comparison, indicator, model), rows in metrics[metrics["level"] == "subject"].groupby(keys, sort=False):
        records = rows.to_dict("records")
        scores = {str(row["metric"]): Score(row["value"], row["low"], row["high"], row["sd"]) for row in records}
        first = rows.iloc[0]
        n, trials = int(first["n"]), int(first["n_trials"])
        key = (str(comparison), str(indicator), str(model))
        models.append(ScoredModel(*key, n, trials, scores, permuted.get(key, {})))
    return tuple(sorted(models, key=lambda model: paper_order(*model.key)))


def _versions(folder: GroupFolder, description: Mapping[str, Any]) -> dict[str, str]:
    made_by = description.get("GeneratedBy", {})
    found: dict[str, set[str]] = {str(made_by.get("Name", "migxai")): {str(made_by.get("Version", "unknown"))}}
    for path in sorted(folder.models.glob("*.json")):
        for name, version in read_json(path, folder.root).get("versions", {}).items():
            found.setdefault(str(name), set()).add(str(version))
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def share(values: Sequence[int]) -> float:
    """Return the largest share of a list of counts; NaN of none."""
    return float(max(values) / sum(values)) if values and sum(values) else float(np.nan)
