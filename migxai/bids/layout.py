"""Open a dataset through pybids, and choose subjects, sessions, tasks and runs in it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from migxai.bids.names import parse_name, strip_prefix
from migxai.errors import InputError, UsageError
from migxai.io import display_name, read_json

if TYPE_CHECKING:
    from bids.layout import BIDSLayout

#: What a BIDS filter file may be about (fMRIPrep's keys); migxai uses bold and t1w, the others have no effect here.
FILTER_KEYS = ("bold", "t1w")
OTHER_FILTER_KEYS = ("asl", "dwi", "flair", "fmap", "pet", "roi", "sbref", "t2w")

_SHOWN = 20


def check_dataset(root: Path, what: str = "bids_dir") -> dict[str, Any]:
    """Check that a folder is a BIDS dataset and return its dataset_description.json.

    Raises `InputError` if it is no directory, is empty, has no dataset_description.json, or no subject.
    """
    if not root.is_dir():
        raise InputError(f"{what} {root.name!r} does not exist or is not a directory.")
    if not any(root.iterdir()):
        raise InputError(f"{what} {root.name!r} is empty; check the path (or the container's bind mount).")
    description = root / "dataset_description.json"
    if not description.is_file():
        hint = ""
        if re.match(r"(sub|ses)-", root.resolve().name):
            hint = " It looks like a subject's folder: give the dataset above it and --participant-label."
        raise InputError(
            f"{what} {root.name!r} is not a BIDS dataset: it has no dataset_description.json. "
            f'Give the top folder of the dataset, or add that file with "Name" and "BIDSVersion".{hint}'
        )
    content = read_json(description, root)
    if not subject_labels(root):
        raise InputError(f"{what} {root.name!r} holds no subject (no folder named sub-*).")
    return content


def generated_by(description: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the programs that made a dataset, from the present field and from that of BIDS 1.3 and before."""
    entries = [*(description.get("GeneratedBy") or []), description.get("PipelineDescription")]
    return [entry for entry in entries if isinstance(entry, dict)]


def subject_labels(root: Path) -> tuple[str, ...]:
    """Labels of the subjects' folders, sorted."""
    return tuple(sorted(path.name.removeprefix("sub-") for path in root.glob("sub-*") if path.is_dir()))


def functional_files(root: Path, pattern: str) -> list[Path]:
    """List the files of all ``func`` folders that fit a glob: first those without sessions; each sorted by path."""
    folders = ("sub-*/func", "sub-*/ses-*/func")
    return [path for folder in folders for path in sorted(root.glob(f"{folder}/{pattern}"))]


def choose_labels(wanted: Sequence[str], available: Sequence[str], entity: Literal["sub", "ses"]) -> tuple[str, ...]:
    """Choose labels by name or by glob, with or without ``sub-`` (``ses-``); none wanted means all.

    ``*``, ``?`` and ``[...]`` match whole labels. Raises `UsageError`, listing what there is, if one fits nothing.
    """
    if not wanted:
        return tuple(available)
    chosen: set[str] = set()
    for pattern in wanted:
        label = strip_prefix(pattern, entity)
        found = [name for name in available if name == label] or fnmatch.filter(available, label)
        if not found:
            kind = {"sub": "participant", "ses": "session"}[entity]
            raise UsageError(f"No {kind} {pattern!r} in the dataset; available: {_list(available)}.")
        chosen.update(found)
    return tuple(label for label in available if label in chosen)


