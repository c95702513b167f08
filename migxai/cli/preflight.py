"""What can be known to be wrong before anything is computed."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
from pathlib import Path
from typing import Literal

from migxai.bids.inputs import check_output_place
from migxai.bids.outputs import IMAGE_VARIABLE, refuse_foreign_output
from migxai.config import Config, directories
from migxai.errors import InputError, MissingDependencyError, OutputError, ResourceError, UsageError
from migxai.execution.resources import cpu_count, memory_gb, overstated
from migxai.execution.scratch import provide_scratch
from migxai.io import free_gb, prepare_directory

#: Free space in GB below which a run is not begun.
LEAST_FREE_GB = 0.2
ATTEMPTS = 5


def check_places(config: Config, *, level: Literal["participant", "group"] = "participant") -> None:
    """Check that what is read exists and that nothing would be written into it. Writes nothing.

    At group level the output may be the dataset of maps that is read, since all that is written lies in its
    ``group`` folder.

    Raises
    ------
    UsageError
        If something that was named does not exist, or a directory lies where it must not.
    InputError
        If a dataset may not be read.
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
    """Check that the processes of a pool can share locks.

    Raises
    ------
    ResourceError
        If there is no shared memory, or it is full.
    """
    try:
        multiprocessing.get_context("spawn").Lock()
    except OSError as error:
        raise ResourceError(
            f"There is no shared memory for the processes of this run (/dev/shm: {error.strerror}): free it, or in a "
            "container leave out --ipc none or give --shm-size 64m."
        ) from error


def prepare_output(config: Config) -> list[str]:
    """Make the output and work directories, and check that they can be written and have room.

    Returns
    -------
    list of str
        What the log should tell: where temporary files go instead of the usual place, if they do.

    Raises
    ------
    OutputError
        If a directory can't be made or written, or the output belongs to another program.
    ResourceError
        If there is no room left.
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
    """Say what is allowed, but hardly meant: more asked for than there is, or an output that goes with its container.

    Returns
    -------
    list of str
        Sentences, none if all is well.
    """
    sentences = overstated(config.run, cpu_count(), memory_gb())
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
