"""Draw a run's figures and write the summary that its report is made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import migxai
from migxai.bids.names import run_entities
from migxai.config import Config
from migxai.indicators.registry import INDICATORS
from migxai.io import read_tsv
from migxai.participant.interfaces.base import (
    BaseInterfaceInputSpec,
    Step,
    TraitedSpec,
    load_array,
    load_image,
    load_volume,
    packaged_volume,
    traits,
)
from migxai.participant.interfaces.indicators import on_grid
from migxai.participant.interfaces.tissues import signal_compartment, tissue_classes
from migxai.participant.resources import Memory
from migxai.registration.volume import Volume
from migxai.reports.figures import overlays, region_values, series
from migxai.reports.participant.methods import MethodsFacts
from migxai.reports.participant.run_summary import (
    ProcessingStep,
    QualityMeasure,
    RegionValues,
    RunSummary,
    write_summary,
)
from migxai.signal.nuisance import DOF_WARNING

Facts = dict[str, Any]


class DrawRunInput(BaseInterfaceInputSpec):  # noqa: D101
    config = traits.Any(mandatory=True)
    output_dir = traits.Str(mandatory=True)
    entities = traits.Dict(mandatory=True)
    series = traits.File(exists=True, mandatory=True)
    filtered = traits.File(exists=True, mandatory=True)
    mask = traits.File(exists=True, mandatory=True)
    mean = traits.File(exists=True, mandatory=True)
    confounds = traits.File(exists=True, mandatory=True)
    maps = traits.File(exists=True, mandatory=True)
    regions = traits.File(exists=True, mandatory=True)
    facts = traits.Dict(mandatory=True)
    anat_facts = traits.Dict()
    t1w_brain = traits.File(exists=True)
    epi_in_t1w = traits.File(exists=True)


class DrawRunOutput(TraitedSpec):  # noqa: D101
    written = traits.List(traits.Str())


class DrawRun(Step):
    """Draw what a person judges a run by."""

    input_spec = DrawRunInput
    output_spec = DrawRunOutput
    memory = Memory(0.3, 6, in_template=True)
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        config: Config = inputs.config
        entities = run_entities(dict(inputs.entities))
        stem = "_".join(f"{key}-{value}" for key, value in entities.items())
        self._folder = Path(inputs.output_dir) / f"sub-{entities['sub']}" / "figures"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._stem = stem
        image, affine = load_image(inputs.mask)
        mask = Volume(image.astype(bool), affine)
        table = read_tsv(Path(inputs.confounds), numbers=True)
        paths = [
            *self._draw_series(mask, table, config),
            *self._draw_overlays(mask),
            *self._draw_maps(mask),
        ]
        with np.load(inputs.regions, allow_pickle=False) as stored:
            summary = summarise(dict(stored), entities, config, inputs.facts, self._anat_facts())
        paths.append(write_summary(summary, self._folder))
        self._results["written"] = [path.relative_to(inputs.output_dir).as_posix() for path in paths]
        return runtime

    def _anat_facts(self) -> Facts:
        return dict(self.inputs.anat_facts) if self.inputs.anat_facts else {}

    def _file(self, desc: str) -> Path:
        return self._folder / f"{self._stem}_desc-{desc}_bold.svg"

    def _draw_series(self, mask: Volume, table: pd.DataFrame, config: Config) -> list[Path]:
        inputs, facts = self.inputs, self.inputs.facts
        before, after = load_array(inputs.series), load_array(inputs.filtered)
        flat = tissue_classes(mask.data.astype(bool), mask.affine)
        kept = table["kept"].to_numpy().astype(bool)
        displacement = table["framewise_displacement"].to_numpy()
        parameters = table[["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]].to_numpy()
        degrees = parameters * np.repeat([1.0, 180 / np.pi], 3)
        tr = facts["repetition_time"]
        limits = config.preprocessing
        before = before if kept.all() else before[:, kept]
        return [
            series.plot_motion(
                degrees,
                displacement,
                self._file("motion"),
                repetition_time=tr,
                max_translation=limits.max_translation,
                max_rotation=limits.max_rotation,
                threshold=config.denoising.fd_threshold,
            ),
            series.plot_carpet(
                before, after, flat, self._file("carpet"), repetition_time=tr, displacement=displacement[kept]
            ),
            series.plot_spectra(
                before,
                after,
                flat["GM"],
                self._file("spectra"),
                repetition_time=tr,
                band=(config.denoising.low, config.denoising.high),
            ),
        ]

    def _draw_overlays(self, mask: Volume) -> list[Path]:
        mean = load_volume(self.inputs.mean)
        brain, white = packaged_volume("T1w"), packaged_volume("WM")
        inside = mask.data.astype(bool)
        used = [name for name in ("white_matter", "csf") if name in self.inputs.facts["nuisance_regressors"]]
        tissues = {
            name: mask.with_data(on_grid(signal_compartment(name, inside, mask.affine), inside)) for name in used
        }
        paths = [
            overlays.plot_registration(
                brain,
                mean,
                packaged_volume("mask"),
                self._file("normalization"),
                names=("template", "mean EPI"),
                contour=white,
            ),
            overlays.plot_masks(
                mean,
                mask,
                self._file("masks"),
                wm=tissues.get("white_matter"),
                csf=tissues.get("csf"),
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

    def _draw_maps(self, mask: Volume) -> list[Path]:
        inside = mask.data.astype(bool)
        paths = []
        with np.load(self.inputs.maps, allow_pickle=False) as stored:
            for key in stored.files:
                stat, _, form = key.partition("-")
                name = INDICATORS[stat].name + {"": "", "raw": ", not normalised", "zscore": ", z-scored"}[form]
                values = on_grid(stored[key], inside)
                paths.append(
                    overlays.plot_map(
                        mask.with_data(values),
                        mask,
                        packaged_volume("T1w"),
                        packaged_volume("mask"),
                        self._file(stat + form),
                        name=name,
                        unit="of the brain's mean" if INDICATORS[stat].normalised and not form else "",
                    )
                )
        with np.load(self.inputs.regions, allow_pickle=False) as stored:
            labels = [str(name) for name in stored["names"]]
            for stat in (item for item in stored.files if item in INDICATORS):
                file = self._file(f"{stat}regions")
                paths.append(region_values.plot_regions(labels, stored[stat], file, name=INDICATORS[stat].name))
            paths.append(region_values.plot_coverage(labels, stored["coverage"], self._file("coverage")))
        return paths


def summarise(
    stored: dict[str, NDArray[Any]], entities: dict[str, str], config: Config, facts: Facts, anat: Facts
) -> RunSummary:
    """Put what is known of a run into the words and numbers of its report."""
    stats = [stat for stat in stored if stat in INDICATORS]
    excluded = facts["excluded"]
    warnings = [*anat.get("messages", ()), *facts["messages"]]
    warnings += [facts["dof_warning"]] if facts["dof_warning"] else []
    dof = facts["residual_dof"]
    freedom = ("Residual degrees of freedom", dof, "", f"at least {DOF_WARNING}", dof >= DOF_WARNING)
    return RunSummary(
        entities=entities,
        usable=excluded is None,
        exclusion=() if excluded is None else (excluded,),
        warnings=tuple(dict.fromkeys(warnings)),
        inputs={"source": facts["mode"], "files": ", ".join(facts["sources"])},
        parameters=_parameters(config, facts),
        numbers=_numbers(facts),
        steps=_steps(facts, anat),
        quality=tuple(QualityMeasure(*row) for row in [*anat.get("quality", ()), *facts.get("quality", ()), freedom]),
        regions=tuple(
            RegionValues(
                str(name), float(stored["coverage"][place]), {stat: float(stored[stat][place]) for stat in stats}
            )
            for place, name in enumerate(stored["names"])
        ),
        software=software_versions(),
    )


def _parameters(config: Config, facts: Facts) -> dict[str, str]:
    return {
        "Space": facts["space"],
        "Resolution": f"{facts['resolution']:g} mm" if isinstance(facts["resolution"], float) else facts["resolution"],
        "Band": f"{facts['band'][0]:g} to {facts['band'][1]:g} Hz",
        "Smoothing": f"{facts['fwhm']:g} mm FWHM",
        "Order": facts["order"],
        "Nuisance": f"{len(facts['nuisance_regressors'])} regressors, rank {facts['design_rank']} in the band",
        "Atlas": facts["atlas"]["Name"],
        "ALFF definition": config.indicators.alff_definition,
        "ReHo neighbourhood": f"{config.indicators.reho_neighbours} voxels",
        "Preset": config.preset,
    }


def _numbers(facts: Facts) -> dict[str, float | int | None]:
    """Figures of the run; the verdict shows the first six."""
    return {
        "Mean framewise displacement, Power (mm)": round(facts["mean_fd"], 4),
        "Largest translation (mm)": round(facts["max_translation"], 3),
        "Largest rotation (degrees)": round(facts["max_rotation"], 3),
        "Volumes used": facts["volumes"] - facts["censored"],
        "Repetition time (s)": facts["repetition_time"],
        "Residual degrees of freedom": facts["residual_dof"],
        "Dimensions in the band": facts["band_dimensions"],
        "Volumes dropped at the start": facts["discarded"],
        "Volumes censored": facts["censored"],
        "Mean framewise displacement, Jenkinson (mm)": round(facts["mean_rmsd"], 4),
    }


def _steps(facts: Facts, anat: Facts) -> tuple[ProcessingStep, ...]:
    done: list[ProcessingStep] = []
    if facts["mode"] == "raw":
        timing: Literal["done", "skipped"] = "done" if facts["slice_timing_corrected"] else "skipped"
        done += [
            ProcessingStep("Slice timing", timing, facts["slice_timing_note"]),
            ProcessingStep("Realignment", "done", "to the first volume kept"),
        ]
        done += [ProcessingStep(*item) for item in anat.get("steps", ())]
        done += [ProcessingStep(*item) for item in facts.get("steps", ())]
    else:
        done.append(ProcessingStep("Preprocessing", "done", "by fMRIPrep"))
    done.append(ProcessingStep("Resampling", "done", facts["interpolations"]))
    done.append(ProcessingStep("Denoising", "done", facts["order"]))
    return tuple(done)


def software_versions() -> dict[str, str]:
    """Versions of what computed the numbers."""
    from importlib.metadata import PackageNotFoundError, version

    names = ("numpy", "scipy", "numba", "nibabel", "nilearn", "nipype", "pybids", "picsl_greedy", "deepbet", "torch")
    versions = {"migxai": migxai.__version__}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # optional ones
            continue
    return versions


def methods_facts(config: Config, mode: Literal["raw", "fmriprep"], runs: Sequence[RunSummary]) -> MethodsFacts:
    """Gather what the methods paragraph may claim: what all runs have in common; without runs, the plan alone."""
    if not runs:
        space = config.preprocessing.space or "MNI152NLin2009cAsym"
        return MethodsFacts(migxai.__version__, mode, space=space, own_atlas=config.indicators.atlas is not None)
    steps = [{step.name: step.status for step in run.steps} for run in runs]

    def common(name: str) -> bool | None:
        found = {item.get(name, "skipped") == "done" for item in steps}
        return found.pop() if len(found) == 1 else None

    raw = mode == "raw"
    dropped = {int(run.numbers["Volumes dropped at the start"] or 0) for run in runs}
    return MethodsFacts(
        migxai.__version__,
        mode,
        space=runs[0].parameters["Space"],
        slice_timing=common("Slice timing") if raw else None,
        anatomical=common("T1w to template") if raw else None,
        brain_extraction=common("Brain extraction") if raw else None,
        own_atlas=config.indicators.atlas is not None,
        n_dropped=dropped.pop() if len(dropped) == 1 else None,
        n_excluded=sum(not run.usable for run in runs),
    )