def _list(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    return (", ".join(labels[:_SHOWN]) or "none") + more


def same_run(wanted: str, label: str | None) -> bool:
    """Whether a run's label is the one asked for: 1, 01 and run-1 are the same run."""
    wanted = strip_prefix(str(wanted), "run")
    if label is None:
        return False
    return int(wanted) == int(label) if wanted.isdigit() and label.isdigit() else wanted == label


def open_layout(
    root: Path,
    subjects: Sequence[str],
    *,
    derivative: bool = False,
    database_dir: Path | None = None,
    validate: bool = False,
    metadata: bool = False,
) -> BIDSLayout:
    """Index a dataset, or load its index; raises `InputError` if pybids cannot.

    Only the given subjects are indexed, or all of them where a database is kept. Sidecars are not indexed unless a
    filter asks for them: `inherited_metadata` reads the few that are needed, so that one subject's broken JSON is that
    subject's failure alone. `validate` leaves out files of raw data whose names are not valid BIDS.
    """
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    ignore = [
        re.compile(r"^/(code|models|derivatives|stimuli|sourcedata|logs|group|tpl-)"),
        re.compile(r"/\."),
        re.compile(r"/figures(/|$)"),
    ]
    if database_dir is None:
        keep = "|".join(re.escape(label) for label in subjects)
        ignore.append(re.compile(rf"^/sub-(?!(?:{keep})(?:/|$))[^/]*(/|$)"))
    try:
        indexer = BIDSLayoutIndexer(validate=validate and not derivative, ignore=ignore, index_metadata=metadata)
        return BIDSLayout(
            str(root),
            validate=False,
            is_derivative=derivative,
            config=["bids", "derivatives"] if derivative else None,
            database_path=None
            if database_dir is None
            else str(database_dir / "derivative" if derivative else database_dir),
            indexer=indexer,
        )
    except Exception as error:  # pybids raises whatever its database and its readers do
        raise InputError(f"pybids could not index the dataset {root.name!r}: {error}.") from error


def check_filters(content: Any) -> None:
    """Raise `UsageError` if the shape, keys or query words of BIDS filters do not fit."""
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise UsageError('The BIDS filter must be an object of objects, such as {"bold": {"session": "01"}}.')
    unknown = sorted(set(content) - set(FILTER_KEYS) - set(OTHER_FILTER_KEYS))
    if unknown:
        raise UsageError(
            f"The BIDS filter has unknown keys: {', '.join(unknown)}; migxai uses {' and '.join(FILTER_KEYS)}."
        )
    for value in content.values():
        pybids_filters(value)


def pybids_filters(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a filter file's values into pybids queries: null and "Query.NONE", "*" and "Query.ANY", lists of them.

    Raises `UsageError` if a value names a query that pybids does not have.
    """
    from bids.layout import Query

    def convert(value: Any) -> Any:
        if isinstance(value, list):
            return [convert(item) for item in value]
        if value is None:
            return Query.NONE
        if value == "*":
            return Query.ANY
        if isinstance(value, str) and value.startswith("Query."):
            try:
                return Query[value.removeprefix("Query.")]
            except KeyError as error:
                raise UsageError(
                    f"The BIDS filter: {value} is no query; use Query.NONE, Query.ANY or Query.OPTIONAL."
                ) from error
        return value

    return {key: convert(value) for key, value in filters.items()}


def needs_metadata(layout: BIDSLayout, filters: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a filter names anything but entities, that is, a field of the sidecars."""
    entities = set(layout.get_entities(metadata=False))
    return any(set(item) - entities - {"regex_search"} for item in filters)


def find_images(layout: BIDSLayout, subject: str, **query: Any) -> list[Path]:
    """List the images of a subject that fit a pybids query, sorted by path.

    Raises `UsageError` if the query names an entity or field that the dataset does not know.
    """
    query = {"extension": [".nii.gz", ".nii"], **query, "subject": subject, "return_type": "filename"}
    try:
        found = layout.get(**query)
    except ValueError as error:
        raise UsageError(f"The BIDS filter does not fit the dataset: {str(error).splitlines()[0]}") from error
    return sorted(Path(name) for name in found)


def inherited_metadata(image: Path, root: Path) -> dict[str, Any]:
    """Read the metadata of an image under BIDS' inheritance principle: the nearer sidecar overrides the farther.

    Raises `InputError` if a sidecar that applies is broken.
    """
    own = parse_name(image)
    if own is None:
        return {}
    folders = [root, *(root / part for part in reversed(image.parent.relative_to(root).parents) if part.parts)]
    metadata: dict[str, Any] = {}
    for folder in dict.fromkeys([*folders, image.parent]):
        applying = []
        for path in folder.glob(f"*{own.suffix}.json"):
            name = parse_name(path)
            if name and name.suffix == own.suffix and name.entities.items() <= own.entities.items():
                applying.append((len(name.entities), path.name, path))
        for _, _, path in sorted(applying):
            metadata.update(read_json(path, root))
    return metadata


def require_content(path: Path, root: Path) -> None:
    """Raise `InputError` for a file without content: a link whose target was never fetched, or zero bytes."""
    name = display_name(path, root)
    if not path.exists():
        raise InputError(f"{name} is a link to content that is not here; fetch it first (for instance datalad get).")
    if path.stat().st_size == 0:
        raise InputError(f"{name} is empty (0 bytes); copy it again from its source.")
