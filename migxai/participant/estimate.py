"""What the subjects of a run need, estimated from their own data."""

from __future__ import annotations

from collections.abc import Sequence

from migxai.bids.fmriprep import is_fmriprep
from migxai.bids.inputs import choose_task
from migxai.bids.layout import check_dataset
from migxai.cli.subjects import dataset_root
from migxai.config import Config
from migxai.participant.demand import Demand, most, subject_demand
from migxai.participant.sizes import run_sizes


def estimate(config: Config, subjects: Sequence[str]) -> Demand | None:
    """Estimate what is enough for each of the subjects.

    Parameters
    ----------
    config
        The run's configuration.
    subjects
        Labels, without ``sub-``.

    Returns
    -------
    Demand or None
        None if no header could be read.
    """
    root = dataset_root(config)
    task, _ = choose_task(root, config.selection.task_id)
    after_fmriprep = is_fmriprep(check_dataset(root))
    sizes = [run_sizes(root, subject, task) for subject in subjects]
    demands = [subject_demand(item, after_fmriprep=after_fmriprep) for item in sizes if item]
    return most(demands) if demands else None
