"""Models as files: safetensors with the model's card inside, and the card beside it to be read.

The card says what a model was made from and for, what it scored, and what it must not be used for.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from migxai import __version__
from migxai.config import Learning
from migxai.errors import InputError
from migxai.io import atomic
from migxai.learning.estimators import Estimator, make_estimator, origin_of
from migxai.metrics.types import FloatArray, IntArray

#: Version of the file's layout.
_FORMAT = 1

#: The one key of the file's metadata. (The library writes several in an order that changes from run to run.)
_KEY = "migxai"

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
    grid
        ``shape`` (3 numbers) and ``affine`` (4 x 4, voxels to RAS mm).
    options
        The fields of `migxai.config.Learning` that it was trained with.
    cohort
        Of the training subjects, from `cohort_summary`.
    slicing
        `migxai.learning.slices.SliceGeometry` as a dictionary, for a network.
    regions
        For a model of regional means: ``atlas`` (name), ``indices`` (labels) and, if not that of
        `migxai.signal.maps.covered_means`, ``min_coverage``.
    trunk
        For a network, of its frozen part, from `trunk_facts`.
    metrics
        Scores, each a number or a dictionary with ``value``, ``low`` and ``high``.
    inputs
        Digests of what it was trained on, by name.
    versions
        From `software_versions`.
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
        """Make the card that `to_dict` described; InputError if a field is missing."""
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
    """Summarise training subjects, of classes 0 to C - 1 (n,), without naming any.

    Ages are years, NaN where unknown. Returns ``n``, ``classes`` and, where given, ``sites`` and ``sexes`` (counts),
    and ``age`` (n known, mean, SD, range).
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
        lowest, highest = float(known.min()), float(known.max())
        summary["age"] = {"n": len(known), "mean": float(known.mean()), "sd": spread, "min": lowest, "max": highest}
    return summary


def trunk_facts(model: str, settings: Learning, seed: int) -> dict[str, Any]:
    """Say which frozen part a network was trained on.

    `seed` is the run's, as given to `feature_store.make_feature_spec`. Returns ``kind`` (imagenet, random,
    file), ``hash`` of the weights, ``precision`` and, where it draws the weights, ``seed``. InputError if the weights
    are not found or damaged.
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


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A model read from a file: its card, what was fitted, and the file's name."""

    card: ModelCard
    tensors: dict[str, FloatArray]
    name: str

    def settings(self, base: Learning | None = None) -> Learning:
        """Return `base` (default: the defaults) with the options that the model was trained with."""
        known = {item.name for item in dataclasses.fields(Learning)}
        options: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in self.card.options.items()
            if key in known
        }
        return dataclasses.replace(base or Learning(), **options)

    def estimator(self, base: Learning | None = None) -> Estimator:
        """Make the fitted estimator; of `base` the options matter that the model was not trained with, such as device.

        InputError if the file does not hold what such a model is made of, UsageError if this version knows no such
        model.
        """
        made = make_estimator(self.card.model, self.settings(base), n_classes=len(self.card.classes), seed=0)
        return made.restore(self.tensors)


def save_model(path: Path, estimator: Estimator, card: ModelCard) -> None:
    """Write a fitted model to a ``.safetensors`` file, its card inside, and the card once more beside it to be read.

    OutputError or ResourceError if a file cannot be written.
    """
    from safetensors.numpy import save

    if path.suffix != ".safetensors":
        raise ValueError(f"{path.name}: a model's file is named *.safetensors")
    # The library writes an array's memory as it lies, whatever its strides.
    tensors = {name: np.ascontiguousarray(values) for name, values in sorted(estimator.tensors().items())}
    content = card.to_dict()
    header = {"format": _FORMAT, "sha256": _digest(tensors, content), "card": content}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    for suffix, whole in (
        (".safetensors", save(tensors, metadata={_KEY: json.dumps(header, allow_nan=False)})),
        (".json", f"{text}\n".encode()),
        (".md", card.markdown().encode()),
    ):
        with atomic(path.with_suffix(suffix)) as stream:
            stream.write(whole)


def load_model(path: Path | str) -> SavedModel:
    """Read a ``.safetensors`` file that `save_model` wrote; no code of the file is ever run.

    Parameters
    ----------
    path
        The ``.safetensors`` file.

    Returns
    -------
    SavedModel
        The model's card and arrays; its ``estimator()`` classifies.

    Raises
    ------
    InputError
        If the file is absent, truncated, damaged, none of migxai's, or written by a newer migxai.
    """
    from safetensors import SafetensorError, safe_open

    file = Path(path)
    if not file.is_file():
        raise InputError(f"There is no model {file.name}; give a .safetensors file that the group level wrote.")
    try:
        with safe_open(file, framework="numpy") as content:
            header = _header((content.metadata() or {}).get(_KEY), file.name)
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file.name} is not a whole safetensors file: it is truncated, damaged or of another kind; copy it again."
        ) from error
    if _digest(tensors, header["card"]) != header.get("sha256"):
        raise InputError(f"{file.name} is damaged: its content is not what was saved; copy it again.")
    return SavedModel(ModelCard.from_dict(header["card"]), tensors, file.name)


def _digest(tensors: Mapping[str, FloatArray], card: Mapping[str, Any]) -> str:
    """SHA-256 of a card and of named arrays: names, types, shapes and values."""
    total = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
        total.update(json.dumps([name, values.dtype.str, list(values.shape)]).encode())
        total.update(values.tobytes())
    return total.hexdigest()


def _header(text: str | None, name: str) -> dict[str, Any]:
    """Read the metadata's JSON, and refuse what this version cannot read."""
    foreign = InputError(
        f"{name} is a safetensors file, but not a model of migxai: it has no card. Weights of a network go to "
        "--weights."
    )
    try:
        header = json.loads(text or "")
    except json.JSONDecodeError as error:
        raise foreign from error
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise foreign
    if header["format"] > _FORMAT:
        raise InputError(
            f"{name} was written by a newer migxai (format {header['format']}, this one reads {_FORMAT}); update "
            "migxai."
        )
    if not isinstance(header.get("card"), dict):
        raise foreign
    return header


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
