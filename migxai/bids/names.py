"""File names as BIDS builds them: entities in their order, one suffix, one extension; and back again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

#: Entities of every file migxai reads or writes, in the order of BIDS 1.10, with BEP012's ``atlas`` and ``stat``.
ENTITY_ORDER: tuple[str, ...] = (
    "sub",
    "ses",
    "sample",
    "task",
    "acq",
    "ce",
    "rec",
    "dir",
    "run",
    "echo",
    "part",
    "space",
    "cohort",
    "atlas",
    "seg",
    "scale",
    "res",
    "den",
    "label",
    "from",
    "to",
    "mode",
    "stat",
    "desc",
)

#: What tells one acquired run from another; everything else describes what was done to it.
RUN_ENTITIES: tuple[str, ...] = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run", "echo", "part")

_VALUE = re.compile(r"[0-9A-Za-z+]+")
_NAME = re.compile(r"(?P<entities>(?:[a-z]+-[0-9A-Za-z+]+_)*)(?P<suffix>[0-9A-Za-z]+)(?P<extension>\.[0-9A-Za-z.]+)")


@dataclass(frozen=True)
class BIDSName:
    """A file's name taken apart."""

    entities: dict[str, str]
    suffix: str
    extension: str


def derivative_name(entities: Mapping[str, str | int | None], suffix: str, extension: str) -> str:
    """Build a file's name, whatever order the entities come in; those that are None are left out.

    The extension comes with its dot. Raises `ValueError` if an entity is unknown, or a value, the suffix or the
    extension cannot stand in a BIDS name.

    >>> derivative_name({"stat": "alff", "sub": "01", "res": 3, "task": "rest", "ses": None}, "boldmap", ".nii.gz")
    'sub-01_task-rest_res-3_stat-alff_boldmap.nii.gz'
    """
    unknown = sorted(set(entities) - set(ENTITY_ORDER))
    if unknown:
        raise ValueError(f"unknown BIDS entities: {', '.join(unknown)}")
    parts = []
    for key in ENTITY_ORDER:
        value = entities.get(key)
        if value is None:
            continue
        if not _VALUE.fullmatch(str(value)):
            raise ValueError(f"{key}-{value} is not a BIDS label: only letters, digits and + are")
        parts.append(f"{key}-{value}")
    name = "_".join([*parts, f"{suffix}{extension}"])
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name} is not a BIDS name")
    return name


def derivative_path(
    entities: Mapping[str, str | int | None], suffix: str, extension: str, datatype: str = "func"
) -> PurePosixPath:
    """Build a file's path inside the dataset: ``sub-01[/ses-1]/func/<name>``.

    Raises `ValueError` as `derivative_name` does, and if there is no ``sub``.
    """
    if not entities.get("sub"):
        raise ValueError("a derivative needs a subject")
    folders = [f"{key}-{entities[key]}" for key in ("sub", "ses") if entities.get(key) is not None]
    return PurePosixPath(*folders, datatype, derivative_name(entities, suffix, extension))


def parse_name(name: str | Path) -> BIDSName | None:
    """Take a file's name apart; None if it is not built as BIDS names are.

    >>> parse_name("sub-01_task-rest_stat-reho_boldmap.nii.gz")
    BIDSName(entities={'sub': '01', 'task': 'rest', 'stat': 'reho'}, suffix='boldmap', extension='.nii.gz')
    """
    match = _NAME.fullmatch(Path(name).name)
    if match is None:
        return None
    pairs = [part.split("-", 1) for part in match["entities"].split("_") if part]
    if len({key for key, _ in pairs}) != len(pairs):
        return None
    return BIDSName(dict(pairs), match["suffix"], match["extension"])


def run_entities(entities: Mapping[str, str]) -> dict[str, str]:
    """Keep the entities that name an acquired run, in BIDS order."""
    return {key: entities[key] for key in RUN_ENTITIES if key in entities}


def bids_uri(path: Path | PurePosixPath | str, root: Path | None = None, dataset: str = "") -> str:
    """Name a file, below `root` or relative already, by a BIDS URI, which holds no path of the machine.

    `dataset` is its dataset's name in ``DatasetLinks``; empty for the one that the URI is written in. Raises
    `ValueError` if the file does not lie in the dataset.

    >>> bids_uri("sub-01/func/sub-01_task-rest_bold.nii.gz", dataset="raw")
    'bids:raw:sub-01/func/sub-01_task-rest_bold.nii.gz'
    """
    relative = PurePosixPath(path) if root is None else PurePosixPath(Path(path).relative_to(root).as_posix())
    if relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"{path} does not lie in the dataset")
    return f"bids:{dataset}:{relative}"


def strip_prefix(label: str, entity: str) -> str:
    """Remove a leading ``sub-``, ``ses-``, ``run-``... that the user may or may not have typed."""
    return label.removeprefix(f"{entity}-")
