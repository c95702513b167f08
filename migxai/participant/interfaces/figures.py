"""Draw a run's figures and write the summary that its report is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from migxai.bids.fmriprep import MOTION
from migxai.bids.names import run_entities
from migxai.config import Config
from migxai.data.templates import TemplateName
from migxai.indicators.registry import INDICATORS
from migxai.io import read_tsv
from migxai.participant.descriptions import summarise
from migxai.participant.facts import RunFacts
from migxai.participant.interfaces.base import (
    Step,
    inputs,
    load_array,
    load_arrays,
    load_image,
    load_volume,
    on_grid,
    outputs,
)
from migxai.participant.interfaces.denoising import signal_compartment
from migxai.participant.interfaces.derivatives import figure_path
from migxai.participant.resources import Memory
from migxai.registration.resample import resample_to_grid
from migxai.registration.space import Volume, template_volume
from migxai.reports.figures import overlays, plots
from migxai.reports.participant.run_summary import write_summary


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
            plots.plot_motion(
                degrees,
                displacement,
                self._file("motion"),
                repetition_time=tr,
                max_translation=limits.max_translation,
                max_rotation=limits.max_rotation,
                threshold=config.denoising.fd_threshold,
            ),
            plots.plot_carpet(
                before, after, tissues, self._file("carpet"), repetition_time=tr, displacement=displacement[kept]
            ),
            plots.plot_spectra(
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
            paths.append(plots.plot_regions(labels, regional[stat], file, name=INDICATORS[stat].title))
        paths.append(plots.plot_coverage(labels, regional["coverage"], self._file("coverage")))
        return paths


def tissue_classes(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Most probable tissue of each voxel, as three masks (V,) named GM, WM and CSF."""
    shape = (mask.shape[0], mask.shape[1], mask.shape[2])
    names: tuple[TemplateName, ...] = ("GM", "WM", "CSF")
    priors = []
    for name in names:
        volume = template_volume(name)
        priors.append(resample_to_grid(volume.data, volume.affine, target_affine=affine, target_shape=shape)[mask])
    likeliest = np.argmax(priors, axis=0)
    return {name: likeliest == place for place, name in enumerate(names)}
