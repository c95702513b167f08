"""Which subjects a run is about: those of the dataset, selected, and this array task's part of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from migxai.bids.fmriprep import is_fmriprep
from migxai.bids.inputs import choose_task, fmriprep_derivative
from migxai.bids.layout import check_dataset, choose_labels, subject_labels
from migxai.config import Config
from migxai.errors import UsageError


def dataset_root(config: Config) -> Path:
    """Return the dataset whose subjects are processed: fMRIPrep's, where one is given beside ``bids_dir``, or that."""
    bids_dir = config.run.bids_dir
    assert bids_dir is not None
    if is_fmriprep(check_dataset(bids_dir)):
        return bids_dir
    return fmriprep_derivative(config.run.derivatives) or bids_dir


def select_subjects(config: Config) -> tuple[str, ...]:
    """Return the labels of the selected subjects, sorted, without indexing the dataset.

    Raises
    ------
    UsageError
        If a subject or task was asked for that does not exist.
    InputError
        If the dataset is none, or has no resting run.
    """
    root = dataset_root(config)
    check_dataset(root, "the fMRIPrep derivative")
    labels = choose_labels(config.selection.participant_label, subject_labels(root), "sub")
    choose_task(root, config.selection.task_id)
    return labels


def array_part(
    spec: str | None, subjects: Sequence[str], environment: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the part of the subjects that falls to this array task.

    Parameters
    ----------
    spec
        ``I/N``, ``auto`` or ``auto/N``; None is everything.
    subjects
        All subjects, in the same order for every task.
    environment
        Environment variables (default: this process's).

    Returns
    -------
    tuple of str
        Every N-th subject from the I-th on: the parts of all tasks are disjoint and complete, and as even as can be.

    Raises
    ------
    UsageError
        If this is no array task, or its number is not one of 1 to N.
    """
    if spec is None:
        return tuple(subjects)
    number, _, parts = spec.partition("/")
    if number != "auto":
        index, total = int(number), int(parts)
    else:
        index, found = _array_task(os.environ if environment is None else environment)
        total = int(parts) if parts else found or len(subjects)
    if not 1 <= index <= total:
        raise UsageError(
            f"This is task {index} of an array of {total} parts; number the tasks from 1 to {total}, without gaps, "
            "or name both with --array-index I/N."
        )
    return tuple(subjects[index - 1 :: total])


def _array_task(environment: Mapping[str, str]) -> tuple[int, int | None]:
    """Return this task's number, from 1, and the number of tasks where the scheduler tells it."""

    def read(name: str) -> int | None:
        text = environment.get(name, "")
        return int(text) if text.isdigit() else None

    task, first = read("SLURM_ARRAY_TASK_ID"), read("SLURM_ARRAY_TASK_MIN")
    if task is not None:
        step, total = read("SLURM_ARRAY_TASK_STEP") or 1, read("SLURM_ARRAY_TASK_COUNT")
        return (task - (1 if first is None else first)) // step + 1, total
    task, first, last = read("SGE_TASK_ID"), read("SGE_TASK_FIRST"), read("SGE_TASK_LAST")
    if task is not None:
        step = read("SGE_TASK_STEPSIZE") or 1
        first = 1 if first is None else first
        return (task - first) // step + 1, None if last is None else (last - first) // step + 1
    for name in ("PBS_ARRAY_INDEX", "PBS_ARRAYID"):
        task = read(name)
        if task is not None:
            return task, None
    raise UsageError(
        "--array-index auto finds no variable of a SLURM, PBS or SGE job array; run it in one, or give I/N."
    )
