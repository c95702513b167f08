"""What the output shows of explanations: maps in the brain, and a table of regions, under ``group``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nibabel.affines import apply_affine, voxel_sizes
from numpy.typing import NDArray

from migxai.bids.outputs import sidecar
from migxai.cohort.maps import covered, read_mean_map
from migxai.config import Config
from migxai.evaluation.results import GroupFolder, write_if_any
from migxai.explain.methods import METHODS
from migxai.explain.regions import GroupTest, compare_groups, mean_by_region, region_p, region_table, regional_t
from migxai.explain.saliency_maps import (
    SaliencyMaps,
    agreement,
    class_mean,
    difference,
    fold_differences,
    person_means,
    scale_folds,
)
from migxai.explain.volumes import SliceSpace
from migxai.group.explain import read_saliency
from migxai.group.fit import Experiment, permutation_files
from migxai.group.plan import ComparisonPlan, Plan, checked_method, saliency_methods
from migxai.io import write_json, write_nifti
from migxai.reports.group.explained_maps import ExplainedMap, Kind

#: Model of a map that no model made.
NO_MODEL = "none"
_UNIT = "share of the mean absolute value"

Row = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class MapWriter:
    """Writes maps of voxels in slices (V,) as images in the brain of the plan's template."""

    plan: Plan
    folder: GroupFolder

    @cached_property
    def space(self) -> SliceSpace:
        """The voxels that slices show."""
        return SliceSpace(self.plan.template.geometry, self.plan.template.brain)

    @cached_property
    def regions(self) -> NDArray[np.int32]:
        """Region of each voxel, (V,)."""
        labels: NDArray[np.int32] = self.plan.template.labels[self.space.inside]
        return labels

    @cached_property
    def names(self) -> dict[int, str]:
        """Names of the regions by label."""
        atlas = self.plan.template.atlas
        return dict(zip(atlas.indices, atlas.names, strict=True))

    def table(self, row: Row, t: NDArray[np.float64], *, two_sided: bool) -> pd.DataFrame:
        """Describe a difference of classes by region; regions are ranked by their t."""
        mm = np.asarray(apply_affine(self.plan.template.affine, np.argwhere(self.space.inside)))
        table = region_table(row, self.regions, self.names, mm, by=t, two_sided=two_sided)
        return table.assign(map_t=t)

    def write(self, row: Row, explained: ExplainedMap, stem: str, **facts: Any) -> None:
        """Write a map (V,), and one that keeps its highest values alone."""
        # The maps' definitions say whether nobody was scanned.
        simulated = "simulated" in str(dict(self.plan.cohort.definitions)).lower()
        explained = replace(explained, simulated=simulated)
        volume = self.space.shown(np.asarray(row, dtype=np.float32))
        path = self.folder.file(f"explain/{self._name(stem, explained)}.nii.gz")
        content = sidecar(
            explained.title[:1].upper() + explained.title[1:] + ".",
            resolution=" x ".join(f"{size:g}" for size in voxel_sizes(self.plan.template.affine)) + " mm",
            SpatialReference=self.plan.cohort.space,
            Voxels="Slices as they were classified; planes between two slices are interpolated, others are 0.",
            **explained.sidecar(),
            **facts,
        )
        method = METHODS.get(explained.path.name)
        if method is not None and method.origin:
            content["Extension"] = method.origin
        self._write(path, volume, content)
        if explained.threshold is not None:
            kept = np.where(np.abs(volume) >= explained.threshold, volume, 0.0)
            name = self._name(stem, explained, "Thresholded")
            # Without a Kind: the report shows the raw map, and thresholds it itself.
            content = {key: value for key, value in content.items() if key != "Kind"} | {"Thresholded": True}
            self._write(path.with_name(f"{name}.nii.gz"), kept, content)

    def _write(self, path: Path, volume: NDArray[Any], content: Mapping[str, Any]) -> None:
        write_nifti(path, volume, self.plan.template.affine, space=self.plan.cohort.space)
        write_json(path.with_name(path.name.removesuffix(".nii.gz") + ".json"), content)

    def _name(self, stem: str, explained: ExplainedMap, form: str = "") -> str:
        cohort = self.plan.cohort
        where = f"_space-{cohort.space}" * bool(cohort.space) + f"_res-{cohort.res}" * bool(cohort.res)
        return f"{stem}{where}_stat-{explained.indicator}_desc-{label_of(explained.path.stem)}{form}_boldmap"


