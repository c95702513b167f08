"""What networks look at: from the folds' maps to images in the brain and a table of regions under ``group``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from migxai.audit.runner import check_results_by_extensions
from migxai.cohort.maps import covered, read_mean_map
from migxai.config import Config
from migxai.evaluation.group_folder import GroupFolder, write_if_any
from migxai.explain.group_tests import GroupTest, compare_groups, region_p, regional_t
from migxai.explain.methods import METHODS
from migxai.explain.regions import region_means
from migxai.explain.saliency_maps import (
    SaliencyMaps,
    agreement,
    class_mean,
    difference,
    fold_differences,
    person_means,
    scale_folds,
)
from migxai.group.brain_maps import Brain, Row, label_of
from migxai.group.explain import checks_path, first_method, methods_of, read_evidence
from migxai.group.fit import Unit, permuted_path
from migxai.group.plan import Plan, Task
from migxai.group.workflow import permutation_starts
from migxai.io import read_json, write_json
from migxai.reports.group.explained_maps import ExplainedMap

#: Model of a map that no model made.
NO_MODEL = "none"
_UNIT = "share of the mean absolute value"


@dataclass(frozen=True, eq=False)
class Cell:
    """The maps that one method made of one network, indicator and comparison.

    Attributes
    ----------
    task
        The comparison.
    unit
        Of its trials, the first.
    method
        A key of `migxai.explain.methods.METHODS`.
    trials
        Maps of each trial, scale_folds.
    warning
        Why they must not be trusted.
    threshold
        Share of a map's largest value that thresholded maps keep.
    """

    task: Task
    unit: Unit
    method: str
    trials: list[SaliencyMaps]
    warning: str
    threshold: float

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.unit.classes

    @property
    def title(self) -> str:
        """What the maps are of, for messages."""
        return f"{METHODS[self.method].title} of {self.unit.model} on {self.unit.indicator} ({self.unit.comparison})"

    def explained(self, kind: Any, label: str, row: Row, *, people: int = 0, predicted: str = "") -> ExplainedMap:
        """Say what a map is."""
        return ExplainedMap(
            path=Path(self.method),
            comparison=self.unit.comparison,
            indicator=self.unit.indicator,
            model=self.unit.model,
            method=METHODS[self.method].title,
            kind=kind,
            label=label,
            people=people,
            predicted=predicted,
            threshold=None if kind == "agreement" else self.threshold * float(np.abs(row).max()),
            unit="share of folds" if kind == "agreement" else _UNIT,
            warning=self.warning,
        )

    def stem(self, contrast: str) -> str:
        """Begin the name of a file."""
        return f"comparison-{label_of(self.unit.comparison)}_model-{label_of(self.unit.model)}_contrast-{contrast}"


def explain_group(folder: GroupFolder, config: Config, plan: Plan, units: Sequence[Unit], folds: Path) -> list[str]:
    """Write what the checks of maps found, all maps, and the table of regions, or remove those of an earlier run.

    Returns
    -------
    list of str
        What the reader should know.

    Raises
    ------
    AtlasError
        If no region of the atlas lies in the slices.
    OutputError, ResourceError
        If a file cannot be written.
    """
    audit = folder.file("audit.json")
    warnings: dict[str, str] = {}
    checks: list[Any] = []
    for unit in units:
        path = checks_path(folds, unit, first_method(config, unit.model))
        if unit.cell not in warnings and path.is_file():
            found = read_json(path)
            checks += found["checks"]
            warnings[unit.cell] = "" if found["passed"] else found["sentence"]
    checks += [check.to_dict() for check in check_results_by_extensions(folder)]
    audit.unlink(missing_ok=True)
    if checks:
        write_json(audit, {"Description": "Whether maps depend on what was learned.", "checks": checks})
    return write_explanations(folder, config, plan, units, folds, warnings)


def write_explanations(
    folder: GroupFolder, config: Config, plan: Plan, units: Sequence[Unit], folds: Path, warnings: Mapping[str, str]
) -> list[str]:
    """Write all maps and the table of regions.

    Parameters
    ----------
    folder
        The group level's.
    config
        The run's configuration.
    plan
        Who was compared.
    units
        All units.
    folds
        Where the folds' maps are kept.
    warnings
        By a unit's cell, why maps of its first method must not be trusted.

    Returns
    -------
    list of str
        What the reader should know.

    Raises
    ------
    AtlasError
        If no region of the atlas lies in the slices.
    OutputError, ResourceError
        If a file cannot be written.
    """
    # Maps of an earlier run are not those of the predictions beside them.
    shutil.rmtree(folder.file("explain"), ignore_errors=True)
    brain, messages, tables = Brain(plan, folder), [], []
    tests = {}
    cells = list(_cells(config, plan, units, folds, warnings))
    for key in dict.fromkeys((cell.unit.comparison, cell.unit.indicator) for cell in cells):
        task = next(cell.task for cell in cells if cell.unit.comparison == key[0])
        tests[key] = write_univariate(brain, task, key[1])
    for cell in cells:
        messages += write_classes(brain, cell)
        write_people(brain, cell)
        nulls = _nulls(config, cell, folds)
        for number, pair in enumerate(combinations(range(len(cell.classes)), 2)):
            test = tests[cell.unit.comparison, cell.unit.indicator][number]
            tables.append(write_difference(brain, cell, pair, test, nulls[:, number] if nulls is not None else None))
    found = [table for table in tables if table is not None]
    write_if_any(folder.file("regions.tsv"), pd.concat(found, ignore_index=True) if found else pd.DataFrame())
    return messages


def write_classes(brain: Brain, cell: Cell) -> list[str]:
    """Write each class's mean map over its correctly classified people, and that of the others for each mistake."""
    messages = []
    for label, name in enumerate(cell.classes):
        row, places = class_mean(cell.trials, label)
        if row is None:
            messages.append(f"{cell.title}: nobody of {name} was classified correctly, so there is no map of {name}.")
        else:
            explained = cell.explained("class", name, row, people=len(places))
            brain.write(row, explained, cell.stem(label_of(name)))
            if not row.any():
                messages.append(f"{cell.title}: the map of {name} is zero throughout.")
        for other, wrong in enumerate(cell.classes):
            taken, places = (None, places) if other == label else class_mean(cell.trials, label, other)
            if taken is not None:
                explained = cell.explained("misclassified", name, taken, people=len(places), predicted=wrong)
                brain.write(taken, explained, cell.stem(f"{label_of(name)}As{label_of(wrong)}"))
    empty = sum(int((~trial.maps.any(axis=(1, 2))).sum()) for trial in cell.trials)
    if empty:
        count = sum(len(trial.places) for trial in cell.trials)
        messages.append(f"{cell.title}: {empty} of {count} maps of single people are zero throughout.")
    return messages


