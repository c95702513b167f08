"""What models read of subjects: tables, and a store of frozen features.

The store keeps what a trunk makes of each subject's slices, made once and read by every training. A file holds what
one trunk makes of one map: NPY, 16-bit floats in one row, first every view's slices ((V + 1) x S x features), then what
only the clean view has. Beside it stands a JSON file with the file's SHA-256 and where everything comes from. Files of
one spec share a folder named by the spec's key.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
import mmap
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from migxai.errors import InputError
from migxai.io import atomic, read_json, write_json
from migxai.learning.augmentation import Augmentation, apply, draw
from migxai.learning.devices import single_thread
from migxai.learning.family import Shapes, Split
from migxai.learning.slices import SCALING, SliceGeometry, to_pixels
from migxai.metrics.types import FloatArray, IntArray

if TYPE_CHECKING:
    import torch

    from migxai.config import Learning
    from migxai.learning.backbone import Backbone

#: Of the files; part of the key, so that files of another layout are never opened.
_FORMAT = 1
_ITEM = np.dtype(np.float16).itemsize
_LARGEST = float(np.finfo(np.float16).max)
#: Bytes read from memory maps before their pages are given back.
_RESIDENT = 256 * 2**20


@dataclass(frozen=True)
class FeatureSpec:
    """All that features depend on but the map.

    Attributes
    ----------
    split
        Where the network is cut.
    augmentation, views, seed
        What may be done to a slice in an augmented view, how many of them there are beside the clean one, V, and what
        they are drawn from.
    precision
        What the trunk computes in.
    """

    split: Split
    weights_hash: str
    geometry: SliceGeometry
    augmentation: Augmentation
    views: int
    seed: int
    precision: Literal["bf16", "fp32"]

    @property
    def slices(self) -> int:
        """Slices of a subject, S."""
        return len(self.geometry.indices)

    @property
    def size(self) -> int:
        """Numbers in a file."""
        return self.slices * ((self.views + 1) * self.split.view_size + self.split.clean_size)

    @cached_property
    def key(self) -> str:
        """Hexadecimal digest of the spec; without augmented views, what would draw them does not count."""
        drawn = [dataclasses.asdict(self.augmentation), self.seed] if self.views else []
        content = {
            "format": _FORMAT,
            "split": self.split.identity(),
            "weights": self.weights_hash,
            "geometry": self.geometry.key(),
            "scaling": SCALING,
            "views": [self.views, *drawn],
            "precision": self.precision,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def path(self, folder: Path, subject: str, map_hash: str) -> Path:
        """Where the features of a subject's map are; augmented views depend on the subject too."""
        return _path(folder, self.key, subject, map_hash)


def make_feature_spec(name: str, settings: Learning, geometry: SliceGeometry, seed: int) -> FeatureSpec:
    """Say what features of a network depend on, without building it.

    Of the settings ``weights``, ``weights_dir``, ``unfreeze``, ``precision`` and those of augmentation matter. The
    run's seed is that of the augmented views, and of the weights where they are random. Errors are those of
    `migxai.learning.weights.hash_weights` and `migxai.learning.backbones.find_split`.
    """
    from migxai.learning.backbones import find_split
    from migxai.learning.weights import hash_weights

    return FeatureSpec(
        split=find_split(name, settings.unfreeze),
        weights_hash=hash_weights(name, settings, seed),
        geometry=geometry,
        augmentation=Augmentation(settings.crop, settings.rotation, settings.augment_flip),
        views=settings.augmentations,
        seed=seed,
        precision=settings.precision,
    )


def estimate_bytes(spec: FeatureSpec, subjects: int) -> int:
    """Return how much disk the features of so many subjects' maps take."""
    return subjects * (spec.size * _ITEM + 8192)


def is_extracted(spec: FeatureSpec, *, folder: Path, subject: str, map_hash: str) -> bool:
    """Say whether the features of a subject's map are there, whole and unchanged; InputError if they are damaged."""
    path = spec.path(folder, subject, map_hash)
    if not _exists(path):
        return False
    _verified(path, spec.key, subject, map_hash)
    return True


