"""The output dataset as a whole: dataset_description.json, .bidsignore, participants, and sidecars."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import migxai
from migxai.bids.layout import generated_by
from migxai.errors import InputError, OutputError
from migxai.execution.locks import shared_lock
from migxai.io import prepare_directory, read_json, read_tsv, write_json, write_text, write_tsv

if TYPE_CHECKING:
    import pandas as pd

    Table = TypeVar("Table", pd.DataFrame, dict[str, Any])

BIDS_VERSION = "1.10.0"

#: Names of BEP012 and of reports, which the released BIDS schema does not know yet.
BIDSIGNORE = (
    "*.html",
    "figures",
    "group",
    "models",
    "*_boldmap.*",
    "*_timeseries.*",
    "*_relmat.*",
    "*_motion.*",
    "*_outliers.*",
    "*_xfm.*",
)

#: Set when an image of migxai is built (``MIGXAI_IMAGE=migxai:0.1.0``), so that outputs can name what made them.
IMAGE_VARIABLE = "MIGXAI_IMAGE"

UNNAMED = "unnamed dataset"

#: Columns of participants.tsv that participant level copies (nothing that could name a person), by their usual
#: spelling; upper and lower case, blanks, ``-`` and ``_`` make no difference in the source.
PARTICIPANT_COLUMNS: tuple[str, ...] = (
    "group",
    "diagnosis",
    "site",
    "scanner",
    "age",
    "sex",
    "gender",
    "handedness",
    "education",
    "HAMD24",
    "HAMA14",
    "HAMD17",
    "BMI",
    "disease_duration",
    "attack_frequency",
    "headache_days",
    "attack_duration",
    "VAS",
    "MIDAS",
    "HIT6",
    "phase",
    "medication",
    "mean_fd",
)

_FOLDED = {re.sub(r"[^0-9a-z]", "", name.lower()): name for name in PARTICIPANT_COLUMNS}


@dataclass(frozen=True)
class SourceDataset:
    """A dataset that the outputs were made from: its name in BIDS URIs, and where it lies."""

    link: str
    root: Path

    @property
    def description(self) -> dict[str, Any]:
        """Content of its dataset_description.json (empty if it has none)."""
        path = self.root / "dataset_description.json"
        return read_json(path, self.root) if path.is_file() else {}

    @property
    def name(self) -> str:
        """The dataset's own name; never that of its folder, which belongs to the machine."""
        return str(self.description.get("Name") or "").strip() or UNNAMED


def initialise_output(output_dir: Path, sources: Iterable[SourceDataset]) -> None:
    """Write what makes a folder a BIDS derivative dataset; safe to call from several runs at once.

    BIDS URIs in the outputs point to `sources`, the input dataset first. Raises `OutputError` if the directory cannot
    be written or holds a dataset that is not a migxai derivative, and `ResourceError` if the disk is full.
    """
    sources = tuple(sources)
    prepare_directory(output_dir)
    with shared_lock(output_dir):
        refuse_foreign_output(output_dir)
        write_json(output_dir / "dataset_description.json", dataset_description(output_dir, sources))
        write_text(output_dir / ".bidsignore", "\n".join(BIDSIGNORE) + "\n")


def refuse_foreign_output(output_dir: Path) -> None:
    """Raise `OutputError` where a folder holds a dataset_description.json that does not name migxai."""
    path = output_dir / "dataset_description.json"
    if not path.is_file():
        return
    content = read_json(path, output_dir)
    if "migxai" not in {entry.get("Name") for entry in generated_by(content)}:
        raise OutputError(
            "The output directory is another dataset (its dataset_description.json does not name migxai); "
            "choose an empty directory or one that migxai wrote."
        )


def dataset_description(output_dir: Path, sources: tuple[SourceDataset, ...]) -> dict[str, Any]:
    """Content of the output's dataset_description.json, without any path of the machine."""
    first = sources[0] if sources else None
    content: dict[str, Any] = {
        "Name": f"migxai derivatives of {first.name if first else UNNAMED}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [_this_software(), *(entry for source in sources for entry in _origins(source.description))],
        "HowToAcknowledge": "Please cite the references listed in logs/CITATION.md.",
    }
    licence = first.description.get("License") if first else None
    if licence:
        content["License"] = licence
    if sources:
        content["SourceDatasets"] = [_source_dataset(source, output_dir) for source in sources]
        content["DatasetLinks"] = {source.link: _link(source, output_dir) for source in sources}
    return content


