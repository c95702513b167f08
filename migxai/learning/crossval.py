"""Fit and test one fold, and keep its result in a small file, so that a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from migxai.config import Learning
from migxai.errors import InputError
from migxai.io import atomic
from migxai.learning.estimators import Estimator, is_deep, make_estimator, options_of, tables_of
from migxai.learning.feature_store import ModelInputs
from migxai.learning.persistence import software_versions
from migxai.learning.splits import Fold
from migxai.metrics.types import FloatArray, IntArray

#: Of the file that holds a fold's result; a newer one is another content.
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class FoldResult:
    """What one fold says of its test subjects.

    Attributes
    ----------
    probabilities
        Of each class, shape (n_test, S, C); S is 1 for a model of whole subjects, else the number of slices.
    rows
        The test subjects' rows of `ModelInputs`, shape (n_test,).
    estimator
        As fitted, or None if the result was read from a file.
    """

    probabilities: FloatArray
    rows: IntArray
    estimator: Estimator | None = None


def run_fold(
    estimator_name: str,
    inputs: ModelInputs,
    labels: IntArray,
    fold: Fold,
    *,
    classes: Sequence[str],
    settings: Learning,
    seed: int,
    people: IntArray | None = None,
) -> FoldResult:
    """Fit a model on a fold's training subjects and classify its test subjects.

    The model is handed the labels, tables and slices of the training subjects alone, so that it cannot learn from
    others, whoever wrote it.

    Parameters
    ----------
    estimator_name
        A model that `make_estimator` knows.
    inputs
        Of the whole cohort.
    labels
        Class of each person of the comparison, 0 to C - 1, shape (n,).
    fold
        Places among those n.
    classes
        Names of the C classes.
    seed
        Of this comparison and indicator; that of the fit is made from it, the model's name and the fold's numbers.
    people
        Row of `inputs` that each person of the comparison is, (n,); by default they are the rows in order.

    Raises
    ------
    UsageError
        If there is no such model.
    InputError
        If the model cannot be fitted on these subjects.
    """
    rows = np.arange(len(labels)) if people is None else people
    train, test = rows[fold.train], rows[fold.test]
    if np.intersect1d(train, test).size:
        raise ValueError(f"fold {fold.number} of trial {fold.trial} tests subjects that it trains on")
    own_seed = unit_seed(seed, estimator_name, fold.trial, fold.number)
    estimator = make_estimator(estimator_name, settings, n_classes=len(classes), seed=own_seed)
    estimator.fit(inputs.take(train), np.arange(len(train)), labels[fold.train])
    return FoldResult(estimator.predict(inputs, test), test, estimator)


def unit_seed(seed: int, *names: str | int) -> int:
    """Make the seed of one piece of work, 0 to 2^32 - 1, from the run's and from what tells the work from all other.

    It is the same in any order of the work and on any number of processes.
    """
    digest = hashlib.sha256(json.dumps(names).encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return int(np.random.SeedSequence([seed, *words]).generate_state(1)[0])


def unit_key(
    estimator_name: str,
    inputs: ModelInputs,
    labels: IntArray,
    fold: Fold,
    *,
    classes: Sequence[str],
    settings: Learning,
    seed: int,
    people: IntArray | None = None,
    map_hashes: Sequence[str] = (),
) -> str:
    """Digest everything that may change the result of `run_fold`, in 32 hexadecimal digits.

    That is the subjects' keys, what the model reads of them, the training subjects' classes, those options that concern
    the model, the seed, and the versions of migxai and the libraries. The classes of the test subjects are not part of
    it, since they change nothing.

    For a network, `map_hashes` are the hashes of each subject's map in the order of `inputs`, since the store's key
    says how features were made and not of what. Without them, that a map has changed is seen in its regional means
    alone.
    """
    rows = np.arange(len(labels)) if people is None else people
    both = np.concatenate([rows[fold.train], rows[fold.test]])
    content: dict[str, Any] = {
        "format": _FORMAT,
        "model": estimator_name,
        "classes": list(classes),
        "train": [inputs.subjects[row] for row in rows[fold.train]],
        "test": [inputs.subjects[row] for row in rows[fold.test]],
        "labels": np.asarray(labels)[fold.train].tolist(),
        "options": {name: getattr(settings, name) for name in options_of(estimator_name)},
        "seed": unit_seed(seed, estimator_name, fold.trial, fold.number),
        "versions": software_versions(is_deep(estimator_name), estimator_name),
    }
    for table in ("regions",) if is_deep(estimator_name) else tables_of(estimator_name):
        values = np.ascontiguousarray(getattr(inputs, table)[both], dtype="<f8")
        # The sign of a zero and the payload of a NaN change no result.
        values = np.where(np.isnan(values), np.nan, values + 0.0)
        content[table] = [list(values.shape), hashlib.sha256(values.tobytes()).hexdigest()]
    if is_deep(estimator_name):
        if inputs.store is None:
            raise ValueError(f"{estimator_name} needs a store of features, and the inputs have none")
        content["store"] = [inputs.store.key, *(map_hashes[row] for row in both if map_hashes)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def fold_path(folder: Path, unit: str, trial: int, fold: int) -> Path:
    """Return where a fold's result is kept; `unit` names a model, indicator and comparison."""
    return folder / unit / f"trial-{trial:02d}_fold-{fold:03d}.npz"


def write_fold(path: Path, result: FoldResult, key: str) -> None:
    """Write a fold's probabilities under their content key; the estimator is saved elsewhere, if at all.

    The same result gives the same bytes. OutputError or ResourceError if the file cannot be written.
    """
    with atomic(path) as stream:
        np.savez(stream, key=np.array(key), rows=result.rows, probabilities=result.probabilities)


def read_fold(path: Path, key: str) -> FoldResult | None:
    """Read what `write_fold` wrote, or None if it has not been written.

    InputError if the file is damaged, or its content key is another than `key`.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            found, rows, probabilities = str(file["key"]), file["rows"], file["probabilities"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path.parent.name}/{path.name}, a result of an earlier run, is damaged; remove it and start again."
        ) from error
    if found != key:
        raise InputError(
            f"{path.parent.name}/{path.name} is of other maps, labels, options or software than this run; remove "
            "it, or choose another working directory."
        )
    return FoldResult(probabilities, rows)
