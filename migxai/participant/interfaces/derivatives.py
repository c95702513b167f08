"""Write a run's derivatives under their BIDS names, each with a sidecar that says how it was made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from migxai.bids.names import derivative_path, run_entities
from migxai.bids.outputs import resolution_label, sidecar
from migxai.config import Config
from migxai.indicators.registry import INDICATORS
from migxai.io import copy_with, read_tsv, write_json, write_nifti, write_tsv
from migxai.participant.interfaces.base import BaseInterfaceInputSpec, Step, TraitedSpec, load_array, load_image, traits
from migxai.participant.resources import Memory

Facts = dict[str, Any]

#: What a map's ``desc-`` says of its scale; None is the main form.
FORMS: dict[str, str | None] = {"mean": None, "raw": "raw", "zscore": "zscore"}


class DerivativeSet:
    """Names and writes the files of one run (or of the mean over runs) in one output dataset.

    Parameters
    ----------
    output_dir
        Root of the output dataset.
    entities
        Entities of the acquired run.
    facts
        What was done to it.
    """

    def __init__(self, output_dir: Path, entities: dict[str, str], facts: Facts) -> None:
        self.output_dir = output_dir
        self.entities = run_entities(entities)
        self.facts = facts
        self.space: dict[str, str | int | None] = {"space": facts["space"]}
        self.resolution: float | str | None = facts["resolution"]
        if isinstance(self.resolution, float):
            self.space["res"] = resolution_label(self.resolution)
        self.written: list[str] = []

    def path(self, suffix: str, extension: str, *, spatial: bool = True, **more: str | None) -> Path:
        """Path of a file of this run, with ``space`` unless it is not `spatial`, and ``res`` if it is an image's."""
        entities: dict[str, str | int | None] = {**self.entities, **(self.space if spatial else {}), **more}
        if "atlas" in more:
            # A table has one row or column a region, whatever the grid was.
            entities.pop("res", None)
        return self.output_dir / derivative_path(entities, suffix, extension)

    def image(self, data: NDArray[Any], affine: NDArray[np.float64], suffix: str, content: Facts, **more: Any) -> None:
        """Write an image and its sidecar; ``dtype`` and ``repetition_time`` go to the writer, entities to the name."""
        options = {key: more.pop(key) for key in ("dtype", "repetition_time") if key in more}
        path = self.path(suffix, ".nii.gz", **more)
        write_nifti(path, data, affine, space=self.facts["space"], **options)
        self.add(path)
        self.sidecar(suffix, content, **more)

    def table(self, table: pd.DataFrame, suffix: str, content: Facts, *, spatial: bool = True, **more: Any) -> None:
        """Write a table and its sidecar."""
        path = self.path(suffix, ".tsv", spatial=spatial, **more)
        write_tsv(path, table, float_format="%.8g")
        self.add(path)
        self.sidecar(suffix, content, spatial=spatial, **more)

    def sidecar(self, suffix: str, content: Facts, *, spatial: bool = True, **more: Any) -> None:
        """Write a sidecar: ``Description`` and other fields in `content`, and what all sidecars of the run share."""
        fields = dict(content)
        path = self.path(suffix, ".json", spatial=spatial, **more)
        made = sidecar(
            fields.pop("Description"),
            sources=self.facts["sources"],
            resolution=self.resolution if spatial and "res" in self.space and "atlas" not in more else None,
            excluded=self.facts.get("excluded"),
            **fields,
        )
        write_json(path, made)
        self.add(path)

    def add(self, path: Path) -> None:
        """Enter a file that was written."""
        self.written.append(path.relative_to(self.output_dir).as_posix())


def processing_fields(facts: Facts) -> Facts:
    """Sidecar fields that every derivative of a run shares: acquisition, preprocessing, denoising."""
    return {
        "RepetitionTime": facts["repetition_time"],
        "NumberOfVolumes": facts["volumes"],
        "NumberOfVolumesDiscarded": facts["discarded"],
        "SliceTimingCorrected": facts.get("slice_timing_corrected"),
        "SliceTimingNote": facts.get("slice_timing_note"),
        "SpatialReference": facts["space"],
        "Interpolations": facts.get("interpolations"),
        "NuisanceRegressors": facts.get("nuisance_regressors"),
        "ResidualDegreesOfFreedom": facts.get("residual_dof"),
        "CensoredVolumes": facts.get("censored"),
        "ProcessingOrder": facts.get("order"),
        "AveragedRuns": facts.get("averaged_runs"),
    }


