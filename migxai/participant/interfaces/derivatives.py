"""Write derivatives under their BIDS names, each with a sidecar that says how it was made, and draw a run's figures."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from migxai.bids.fmriprep import MOTION
from migxai.bids.names import derivative_path, run_entities
from migxai.bids.outputs import resolution_label, sidecar
from migxai.config import Config
from migxai.data import SPACE
from migxai.indicators.registry import INDICATORS
from migxai.io import copy_with, read_tsv, write_json, write_nifti, write_tsv
from migxai.participant.facts import (
    AnatomyFacts,
    RunFacts,
    atlas_fields,
    confounds_fields,
    map_fields,
    regional_fields,
    series_fields,
    shared_fields,
    summarise,
)
from migxai.participant.interfaces.base import (
    Step,
    inputs,
    load_array,
    load_arrays,
    load_chain,
    load_image,
    load_volume,
    on_grid,
    outputs,
)
from migxai.participant.interfaces.denoising import signal_compartment, tissue_classes
from migxai.participant.resources import Memory
from migxai.registration.engines import Registration
from migxai.registration.normalise import compact
from migxai.registration.resample import resample_to_grid
from migxai.registration.space import Volume, save_transform, template_volume
from migxai.reports.figures import drawing, overlays
from migxai.reports.participant.report import write_summary

Fields = dict[str, Any]


class WriteRun(Step):
    """Write all derivatives of one run; `facts` gathers what the steps before have found."""

    input_spec = inputs(
        output_dir="value", entities="value", config="value",
        mask="file", filtered="file", confounds="file", maps="file", regions="file", transforms="files",
        acquisition="value", registration="value", grid="value", motion="value", denoising="value", indicators="value",
    )  # fmt: skip
    output_spec = outputs(written="value", facts="value")
    memory = Memory(0.3, 4, in_template=True)
    # A resumed run must find its files even if the output directory was emptied meanwhile.
    _always_run = True

    def _make(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - all goes to the output dataset
        given = self.inputs
        facts = RunFacts(
            given.acquisition, given.registration, given.grid, given.motion, given.denoising, given.indicators
        )
        files = RunFiles(Path(given.output_dir), given.entities, facts, given.config)
        image, affine = load_image(given.mask)
        mask = image.astype(bool)
        files.write_confounds(read_tsv(Path(given.confounds), numbers=True))
        files.write_mask(image, affine, "Voxels inside the brain that the run covers.")
        if given.config.indicators.bold:
            files.write_series(load_array(given.filtered), mask, affine)
        for transform in given.transforms:
            files.write_transform(Path(transform))
        files.write_maps(load_arrays(given.maps), mask, affine)
        files.write_regions(load_arrays(given.regions))
        return {"written": files.written, "facts": facts}


class RunFiles:
    """Names and writes the files of one run (or of the mean over runs) in one output dataset."""

    def __init__(self, output_dir: Path, entities: dict[str, str], facts: RunFacts, config: Config) -> None:
        self.output_dir = output_dir
        self.entities = run_entities(dict(entities))
        self.facts = facts
        self.config = config
        self.shared = shared_fields(facts, config)
        self.space: dict[str, str | int | None] = {"space": facts.grid.space}
        self.resolution = facts.grid.resolution
        if isinstance(self.resolution, float):
            self.space["res"] = resolution_label(self.resolution)
        self.written: list[str] = []

    def write_confounds(self, table: pd.DataFrame) -> None:
        """Write the confounds table, a row a kept volume."""
        text = "Motion, displacement, signal change and tissue signals of each kept volume."
        content = {"Description": text, **self.shared, **confounds_fields(table)}
        self._table(table, "timeseries", content, spatial=False, desc="confounds")

    def write_mask(self, mask: NDArray[Any], affine: NDArray[np.float64], text: str) -> None:
        """Write the mask of the voxels that have data; `text` says which they are."""
        content = {"Description": text, "Type": "Brain", **self.shared}
        self._image(mask, affine, "mask", content, dtype="uint8", desc="brain")

    def write_series(self, series: NDArray[Any], mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> None:
        """Write the denoised series (V, T) as a 4-D image, zero outside the mask."""
        # One volume after another of the output is contiguous in Fortran order, as NIfTI stores it.
        data = np.zeros((*mask.shape, series.shape[1]), dtype=np.float32, order="F")
        for volume in range(series.shape[1]):
            data[..., volume][mask] = series[:, volume]
        text = "Nuisance-regressed and band-passed BOLD series."
        content = {"Description": text, **self.shared, **series_fields(self.config)}
        tr = self.facts.acquisition.repetition_time
        self._image(data, affine, "bold", content, desc="denoised", repetition_time=tr)

    def write_transform(self, transform: Path) -> None:
        """Write a transform that a step left as ``from-<A>_to-<B>.<extension>``."""
        name, _, extension = transform.name.partition(".")
        source, target = (part.split("-")[1] for part in name.split("_"))
        entities = {"from": source, "to": target, "mode": "image"}
        path = self._path("xfm", f".{extension}", spatial=False, **entities)
        copy_with(path, functools.partial(shutil.copyfile, transform))
        self._add(path)
        text = f"ITK transform: carries images from {source} to {target}, and points (LPS mm) the other way."
        self._sidecar("xfm", {"Description": text, **self.shared}, spatial=False, **entities)

    def write_maps(self, maps: dict[str, NDArray[Any]], mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> None:
        """Write every map: keys are ``<stat>`` and ``<stat>-<form>``, values (V,) or (X, Y, Z)."""
        for key, values in maps.items():
            stat, _, form = key.partition("-")
            content = map_fields(stat, form, self.facts, self.config)
            self._image(on_grid(values, mask), affine, "boldmap", content, stat=stat, desc=form or None)

    def write_regions(self, regions: dict[str, NDArray[Any]]) -> None:
        """Write the regional series, their correlations, and a table for each indicator and for coverage."""
        names = [str(name) for name in regions["names"]]
        shared = {**atlas_fields(self.facts, self.config), **self.shared}
        series = pd.DataFrame(regions["series"], columns=names)
        content = {"Description": "Mean denoised signal of each region, a row a kept volume.", **shared}
        self._table(series, "timeseries", content, atlas=self.facts.indicators.atlas, stat="mean")
        matrix = pd.DataFrame(regions["correlation"], columns=names)
        matrix.insert(0, "Node", names)
        content = {"Description": "Pearson correlations between regional series.", **shared}
        self._table(matrix, "relmat", content, atlas=self.facts.indicators.atlas, stat="pearsoncorrelation")
        self.write_regional_values(regions)

    def write_regional_values(self, regions: dict[str, NDArray[Any]]) -> None:
        """Write a table for each indicator and for coverage, a row a region."""
        names = [str(name) for name in regions["names"]]
        coverage = {"Description": "Share of each region's voxels that the run covers."}
        for stat in regions:
            if stat in ("names", "index", "series", "correlation"):
                continue
            table = pd.DataFrame({"index": regions["index"], "name": names, stat: regions[stat]})
            if stat == "coverage":
                content = {**coverage, **atlas_fields(self.facts, self.config), **self.shared}
            else:
                content = regional_fields(stat, self.facts, self.config)
            self._table(table, "boldmap", content, atlas=self.facts.indicators.atlas, stat=stat)

    def _path(self, suffix: str, extension: str, *, spatial: bool = True, **more: str | None) -> Path:
        """Path of a file of this run, with ``space`` unless it is not `spatial`, and ``res`` if it is an image's."""
        entities: dict[str, str | int | None] = {**self.entities, **(self.space if spatial else {}), **more}
        if "atlas" in more:
            # A table has one row or column a region, whatever the grid was.
            entities.pop("res", None)
        return self.output_dir / derivative_path(entities, suffix, extension)

    def _image(
        self, data: NDArray[Any], affine: NDArray[np.float64], suffix: str, content: Fields, **more: Any
    ) -> None:
        """Write an image and its sidecar; ``dtype`` and ``repetition_time`` go to the writer, entities to the name."""
        options = {key: more.pop(key) for key in ("dtype", "repetition_time") if key in more}
        path = self._path(suffix, ".nii.gz", **more)
        write_nifti(path, data, affine, space=self.facts.grid.space, **options)
        self._add(path)
        self._sidecar(suffix, content, **more)

    def _table(self, table: pd.DataFrame, suffix: str, content: Fields, *, spatial: bool = True, **more: Any) -> None:
        path = self._path(suffix, ".tsv", spatial=spatial, **more)
        write_tsv(path, table, float_format="%.8g")
        self._add(path)
        self._sidecar(suffix, content, spatial=spatial, **more)

    def _sidecar(self, suffix: str, content: Fields, *, spatial: bool = True, **more: Any) -> None:
        """Write a sidecar: ``Description`` and other fields in `content`, and what all sidecars share."""
        fields = dict(content)
        path = self._path(suffix, ".json", spatial=spatial, **more)
        made = sidecar(
            fields.pop("Description"),
            sources=self.facts.acquisition.files,
            resolution=self.resolution if spatial and "res" in self.space and "atlas" not in more else None,
            excluded=self.facts.motion.excluded,
            **fields,
        )
        write_json(path, made)
        self._add(path)

    def _add(self, path: Path) -> None:
        self.written.append(path.relative_to(self.output_dir).as_posix())