def extract_subject(
    backbone: Backbone, planes: FloatArray, spec: FeatureSpec, *, folder: Path, subject: str, map_hash: str
) -> Path:
    """Make and keep the features of one subject's map, unless they are there already; return their file.

    Slices of a view, (S, H0, W0) from 0 to 1, go through the trunk together, on one thread, so the same map gives the
    same bytes wherever and whenever it is done on a machine. No two processes may do the same subject's map at a time.

    Raises
    ------
    InputError
        If features are there, but damaged; or a number is not finite, or too large for 16 bits.
    ResourceError, OutputError
        If the file cannot be written.
    """
    path = spec.path(folder, subject, map_hash)
    if is_extracted(spec, folder=folder, subject=subject, map_hash=map_hash):
        return path
    digest = hashlib.sha256()
    with atomic(path) as stream, single_thread():
        for part in _file_parts(backbone, planes, spec, subject):
            digest.update(part)
            stream.write(part)
    content = {
        "format": _FORMAT,
        "key": spec.key,
        "subject": subject,
        "map": map_hash,
        "sha256": digest.hexdigest(),
        "slices": spec.slices,
        "views": spec.views,
        "split": {**spec.split.to_dict(), "receptive_fields": backbone.receptive_fields},
        "weights": spec.weights_hash,
        "geometry": spec.geometry.to_dict(),
        "augmentation": dataclasses.asdict(spec.augmentation),
        "seed": spec.seed,
        "precision": spec.precision,
    }
    write_json(path.with_suffix(".json"), content)
    return path


def _file_parts(backbone: Backbone, planes: FloatArray, spec: FeatureSpec, subject: str) -> Iterator[bytes]:
    """Make the content of a file bit by bit: the header, each view, and what only the clean view has."""
    import torch

    yield _header(spec.size)
    split, clean = spec.split, b""
    pixels = torch.from_numpy(to_pixels(planes, spec.geometry)).unsqueeze(1)
    for view in range(spec.views + 1):
        matrices = draw(spec.augmentation, seed=spec.seed, subject=subject, view=view, slices=spec.slices)
        made = backbone.features(apply(pixels, matrices), clean=view == 0)
        yield _rows(made, split.features, spec, subject)
        if view == 0:
            clean = _rows(made, split.clean, spec, subject)
    yield clean


def _header(size: int) -> bytes:
    """Return the first bytes of an NPY file of so many 16-bit floats."""
    stream = BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f2", "fortran_order": False, "shape": (size,)})
    return stream.getvalue()


def _rows(made: Mapping[str, torch.Tensor], shapes: Shapes, spec: FeatureSpec, subject: str) -> bytes:
    """Put features in a row for each slice, in 16 bits."""
    import torch

    if not shapes:
        return b""
    for name, shape in shapes.items():
        peak = float(made[name].abs().max())
        if tuple(made[name].shape) != (spec.slices, *shape):
            raise ValueError(f"{name} has shape {tuple(made[name].shape)}, not {(spec.slices, *shape)}")
        if not peak <= _LARGEST:
            raise InputError(
                f"The network {spec.split.network} makes {name} of {peak:g} of the slices of {subject}, beyond what "
                "16 bits hold; check the map and the weights file."
            )
    return torch.cat([made[name].half().flatten(1) for name in shapes], dim=1).numpy().tobytes()