class WriteRunInput(BaseInterfaceInputSpec):  # noqa: D101
    output_dir = traits.Str(mandatory=True)
    entities = traits.Dict(mandatory=True)
    config = traits.Any(mandatory=True)
    mask = traits.File(exists=True, mandatory=True)
    filtered = traits.File(exists=True, mandatory=True)
    confounds = traits.File(exists=True, mandatory=True)
    maps = traits.File(exists=True, mandatory=True)
    regions = traits.File(exists=True, mandatory=True)
    transforms = traits.List(traits.File(exists=True), value=[], usedefault=True)
    facts = traits.Dict(mandatory=True)


class WriteRunOutput(TraitedSpec):  # noqa: D101
    written = traits.List(traits.Str())
    facts = traits.Dict()


class WriteRun(Step):
    """Write all derivatives of one run."""

    input_spec = WriteRunInput
    output_spec = WriteRunOutput
    memory = Memory(0.3, 4, in_template=True)
    # A resumed run must find its files even if the output directory was emptied meanwhile.
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        facts = dict(inputs.facts)
        files = DerivativeSet(Path(inputs.output_dir), dict(inputs.entities), facts)
        mask, affine = load_image(inputs.mask)
        inside = mask.astype(bool)
        shared = processing_fields(facts)
        self._write_confounds(files, shared)
        files.image(
            mask,
            affine,
            "mask",
            {"Description": "Voxels inside the brain that the run covers.", "Type": "Brain", **shared},
            dtype="uint8",
            desc="brain",
        )
        if inputs.config.indicators.bold:
            write_series(files, load_array(inputs.filtered), inside, affine, shared)
        for transform in inputs.transforms:
            write_transform(files, Path(transform), shared)
        with np.load(inputs.maps, allow_pickle=False) as maps:
            write_maps(files, dict(maps), inside, affine, inputs.config)
        with np.load(inputs.regions, allow_pickle=False) as regions:
            write_regions(files, dict(regions), inputs.config)
        self._results["written"] = files.written
        self._results["facts"] = facts
        return runtime

    def _write_confounds(self, files: DerivativeSet, shared: Facts) -> None:
        table = read_tsv(Path(self.inputs.confounds), numbers=True)
        content = {
            "Description": "Motion, displacement, signal change and tissue signals of each kept volume.",
            **shared,
            **confound_descriptions(table),
        }
        files.table(table, "timeseries", content, spatial=False, desc="confounds")


def write_transform(files: DerivativeSet, transform: Path, shared: Facts) -> None:
    """Write a transform that a step left as ``from-<A>_to-<B>.<extension>``."""
    name, _, extension = transform.name.partition(".")
    source, target = (part.split("-")[1] for part in name.split("_"))
    entities = {"from": source, "to": target, "mode": "image"}
    path = files.path("xfm", f".{extension}", spatial=False, **entities)
    copy_with(path, lambda place: _copy(transform, place))
    files.add(path)
    what = f"ITK transform: carries images from {source} to {target}, and points (LPS mm) the other way."
    files.sidecar("xfm", {"Description": what, **shared}, spatial=False, **entities)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def confound_descriptions(table: pd.DataFrame) -> Facts:
    """Describe the columns of the confounds table, as BIDS sidecars of tables do."""
    known = {
        "trans_x": ("Translation along x of the volume relative to the first kept one.", "mm"),
        "rot_x": ("Rotation about x of the volume relative to the first kept one.", "rad"),
        "framewise_displacement": ("Framewise displacement after Power et al. 2012, 50 mm sphere.", "mm"),
        "rmsd": ("Framewise displacement after Jenkinson et al. 2002, 80 mm sphere.", "mm"),
        "dvars": ("Root mean square change of the signal from the volume before, in the mask.", "signal units"),
        "std_dvars": ("DVARS divided by its expected value without artefacts.", "1"),
        "white_matter": ("Mean signal of the eroded white matter.", "signal units"),
        "csf": ("Mean signal of the eroded cerebrospinal fluid.", "signal units"),
        "global_signal": ("Mean signal of the brain mask.", "signal units"),
        "kept": ("1 if the volume entered the regression, 0 if it was censored.", None),
    }
    content: Facts = {}
    for column in table.columns:
        base = column.replace("_y", "_x").replace("_z", "_x") if column.startswith(("trans_", "rot_")) else column
        text, units = known.get(base, (None, None))
        if text is not None:
            axis = column[-1]
            text = text.replace(" x ", f" {axis} ") if base != column else text
            content[column] = {"Description": text, **({"Units": units} if units else {})}
    return content


