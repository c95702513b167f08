"""What sidecars and reports say of a run, from its facts and the configuration: no file is read or written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Literal

import pandas as pd
from numpy.typing import NDArray

import migxai
from migxai.config import Config
from migxai.data import SPACE
from migxai.indicators.registry import INDICATORS
from migxai.participant.facts import COVERAGE_WARNING, AnatomyFacts, RunFacts
from migxai.reports.participant.methods import MethodsFacts
from migxai.reports.participant.run_summary import ProcessingStep, QualityMeasure, RegionValues, RunSummary
from migxai.signal.denoising import DOF_WARNING

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

    Parameters
    ----------
    regions
        ``names``, ``coverage`` and each indicator's regional values.
    entities
        Entities of the run.
    config
        The run's configuration.
    facts, anatomy
        What is known of the run, and of the T1w image that led its way to the template.
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


def methods_facts(config: Config, source: Literal["raw", "fmriprep"], runs: Sequence[RunSummary]) -> MethodsFacts:
    """Gather what the methods paragraph may claim: what all runs have in common; without runs, the plan alone."""
    if not runs:
        space = config.preprocessing.space or SPACE
        return MethodsFacts(migxai.__version__, source, space=space)
    steps = [{step.name: step.status for step in run.steps} for run in runs]

    def common(name: str) -> bool | None:
        found = {item.get(name, "skipped") == "done" for item in steps}
        return found.pop() if len(found) == 1 and source == "raw" else None

    dropped = {int(run.numbers["Volumes dropped at the start"] or 0) for run in runs}
    return MethodsFacts(
        migxai.__version__,
        source,
        space=runs[0].parameters["Space"],
        slice_timing=common("Slice timing"),
        anatomical=common("T1w to template"),
        brain_extraction=common("Brain extraction"),
        n_dropped=dropped.pop() if len(dropped) == 1 else None,
        n_excluded=sum(not run.usable for run in runs),
    )
