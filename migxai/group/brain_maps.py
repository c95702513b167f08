"""Where maps of the group level lie, and how they are written: the plan's template, its slices and its regions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from migxai.bids.outputs import sidecar
from migxai.evaluation.group_folder import GroupFolder
from migxai.explain.regions import region_table
from migxai.explain.volumes import SliceSpace
from migxai.group.plan import Plan
from migxai.io import write_json, write_nifti
from migxai.reports.group.explained_maps import ExplainedMap

Row = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Brain:
    """Where maps of the group level lie: the plan's template, its slices and its regions."""

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

    @cached_property
    def positions(self) -> NDArray[np.float64]:
        """MNI coordinates of the voxels, mm, (V, 3)."""
        voxels = np.argwhere(self.space.inside)
        return np.asarray(nib.affines.apply_affine(self.plan.template.affine, voxels))

    @cached_property
    def simulated(self) -> bool:
        """Whether the maps' definitions say that nobody was scanned."""
        return "simulated" in str(dict(self.plan.roster.definitions)).lower()

    def table(self, row: Row, t: NDArray[np.float64], *, two_sided: bool) -> pd.DataFrame:
        """Describe a difference of classes by region; regions are ranked by their t."""
        table = region_table(row, self.regions, self.names, self.positions, by=t, two_sided=two_sided)
        return table.assign(map_t=t)

    def write(self, row: Row, explained: ExplainedMap, stem: str, **facts: Any) -> None:
        """Write a map (V,), and one that keeps its highest values alone.

        Raises
        ------
        OutputError, ResourceError
            If a file cannot be written.
        """
        explained = replace(explained, simulated=self.simulated)
        volume = self.space.shown(np.asarray(row, dtype=np.float32))
        path = self.folder.file(f"explain/{self._name(stem, explained)}.nii.gz")
        content = sidecar(
            explained.title[:1].upper() + explained.title[1:] + ".",
            resolution=self._resolution,
            SpatialReference=self.plan.roster.space,
            Voxels="Slices as they were classified; planes between two slices are interpolated, others are 0.",
            **explained.sidecar(),
            **facts,
        )
        self._write(path, volume, content)
        if explained.threshold is not None:
            kept = np.where(np.abs(volume) >= explained.threshold, volume, 0.0)
            name = self._name(stem, explained, "Thresholded")
            # Without a Kind: the report shows the raw map, and thresholds it itself.
            content = {key: value for key, value in content.items() if key != "Kind"} | {"Thresholded": True}
            self._write(path.with_name(f"{name}.nii.gz"), kept, content)

    def _write(self, path: Path, volume: NDArray[Any], content: Mapping[str, Any]) -> None:
        write_nifti(path, volume, self.plan.template.affine, space=self.plan.roster.space)
        write_json(path.with_name(path.name.removesuffix(".nii.gz") + ".json"), content)

    def _name(self, stem: str, explained: ExplainedMap, form: str = "") -> str:
        roster = self.plan.roster
        where = f"_space-{roster.space}" * bool(roster.space) + f"_res-{roster.res}" * bool(roster.res)
        return f"{stem}{where}_stat-{explained.indicator}_desc-{label_of(explained.path.stem)}{form}_boldmap"

    @cached_property
    def _resolution(self) -> str:
        sizes = nib.affines.voxel_sizes(self.plan.template.affine)
        return " x ".join(f"{size:g}" for size in sizes) + " mm"


def label_of(text: str) -> str:
    """Keep what BIDS allows in a label."""
    return re.sub(r"[^0-9A-Za-z]", "", text)