def _this_software() -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Name": "migxai",
        "Version": migxai.__version__,
        "Description": "ALFF, ReHo and RFCS maps from resting-state fMRI",
    }
    in_apptainer = any(name in os.environ for name in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"))
    image = os.environ.get(IMAGE_VARIABLE)
    if image or in_apptainer:
        entry["Container"] = {"Type": "apptainer" if in_apptainer else "docker"} | ({"Tag": image} if image else {})
    return entry


def _origins(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name and version of what made a source; nothing else of it, since containers may be named by path."""
    return [{key: entry[key] for key in ("Name", "Version") if entry.get(key)} for entry in generated_by(content)]


def _source_dataset(source: SourceDataset, output_dir: Path) -> dict[str, str]:
    doi = source.description.get("DatasetDOI")
    return {"DOI": str(doi)} if doi else {"URL": _link(source, output_dir)}


def _link(source: SourceDataset, output_dir: Path) -> str:
    """Say where a source is: a DOI, a relative path that shows no foreign folder, or a name alone."""
    doi = str(source.description.get("DatasetDOI") or "")
    if doi:
        return doi if ":" in doi else f"doi:{doi}"
    relative = Path(os.path.relpath(source.root.resolve(), output_dir.resolve()))
    folders = [part for part in relative.parts if part != ".."]
    if not folders or relative.parts == ("..", *folders[:1]):
        return relative.as_posix()
    return f"urn:migxai:{source.link}:{re.sub('[^0-9A-Za-z]+', '-', source.name).strip('-')}"


def resolution_label(millimetres: float) -> str:
    """Value of ``res-`` for an isotropic grid.

    >>> resolution_label(3.0), resolution_label(2.5)
    ('3', '2p5')
    """
    return f"{millimetres:g}".replace(".", "p")


def sidecar(
    description: str,
    *,
    sources: Iterable[str] = (),
    resolution: float | str | None = None,
    excluded: str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Content of a derivative's JSON sidecar.

    `sources` are BIDS URIs (else `ValueError`). `resolution` is the voxel size in mm, or a sentence; BIDS requires it
    wherever the name has ``res-``. `excluded` says why group level leaves this run out; None if it is usable. `fields`
    are definition and parameters, in the order they are to be read; those that are None are left out.
    """
    uris = list(sources)
    wrong = [uri for uri in uris if not uri.startswith("bids:")]
    if wrong:
        raise ValueError(f"sources are BIDS URIs, not {wrong[0]}")
    content: dict[str, Any] = {"Description": description}
    if resolution is not None:
        isotropic = not isinstance(resolution, str)
        content["Resolution"] = f"{resolution:g} mm isotropic" if isotropic else resolution
    content["Excluded"] = excluded is not None
    if excluded is not None:
        content["ExclusionReason"] = excluded
    content.update({key: value for key, value in fields.items() if value is not None})
    content["Sources"] = uris
    content["GeneratedBy"] = {"Name": "migxai", "Version": migxai.__version__}
    return content


def read_participants(root: Path) -> pd.DataFrame:
    """Read a dataset's participants.tsv, indexed by ``participant_id`` (with ``sub-``); empty if there is none.

    Raises `InputError` if the file cannot be read, has no ``participant_id``, or names someone twice.
    """
    import pandas as pd

    path = root / "participants.tsv"
    if not path.is_file():
        return pd.DataFrame(index=pd.Index([], name="participant_id", dtype=str))
    table = read_tsv(path, root)
    if "participant_id" not in table:
        raise InputError("participants.tsv has no column participant_id; BIDS requires it to be the first.")
    ids = table["participant_id"].str.strip()
    table["participant_id"] = ids.where(ids.str.startswith("sub-"), "sub-" + ids)
    twice = table.loc[table["participant_id"].duplicated(), "participant_id"]
    if not twice.empty:
        raise InputError(f"participants.tsv names {twice.iloc[0]} more than once; keep one row for each participant.")
    return table.set_index("participant_id")


def participant_columns(table: Table) -> Table:
    """Keep the columns (or keys) that may be copied, under their usual spelling; the first of two alike wins."""
    chosen: dict[str, str] = {}
    for name in table:
        usual = _FOLDED.get(re.sub(r"[^0-9a-z]", "", str(name).lower()))
        if usual is not None:
            chosen.setdefault(usual, str(name))
    if isinstance(table, Mapping):
        return cast("Table", {usual: table[name] for usual, name in chosen.items()})
    return table[list(chosen.values())].set_axis(list(chosen), axis=1)


def update_participants(output_dir: Path, source: SourceDataset, labels: Iterable[str]) -> pd.DataFrame:
    """Enter subjects into the output's participants.tsv, with the columns that group level may read.

    Returns the table as written: sorted, with a ``site`` for everyone (the source's name where none is given). Raises
    `InputError` if the source's table cannot be read or names a subject twice.
    """
    import pandas as pd

    wanted = [f"sub-{label}" for label in labels]
    known = participant_columns(read_participants(source.root))
    rows = known.reindex(wanted)
    rows["site"] = rows["site"].replace("n/a", pd.NA).fillna(source.name) if "site" in rows else source.name
    with shared_lock(output_dir):
        present = read_participants(output_dir)
        table = pd.concat([present[~present.index.isin(wanted)], rows]).sort_index()
        table = table.fillna("n/a").rename_axis("participant_id").reset_index()
        write_tsv(output_dir / "participants.tsv", table)
        _copy_column_descriptions(output_dir, source, [str(name) for name in table.columns])
    return table


def _copy_column_descriptions(output_dir: Path, source: SourceDataset, columns: list[str]) -> None:
    path = source.root / "participants.json"
    if not path.is_file():
        return
    described = participant_columns(read_json(path, source.root))
    content = {name: described[name] for name in columns if name in described}
    if content:
        write_json(output_dir / "participants.json", content)
