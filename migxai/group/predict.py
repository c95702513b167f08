"""Classify new maps with a saved model (``--predict``); labels are neither needed nor read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from migxai.bids.layout import inherited_metadata
from migxai.cohort.compatibility import MapFile, common_definition, common_space
from migxai.cohort.datasets import open_datasets
from migxai.cohort.maps import common_grid, read_mean_map
from migxai.config import Config
from migxai.data import load_atlas
from migxai.errors import InputError
from migxai.evaluation.results import GroupFolder
from migxai.execution.locks import group_lock
from migxai.group.plan import begin_output, datasets
from migxai.io import write_tsv
from migxai.learning.persistence import load_model
from migxai.learning.predicting import MapFacts, predict_maps


def predict_group(config: Config, model: Path) -> list[str]:
    """Classify everybody's maps with a saved model, write ``group/predicted_<model>.tsv``, and say what to know of it.

    An InputError says that the file is no model of migxai, or which map does not fit it.
    """
    saved = load_model(model)
    people = _people(config, saved.card.indicator)
    everything = [item for files in people.values() for item in files]
    space, _, messages = common_space(everything)
    definition, said = common_definition(everything)
    _, affine = common_grid([item.path for item in everything])
    facts = [
        MapFacts(saved.card.indicator, space or saved.card.space, definition, _version(files))
        for files in people.values()
    ]
    volumes = [(key, read_mean_map([item.path for item in files]), affine) for key, files in people.items()]
    atlas = config.indicators.atlas
    found = predict_maps(
        saved,
        volumes,
        facts,
        config.learning,
        atlas=load_atlas(atlas, config.indicators.atlas_labels) if atlas else None,
    )
    assert config.run.output_dir is not None
    with group_lock(config.run.output_dir):
        file = GroupFolder.of(begin_output(config)).file(f"predicted_{model.stem}.tsv")
        write_tsv(file, found.table, float_format="%.6f")
    counts = ", ".join(f"{name} {count}" for name, count in found.table["predicted"].value_counts().items())
    limits = f"{len(found.table)} people are classified ({counts}), in group/{file.name}. {saved.card.limits}"
    return [*messages, *said, *found.messages, limits]


def _people(config: Config, indicator: str) -> dict[str, list[MapFile]]:
    """List each person's maps of an indicator, without the runs that were set aside."""
    people: dict[str, list[MapFile]] = {}
    for source in open_datasets(datasets(config)):
        for path, name in source.found:
            if name.entities["stat"] == indicator:
                item = MapFile(source.name, path, name, inherited_metadata(path, source.root))
                if item.exclusion is None:
                    people.setdefault(f"{source.name}/{item.participant}", []).append(item)
    if not people:
        raise InputError(f"There is no usable map of {indicator}, which the model reads.")
    return people


def _version(files: Sequence[MapFile]) -> str | None:
    made = files[0].metadata.get("GeneratedBy")
    return str(made["Version"]) if isinstance(made, dict) and "Version" in made else None