def write_people(brain: Brain, cell: Cell) -> None:
    """Write each person's map of their own class, averaged over trials."""
    keys = brain.plan.roster.people["key"]
    for label, name in enumerate(cell.classes):
        for place, row in person_means(cell.trials, label).items():
            key = str(keys.iloc[cell.unit.people[place]])
            explained = replace(cell.explained("subject", key, row), threshold=None)
            dataset, _, person = key.rpartition("/")
            stem = f"subjects/{person}_dataset-{label_of(dataset)}_{cell.stem(label_of(name))}"
            brain.write(row, explained, stem)


def write_difference(
    brain: Brain, cell: Cell, pair: tuple[int, int], test: GroupTest, null: NDArray[np.float64] | None
) -> pd.DataFrame | None:
    """Write the difference between two classes and how far folds agree on it; returns its regions."""
    first, second = (cell.classes[label] for label in pair)
    row = difference(cell.trials, pair)
    if row is None:
        return None
    label, contrast = f"{second} - {first}", f"{label_of(second)}Minus{label_of(first)}"
    people = int(np.isin(cell.unit.labels, pair).sum())
    differences = fold_differences(cell.trials, pair)
    facts: dict[str, Any] = {}
    two_sided = not METHODS[cell.method].by_class
    names = tuple(brain.names)
    table = brain.table(row, regional_t(cell.trials, pair, brain.regions, names), two_sided=two_sided)
    table["fold_agreement"] = np.nan
    if len(differences) > 1:
        share, correlation = agreement(differences)
        explained = cell.explained("agreement", label, share)
        brain.write(share, explained, f"{cell.stem(contrast)}Agreement")
        facts = {"FoldCorrelation": round(correlation, 4), "Folds": len(differences)}
        means = region_means(differences, brain.regions, names)
        table["fold_agreement"] = (np.sign(means) == np.sign(table["mean"].to_numpy())).mean(axis=0)
    explained = cell.explained("difference", label, row, people=people)
    brain.write(row, explained, cell.stem(contrast), **facts)
    table["p_permuted"], table["p_permuted_fwe"] = np.nan, np.nan
    if null is not None:
        first_trial = regional_t(cell.trials[:1], pair, brain.regions, names)
        table["p_permuted"], table["p_permuted_fwe"] = region_p(first_trial, null, two_sided=two_sided)
    table["t"], table["p"], table["p_fdr"] = test.t, test.p, test.p_fdr
    for place, (column, value) in enumerate(
        {
            "comparison": cell.unit.comparison,
            "indicator": cell.unit.indicator,
            "model": cell.unit.model,
            "method": METHODS[cell.method].title,
            "contrast": label,
        }.items()
    ):
        table.insert(place, column, value)
    return table


