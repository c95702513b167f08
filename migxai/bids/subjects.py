"""Which subjects a run is about: those of the dataset that were selected."""

from __future__ import annotations

from pathlib import Path

from migxai.bids.fmriprep import is_fmriprep
from migxai.bids.inputs import choose_task, fmriprep_derivative
from migxai.bids.layout import check_dataset, choose_labels, subject_labels
from migxai.config import Config


def dataset_root(config: Config) -> Path:
    """Return the dataset whose subjects are processed: fMRIPrep's, where one is given beside ``bids_dir``, or that."""
    bids_dir = config.run.bids_dir
    assert bids_dir is not None
    if is_fmriprep(check_dataset(bids_dir)):
        return bids_dir
    return fmriprep_derivative(config.run.derivatives) or bids_dir


def select_subjects(config: Config) -> tuple[str, ...]:
    """Return the labels of the selected subjects, sorted, without indexing the dataset.

    Raises `UsageError` if a subject or task was asked for that does not exist, and `InputError` if the dataset is none,
    or has no resting run.
    """
    root = dataset_root(config)
    check_dataset(root, "the fMRIPrep derivative")
    labels = choose_labels(config.selection.participant_label, subject_labels(root), "sub")
    choose_task(root, config.selection.task_id)
    return labels
