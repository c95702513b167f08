"""What can be known to be wrong before anything is computed."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import multiprocessing
import os
from pathlib import Path
from typing import Any, Literal

from migxai.bids.inputs import check_output_place
from migxai.bids.outputs import IMAGE_VARIABLE, refuse_foreign_output
from migxai.config import Config, directories
from migxai.errors import InputError, MissingDependencyError, OutputError, ResourceError, UsageError
from migxai.execution.environment import cpu_count, memory_gb, provide_scratch
from migxai.io import free_gb, prepare_directory

#: Free space in GB below which a run is not begun.
LEAST_FREE_GB = 0.2
ATTEMPTS = 5


def check_settings(config: Config) -> None:
    """Refuse settings that are out of range or contradict each other, before any data are seen: a `UsageError`.

    What depends on the data (the Nyquist frequency, the number of volumes) is checked with the data.
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


def check_places(config: Config, *, level: Literal["participant", "group"] = "participant") -> None:
    """Check that what is read exists and that nothing would be written into it. Writes nothing.

    At group level the output may be the dataset of maps that is read, since all that is written lies in its ``group``
    folder. Raises `UsageError` if something that was named does not exist, or a directory lies where it must not, and
    `InputError` if a dataset may not be read.
    """
    bids_dir, output_dir, work_dir = directories(config)
    if not bids_dir.is_dir():
        raise UsageError(f"bids_dir {bids_dir} does not exist or is not a directory.")
    _check_readable(bids_dir, "bids_dir")
    for name, place in config.run.derivatives:
        if not place.is_dir():
            raise UsageError(f"The derivative {name} at {place} does not exist or is not a directory.")
        _check_readable(place, f"the derivative {name} at")
        if _is_inside(output_dir, place) and level == "participant":
            raise UsageError(f"The output directory {output_dir} lies inside the derivative {name}; choose another.")
    for option, file in (
        ("--atlas", config.indicators.atlas),
        ("--atlas-labels", config.indicators.atlas_labels),
        ("--use-plugin", config.run.use_plugin if isinstance(config.run.use_plugin, Path) else None),
        ("--folds-file", config.learning.folds_file),
        ("--weights", config.learning.weights if isinstance(config.learning.weights, Path) else None),
    ):
        if file is not None and not file.is_file():
            raise UsageError(f"{option}: there is no file {file}.")
    if config.learning.weights_dir is not None and not config.learning.weights_dir.is_dir():
        raise UsageError(f"--weights-dir: there is no directory {config.learning.weights_dir}.")
    if level == "group" and output_dir.resolve() == bids_dir.resolve():
        return
    if config.preprocessing.registration == "ants" and importlib.util.find_spec("ants") is None:
        raise MissingDependencyError(
            "--registration ants needs antspyx, which is not installed: pip install migxai[ants]."
        )
    check_output_place(bids_dir, output_dir)
    if _is_inside(work_dir, bids_dir) and not _is_inside(work_dir, output_dir):
        raise UsageError(f"The work directory {work_dir} lies inside the input dataset; choose one outside with -w.")
    if _is_inside(output_dir, work_dir):
        raise UsageError(f"The output directory {output_dir} lies inside the work directory; choose another with -w.")


def _check_readable(folder: Path, what: str) -> None:
    if not os.access(folder, os.R_OK | os.X_OK):
        raise InputError(
            f"{what} {folder} may not be read by this user ({os.getuid()}): change its permissions, or run as its "
            'owner (in Docker: --user "$(id -u):$(id -g)").'
        )


def check_shared_memory() -> None:
    """Raise `ResourceError` if there is no shared memory, or it is full: a pool's processes share locks in it."""
    try:
        multiprocessing.get_context("spawn").Lock()
    except OSError as error:
        raise ResourceError(
            f"There is no shared memory for the processes of this run (/dev/shm: {error.strerror}): free it, or in a "
            "container leave out --ipc none or give --shm-size 64m."
        ) from error


def check_plugin(config: Config) -> dict[str, Any] | None:
    """Return the nipype plugin that the user names, and its arguments; None without. Only then nipype is imported."""
    if config.run.use_plugin is None:
        return None
    from migxai.execution.plugins.workflows import read_plugin

    return read_plugin(config.run.use_plugin)


def prepare_output(config: Config) -> list[str]:
    """Make the output and work directories, and check that they can be written and have room.

    Returns what the log should tell: where temporary files go instead of the usual place, if they do. Raises
    `OutputError` if a directory can't be made or written, or the output belongs to another program, and
    `ResourceError` if there is no room left.
    """
    _, output_dir, work_dir = directories(config)
    for what, folder in (("output", output_dir), ("work", work_dir)):
        try:
            _prepare(folder)
        except OutputError as error:
            raise OutputError(f"The {what} directory {folder} can't be used: {error}{_whose(error)}") from error
        free = free_gb(folder)
        if free < LEAST_FREE_GB:
            raise ResourceError(f"Only {free:.2f} GB are free in the {what} directory {folder}; make room first.")
    refuse_foreign_output(output_dir)
    return provide_scratch(work_dir, tidy_up=config.run.work_dir is None)


def doubts(config: Config) -> list[str]:
    """Say what is allowed, but hardly meant: more asked for than there is, an output that goes with its container."""
    run, cpus, memory = config.run, cpu_count(), memory_gb()
    limit = "by its affinity, its cgroup (a container's limit) or its batch job"
    sentences = []
    if run.nprocs is not None and run.nprocs > cpus:
        sentences.append(
            f"--nprocs {run.nprocs} is more than the {cpus} CPUs that this process may use {limit}; it will be slower, "
            "not faster, than with fewer."
        )
    if run.mem_gb is not None and run.mem_gb > memory:
        sentences.append(
            f"--mem-gb {run.mem_gb:g} is more than the {memory:.1f} GB that this process may use {limit}; a run that "
            "needs more will be killed."
        )
    output_dir = directories(config)[1]
    if IMAGE_VARIABLE in os.environ and output_dir.stat().st_dev == Path("/").stat().st_dev:
        sentences.append(
            f"The output directory {output_dir} lies inside the container and is lost with it: mount a folder there "
            f"(-v /a/folder:{output_dir})."
        )
    return sentences


def _whose(error: OutputError) -> str:
    """Say who asks, where permission is missing: a container's user is often not the one who started it."""
    if not isinstance(error.__cause__, PermissionError):
        return ""
    return f' This process is user {os.getuid()} (in Docker, --user "$(id -u):$(id -g)" makes it you).'


def _prepare(folder: Path) -> None:
    # A run that ends beside this one may remove the emptied work directory just after it is made here.
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(OutputError):
            return prepare_directory(folder)
    return prepare_directory(folder)


def _is_inside(inner: Path, outer: Path) -> bool:
    return inner.resolve().is_relative_to(outer.resolve())
