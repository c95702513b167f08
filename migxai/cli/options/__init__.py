"""Every option of the command line as data.

The table yields the argparse parser, the mapping from the command line to `Config` and the Boutiques descriptor.
Nothing heavy is imported here: ``migxai --help`` has to be instant.
"""

from __future__ import annotations

import dataclasses

from migxai.cli.options import group, participant, running
from migxai.cli.options.base import FORMS, INDICATORS, Option
from migxai.config import Config

__all__ = ["FORMS", "GROUPS", "INDICATORS", "OPTIONS", "POSITIONALS", "Option", "settings"]

#: Groups of ``--help``, in order.
GROUPS = {
    "selection": "which data",
    "inputs": "derived inputs and databases",
    "raw": "participant level: preprocessing of raw data (the numbers of the paper are the defaults)",
    "denoising": "participant level: denoising",
    "indicators": "participant level: indicators (--indicators: both levels)",
    "cohort": "group level: who is compared, and on which images",
    "models": "group level: models and their training",
    "evaluation": "group level: evaluation",
    "explanations": "group level: explanations and checks",
    "resources": "resources and working files",
    "run": "what to do, and how the run is described",
}

OPTIONS: tuple[Option, ...] = (
    *participant.selection(),
    *participant.inputs(),
    *participant.raw(),
    *participant.denoising(),
    *participant.indicators(),
    *group.cohort(),
    *group.models(),
    *group.evaluation(),
    *group.explanations(),
    *group.strictness(),
    *group.actions(),
    *running.resources(),
    *running.run(),
)

#: Set by the two positional arguments.
POSITIONALS = ("run.bids_dir", "run.output_dir")


def settings() -> frozenset[str]:
    """Return every setting of `Config` as ``section.field``."""
    config = Config()
    found: set[str] = set()
    for item in dataclasses.fields(config):
        content = getattr(config, item.name)
        if dataclasses.is_dataclass(content):
            found.update(f"{item.name}.{inner.name}" for inner in dataclasses.fields(content))
        else:
            found.add(f"config.{item.name}")
    return frozenset(found)
