"""The card of a saved model: what it was made from and for, what it scored, and what it must not be used for."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from migxai import __version__
from migxai.config import Learning
from migxai.errors import InputError
from migxai.learning.estimators import origin_of
from migxai.metrics.types import IntArray

INTENDED_USE = (
    "Research on group differences in maps of resting-state activity: to repeat and examine the evaluation that is "
    "described here, and to classify further maps made in the same way."
)
LIMITS = (
    "This is NOT a diagnostic device. It has not been validated for any clinical decision about a person, and its "
    "scores hold for people, scanners and processing like those it was trained on, if at all."
)
LICENCE = (
    "The fitted parameters are derived from the training cohort's data; the licence and the consent of those data say "
    "who may have them. Pretrained weights of a network are not part of the file and keep their own licence."
)


@dataclass(frozen=True)
class ModelCard:
    """What is known of a saved model. No participant is named, and no path.

    Attributes
    ----------
    comparison, classes
        What it tells apart: the name of the comparison, and the classes in the order of its probabilities.
    model
        Name, as in ``--models``.
    indicator, definition
        Which maps it reads, and the fields of their sidecars that say how they were made.
    space, res
        Of the maps, as in their names.
    grid
        ``shape`` (3 numbers) and ``affine`` (4 x 4, voxels to RAS mm).
    options
        The fields of `migxai.config.Learning` that it was trained with.
    cohort
        Of the training subjects, from `cohort_summary`.
    slicing
        `migxai.learning.slices.SliceGeometry` as a dictionary, for a network.
    regions
        For a model of regional means: ``atlas`` (name), ``indices`` (labels) and, if not that of `regional_means`,
        ``min_coverage``.
    trunk
        For a network, of its frozen part, from `trunk_facts`.
    metrics
        Scores, each a number or a dictionary with ``value``, ``low`` and ``high``.
    inputs
        Digests of what it was trained on, by name.
    versions
        From `software_versions`.
    intended_use, limits, licence
        Sentences.
    """

    comparison: str
    classes: tuple[str, ...]
    model: str
    indicator: str
    definition: dict[str, Any]
    space: str
    res: str
    grid: dict[str, Any]
    options: dict[str, Any]
    cohort: dict[str, Any]
    slicing: dict[str, Any] | None = None
    regions: dict[str, Any] | None = None
    trunk: dict[str, Any] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    intended_use: str = INTENDED_USE
    limits: str = LIMITS
    licence: str = LICENCE

    def to_dict(self) -> dict[str, Any]:
        """Return lists, dictionaries, texts and numbers only, as JSON has them; NaN becomes None."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ModelCard:
        """Make the card that `to_dict` described.

        Raises
        ------
        InputError
            If a field is missing.
        """
        names = [item.name for item in dataclasses.fields(cls)]
        missing = [name for name in names if name not in content]
        if missing:
            raise InputError(f"The model's card has no field {missing[0]!r}; the file is not whole, or not migxai's.")
        return cls(**{**{name: content[name] for name in names}, "classes": tuple(content["classes"])})

    def markdown(self) -> str:
        """Return the card as a text to read."""
        sections: list[tuple[str, Any]] = [
            ("Intended use", f"{self.intended_use}\n\n**{self.limits}**"),
            ("Input", _input(self)),
            ("Training", {**self.options, **({"frozen part": self.trunk} if self.trunk else {})}),
            ("Training cohort", self.cohort),
            ("Scores", self.metrics),
            ("Versions", self.versions),
            ("Digests of the inputs", self.inputs),
            ("Licence", self.licence),
        ]
        head = f"# {self.model} on {self.indicator}: {self.comparison}\n\nTells apart: {', '.join(self.classes)}.\n"
        parts = [f"\n## {title}\n\n{_text(content)}\n" for title, content in sections if content]
        return head + "".join(parts)


def cohort_summary(
    labels: IntArray,
    classes: Sequence[str],
    *,
    sites: Sequence[str] | None = None,
    ages: Sequence[float] | None = None,
    sexes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Summarise training subjects without naming any.

    Parameters
    ----------
    labels
        Their classes, 0 to C - 1, shape (n,).
    classes
        Names of the C classes.
    sites, sexes
        Of each, (n,).
    ages
        Years, (n,); NaN where unknown.

    Returns
    -------
    dict
        ``n``, ``classes`` and, where given, ``sites`` and ``sexes`` (counts), ``age`` (n known, mean, SD, range).
    """
    numbers = np.asarray(labels)
    summary: dict[str, Any] = {
        "n": len(numbers),
        "classes": {name: int((numbers == place).sum()) for place, name in enumerate(classes)},
    }
    for name, values in (("sites", sites), ("sexes", sexes)):
        if values is not None:
            summary[name] = dict(sorted(Counter(map(str, values)).items()))
    known = np.asarray([] if ages is None else ages, dtype=np.float64)
    known = known[np.isfinite(known)]
    if len(known):
        spread = float(known.std(ddof=1)) if len(known) > 1 else None
        summary["age"] = {
            "n": len(known),
            "mean": float(known.mean()),
            "sd": spread,
            "min": float(known.min()),
            "max": float(known.max()),
        }
    return summary


def trunk_facts(model: str, settings: Learning, seed: int) -> dict[str, Any]:
    """Say which frozen part a network was trained on.

    Parameters
    ----------
    model
        The network.
    settings
        ``weights``, ``weights_dir`` and ``precision`` matter.
    seed
        Of the run, as given to `migxai.learning.store.make_feature_spec`.

    Returns
    -------
    dict
        ``kind`` (imagenet, random, file), ``hash`` of the weights, ``precision`` and, where it draws the weights,
        ``seed``.

    Raises
    ------
    InputError
        If the weights are not found or damaged.
    """
    from migxai.learning.weights import hash_weights

    kind = settings.weights if isinstance(settings.weights, str) else "file"
    facts = {"kind": kind, "hash": hash_weights(model, settings, seed), "precision": settings.precision}
    return {**facts, "seed": seed} if kind == "random" else facts


def software_versions(deep: bool, model: str = "") -> dict[str, str]:
    """Return the versions of migxai, of the libraries that fit its models, and of the extension that brought a model.

    Nothing is imported.
    """
    names = ("numpy", "torch", "torchvision", "timm") if deep else ("numpy", "scipy", "scikit-learn")
    found = {"migxai": __version__}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if origin := origin_of(model):
        name, _, number = origin.rpartition(" ")
        found[name] = number
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if isinstance(value, float) and np.isnan(value) else value


def _input(card: ModelCard) -> dict[str, Any]:
    content: dict[str, Any] = {"maps": card.indicator, "space": card.space, "resolution": card.res}
    content["grid"] = " x ".join(map(str, card.grid["shape"]))
    if card.slicing:
        content["slices"] = f"{len(card.slicing['indices'])} {card.slicing['axis']}"
    if card.regions:
        content["regions"] = f"{len(card.regions['indices'])} of {card.regions['atlas']}"
    return {**content, **card.definition}


def _text(content: Any) -> str:
    if not isinstance(content, Mapping):
        return str(content)
    return "\n".join(f"- {name}: {_item(value)}" for name, value in content.items())


def _item(value: Any) -> str:
    if isinstance(value, Mapping):
        if {"value", "low", "high"} <= set(value):
            return f"{_item(value['value'])} (95 % interval {_item(value['low'])} to {_item(value['high'])})"
        return ", ".join(f"{name} {_item(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_item(item) for item in value)
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
