"""Every option of the command line as data.

The table yields the argparse parser, the mapping from the command line to `Config` and the Boutiques descriptor.
Nothing heavy is imported here: ``migxai --help`` has to be instant.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from migxai.cli.options import group, participant, running
from migxai.cli.options.participant import FORMS
from migxai.config import Config
from migxai.indicators.registry import INDICATORS
from migxai.options import Option
from migxai.registry import Registry

__all__ = ["FORMS", "GROUPS", "POSITIONALS", "REGISTRIES", "Option", "all_options", "problems", "settings"]

#: All that can be added to from other packages; their entries' options are listed by the functions of `all_options`.
REGISTRIES: tuple[Registry[Any], ...] = (INDICATORS,)

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
    )
    # Two entries may share an option. One of another package never takes a name from migxai.
    own = {flag for option in listed if option.section != "extensions" for flag in option.flags}
    found: list[Option] = []
    for option in listed:
        if option not in found and (option.section != "extensions" or not own & set(option.flags)):
            found.append(option)
    return tuple(found)


def problems() -> tuple[str, ...]:
    """Return a sentence for each thing of another package that could not be used; the rest works."""
    usable = all_options()
    return (
        *(sentence for registry in REGISTRIES for sentence in registry.problems),
        *(
            f"The option {option.flags[0]} of {entry.origin} has a name that is taken; its default is used."
            for registry in REGISTRIES
            for entry in registry.values()
            for option in entry.options
            if option not in usable
        ),
    )


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