def write_univariate(brain: Brain, task: Task, indicator: str) -> list[GroupTest]:
    """Compare the indicator itself between classes, voxel by voxel and region by region; returns the regional tests."""
    plan = brain.plan
    paths = [plan.roster.maps[indicator][row] for row in task.people]
    volumes = [read_mean_map(item) for item in paths]
    values = np.stack([np.where(covered(item), item, np.nan)[brain.space.inside] for item in volumes])
    regions = plan.maps[indicator].regions[task.people]
    sites = plan.roster.people["site"].astype(str).to_numpy()[task.people]
    found = []
    for pair in combinations(range(len(task.comparison.labels)), 2):
        rows = np.isin(task.labels, pair)
        second = task.labels[rows] == pair[1]
        test = compare_groups(values[rows], second, list(sites[rows]))
        found.append(compare_groups(regions[rows], second, list(sites[rows])))
        low, high = (task.comparison.labels[label] for label in pair)
        significant = np.nan_to_num(test.p_fdr, nan=1.0) < 0.05
        explained = ExplainedMap(
            path=Path("t"),
            comparison=task.comparison.name,
            indicator=indicator,
            model=NO_MODEL,
            method="t statistic",
            kind="univariate",
            label=f"{high} - {low}",
            people=int(rows.sum()),
            threshold=float(np.abs(test.t[significant]).min()) if significant.any() else None,
            unit="t",
        )
        brain.write(
            np.nan_to_num(test.t),
            explained,
            f"comparison-{label_of(task.comparison.name)}_contrast-{label_of(high)}Minus{label_of(low)}",
            Test="linear model with a mean for each site, two-sided; positive where the first-named class is higher",
            Correction="Benjamini-Hochberg over voxels; the threshold is the smallest |t| with a corrected p under .05",
            VoxelsTested=int(np.isfinite(test.p).sum()),
            VoxelsSignificant=int(significant.sum()),
        )
    return found


def _cells(
    config: Config, plan: Plan, units: Sequence[Unit], folds: Path, warnings: Mapping[str, str]
) -> Iterator[Cell]:
    """Yield the maps of every network, indicator, comparison and method of which some are there."""
    tasks = {task.comparison.name: task for task in plan.tasks}
    explained = sorted((unit for unit in units if unit.folds and methods_of(config, unit.model)), key=lambda u: u.cell)
    for _, group in groupby(explained, key=lambda unit: unit.cell):
        trials = sorted(group, key=lambda unit: unit.folds[0].trial if unit.folds else 0)
        unit = trials[0]
        for method in methods_of(config, unit.model):
            found = [scale_folds(item) for item in read_evidence(folds, trials, method)]
            if found:
                warning, checked = warnings.get(unit.cell, ""), first_method(config, unit.model)
                if warning and method != checked:
                    # What the network has not learned, no way to make maps can show.
                    warning = f"{METHODS[checked].title} of this network: {warning}"
                yield Cell(tasks[unit.comparison], unit, method, found, warning, config.explaining.cam_threshold)


def _nulls(config: Config, cell: Cell, folds: Path) -> NDArray[np.float64] | None:
    """Read regional t of models that learned permuted labels, (P, pairs, R); None if there are none."""
    starts = permutation_starts(config)
    paths = [permuted_path(folds, cell.unit, first, cell.method) for first in starts]
    if not paths or not all(path.is_file() for path in paths):
        return None
    return np.concatenate([np.load(path.with_suffix(".npy"), allow_pickle=False) for path in paths])
