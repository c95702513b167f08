"""Classify new maps with a saved model, and say where a map does not fit what the model was made from."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from migxai import __version__
from migxai.config import Learning
from migxai.data import Atlas, load_atlas
from migxai.errors import InputError
from migxai.learning.estimators import is_deep, tables_of
from migxai.learning.feature_store import ModelInputs
from migxai.learning.persistence import ModelCard, SavedModel
from migxai.learning.slices import SliceGeometry, cut, scale_intensity
from migxai.metrics.scores import aggregate_subjects
from migxai.metrics.types import FloatArray
from migxai.registration.space import template_brain
from migxai.signal.maps import covered_means

if TYPE_CHECKING:
    import pandas as pd

#: Millimetres by which no corner of a map's grid may lie off the model's.
_TOLERANCE = 1e-3

NewMap = tuple[str, FloatArray, FloatArray]


@dataclass(frozen=True)
class MapFacts:
    """What a map's name and sidecar say of it.

    Attributes
    ----------
    definition
        The fields of its sidecar that say how it was made, the same ones as on a model's card.
    version
        Of the migxai that made it; None where nothing says so.
    """

    indicator: str
    space: str
    definition: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = None


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a saved model says of new maps.

    Attributes
    ----------
    table
        A row a map: ``subject``, ``predicted`` (a class) and the probability ``p[<class>]`` of each class.
    messages
        What does not fit, though not so badly that the model could not be used; to be shown with the table.
    """

    table: pd.DataFrame
    messages: tuple[str, ...]


def predict_maps(
    saved: SavedModel,
    maps: Sequence[NewMap],
    facts: Sequence[MapFacts],
    settings: Learning,
    *,
    atlas: Atlas | None = None,
    work_dir: Path | None = None,
) -> Predictions:
    """Classify new maps with a saved model.

    Parameters
    ----------
    saved
        From `migxai.learning.load_model`.
    maps
        Key, map (X, Y, Z) and its voxels to RAS mm (4, 4) of each; NaN and 0 are no data.
    facts
        Of each map.
    settings
        ``vote`` and, for a network, ``weights``, ``weights_dir`` and ``device`` matter. All that concerns training is
        the model's own.
    atlas
        For a model of the regions of another atlas than the packaged one.
    work_dir
        Where a network's features, some MB a map, lie meanwhile; default: the system's folder for temporary files.

    Raises
    ------
    InputError
        If a map is of another indicator, space, grid or definition than the model's, or covers nothing that the model
        reads; if the model reads no maps; or if the weights of a network's frozen part are not those it was trained on.
    """
    import pandas as pd

    card = saved.card
    if "nuisance" in tables_of(card.model):
        raise InputError(f"{saved.name} reads motion, age, sex and site, not maps; there is nothing to classify by it.")
    if not maps or len(maps) != len(facts):
        raise InputError(f"There are {len(maps)} maps to classify, and facts of {len(facts)}.")
    for item, known in zip(maps, facts, strict=True):
        _check_fit(card, item, known)
    messages = [*_unsaid(card, facts), *_versions(card, facts)]
    if is_deep(card.model):
        probabilities = _classify_slices(saved, maps, settings, work_dir)
    else:
        inputs, thin = _regional(card, maps, atlas, settings.min_fov)
        messages += thin
        probabilities = saved.estimator().predict(inputs, np.arange(len(maps)))
    of_subjects = aggregate_subjects(probabilities, settings.vote)
    table = pd.DataFrame({"subject": [key for key, _, _ in maps]})
    table["predicted"] = [card.classes[place] for place in of_subjects.argmax(axis=1)]
    for place, name in enumerate(card.classes):
        table[f"p[{name}]"] = of_subjects[:, place]
    return Predictions(table, tuple(messages))


def _check_fit(card: ModelCard, new: NewMap, facts: MapFacts) -> None:
    """Refuse a map whose indicator, space, grid or a field of its definition is another than the card's."""
    key, volume, affine = new
    for what, its, wanted in (("indicator", facts.indicator, card.indicator), ("space", facts.space, card.space)):
        if its != wanted:
            raise InputError(f"{key} does not fit the model: its {what} is {its}, the model's {wanted}.")
    shape = tuple(card.grid["shape"])
    if np.shape(volume) != shape:
        raise InputError(
            f"{key} does not fit the model: its grid has {_size(np.shape(volume))} voxels, the model's {_size(shape)}; "
            "make it with the same --resolution."
        )
    apart = _corners_apart(affine, np.array(card.grid["affine"], dtype=np.float64), shape)
    if apart > _TOLERANCE:
        raise InputError(
            f"{key} does not fit the model: its grid lies up to {apart:.3g} mm off the model's; make it with the same "
            "--space and --resolution."
        )
    for name in sorted(card.definition.keys() & facts.definition.keys()):
        if facts.definition[name] != card.definition[name]:
            raise InputError(
                f"{key} does not fit the model: it was made with {name} {facts.definition[name]!r}, the model's maps "
                f"with {card.definition[name]!r}; make it in the same way."
            )


def _unsaid(card: ModelCard, facts: Sequence[MapFacts]) -> list[str]:
    """Say of which part of the definition either side does not know."""
    silent = sorted({name for item in facts for name in card.definition.keys() ^ item.definition.keys()})
    return [f"Not known of both the model and every map, so not compared: {', '.join(silent)}."] if silent else []


