"""Maps that explain a classifier, as the report shows them: an image, and what it is of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from migxai.errors import ImageError, InputError
from migxai.evaluation.results import GroupFolder
from migxai.io import read_json
from migxai.registration.space import Volume

#: What a map is of. The report shows them in this order, and leaves out the last ones first where there is no room.
Kind = Literal["difference", "class", "misclassified", "univariate", "agreement", "subject"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Models of maps that no model made.
NO_MODEL = ("", "none")
#: Said in place of maps.
NO_MAPS = (
    "No maps were made: the output holds none that says what it is (group/explain). Where the networks looked is not "
    "known."
)

#: What a key holds, where it is no text.
_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "People": (int, "whole number"),
    "Threshold": ((int, float), "number"),
    "Simulated": (bool, "truth value"),
}


@dataclass(frozen=True, eq=False)
class ExplainedMap:
    """A map in the brain.

    Attributes
    ----------
    path
        The image, 3-D, NaN or 0 where it says nothing.
    comparison, indicator, model
        As in the tables (``hc_vs_migraine``, ``reho``, ``googlenet``); the model is one of `NO_MODEL` where none was
        needed.
    method
        How it was made, in words: ``Grad-CAM``, ``attention rollout``, ``t statistic``.
    kind
        ``class`` (mean of a class's correctly classified people), ``difference`` (of two classes), ``misclassified``
        (mean of those taken for another class), ``univariate`` (the indicator itself, compared without a network),
        ``agreement`` (over folds and trials) or ``subject``.
    label
        The class; for a difference both, as ``MWA - HC`` (positive where the first is higher); for a subject its key.
    people
        How many people it is the mean of; 0 where that has no meaning.
    predicted
        Of the misclassified: what they were taken for.
    threshold
        Values (absolute ones of a signed map) below it are not shown at first; None leaves the choice to the report.
        Of a test it is the smallest significant value, and None where there is none.
    warning
        Why this map must not be trusted, such as a sanity check its method failed; it is stamped on every picture.
    """

    path: Path
    comparison: str
    indicator: str
    model: str
    method: str
    kind: Kind
    label: str
    people: int = 0
    predicted: str = ""
    threshold: float | None = None
    unit: str = ""
    warning: str = ""
    simulated: bool = False

    @property
    def cell(self) -> tuple[str, str, str]:
        """Comparison, indicator and model."""
        return self.comparison, self.indicator, self.model

    @property
    def title(self) -> str:
        """What it shows, in a few words."""
        of = f" ({self.people} {'person' if self.people == 1 else 'people'})" if self.people else ""
        return {
            "difference": f"{self.method}, difference {self.label}{of}",
            "class": f"{self.method}, mean of {self.label}{of}",
            "misclassified": f"{self.method}, {self.label} taken for {self.predicted or 'another class'}{of}",
            "univariate": f"{self.method} of {self.label}{of}, without a network",
            "agreement": f"Agreement of {self.method} over folds and trials, {self.label}{of}",
            "subject": f"{self.method}, {self.label}",
        }[self.kind]

    def sidecar(self) -> dict[str, Any]:
        """Return what the image's sidecar must hold for `read_explained_maps` to find the map again."""
        values = {key: getattr(self, name) for key, name in _KEYS.items()}
        return {key: value for key, value in values.items() if key in _NEEDED or value not in (None, "")}

    def read(self) -> Volume:
        """Read the image; an ImageError says that it cannot be read, or is not 3-D."""
        import nibabel as nib

        try:
            # Turned so that axes run to the right, forward and up: no value changes.
            image: Any = nib.as_closest_canonical(nib.load(self.path))
            data = np.asarray(image.dataobj, dtype=np.float32)
        except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
            raise ImageError(f"The map {self.path.name} cannot be read: {error}") from error
        return Volume(data, image.affine)


#: The field that each key of a map's sidecar fills; the fields without a default are needed.
_KEYS = {one.name.capitalize(): one.name for one in fields(ExplainedMap) if one.name != "path"}
_NEEDED = [key for key, name in _KEYS.items() if not hasattr(ExplainedMap, name)]


def read_explained_maps(folder: GroupFolder) -> tuple[ExplainedMap, ...]:
    """Find the maps in ``group/explain`` whose sidecars say what they are; `ExplainedMap.sidecar` names the keys.

    An InputError names a sidecar with a ``Kind`` that lacks another key, or holds a value that cannot be.
    """
    found = []
    for path in sorted(folder.file("explain").glob("*.nii.gz")):
        sidecar = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
        content = read_json(sidecar, folder.root) if sidecar.is_file() else {}
        if "Kind" not in content:
            continue
        problem = _problem(content)
        if problem:
            raise InputError(f"explain/{sidecar.name} {problem}; remove the map and explain the models again.")
        found.append(ExplainedMap(path, **{name: content[key] for key, name in _KEYS.items() if key in content}))
    return tuple(found)


def _problem(content: dict[str, Any]) -> str:
    """Say what is wrong with a sidecar; empty if nothing is."""
    missing = [key for key in _NEEDED if key not in content]
    if missing:
        return f"lacks {', '.join(missing)}"
    if content["Kind"] not in KINDS:
        return f"names a Kind {content['Kind']!r} that does not exist"
    for key in _KEYS:
        wanted, name = _TYPES.get(key, (str, "text"))
        if key in content and not isinstance(content[key], wanted):
            return f"is damaged: its {key} {content[key]!r} is no {name}"
    return ""


def in_order(maps: Iterable[ExplainedMap]) -> list[ExplainedMap]:
    """Sort maps for the page: by kind, and otherwise as they are given."""
    return sorted(maps, key=lambda one: KINDS.index(one.kind))