class FeatureStore:
    """The features of one network for one indicator's maps; row i is subject i.

    `slices` (S) and `views` (V) count a subject's slices, and the augmented views beside the clean one.
    """

    def __init__(self, files: Sequence[NDArray[np.float16]], abouts: Sequence[Mapping[str, Any]]) -> None:
        self.subjects = tuple(str(about["subject"]) for about in abouts)
        self.key = str(abouts[0]["key"])
        self.split = Split.from_dict(abouts[0]["split"])
        self.slices = int(abouts[0]["slices"])
        self.views = int(abouts[0]["views"])
        self._files = files
        self._read = 0

    @classmethod
    def open(cls, folder: Path, key: str, map_hashes: Sequence[str], subjects: Sequence[str]) -> FeatureStore:
        """Open and check what `extract_subject` made of the spec with this key; rows are in the order of `subjects`.

        InputError if a subject's features are absent, damaged, or those of another map or spec.
        """
        if not subjects or len(subjects) != len(map_hashes):
            raise ValueError("a store needs a map a subject, and one subject at least")
        files, abouts = [], []
        for subject, map_hash in zip(subjects, map_hashes, strict=True):
            path = _path(folder, key, subject, map_hash)
            if not _exists(path):
                raise InputError(f"The store of features has nothing of this map of {subject} ({path} is absent).")
            abouts.append(_verified(path, key, subject, map_hash))
            files.append(np.load(path, mmap_mode="r", allow_pickle=False))
        return cls(files, abouts)

    def take(self, rows: IntArray) -> FeatureStore:
        """Return the store of some subjects, in that order; it reads the same files."""
        taken = copy.copy(self)
        places = np.asarray(rows).tolist()
        taken.subjects = tuple(self.subjects[place] for place in places)
        taken._files, taken._read = [self._files[place] for place in places], 0
        return taken

    def batch(self, rows: IntArray, slices: IntArray, views: IntArray) -> dict[str, torch.Tensor]:
        """Read the features of B images, given by subject, slice and view (B,) each; view 0 is the clean one.

        Returns tensors (B, ...), float32, by name as in ``split.features``.
        """
        starts = (views * self.slices + slices) * self.split.view_size
        return self._gather(self.split.features, rows, starts)

    def clean(self, rows: IntArray, slices: IntArray) -> dict[str, torch.Tensor]:
        """Read all that is kept of some images without augmentation, also what only explanations need."""
        split = self.split
        after = (self.views + 1) * self.slices * split.view_size
        features = self.batch(rows, slices, np.zeros_like(slices))
        return features | self._gather(split.clean, rows, after + slices * split.clean_size)

    def _gather(self, shapes: Shapes, rows: IntArray, starts: IntArray) -> dict[str, torch.Tensor]:
        """Read a row of features a subject, from the places given."""
        import torch

        made = {name: np.empty((len(rows), *shape), dtype=np.float16) for name, shape in shapes.items()}
        for index, (row, start) in enumerate(zip(rows.tolist(), starts.tolist(), strict=True)):
            for name, shape in shapes.items():
                stop = start + math.prod(shape)
                made[name][index] = self._files[row][start:stop].reshape(shape)
                start = stop
        self._read += sum(array.nbytes for array in made.values())
        if self._read > _RESIDENT:
            self.release()
        return {name: torch.from_numpy(array).float() for name, array in made.items()}

    def release(self) -> None:
        """Give back the memory of what was read; it is read again from the file, or the system's cache of it."""
        for array in self._files:
            if isinstance(pages := getattr(array, "base", None), mmap.mmap):
                pages.madvise(mmap.MADV_DONTNEED)
        self._read = 0


@dataclass(frozen=True)
class ModelInputs:
    """All that the estimators of one indicator may read; row i of everything is subject i.

    Attributes
    ----------
    subjects
        Unique keys, ``<dataset>/<participant_id>``.
    regions
        Regional means of the indicator, shape (N, R); NaN where a subject's map does not cover a region.
    nuisance, nuisance_names
        What must not be what a classifier has learned (motion, coverage, age, sex, site), shape (N, P), NaN where
        unknown; and the names of the P columns.
    store
        Frozen features of the slices, for networks; None where no network was asked for.
    """

    subjects: tuple[str, ...]
    regions: FloatArray
    nuisance: FloatArray
    nuisance_names: tuple[str, ...]
    store: FeatureStore | None = None

    def take(self, rows: IntArray) -> ModelInputs:
        """Return the inputs of some subjects, in that order."""
        return ModelInputs(
            tuple(self.subjects[row] for row in np.asarray(rows).tolist()),
            self.regions[rows],
            self.nuisance[rows],
            self.nuisance_names,
            None if self.store is None else self.store.take(rows),
        )


def _path(folder: Path, key: str, subject: str, map_hash: str) -> Path:
    """Name a file such that people can tell whose it is and no two are alike."""
    digest = hashlib.sha256(json.dumps([subject, map_hash]).encode()).hexdigest()[:16]
    return folder / key / f"{re.sub(r'[^A-Za-z0-9.-]', '_', subject)}_{digest}.npy"


def _exists(path: Path) -> bool:
    return path.is_file() and path.with_suffix(".json").is_file()


def _verified(path: Path, key: str, subject: str, map_hash: str) -> dict[str, Any]:
    """Check a file against what stands beside it, and that against what is asked for."""
    remedy = f"delete {path.name} and {path.stem}.json in {path.parent}; it is made again"
    about = read_json(path.with_suffix(".json"), remedy=remedy)
    expected = {"format": _FORMAT, "key": key, "subject": subject, "map": map_hash}
    if any(about.get(name) != value for name, value in expected.items()):
        raise InputError(f"The features in {path} are of another map or were made in another way: {remedy}.")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != about.get("sha256"):
        raise InputError(f"The features in {path} are damaged (their SHA-256 is another): {remedy}.")
    return about