def _versions(card: ModelCard, facts: Sequence[MapFacts]) -> list[str]:
    own = card.versions.get("migxai", "an unknown version")
    messages = [] if own == __version__ else [f"The model was saved by migxai {own}; this is {__version__}."]
    made = Counter(item.version or "an unknown version" for item in facts)
    messages += [
        f"{count} of {len(facts)} maps were made by migxai {version}, the model by {own}."
        for version, count in sorted(made.items())
        if version != own
    ]
    return messages


def _regional(
    card: ModelCard, maps: Sequence[NewMap], atlas: Atlas | None, min_fov: float
) -> tuple[ModelInputs, list[str]]:
    """Average maps over the model's regions; also say which maps cover few of them."""
    # A model of nothing but class frequencies reads no region.
    regions = np.zeros((len(maps), 0))
    messages: list[str] = []
    if tables_of(card.model):
        if card.regions is None:
            raise InputError(f"The card of this {card.model} does not say which regions it reads; save it again.")
        labels, indices = _labels(card.regions, card.grid, atlas)
        limit = {name: float(value) for name, value in card.regions.items() if name == "min_coverage"}
        rows = []
        for key, volume, _ in maps:
            values = np.asarray(volume)
            means, _ = covered_means(values, labels, indices, _covered(values), **limit)
            share = float(np.isfinite(means).mean())
            if share == 0:
                raise InputError(f"{key} covers no region of {card.regions['atlas']}; see whether it is empty.")
            if share < min_fov:
                messages.append(f"{key} covers {share:.0%} of the regions; the others are filled with their mean.")
            rows.append(means)
        regions = np.stack(rows)
    return ModelInputs(tuple(key for key, _, _ in maps), regions, np.zeros((len(maps), 0)), ()), messages


def _classify_slices(
    saved: SavedModel, maps: Sequence[NewMap], settings: Learning, work_dir: Path | None
) -> FloatArray:
    """Make features of the maps' slices as they were made for training, and classify them, (n, S, C)."""
    from migxai.learning.backbone import make_backbone
    from migxai.learning.devices import choose_device
    from migxai.learning.feature_store import FeatureStore, extract_subject, make_feature_spec

    card, own = saved.card, saved.settings(settings)
    if card.slicing is None or card.trunk is None:
        raise InputError(f"The card of this {card.model} does not say how it is fed; save the model again.")
    # Random weights are drawn again from the seed that drew them; others have none.
    seed = int(card.trunk.get("seed", 0))
    own = dataclasses.replace(own, precision=card.trunk["precision"])
    if card.trunk["kind"] == "random":
        own = dataclasses.replace(own, weights="random")
    geometry = SliceGeometry.from_dict(card.slicing)
    brain = template_brain(geometry.shape, np.asarray(geometry.affine))
    # Without augmented views: those are for training.
    spec = make_feature_spec(card.model, dataclasses.replace(own, augmentations=0), geometry, seed)
    if spec.weights_hash != card.trunk["hash"]:
        raise InputError(
            f"{saved.name} was trained on a {card.model} whose {card.trunk['kind']} weights have the hash "
            f"{card.trunk['hash'][:12]}; those found here have {spec.weights_hash[:12]}. Name the right file by "
            "--weights or --weights-dir (random weights also depend on the version of torch)."
        )
    estimator = saved.estimator(settings)
    backbone = make_backbone(card.model, own, seed, device=choose_device(settings.device))
    subjects = [key for key, _, _ in maps]
    hashes = [hashlib.sha256(np.ascontiguousarray(volume).tobytes()).hexdigest()[:16] for _, volume, _ in maps]
    with tempfile.TemporaryDirectory(dir=work_dir, prefix="migxai-") as name:
        for (key, volume, _), digest in zip(maps, hashes, strict=True):
            planes = cut(_scaled(key, np.asarray(volume), brain), geometry)
            extract_subject(backbone, planes, spec, folder=Path(name), subject=key, map_hash=digest)
        store = FeatureStore.open(Path(name), spec.key, hashes, subjects)
        nothing = np.zeros((len(maps), 0))
        return estimator.predict(ModelInputs(tuple(subjects), nothing, nothing, (), store), np.arange(len(maps)))


def _scaled(key: str, volume: FloatArray, brain: NDArray[np.bool_]) -> FloatArray:
    try:
        return scale_intensity(volume, _covered(volume) & brain)
    except InputError as error:
        raise InputError(f"{key}: {error}") from error


def _covered(volume: FloatArray) -> NDArray[np.bool_]:
    """Say where a map has data: where it is finite and not the background's zero."""
    covered: NDArray[np.bool_] = np.isfinite(volume) & (volume != 0)
    return covered


def _labels(
    regions: Mapping[str, Any], grid: Mapping[str, Any], atlas: Atlas | None
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Bring the model's atlas onto the model's grid; also return its indices."""
    from migxai.registration.resample import labels_on_grid

    if atlas is None and regions["atlas"] == "AAL":
        atlas = load_atlas()
    if atlas is None or atlas.name != regions["atlas"] or list(atlas.indices) != list(regions["indices"]):
        raise InputError(
            f"The model reads the {len(regions['indices'])} regions of the atlas {regions['atlas']}; give that atlas."
        )
    x, y, z = (int(size) for size in grid["shape"])
    labels = labels_on_grid(atlas.data, atlas.affine, (x, y, z), np.array(grid["affine"], dtype=np.float64))
    return labels, np.array(atlas.indices, dtype=np.int64)


def _corners_apart(first: FloatArray, second: FloatArray, shape: Sequence[int]) -> float:
    """Return the largest distance in mm, along any axis, between the same corner voxels of two grids."""
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape], [1.0])).reshape(4, 8)
    return float(np.abs((np.asarray(first) - second) @ corners).max())


def _size(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)
