"""Models as files: safetensors with the model's card inside, and the card beside it to be read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from migxai.config import Learning
from migxai.errors import InputError
from migxai.io import atomic
from migxai.learning.cards import ModelCard
from migxai.learning.estimators import Estimator, make_estimator
from migxai.metrics.types import FloatArray

#: Version of the file's layout.
FORMAT = 1

#: The one key of the file's metadata. (The library writes several in an order that changes from run to run.)
_KEY = "migxai"


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A model read from a file.

    Attributes
    ----------
    card
        What is known of it.
    tensors
        What was fitted.
    name
        Of the file.
    """

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

        Raises
        ------
        InputError
            If the file does not hold what such a model is made of.
        UsageError
            If this version knows no such model.
        """
        made = make_estimator(self.card.model, self.settings(base), n_classes=len(self.card.classes), seed=0)
        return made.restore(self.tensors)


def save_model(path: Path, estimator: Estimator, card: ModelCard) -> None:
    """Write a fitted model, its card inside, and the card once more beside it as ``.json`` and ``.md``.

    Parameters
    ----------
    path
        Ends with ``.safetensors``.
    estimator
        Fitted.
    card
        What to say of it.

    Raises
    ------
    OutputError, ResourceError
        If a file cannot be written.
    """
    from safetensors.numpy import save

    if path.suffix != ".safetensors":
        raise ValueError(f"{path.name}: a model's file is named *.safetensors")
    # The library writes an array's memory as it lies, whatever its strides.
    tensors = {name: np.ascontiguousarray(values) for name, values in sorted(estimator.tensors().items())}
    content = card.to_dict()
    header = {"format": FORMAT, "sha256": digest(tensors, content), "card": content}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    for suffix, whole in (
        (".safetensors", save(tensors, metadata={_KEY: json.dumps(header, allow_nan=False)})),
        (".json", f"{text}\n".encode()),
        (".md", card.markdown().encode()),
    ):
        with atomic(path.with_suffix(suffix)) as stream:
            stream.write(whole)


def load_model(path: Path | str) -> SavedModel:
    """Read a model that `save_model` wrote; no code of the file is ever run.

    Parameters
    ----------
    path
        The ``.safetensors`` file.

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
    if digest(tensors, header["card"]) != header.get("sha256"):
        raise InputError(f"{file.name} is damaged: its content is not what was saved; copy it again.")
    return SavedModel(ModelCard.from_dict(header["card"]), tensors, file.name)


def digest(tensors: Mapping[str, FloatArray], card: Mapping[str, Any]) -> str:
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
    if text is None:
        raise foreign
    try:
        header = json.loads(text)
    except json.JSONDecodeError as error:
        raise foreign from error
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise foreign
    if header["format"] > FORMAT:
        raise InputError(
            f"{name} was written by a newer migxai (format {header['format']}, this one reads {FORMAT}); update migxai."
        )
    if not isinstance(header.get("card"), dict):
        raise foreign
    return header
