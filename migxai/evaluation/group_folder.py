"""The folder that the group level writes: who was compared, in which folds, and what came of it, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from migxai.errors import InputError
from migxai.evaluation.cohort_statistics import describe_cohort
from migxai.evaluation.paper import table_1, table_2, table_3
from migxai.evaluation.predictions import read_predictions
from migxai.evaluation.scoring import Scores, score_predictions
from migxai.io import read_json, write_json, write_tsv

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
