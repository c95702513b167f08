"""What is known of a run: what was measured and decided, each written once by the step that knows it.

Settings are not facts: whoever needs them reads the configuration. Steps hand these objects to each other as nipype
values; nipype's cache compares them by their representation, so they hold plain values alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from migxai.reports.participant.report import ProcessingStep, QualityMeasure

#: Below this share of the template's brain a run is doubtful.
COVERAGE_WARNING = 0.9


@dataclass(frozen=True)
class AcquisitionFacts:
    """A run as it was read.

    Attributes
    ----------
    source
        Raw images, or fMRIPrep's derivatives.
    files
        BIDS URIs of what it was read from.
    repetition_time
        Seconds.
    volumes, discarded
        Volumes kept, and dropped at the start.
    messages
        What is odd about it, a sentence each.
    slice_timing_corrected, slice_timing_note
        Whether slice times were corrected, and how, or why not; None after fMRIPrep.
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
    """What was done to a T1w image.

    Attributes
    ----------
    extraction
        How its brain was found.
    engine
        Program that registered it, with its version.
    steps, quality
        Rows of the report.
    """

    extraction: str
    engine: str
    steps: tuple[ProcessingStep, ...]
    quality: tuple[QualityMeasure, ...]


@dataclass(frozen=True)
class RegistrationFacts:
    """How a run was brought to the grid of its maps.

    Attributes
    ----------
    interpolations
        How often the data were interpolated, in words.
    steps, quality
        Rows of the report; none where fMRIPrep registered the run.
    """

    interpolations: str
    steps: tuple[ProcessingStep, ...] = ()
    quality: tuple[QualityMeasure, ...] = ()


@dataclass(frozen=True)
class GridFacts:
    """The grid of a run's maps.

    Attributes
    ----------
    space
        Template space, as in ``space-``.
    resolution
        Isotropic voxel size in mm, or the voxel sizes in words.
    coverage
        Share of the template's brain that the run covers.
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
    """How much the head moved.

    Attributes
    ----------
    excluded
        Why group level leaves the run out; None if it is usable.
    max_translation, max_rotation
        In mm and degrees.
    mean_fd, mean_rmsd
        Mean framewise displacement in mm, after Power and after Jenkinson.
    """

    excluded: str | None
    max_translation: float
    max_rotation: float
    mean_fd: float
    mean_rmsd: float


@dataclass(frozen=True)
class DenoisingFacts:
    """What the nuisance regression left.

    Attributes
    ----------
    regressors
        Columns of the confounds table that were regressed out.
    band_dimensions, design_rank, residual_dof
        Dimensions in the band, rank of the filtered regressors, and the first less the second.
    censored
        Volumes left out for motion.
    warning
        A sentence if few degrees of freedom are left.
    """

    regressors: tuple[str, ...]
    band_dimensions: int
    design_rank: int
    residual_dof: int
    censored: int
    warning: str | None


@dataclass(frozen=True)
class IndicatorFacts:
    """What the maps were scaled by, and the atlas of the regional values.

    Attributes
    ----------
    means
        Mean over the brain of each un-normalised map, by indicator.
    atlas, atlas_reference
        Name of the atlas, and where it comes from.
    regions
        Number of its regions.
    """

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