@dataclass(frozen=True, eq=False)
class ExplainedModel:
    """The maps that one method made of one network on one indicator and comparison.

    `experiment` is the first of the trials, `method` a key of `METHODS`; `trials` holds the maps of each, on one scale.
    `warning` says why they must not be trusted; thresholded maps keep the share `threshold` of a map's largest value.
    """

    experiment: Experiment
    method: str
    trials: list[SaliencyMaps]
    warning: str
    threshold: float

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.experiment.classes

    @property
    def title(self) -> str:
        """What the maps are of, for messages."""
        of = self.experiment
        return f"{METHODS[self.method].title} of {of.model} on {of.indicator} ({of.comparison})"

    def explained(self, kind: Kind, label: str, row: Row, *, people: int = 0, predicted: str = "") -> ExplainedMap:
        """Say what a map is."""
        return ExplainedMap(
            path=Path(self.method),
            comparison=self.experiment.comparison,
            indicator=self.experiment.indicator,
            model=self.experiment.model,
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
        of = self.experiment
        return f"comparison-{label_of(of.comparison)}_model-{label_of(of.model)}_contrast-{contrast}"


def write_explanations(
    folder: GroupFolder,
    config: Config,
    plan: Plan,
    experiments: Sequence[Experiment],
    folds: Path,
    warnings: Mapping[str, str],
) -> list[str]:
    """Write all maps and the table of regions, or remove those of an earlier run; says what the reader should know.

    `folds` holds the maps of folds; `warnings` says by a series of experiments why maps of its first method must not be
    trusted. An AtlasError says that no region of the atlas lies in the slices.
    """
    # Maps of an earlier run are not those of the predictions beside them.
    shutil.rmtree(folder.file("explain"), ignore_errors=True)
    writer, messages, tables = MapWriter(plan, folder), [], []
    models = list(_explained_models(config, experiments, folds, warnings))
    comparisons = {part.comparison.name: part for part in plan.comparisons}
    tests = {
        (name, indicator): write_univariate(writer, comparisons[name], indicator)
        for name, indicator in dict.fromkeys((item.experiment.comparison, item.experiment.indicator) for item in models)
    }
    for model in models:
        messages += write_classes(writer, model)
        write_people(writer, model)
        nulls = _permuted_regions(config, model, folds)
        of_indicator = tests[model.experiment.comparison, model.experiment.indicator]
        for number, pair in enumerate(combinations(range(len(model.classes)), 2)):
            null = nulls[:, number] if nulls is not None else None
            tables.append(write_difference(writer, model, pair, of_indicator[number], null))
    found = [table for table in tables if table is not None]
    write_if_any(folder.file("regions.tsv"), pd.concat(found, ignore_index=True) if found else pd.DataFrame())
    return messages


def write_classes(writer: MapWriter, model: ExplainedModel) -> list[str]:
    """Write each class's mean map over its correctly classified people, and that of the others for each mistake."""
    messages = []
    for label, name in enumerate(model.classes):
        row, places = class_mean(model.trials, label)
        if row is None:
            messages.append(f"{model.title}: nobody of {name} was classified correctly, so there is no map of {name}.")
        else:
            explained = model.explained("class", name, row, people=len(places))
            writer.write(row, explained, model.stem(label_of(name)))
            if not row.any():
                messages.append(f"{model.title}: the map of {name} is zero throughout.")
        for other, wrong in enumerate(model.classes):
            taken, places = (None, places) if other == label else class_mean(model.trials, label, other)
            if taken is not None:
                explained = model.explained("misclassified", name, taken, people=len(places), predicted=wrong)
                writer.write(taken, explained, model.stem(f"{label_of(name)}As{label_of(wrong)}"))
    empty = sum(int((~trial.maps.any(axis=(1, 2))).sum()) for trial in model.trials)
    if empty:
        count = sum(len(trial.places) for trial in model.trials)
        messages.append(f"{model.title}: {empty} of {count} maps of single people are zero throughout.")
    return messages


def write_people(writer: MapWriter, model: ExplainedModel) -> None:
    """Write each person's map of their own class, averaged over trials."""
    keys = writer.plan.cohort.people["key"]
    for label, name in enumerate(model.classes):
        for place, row in person_means(model.trials, label).items():
            key = str(keys.iloc[model.experiment.people[place]])
            explained = replace(model.explained("subject", key, row), threshold=None)
            dataset, _, person = key.rpartition("/")
            stem = f"subjects/{person}_dataset-{label_of(dataset)}_{model.stem(label_of(name))}"
            writer.write(row, explained, stem)


def write_difference(
    writer: MapWriter, model: ExplainedModel, pair: tuple[int, int], test: GroupTest, null: NDArray[np.float64] | None
) -> pd.DataFrame | None:
    """Write the difference between two classes and how far folds agree on it; returns its regions."""
    first, second = (model.classes[label] for label in pair)
    row = difference(model.trials, pair)
    if row is None:
        return None
    label, contrast = f"{second} - {first}", f"{label_of(second)}Minus{label_of(first)}"
    people = int(np.isin(model.experiment.labels, pair).sum())
    differences = fold_differences(model.trials, pair)
    facts: dict[str, Any] = {}
    two_sided = not METHODS[model.method].by_class
    names = tuple(writer.names)
    table = writer.table(row, regional_t(model.trials, pair, writer.regions, names), two_sided=two_sided)
    table["fold_agreement"] = np.nan
    if len(differences) > 1:
        share, correlation = agreement(differences)
        explained = model.explained("agreement", label, share)
        writer.write(share, explained, f"{model.stem(contrast)}Agreement")
        facts = {"FoldCorrelation": round(correlation, 4), "Folds": len(differences)}
        means = mean_by_region(differences, writer.regions, names)
        table["fold_agreement"] = (np.sign(means) == np.sign(table["mean"].to_numpy())).mean(axis=0)
    explained = model.explained("difference", label, row, people=people)
    writer.write(row, explained, model.stem(contrast), **facts)
    table["p_permuted"], table["p_permuted_fwe"] = np.nan, np.nan
    if null is not None:
        first_trial = regional_t(model.trials[:1], pair, writer.regions, names)
        table["p_permuted"], table["p_permuted_fwe"] = region_p(first_trial, null, two_sided=two_sided)
    table["t"], table["p"], table["p_fdr"] = test.t, test.p, test.p_fdr
    columns = model.experiment.names | {"method": METHODS[model.method].title, "contrast": label}
    return table.assign(**columns)[[*columns, *table]]


def write_univariate(writer: MapWriter, planned: ComparisonPlan, indicator: str) -> list[GroupTest]:
    """Compare the indicator itself between classes, voxel by voxel and region by region; returns the regional tests."""
    plan = writer.plan
    paths = [plan.cohort.maps[indicator][row] for row in planned.people]
    volumes = [read_mean_map(item) for item in paths]
    values = np.stack([np.where(covered(item), item, np.nan)[writer.space.inside] for item in volumes])
    regions = plan.maps[indicator].regions[planned.people]
    sites = plan.cohort.people["site"].astype(str).to_numpy()[planned.people]
    found = []
    for pair in combinations(range(len(planned.comparison.labels)), 2):
        rows = np.isin(planned.labels, pair)
        second = planned.labels[rows] == pair[1]
        test = compare_groups(values[rows], second, list(sites[rows]))
        found.append(compare_groups(regions[rows], second, list(sites[rows])))
        low, high = (planned.comparison.labels[label] for label in pair)
        significant = np.nan_to_num(test.p_fdr, nan=1.0) < 0.05
        explained = ExplainedMap(
            path=Path("t"),
            comparison=planned.comparison.name,
            indicator=indicator,
            model=NO_MODEL,
            method="t statistic",
            kind="univariate",
            label=f"{high} - {low}",
            people=int(rows.sum()),
            threshold=float(np.abs(test.t[significant]).min()) if significant.any() else None,
            unit="t",
        )
        writer.write(
            np.nan_to_num(test.t),
            explained,
            f"comparison-{label_of(planned.comparison.name)}_contrast-{label_of(high)}Minus{label_of(low)}",
            Test="linear model with a mean for each site, two-sided; positive where the first-named class is higher",
            Correction="Benjamini-Hochberg over voxels; the threshold is the smallest |t| with a corrected p under .05",
            VoxelsTested=int(np.isfinite(test.p).sum()),
            VoxelsSignificant=int(significant.sum()),
        )
    return found


def _explained_models(
    config: Config, experiments: Sequence[Experiment], folds: Path, warnings: Mapping[str, str]
) -> Iterator[ExplainedModel]:
    """Yield the maps of every network, indicator, comparison and method of which some are there."""
    tested = sorted((item for item in experiments if item.folds), key=lambda item: (item.series, item.trial))
    for series, group in groupby(tested, key=lambda item: item.series):
        trials = list(group)
        model = trials[0].model
        for method in saliency_methods(config, model):
            found = [scale_folds(item) for item in read_saliency(folds, trials, method)]
            if found:
                warning, checked = warnings.get(series, ""), checked_method(config, model)
                if warning and method != checked:
                    # What the network has not learned, no way to make maps can show.
                    warning = f"{METHODS[checked].title} of this network: {warning}"
                yield ExplainedModel(trials[0], method, found, warning, config.explaining.cam_threshold)


def _permuted_regions(config: Config, model: ExplainedModel, folds: Path) -> NDArray[np.float64] | None:
    """Read regional t of networks that learned permuted labels, (P, pairs, R); None if there are none."""
    paths = permutation_files(folds, model.experiment, config)
    if not paths or model.method != checked_method(config, model.experiment.model):
        return None
    return np.concatenate([np.load(path.with_suffix(".npy"), allow_pickle=False) for path in paths])


def label_of(text: str) -> str:
    """Keep what BIDS allows in a label."""
    return re.sub(r"[^0-9A-Za-z]", "", text)
