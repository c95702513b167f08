"""From the maps on disk to what models see of them: slices, regional means and nuisance variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from migxai.cohort.maps import content_hash, covered, read_mean_map
from migxai.config import Learning
from migxai.data import Atlas, check_space, load_atlas
from migxai.errors import AtlasError, ImageError, InputError
from migxai.explain.volumes import SliceSpace
from migxai.indicators.registry import INDICATORS
from migxai.learning.inputs import ModelInputs, regional_means
from migxai.learning.slices import SliceGeometry, cut, plan_slices, scale_intensity
from migxai.metrics.types import IntArray
from migxai.registration.resample import labels_on_grid
from migxai.registration.space import template_brain


@dataclass(frozen=True)
class Template:
    """What is the same for everybody: the grid, the template's brain on it, the atlas, and where slices are cut."""

    affine: NDArray[np.float64]
    brain: NDArray[np.bool_]
    atlas: Atlas
    labels: NDArray[np.int32]
    geometry: SliceGeometry


def common_template(
    shape: tuple[int, int, int],
    affine: NDArray[np.float64],
    space: str,
    settings: Learning,
    atlas: Atlas | None = None,
) -> Template:
    """Bring the packaged template and the atlas onto the maps' grid.

    Parameters
    ----------
    shape, affine
        Grid of the maps.
    space
        BIDS name of their space.
    settings
        Which slices are cut.
    atlas
        Regions (default: AAL-116).

    Raises
    ------
    AtlasError
        If the atlas does not fit the space or the grid.
    """
    atlas = atlas or load_atlas()
    check_space(atlas, space)
    brain = template_brain(shape, affine)
    labels = labels_on_grid(atlas.data, atlas.affine, shape, affine)
    if not (labels[brain] > 0).any():
        raise AtlasError(f"The atlas {atlas.name} does not overlap the brain on the maps' grid; check their space.")
    geometry = plan_slices(
        shape, affine, brain, axis=settings.slice_axis, count=settings.slices, range_mm=settings.slice_range
    )
    return Template(affine, brain, atlas, labels, geometry)


@dataclass(frozen=True)
class PreparedMaps:
    """One indicator of all people; row i is person i.

    Attributes
    ----------
    planes
        Slices, scaled to 0..1 within each person's own coverage, shape (N, S, H0, W0), float32.
    regions
        Regional means, shape (N, R); NaN where a map covers less than half of a region.
    fov
        Share of the template's brain (of the atlas, for an indicator that is painted on it) that a map covers, (N,).
    hashes
        Digest of each person's files.
    """

    planes: NDArray[np.float32]
    regions: NDArray[np.float64]
    fov: NDArray[np.float64]
    hashes: tuple[str, ...]

    def keep(self, rows: NDArray[np.intp]) -> PreparedMaps:
        """Return some people's part."""
        return PreparedMaps(
            self.planes[rows], self.regions[rows], self.fov[rows], tuple(self.hashes[row] for row in rows)
        )


def prepare_maps(indicator: str, people: Sequence[Sequence[Path]], template: Template) -> PreparedMaps:
    """Read the maps of one indicator, and cut, scale and average them over regions.

    Parameters
    ----------
    indicator
        Its name; one that is painted on regions is expected to cover those alone.
    people
        Each person's maps; several are averaged.
    template
        From `common_template`.

    Raises
    ------
    ImageError
        If a map can't be read or holds no signal.
    """
    regional = indicator in INDICATORS and INDICATORS[indicator].regional
    expected = template.brain & (template.labels > 0) if regional else template.brain
    indices = np.asarray(template.atlas.indices)
    planes, regions, fov = [], [], []
    for paths in people:
        volume = read_mean_map(paths)
        inside = covered(volume)
        # What lies outside the template's brain depends on how a site masks its maps, and on nothing of the brain.
        try:
            scaled = scale_intensity(volume, inside & template.brain)
        except InputError as error:
            raise ImageError(f"{paths[0].name}: {error} Make it anew or leave this person out.") from error
        planes.append(cut(scaled, template.geometry))
        regions.append(regional_means(volume, template.labels, indices, inside)[0])
        fov.append(float((inside & expected).sum() / expected.sum()))
    hashes = tuple(content_hash(paths) for paths in people)
    return PreparedMaps(np.stack(planes), np.stack(regions), np.asarray(fov), hashes)


def nuisance_table(people: pd.DataFrame) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return what a classifier must not have learned from: motion, coverage, age, sex and site.

    Returns
    -------
    tuple
        Numbers (N, P), NaN where unknown, and the P names; sex and site as one column a value.
    """
    columns: dict[str, NDArray[np.float64]] = {}
    for name in ("mean_fd", "coverage", "age"):
        if name in people:
            columns[name] = pd.to_numeric(people[name], errors="coerce").to_numpy(dtype=np.float64)
    for name in ("sex", "site"):
        if name in people:
            column = people[name].astype("string")
            for value in sorted(column.dropna().unique()):
                known = np.where(column.isna(), np.nan, (column == value).to_numpy(dtype=np.float64, na_value=np.nan))
                columns[f"{name}={value}"] = known
    if not columns:
        return np.empty((len(people), 0)), ()
    return np.column_stack(list(columns.values())), tuple(columns)


@dataclass(frozen=True)
class MapArrays:
    """Where the prepared maps of one indicator lie; row i of everything is person i.

    Attributes
    ----------
    indicator
        Its name.
    planes
        Slices (N, S, H0, W0), a ``.npy`` file.
    tables
        ``regions`` (N, R), ``nuisance`` (N, P) and ``nuisance_names`` (P,), an ``.npz`` file.
    subjects, sites, hashes
        Key and site of each person, and digest of their maps.
    geometry
        Where the slices were cut.
    template
        The template's ``brain`` and the atlas's ``labels`` on the geometry's grid (X, Y, Z), the ``indices`` and
        ``names`` of its regions (R,), and of a simulated cohort where its effect was ``planted``, an ``.npz`` file.
    features
        Folder of the stores of frozen features.
    """

    indicator: str
    planes: Path
    tables: Path
    subjects: tuple[str, ...]
    sites: tuple[str, ...]
    hashes: tuple[str, ...]
    geometry: SliceGeometry
    template: Path
    features: Path

    def inputs(self) -> ModelInputs:
        """Read what estimators of whole subjects need."""
        with np.load(self.tables, allow_pickle=False) as tables:
            names = tuple(str(name) for name in tables["nuisance_names"])
            return ModelInputs(self.subjects, tables["regions"], tables["nuisance"], names)

    def read_planes(self) -> NDArray[np.float32]:
        """Map the slices into memory, read-only."""
        planes: NDArray[np.float32] = np.load(self.planes, mmap_mode="r", allow_pickle=False)
        return planes

    def slice_space(self) -> tuple[SliceSpace, IntArray, tuple[int, ...]]:
        """Return the voxels that slices show, the region of each (V,), and the regions' labels."""
        with np.load(self.template, allow_pickle=False) as kept:
            space = SliceSpace(self.geometry, kept["brain"])
            return space, kept["labels"][space.inside], tuple(kept["indices"].tolist())
