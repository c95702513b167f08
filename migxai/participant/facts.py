"""What is known of a run, each fact written once by the step that knows it, and what sidecars and reports say of it.

Settings are not facts: whoever needs them reads the configuration. Steps hand these objects to each other as nipype
values; nipype's cache compares them by their representation, so they hold plain values alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import migxai
from migxai.config import Config
from migxai.indicators.registry import INDICATORS
from migxai.reports.participant.report import ProcessingStep, QualityMeasure, RegionValues, RunSummary
from migxai.signal.denoising import DOF_WARNING

#: Below this share of the template's brain a run is doubtful.
COVERAGE_WARNING = 0.9


@dataclass(frozen=True)
class AcquisitionFacts:
    """A run as it was read.

    These are BIDS URIs of its files, its repetition time in seconds, volumes kept and dropped at the start, what is odd
    about it (a sentence each), and whether slice times were corrected and how, or why not; None after fMRIPrep.
    """

    source: Literal["raw", "fmriprep"]
    files: tuple[str, ...]
    repetition_time: float
    volumes: int
    discarded: int
    messages: tuple[str, ...] = ()
    slice_timing_corrected: bool | None = None
    slice_timing_note: str | None = None


@dataclass(frozen=True)
class AnatomyFacts:
    """How a T1w image's brain was found, the program (with version) that registered it, and rows of the report."""

    extraction: str
    engine: str
    steps: tuple[ProcessingStep, ...]
    quality: tuple[QualityMeasure, ...]


@dataclass(frozen=True)
class RegistrationFacts:
    """How often (in words) the data were interpolated on their way, and rows of the report, none after fMRIPrep."""

    interpolations: str
    steps: tuple[ProcessingStep, ...] = ()
    quality: tuple[QualityMeasure, ...] = ()