def write_series(
    files: DerivativeSet, series: NDArray[Any], mask: NDArray[np.bool_], affine: NDArray[np.float64], shared: Facts
) -> None:
    """Write the denoised series as a 4-D image, zero outside the mask."""
    # One volume after another of the output is contiguous in Fortran order, as NIfTI stores it.
    data = np.zeros((*mask.shape, series.shape[1]), dtype=np.float32, order="F")
    for volume in range(series.shape[1]):
        data[..., volume][mask] = series[:, volume]
    content = {"Description": "Nuisance-regressed and band-passed BOLD series.", **shared}
    content |= {"BandPass": files.facts["band"], "SmoothingFWHM": files.facts["filtered_fwhm"], "SkullStripped": True}
    tr = files.facts["repetition_time"]
    files.image(data, affine, "bold", content, desc="denoised", repetition_time=tr)


def write_maps(
    files: DerivativeSet,
    maps: dict[str, NDArray[Any]],
    mask: NDArray[np.bool_],
    affine: NDArray[np.float64],
    config: Config,
) -> None:
    """Write every map that is asked for: keys are ``<stat>`` and ``<stat>-<form>``, values (V,) or (X, Y, Z)."""
    for key, values in maps.items():
        stat, _, form = key.partition("-")
        grid = values
        if values.ndim == 1:
            grid = np.zeros(mask.shape, dtype=np.float32)
            grid[mask] = values
        files.image(grid, affine, "boldmap", map_fields(stat, form, files.facts, config), stat=stat, desc=form or None)


def map_fields(stat: str, form: str, facts: Facts, config: Config) -> Facts:
    """Sidecar fields of one indicator map."""
    indicator = INDICATORS[stat]
    paper = config.denoising.order == "paper"
    unfiltered = indicator.spectral and not paper
    steps = ["regressed", *([] if unfiltered else ["band-passed"])]
    smoothed_before = paper or unfiltered
    main = f"divided by its mean in the mask, {facts['means'][stat]:.6g}" if indicator.normalised else "none"
    scale = {"": main, "raw": "none", "zscore": "z-scored over the mask"}[form]
    content: Facts = {
        "Description": f"{indicator.name} map" + (" painted on the atlas regions." if indicator.regional else "."),
        "Statistic": stat,
        **indicator.definition(config.indicators),
        "FrequencyBand": facts["band"],
        "Normalization": scale,
        "NormalizationVoxels": "all voxels of the mask with a value; the zero shell of the grid does not count"
        if scale != "none"
        else None,
        "InputSeries": "band-passed, smoothed and regressed, in this order" if paper else " and ".join(steps),
        "SmoothedBefore": config.denoising.fwhm if smoothed_before else 0.0,
        "SmoothedAfter": config.denoising.fwhm if indicator.smoothed_after and not paper else 0.0,
        "SmoothingUnits": "mm FWHM",
    }
    if indicator.regional:
        content["Atlas"] = facts["atlas"]
    return content | processing_fields(facts)


def write_regions(files: DerivativeSet, regions: dict[str, NDArray[Any]], config: Config) -> None:
    """Write the regional series, their correlations, and a table for each indicator and for coverage."""
    facts = files.facts
    names = [str(name) for name in regions["names"]]
    atlas = facts["atlas"]["Name"]
    shared = {"Atlas": facts["atlas"], **processing_fields(facts)}
    series = pd.DataFrame(regions["series"], columns=names)
    content = {"Description": "Mean denoised signal of each region, a row a kept volume.", **shared}
    files.table(series, "timeseries", content, atlas=atlas, stat="mean")
    matrix = pd.DataFrame(regions["correlation"], columns=names)
    matrix.insert(0, "Node", names)
    content = {"Description": "Pearson correlations between regional series.", **shared}
    files.table(matrix, "relmat", content, atlas=atlas, stat="pearsoncorrelation")
    write_regional_values(files, regions, config)


def write_regional_values(files: DerivativeSet, regions: dict[str, NDArray[Any]], config: Config) -> None:
    """Write a table for each indicator and for coverage, a row a region."""
    facts = files.facts
    shared = {"Atlas": facts["atlas"], **processing_fields(facts)}
    names = [str(name) for name in regions["names"]]
    for stat in regions:
        if stat in ("names", "index", "series", "correlation"):
            continue
        table = pd.DataFrame({"index": regions["index"], "name": names, stat: regions[stat]})
        if stat == "coverage":
            content = {"Description": "Share of each region's voxels that the run covers.", **shared}
        else:
            content = map_fields(stat, "", facts, config) | {"Atlas": facts["atlas"]}
            how = "" if INDICATORS[stat].regional else ", the mean of the map over its covered voxels"
            content["Description"] = (
                f"{INDICATORS[stat].name} of each region{how}; n/a where the run does not cover it."
            )
        files.table(table, "boldmap", content, atlas=facts["atlas"]["Name"], stat=stat)
