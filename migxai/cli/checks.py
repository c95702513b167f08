"""What can be known to be wrong with settings before any data are seen."""

from __future__ import annotations

import math

from migxai.config import Config
from migxai.errors import UsageError


def check(config: Config) -> None:
    """Refuse settings that are out of range or contradict each other.

    What depends on the data (the Nyquist frequency, the number of volumes) is checked with the data.

    Raises
    ------
    UsageError
        With the first problem found.
    """
    for problem, sentence in [*_problems(config), *_group_problems(config)]:
        if problem:
            raise UsageError(sentence)


def _problems(config: Config) -> list[tuple[bool, str]]:
    raw, denoising, indicators, run = config.preprocessing, config.denoising, config.indicators, config.run
    low, high = denoising.low, denoising.high
    return [
        (not _finite(config), "Numbers have to be finite: a setting is nan or inf."),
        (low < 0, f"--low {low:g} is negative; frequencies are in Hz, from 0."),
        (not low < high, f"--low {low:g} must be less than --high {high:g}."),
        (denoising.fwhm < 0, f"--fwhm {denoising.fwhm:g} is negative; 0 switches smoothing off."),
        (
            denoising.fd_threshold is not None and denoising.fd_threshold <= 0,
            f"--fd-threshold {denoising.fd_threshold} must be more than 0; leave it out to keep every volume.",
        ),
        (
            denoising.fd_threshold is not None and denoising.order == "paper",
            "--fd-threshold leaves volumes out, which the paper's order of denoising (--preset paper) does not know.",
        ),
        (
            denoising.min_time is not None and denoising.min_time <= 0,
            f"--min-time {denoising.min_time} must be more than 0 seconds.",
        ),
        (
            isinstance(raw.dummy_scans, int) and raw.dummy_scans < 0,
            f"--dummy-scans {raw.dummy_scans} is negative; 0 keeps every volume.",
        ),
        (
            raw.repetition_time is not None and not 0 < raw.repetition_time < 100,
            f"--repetition-time {raw.repetition_time} is not a repetition time in seconds.",
        ),
        (not 0 <= raw.slice_time_ref <= 1, f"--slice-time-ref {raw.slice_time_ref:g} must be from 0 to 1."),
        (raw.max_translation <= 0, f"--max-translation {raw.max_translation:g} must be more than 0 mm."),
        (raw.max_rotation <= 0, f"--max-rotation {raw.max_rotation:g} must be more than 0 degrees."),
        (
            raw.resolution != "native" and not 0.5 <= float(raw.resolution) <= 10,
            f"--resolution {raw.resolution} must be native, or from 0.5 to 10 mm.",
        ),
        (not 0 <= indicators.min_coverage <= 1, f"--min-coverage {indicators.min_coverage:g} must be from 0 to 1."),
        (not indicators.indicators, "No indicator is left to compute; name at least one with --indicators."),
        (not indicators.forms, "No form of the maps is left to write; name at least one with --forms."),
        (
            (indicators.atlas is None) != (indicators.atlas_labels is None),
            "--atlas and --atlas-labels belong together; give both or neither.",
        ),
        (
            config.preset == "paper" and "falff" in indicators.indicators,
            "--preset paper band-passes before everything else, and fALFF of band-passed data is about 1 everywhere; "
            "leave falff out of --indicators, or leave out --preset paper.",
        ),
        (run.mem_gb is not None and run.mem_gb <= 0, f"--mem-gb {run.mem_gb} must be more than 0."),
        (
            run.nprocs is not None and run.omp_nthreads is not None and run.omp_nthreads > run.nprocs,
            f"--omp-nthreads {run.omp_nthreads} is more than --nprocs {run.nprocs}; a subject can't use more CPUs than "
            "there are in all.",
        ),
        (config.random_seed < 0, f"The random seed {config.random_seed} is negative."),
    ]


def _group_problems(config: Config) -> list[tuple[bool, str]]:
    learning, explaining = config.learning, config.explaining
    twice = sorted({item for item in learning.indicators if learning.indicators.count(item) > 1})
    return [
        (bool(twice), f"--indicators names {', '.join(twice)} more than once."),
        (not learning.models, "No model is left; name at least one with --models."),
        (not 0 <= learning.min_fov <= 1, f"--min-fov {learning.min_fov:g} must be from 0 to 1."),
        (learning.slices < 1, f"--slices {learning.slices} must be at least 1."),
        (
            len(learning.slice_range) not in (0, 2) or learning.slice_range != tuple(sorted(learning.slice_range)),
            "--slice-range takes two numbers, the lowest and the highest slice in mm.",
        ),
        (not 0 < learning.crop <= 1, f"--crop {learning.crop:g} must be more than 0 and at most 1."),
        (not 0 <= learning.rotation <= 180, f"--rotation {learning.rotation:g} must be from 0 to 180 degrees."),
        (not 0 <= learning.dropout < 1, f"--dropout {learning.dropout:g} must be from 0 to less than 1."),
        (learning.learning_rate <= 0, f"--learning-rate {learning.learning_rate:g} must be more than 0."),
        (not 0 <= learning.momentum < 1, f"--momentum {learning.momentum:g} must be from 0 to less than 1."),
        (learning.weight_decay < 0, f"--weight-decay {learning.weight_decay:g} is negative."),
        (
            learning.cv == "kfold" and learning.folds < 2 and learning.folds_file is None,
            f"--folds {learning.folds}: at least 2 are needed, or nobody is left to learn from.",
        ),
        (
            explaining.explain and not explaining.cam,
            "No way to make maps is left; name one with --cam, or give --no-explain.",
        ),
        (
            not 0 <= explaining.cam_threshold < 1,
            f"--cam-threshold {explaining.cam_threshold:g} must be from 0 to less than 1.",
        ),
    ]


def _finite(config: Config) -> bool:
    names = ("preprocessing", "denoising", "indicators", "learning", "explaining", "run")
    numbers = (value for name in names for value in vars(getattr(config, name)).values() if isinstance(value, float))
    return all(math.isfinite(value) for value in numbers)