@dataclass(frozen=True)
class GridFacts:
    """The grid of a run's maps.

    `space` is as in ``space-``, `resolution` an isotropic voxel size in mm or voxel sizes in words, `coverage` the
    share of the template's brain that the run covers.
    """

    space: str
    resolution: float | str
    coverage: float

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is doubtful about it, a sentence each."""
        if self.coverage >= COVERAGE_WARNING:
            return ()
        return (f"The run covers only {self.coverage:.0%} of the template's brain.",)


@dataclass(frozen=True)
class MotionFacts:
    """How much the head moved: in mm and degrees, and mean framewise displacement in mm after Power and Jenkinson.

    `excluded` says why group level leaves the run out; None if it is usable.
    """

    excluded: str | None
    max_translation: float
    max_rotation: float
    mean_fd: float
    mean_rmsd: float


@dataclass(frozen=True)
class DenoisingFacts:
    """Columns that were regressed out, dimensions in the band, their rank, what is left, and censored volumes.

    The warning is a sentence if few degrees of freedom are left.
    """

    regressors: tuple[str, ...]
    band_dimensions: int
    design_rank: int
    residual_dof: int
    censored: int
    warning: str | None


@dataclass(frozen=True)
class IndicatorFacts:
    """Mean over the brain of each un-normalised map, by indicator, and the atlas of the regional values."""

    means: dict[str, float]
    atlas: str
    atlas_reference: str
    regions: int


@dataclass(frozen=True)
class RunFacts:
    """All that is known of one run, or of the mean over several."""

    acquisition: AcquisitionFacts
    registration: RegistrationFacts
    grid: GridFacts
    motion: MotionFacts
    denoising: DenoisingFacts
    indicators: IndicatorFacts
    averaged_runs: int | None = None


def mean_facts(runs: Sequence[RunFacts]) -> RunFacts:
    """Return the facts of a mean over runs: those of the first run, with counts summed and means averaged."""
    first, acquired, denoised = runs[0], [run.acquisition for run in runs], [run.denoising for run in runs]
    means = [run.indicators.means for run in runs]
    return dataclasses.replace(
        first,
        acquisition=dataclasses.replace(
            first.acquisition,
            files=tuple(dict.fromkeys(file for item in acquired for file in item.files)),
            volumes=sum(item.volumes for item in acquired),
            discarded=sum(item.discarded for item in acquired),
        ),
        denoising=dataclasses.replace(
            first.denoising,
            residual_dof=sum(item.residual_dof for item in denoised),
            censored=sum(item.censored for item in denoised),
        ),
        indicators=dataclasses.replace(
            first.indicators, means={stat: float(np.mean([item[stat] for item in means])) for stat in means[0]}
        ),
        averaged_runs=len(runs),
    )


Fields = dict[str, Any]

#: Columns of the confounds table; those of the other axes and expansions follow from these.
_CONFOUNDS: dict[str, tuple[str, str | None]] = {
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
#: What computed the numbers.
_SOFTWARE = ("numpy", "scipy", "numba", "nibabel", "nilearn", "nipype", "pybids", "picsl_greedy", "deepbet", "torch")


def shared_fields(facts: RunFacts, config: Config) -> Fields:
    """Sidecar fields that every derivative of a run shares: acquisition, preprocessing, denoising."""
    acquisition, denoising = facts.acquisition, facts.denoising
    return {
        "RepetitionTime": acquisition.repetition_time,
        "NumberOfVolumes": acquisition.volumes,
        "NumberOfVolumesDiscarded": acquisition.discarded,
        "SliceTimingCorrected": acquisition.slice_timing_corrected,
        "SliceTimingNote": acquisition.slice_timing_note,
        "SpatialReference": facts.grid.space,
        "Interpolations": facts.registration.interpolations,
        "NuisanceRegressors": list(denoising.regressors),
        "ResidualDegreesOfFreedom": denoising.residual_dof,
        "CensoredVolumes": denoising.censored,
        "ProcessingOrder": processing_order(config),
        "AveragedRuns": facts.averaged_runs,
    }


def processing_order(config: Config) -> str:
    """Say in which order the series was denoised."""
    paper = config.denoising.order == "paper"
    return "band-pass, smooth, regress" if paper else "regress and band-pass together, then smooth"


def confounds_fields(table: pd.DataFrame) -> Fields:
    """Describe the columns of the confounds table, as BIDS sidecars of tables do."""
    fields: Fields = {}
    for column in table.columns:
        base = column.replace("_y", "_x").replace("_z", "_x") if column.startswith(("trans_", "rot_")) else column
        if base in _CONFOUNDS:
            text, units = _CONFOUNDS[base]
            text = text.replace(" x ", f" {column[-1]} ") if base != column else text
            fields[column] = {"Description": text, **({"Units": units} if units else {})}
    return fields


def series_fields(config: Config) -> Fields:
    """Sidecar fields of the denoised series."""
    options = config.denoising
    return {
        "BandPass": list(options.band),
        "SmoothingFWHM": options.fwhm if options.order == "paper" else 0.0,
        "SkullStripped": True,
    }


def atlas_fields(facts: RunFacts, config: Config) -> Fields:
    """Sidecar field ``Atlas`` of regional values."""
    return {
        "Atlas": {
            "Name": facts.indicators.atlas,
            "Reference": facts.indicators.atlas_reference,
            "Regions": facts.indicators.regions,
            "MinimumCoverage": config.indicators.min_coverage,
            "Note": f"Labels resampled to the grid of the data in {facts.grid.space}; no registration between spaces.",
        }
    }


def map_fields(stat: str, form: str, facts: RunFacts, config: Config) -> Fields:
    """Sidecar fields of one indicator map, in the form ``""`` (the main one), ``raw`` or ``zscore``."""
    indicator, options = INDICATORS[stat], config.denoising
    paper = options.order == "paper"
    unfiltered = indicator.spectral and not paper
    main = f"divided by its mean in the mask, {facts.indicators.means[stat]:.6g}" if indicator.normalised else "none"
    scale = {"": main, "raw": "none", "zscore": "z-scored over the mask"}[form]
    fields: Fields = {
        "Description": f"{indicator.title} map" + (" painted on the atlas regions." if indicator.regional else "."),
        "Statistic": stat,
        **indicator.definition(config),
        "FrequencyBand": list(options.band),
        "Normalization": scale,
        "NormalizationVoxels": "all voxels of the mask with a value; the zero shell of the grid does not count"
        if scale != "none"
        else None,
        "InputSeries": "band-passed, smoothed and regressed, in this order"
        if paper
        else "regressed" + ("" if unfiltered else " and band-passed"),
        "SmoothedBefore": options.fwhm if paper or unfiltered else 0.0,
        "SmoothedAfter": options.fwhm if indicator.smoothed_after and not paper else 0.0,
        "SmoothingUnits": "mm FWHM",
    }
    if indicator.regional:
        fields |= atlas_fields(facts, config)
    if indicator.origin:
        fields["Extension"] = indicator.origin
    return fields | shared_fields(facts, config)


def regional_fields(stat: str, facts: RunFacts, config: Config) -> Fields:
    """Sidecar fields of the table of one indicator, a row a region."""
    how = "" if INDICATORS[stat].regional else ", the mean of the map over its covered voxels"
    text = f"{INDICATORS[stat].title} of each region{how}; n/a where the run does not cover it."
    return map_fields(stat, "", facts, config) | atlas_fields(facts, config) | {"Description": text}


def summarise(
    regions: Mapping[str, NDArray[Any]],
    entities: dict[str, str],
    config: Config,
    facts: RunFacts,
    anatomy: AnatomyFacts | None,
) -> RunSummary:
    """Put what is known of a run into the words and numbers of its report.

    `regions` holds ``names``, ``coverage`` and each indicator's regional values; `anatomy` is what is known of the T1w
    image that led its way to the template.
    """
    stats = [stat for stat in regions if stat in INDICATORS]
    excluded, dof, covered = facts.motion.excluded, facts.denoising.residual_dof, facts.grid.coverage
    warnings = [*facts.acquisition.messages, *facts.grid.warnings, facts.denoising.warning or ""]
    coverage_limit = f"at least {COVERAGE_WARNING:.0%}"
    quality = (
        *(anatomy.quality if anatomy else ()),
        *facts.registration.quality,
        QualityMeasure(
            "Share of the template's brain covered", covered, "", coverage_limit, covered >= COVERAGE_WARNING
        ),
        QualityMeasure("Residual degrees of freedom", dof, "", f"at least {DOF_WARNING}", dof >= DOF_WARNING),
    )
    return RunSummary(
        entities=entities,
        usable=excluded is None,
        exclusion=() if excluded is None else (excluded,),
        warnings=tuple(dict.fromkeys(warning for warning in warnings if warning)),
        inputs={"source": facts.acquisition.source, "files": ", ".join(facts.acquisition.files)},
        parameters=_settings(config, facts),
        numbers=_numbers(facts),
        steps=_steps(config, facts, anatomy),
        quality=quality,
        regions=tuple(
            RegionValues(
                str(name), float(regions["coverage"][place]), {stat: float(regions[stat][place]) for stat in stats}
            )
            for place, name in enumerate(regions["names"])
        ),
        software=software_versions(),
    )


def _settings(config: Config, facts: RunFacts) -> dict[str, str]:
    options, resolution = config.denoising, facts.grid.resolution
    of_indicators: dict[str, str] = {}
    for stat in config.indicators.indicators:
        of_indicators |= INDICATORS[stat].table(config)
    return {
        "Space": facts.grid.space,
        "Resolution": f"{resolution:g} mm" if isinstance(resolution, float) else resolution,
        "Band": str(options.band),
        "Smoothing": f"{options.fwhm:g} mm FWHM",
        "Order": processing_order(config),
        "Nuisance": f"{len(facts.denoising.regressors)} regressors, rank {facts.denoising.design_rank} in the band",
        "Atlas": facts.indicators.atlas,
        **of_indicators,
        "Preset": config.preset,
    }


def _numbers(facts: RunFacts) -> dict[str, float | int | None]:
    """Figures of the run; the verdict shows the first six."""
    acquisition, motion, denoising = facts.acquisition, facts.motion, facts.denoising
    return {
        "Mean framewise displacement, Power (mm)": round(motion.mean_fd, 4),
        "Largest translation (mm)": round(motion.max_translation, 3),
        "Largest rotation (degrees)": round(motion.max_rotation, 3),
        "Volumes used": acquisition.volumes - denoising.censored,
        "Repetition time (s)": acquisition.repetition_time,
        "Residual degrees of freedom": denoising.residual_dof,
        "Dimensions in the band": denoising.band_dimensions,
        "Volumes dropped at the start": acquisition.discarded,
        "Volumes censored": denoising.censored,
        "Mean framewise displacement, Jenkinson (mm)": round(motion.mean_rmsd, 4),
    }


def _steps(config: Config, facts: RunFacts, anatomy: AnatomyFacts | None) -> tuple[ProcessingStep, ...]:
    acquisition = facts.acquisition
    if acquisition.source == "fmriprep":
        first = [ProcessingStep("Preprocessing", "done", "by fMRIPrep")]
    else:
        timed: Literal["done", "skipped"] = "done" if acquisition.slice_timing_corrected else "skipped"
        first = [
            ProcessingStep("Slice timing", timed, acquisition.slice_timing_note or ""),
            ProcessingStep("Realignment", "done", "to the first volume kept"),
        ]
    return (
        *first,
        *(anatomy.steps if anatomy else ()),
        *facts.registration.steps,
        ProcessingStep("Resampling", "done", facts.registration.interpolations),
        ProcessingStep("Denoising", "done", processing_order(config)),
    )


def software_versions() -> dict[str, str]:
    """Versions of what computed the numbers."""
    versions = {"migxai": migxai.__version__}
    for name in _SOFTWARE:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # optional ones
            continue
    return versions
