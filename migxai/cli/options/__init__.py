"""Every option of the command line as data.

The table yields the argparse parser, the mapping from the command line to `Config` and the Boutiques descriptor.
Nothing heavy is imported here: ``migxai --help`` has to be instant.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from migxai.audit.checks import CHECKS
from migxai.cli.options import group, participant, running
from migxai.cli.options.participant import FORMS
from migxai.config import Config
from migxai.explain.methods import METHODS
from migxai.indicators.registry import INDICATORS
from migxai.learning.backbones import NETWORKS
from migxai.learning.estimators import ESTIMATORS
from migxai.options import Option
from migxai.registry import Registry

__all__ = ["FORMS", "GROUPS", "POSITIONALS", "REGISTRIES", "Option", "all_options", "problems", "settings"]

#: All that can be added to from other packages; the options of their entries are those of the command line too.
REGISTRIES: tuple[Registry[Any], ...] = (INDICATORS, NETWORKS, ESTIMATORS, METHODS, CHECKS)

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


@cache
def all_options() -> tuple[Option, ...]:
    """Return every option of this installation, those of other packages included, in the order of ``--help``."""
    listed = (
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
        *(option for registry in REGISTRIES for entry in registry.values() for option in entry.options),
    )
    # Two entries may share an option. One of another package takes no name from migxai, or from one before it.
    taken = {flag for option in listed if option.section != "extensions" for flag in option.flags}
    found: list[Option] = []
    for option in listed:
        if option in found:
            continue
        if option.section == "extensions":
            if taken & set(option.flags) or option.group not in GROUPS:
                continue
            taken |= set(option.flags)
        found.append(option)
    return tuple(found)


def problems(level: str) -> tuple[str, ...]:
    """Return a sentence for each thing of another package that a level could not use; the rest works."""
    found = [sentence for registry in REGISTRIES for sentence in registry.problems]
    if level == "group":
        # Checks import what they compute with, and have no options, so only a run lists them.
        from migxai.audit.checks import CHECKS

        found += CHECKS.problems
    usable = all_options()
    for entry in (entry for registry in REGISTRIES for entry in registry.values()):
        for option in entry.options:
            if option not in usable:
                found.append(
                    f"The option {option.flags[0]} of {entry.origin} is left out, so its default holds: its name is "
                    "taken, or its group is none of migxai's."
                )
    return tuple(found)


#: Set by the two positional arguments.
POSITIONALS = ("run.bids_dir", "run.output_dir")


def settings() -> frozenset[str]:
    """Return every setting of `Config` as ``section.field``, those of other packages apart."""
    config = Config()
    found: set[str] = set()
    for item in dataclasses.fields(config):
        content = getattr(config, item.name)
        if dataclasses.is_dataclass(content):
            found.update(f"{item.name}.{inner.name}" for inner in dataclasses.fields(content))
        elif item.name != "extensions":
            found.add(f"config.{item.name}")
    return frozenset(found)
