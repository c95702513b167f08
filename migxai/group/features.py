"""Frozen features, from which networks learn: each image goes through the frozen part of a network once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migxai.config import Config
from migxai.errors import ResourceError, UsageError
from migxai.evaluation.results import GroupFolder
from migxai.group.job import Job, MapArrays, Workspace
from migxai.group.plan import Plan, nuisance_table, saliency_methods
from migxai.io import atomic, free_gb
from migxai.learning.devices import choose_device
from migxai.learning.estimators import is_deep
from migxai.learning.feature_store import estimate_bytes, extract_subject, is_extracted, make_feature_spec

#: People whose features one job makes: minutes of work, so that starting it costs little beside it.
SHARD = 32
GB = 1e9


def keep_arrays(plan: Plan, work: Path, folder: GroupFolder) -> dict[str, MapArrays]:
    """Write what jobs read: slices and regional means of each indicator, and the nuisance variables."""
    people, template, planted = plan.cohort.people, plan.template, plan.planted
    nuisance, names = nuisance_table(people)
    kept: dict[str, Any] = {
        "brain": template.brain,
        "labels": template.labels,
        "indices": np.asarray(template.atlas.indices),
        "names": np.asarray(template.atlas.names, dtype=str),
    }
    if planted is not None and planted.voxels.shape == template.geometry.shape:
        kept |= {"planted": planted.voxels, "planted_names": np.asarray(planted.regions, dtype=str)}
    with atomic(work / "template.npz") as stream:
        np.savez(stream, **kept)
    arrays = {}
    for indicator, prepared in plan.maps.items():
        planes, tables = work / f"{indicator}_planes.npy", work / f"{indicator}_tables.npz"
        _write_array(planes, prepared.planes)
        with atomic(tables) as stream:
            np.savez(stream, regions=prepared.regions, nuisance=nuisance, nuisance_names=np.asarray(names, dtype=str))
        arrays[indicator] = MapArrays(
            indicator=indicator,
            planes=planes,
            tables=tables,
            subjects=tuple(people["key"]),
            sites=tuple(people["site"].astype(str)),
            hashes=prepared.hashes,
            geometry=template.geometry,
            template=work / "template.npz",
            features=folder.features,
        )
    return arrays


def _write_array(path: Path, array: NDArray[np.float32]) -> None:
    """Write an NPY file; `numpy.save` does not say why it could not."""
    whole = np.ascontiguousarray(array)
    with atomic(path) as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(whole))
        stream.write(whole.data)


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureJob(Job):
    """Run the frozen part of a network over the slices of some people, which are rows of the cohort."""

    model: str
    indicator: str
    rows: tuple[int, ...]
    memory_gb: float = 2.0

    def run(self) -> None:
        """Add what is missing to the store."""
        arrays, settings, seed = self.workspace.arrays[self.indicator], self.workspace.settings, self.workspace.seed
        spec, folder = make_feature_spec(self.model, settings, arrays.geometry, seed), arrays.features
        people = [(row, arrays.subjects[row], arrays.hashes[row]) for row in self.rows]
        missing = [
            (row, subject, map_hash)
            for row, subject, map_hash in people
            if not is_extracted(spec, folder=folder, subject=subject, map_hash=map_hash)
        ]
        if missing:
            from migxai.learning.backbone import make_backbone

            backbone = make_backbone(self.model, settings, seed, device=choose_device(settings.device))
            planes = arrays.read_planes()
            for row, subject, map_hash in missing:
                images = np.array(planes[row])
                extract_subject(backbone, images, spec, folder=folder, subject=subject, map_hash=map_hash)


def feature_jobs(plan: Plan, workspace: Workspace) -> list[FeatureJob]:
    """List the jobs that make the features of all networks, some people each."""
    rows = range(len(plan.cohort.people))
    return [
        FeatureJob(
            name=f"features_{model}_{indicator}_{number}",
            workspace=workspace,
            model=model,
            indicator=indicator,
            rows=tuple(rows[start : start + SHARD]),
        )
        for indicator in plan.maps
        for model in filter(is_deep, plan.models)
        for number, start in enumerate(rows[::SHARD], 1)
    ]


def check_networks(plan: Plan, config: Config, features: Path) -> list[str]:
    """Check that networks have their weights and the disk has room; returns how much their features take.

    An InputError or UsageError says that weights are missing or unfit, that a network can't be cut as asked, or that
    the GPU asked for is not there; a ResourceError that there is too little room.
    """
    from migxai.learning.weights import load_network

    lines, needed, where = _unexplained(plan, config), 0, ""
    # The machine that hands out jobs tells nothing about the GPUs of those that do them.
    if config.run.use_plugin is None and any(map(is_deep, plan.models)):
        where = f", on the {'GPU' if choose_device(config.learning.device).type == 'cuda' else 'CPU'}"
    for model in filter(is_deep, plan.models):
        spec = make_feature_spec(model, config.learning, plan.template.geometry, config.random_seed)
        missing = sum(
            not spec.path(features, subject, map_hash).is_file()
            for maps in plan.maps.values()
            for subject, map_hash in zip(plan.cohort.people["key"], maps.hashes, strict=True)
        )
        if missing and config.learning.weights != "random":
            load_network(model, config.learning, config.random_seed)
        size = estimate_bytes(spec, missing)
        needed += size
        total = len(plan.maps) * len(plan.cohort.people)
        lines.append(f"{model}: features of {missing} of {total} maps are to be made, {size / GB:.1f} GB{where}.")
    free = free_gb(features)
    if needed / GB > free:
        raise ResourceError(
            f"The frozen features take {needed / GB:.1f} GB, and {free:.1f} GB are free where the output lies; free "
            "space, or ask for fewer --augmentations, --slices, --models or --indicators."
        )
    return lines


def _unexplained(plan: Plan, config: Config) -> list[str]:
    """Name the networks of which no maps can be made as asked; refuse if that is all of them."""
    deep = [model for model in plan.models if is_deep(model)]
    without = [model for model in deep if not saliency_methods(config, model)]
    if not config.explaining.explain or not without:
        return []
    asked = " ".join(config.explaining.cam)
    if without == deep:
        raise UsageError(
            f"--cam {asked} fits none of {', '.join(deep)} with --unfreeze {config.learning.unfreeze} (attention and "
            "rollout need a transformer, all others trained layers): name another, or give --no-explain."
        )
    return [f"{model}: --cam {asked} does not fit it, so no maps of it are made." for model in without]