class WriteAnatomy(Step):
    """Write brain mask, transforms and their picture."""

    input_spec = inputs(
        output_dir="value", entities="value", sources="value",
        image="file", mask="file", to_template="file", from_template="file", anatomy="value",
    )  # fmt: skip
    output_spec = outputs(written="value")
    memory = Memory(1.0)
    _always_run = True

    def _make(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - all goes to the output dataset
        given, root = self.inputs, Path(self.inputs.output_dir)
        anatomy: AnatomyFacts = given.anatomy
        image, affine = load_image(given.image)
        mask, _ = load_image(given.mask)
        path = self._place("mask", desc="brain")
        write_nifti(path, mask, affine, dtype="uint8")
        written = [path, self._describe(path, "Brain in the T1w image.", Type="Brain", Method=anatomy.extraction)]
        forward, inverse = load_chain(given.to_template), load_chain(given.from_template)
        template = template_volume("T1w")
        kept = compact(Registration(forward, inverse), template, Volume(mask, affine))
        for source, target, chain in (("T1w", SPACE, kept.forward), (SPACE, "T1w", kept.inverse)):
            path = self._place("xfm", **{"from": source, "to": target, "mode": "image"})
            copy_with(path, functools.partial(save_transform, chain))
            text = f"ITK displacement field: carries images from {source} to {target}, and points the other way."
            written += [path, self._describe(path, text, Engine=anatomy.engine)]
        brain = np.where(mask > 0, image, 0)
        moved = resample_to_grid(
            brain, affine, target_affine=template.affine, target_shape=template.shape, chain=forward
        )
        figure = overlays.plot_registration(
            template,
            template.with_data(moved),
            template_volume("mask"),
            figure_path(root, given.entities, "normalization", "T1w"),
            names=("template", "T1w"),
            contour=template_volume("WM"),
        )
        return {"written": [path.relative_to(root).as_posix() for path in (*written, figure)]}

    def _place(self, suffix: str, **more: str) -> Path:
        entities = {**self.inputs.entities, **more}
        return Path(self.inputs.output_dir) / derivative_path(entities, suffix, ".nii.gz", datatype="anat")

    def _describe(self, path: Path, text: str, **fields: Any) -> Path:
        place = path.with_name(path.name.split(".")[0] + ".json")
        write_json(place, sidecar(text, sources=self.inputs.sources, **fields))
        return place


def figure_path(output_dir: Path, entities: dict[str, str], desc: str, suffix: str) -> Path:
    """Where a figure of a report lies; its folder is made."""
    folder = output_dir / f"sub-{entities['sub']}" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    stem = "_".join(f"{key}-{value}" for key, value in entities.items())
    return folder / f"{stem}_desc-{desc}_{suffix}.svg"


class DrawRun(Step):
    """Draw what a person judges a run by, and write the summary of its report."""

    input_spec = inputs(
        config="value", output_dir="value", entities="value", facts="value", anatomy="value?",
        series="file", filtered="file", mask="file", mean="file", confounds="file", maps="file", regions="file",
        t1w_brain="file?", epi_in_t1w="file?",
    )  # fmt: skip
    output_spec = outputs(written="value")
    memory = Memory(0.3, 6, in_template=True)
    _always_run = True

    def _make(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - all goes to the output dataset
        given, root = self.inputs, Path(self.inputs.output_dir)
        self._entities = run_entities(dict(given.entities))
        image, affine = load_image(given.mask)
        mask = Volume(image.astype(bool), affine)
        table = read_tsv(Path(given.confounds), numbers=True)
        regions = load_arrays(given.regions)
        paths = [*self._draw_series(mask, table), *self._draw_overlays(mask), *self._draw_maps(mask, regions)]
        summary = summarise(regions, self._entities, given.config, given.facts, given.anatomy)
        paths.append(write_summary(summary, paths[0].parent))
        return {"written": [path.relative_to(root).as_posix() for path in paths]}

    def _file(self, desc: str) -> Path:
        return figure_path(Path(self.inputs.output_dir), self._entities, desc, "bold")

    def _draw_series(self, mask: Volume, table: pd.DataFrame) -> list[Path]:
        config: Config = self.inputs.config
        facts: RunFacts = self.inputs.facts
        before, after = load_array(self.inputs.series), load_array(self.inputs.filtered)
        tissues = tissue_classes(mask.data.astype(bool), mask.affine)
        kept = table["kept"].to_numpy().astype(bool)
        displacement = table["framewise_displacement"].to_numpy()
        degrees = table[list(MOTION)].to_numpy() * np.repeat([1.0, 180 / np.pi], 3)
        tr, limits = facts.acquisition.repetition_time, config.preprocessing
        before = before if kept.all() else before[:, kept]
        return [
            drawing.plot_motion(
                degrees,
                displacement,
                self._file("motion"),
                repetition_time=tr,
                max_translation=limits.max_translation,
                max_rotation=limits.max_rotation,
                threshold=config.denoising.fd_threshold,
            ),
            drawing.plot_carpet(
                before, after, tissues, self._file("carpet"), repetition_time=tr, displacement=displacement[kept]
            ),
            drawing.plot_spectra(
                before, after, tissues["GM"], self._file("spectra"), repetition_time=tr, band=config.denoising.band
            ),
        ]

    def _draw_overlays(self, mask: Volume) -> list[Path]:
        mean = load_volume(self.inputs.mean)
        brain, white = template_volume("T1w"), template_volume("WM")
        inside = mask.data.astype(bool)
        used = [name for name in ("white_matter", "csf") if name in self.inputs.facts.denoising.regressors]
        tissues = {
            name: mask.with_data(on_grid(signal_compartment(name, inside, mask.affine), inside)) for name in used
        }
        paths = [
            overlays.plot_registration(
                brain,
                mean,
                template_volume("mask"),
                self._file("normalization"),
                names=("template", "mean EPI"),
                contour=white,
            ),
            overlays.plot_masks(
                mean, mask, self._file("masks"), wm=tissues.get("white_matter"), csf=tissues.get("csf")
            ),
        ]
        if self.inputs.epi_in_t1w:
            anatomy = load_volume(self.inputs.t1w_brain)
            epi = load_volume(self.inputs.epi_in_t1w)
            paths.append(
                overlays.plot_registration(
                    anatomy,
                    epi,
                    anatomy.with_data(np.asarray(anatomy.data, dtype=np.float32) > 0),
                    self._file("coregistration"),
                    names=("T1w", "mean EPI"),
                )
            )
        return paths

    def _draw_maps(self, mask: Volume, regional: dict[str, NDArray[Any]]) -> list[Path]:
        inside = mask.data.astype(bool)
        paths = []
        for key, values in load_arrays(self.inputs.maps).items():
            stat, _, form = key.partition("-")
            name = INDICATORS[stat].title + {"": "", "raw": ", not normalised", "zscore": ", z-scored"}[form]
            paths.append(
                overlays.plot_map(
                    mask.with_data(on_grid(values, inside)),
                    mask,
                    template_volume("T1w"),
                    template_volume("mask"),
                    self._file(stat + form),
                    name=name,
                    unit=INDICATORS[stat].unit_of(form),
                )
            )
        labels = [str(name) for name in regional["names"]]
        for stat in (item for item in regional if item in INDICATORS):
            file = self._file(f"{stat}regions")
            paths.append(drawing.plot_regions(labels, regional[stat], file, name=INDICATORS[stat].title))
        paths.append(drawing.plot_coverage(labels, regional["coverage"], self._file("coverage")))
        return paths
