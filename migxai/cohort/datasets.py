"""Datasets of maps, of one site or several: their names and files, and all of them as one table with labels."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from migxai.bids.layout import functional_files, inherited_metadata
from migxai.bids.names import BIDSName, parse_name
from migxai.bids.outputs import participant_columns, read_participants
from migxai.errors import InputError, UsageError
from migxai.indicators.registry import INDICATORS
from migxai.io import read_json, read_tsv

if TYPE_CHECKING:
    import pandas as pd

#: Columns of `read_maps` before those of participants.tsv.
MAP_COLUMNS = (
    "dataset",
    "participant_id",
    "session",
    "task",
    "run",
    "indicator",
    "form",
    "space",
    "res",
    "path",
    "excluded",
    "exclusion_reason",
)

#: The form of a map whose name has no ``desc-``: divided by its mean over the brain.
DEFAULT_FORM = "mean"

#: What participant level puts in front of the name of the dataset that it was given.
_NAME_PREFIX = "migxai derivatives of "


class MapDataset(NamedTuple):
    """A dataset of maps: its name in the cohort, its folder, and its maps of the main form."""

    name: str
    root: Path
    found: list[tuple[Path, BIDSName]]


def open_datasets(datasets: Sequence[tuple[str | None, Path]]) -> list[MapDataset]:
    """Name the datasets and list their maps.

    Raises `UsageError` if two have the same name, or are the same folder, and `InputError` if one is no dataset, or
    holds no map of the main form.
    """
    opened: list[MapDataset] = []
    for given, root in datasets:
        name = cohort_name(root, given)
        for other in opened:
            if other.root.resolve() == root.resolve():
                raise UsageError(f"The datasets {other.name!r} and {name!r} are the same folder; give it once.")
            if other.name == name:
                raise UsageError(f"Two datasets are called {name!r}; name one otherwise with -d NAME=PATH.")
        found = [(path, item) for path, item in find_maps(root, runs=False) if "desc" not in item.entities]
        if not found:
            raise InputError(f"{name} holds no map without desc- in its name, the form that group level reads.")
        opened.append(MapDataset(name, root, found))
    if not opened:
        raise UsageError("There is no dataset of maps; give one with -d NAME=PATH, or run the participant level first.")
    return opened


def choose_indicators(wanted: Sequence[str], opened: Sequence[MapDataset]) -> tuple[tuple[str, ...], list[str]]:
    """Settle the indicators: those wanted, else those learnt by default that every dataset has; with messages.

    Raises `InputError` if a dataset has no map of one that is wanted, or there is none that all have.
    """
    present = {dataset.name: {name.entities["stat"] for _, name in dataset.found} for dataset in opened}
    for name, stats in present.items():
        missing = [indicator for indicator in wanted if indicator not in stats]
        if missing:
            raise InputError(f"{name} holds no map of {missing[0]}; it holds {', '.join(sorted(stats))}.")
    if wanted:
        return tuple(dict.fromkeys(wanted)), []
    common = set.intersection(*present.values())
    default = [name for name, entry in INDICATORS.items() if entry.learnt_by_default]
    chosen = tuple(indicator for indicator in default if indicator in common)
    if not chosen:
        held = "; ".join(f"{name}: {', '.join(sorted(stats))}" for name, stats in present.items())
        raise InputError(
            f"There is no indicator of {', '.join(default)} that every dataset holds ({held}); choose with "
            "--indicators."
        )
    partly = sorted(set.union(*present.values()) & set(default) - common)
    messages = [f"Indicators: {', '.join(chosen)}."]
    if partly:
        messages.append(f"Not every dataset holds {', '.join(partly)}, so they are left aside.")
    return chosen, messages


def read_maps(
    datasets: Path | str | Sequence[Path | str],
    *,
    stat: str | Sequence[str] | None = None,
    form: str | Sequence[str] | None = None,
    suffix: str = "boldmap",
    extension: str = ".nii.gz",
    runs: bool = False,
) -> pd.DataFrame:
    """Read one or several output datasets back as a table of maps with labels.

    Needs the derivatives and their participants.tsv alone. A person is (dataset, participant_id): ``sub-01`` of two
    sites are two people.

    Parameters
    ----------
    datasets
        A migxai output directory, or several; any dataset whose maps are named ``..._stat-<indicator>_boldmap.nii.gz``.
    stat
        Keep these indicators (``alff``, ``falff``, ``reho``, ``rfcs``); None keeps all.
    form
        Keep these forms (``mean``, ``raw``, ``zscore``); None keeps all.
    suffix, extension
        ``extension=".tsv"`` lists the regional tables in place of the maps.
    runs
        Keep the maps of single runs too where their mean over runs exists.

    Returns
    -------
    pandas.DataFrame
        Columns `MAP_COLUMNS`, then those of participants.tsv (numbers as numbers; ``site`` is the dataset's name where
        none is given), sorted by dataset, participant, session, indicator, form and run. ``excluded`` says that
        a run was set aside when it was made (for motion, say) and ``exclusion_reason`` why.

    Raises
    ------
    InputError
        If a directory is no dataset or holds no such map, or a sidecar or participants.tsv cannot be read.
    UsageError
        If two of the datasets have the same name.
    """
    import pandas as pd

    folders = [datasets] if isinstance(datasets, Path | str) else list(datasets)
    tables = [_read_dataset(Path(folder), suffix=suffix, extension=extension, runs=runs) for folder in folders]
    names = [str(table["dataset"].iloc[0]) for table in tables]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"Two datasets have the same Name, {twice[0]!r}; give them different ones.")
    table = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    for column, wanted in (("indicator", stat), ("form", form)):
        if wanted is not None:
            values = [wanted] if isinstance(wanted, str) else list(wanted)
            _refuse_absent(column, values, table[column].unique())
            table = table[table[column].isin(values)]
    order = ["dataset", "participant_id", "session", "indicator", "form", "run", "path"]
    return table.sort_values(order, na_position="first", kind="stable").reset_index(drop=True)


def _refuse_absent(column: str, wanted: Iterable[str], present: Iterable[str]) -> None:
    missing = sorted(set(wanted) - set(present))
    if missing:
        raise InputError(f"No map with {column} {missing[0]!r}; there are: {', '.join(sorted(set(present)))}.")


def _read_dataset(root: Path, *, suffix: str, extension: str, runs: bool) -> pd.DataFrame:
    import pandas as pd

    dataset = dataset_name(root)
    found = find_maps(root, suffix=suffix, extension=extension, runs=runs)
    rows = [_map_row(path, name, root, dataset) for path, name in found]
    labels = participant_columns(read_participants(root)).apply(as_numbers)
    if "site" not in labels:
        labels["site"] = dataset
    labels["site"] = labels["site"].replace("n/a", pd.NA).fillna(dataset)
    table = pd.DataFrame(rows, columns=list(MAP_COLUMNS)).join(labels, on="participant_id")
    table["site"] = table["site"].fillna(dataset)
    return table


def dataset_name(root: Path) -> str:
    """Return the Name of a dataset of maps; its folder's where it has none.

    Raises `InputError` if it has no dataset_description.json, or none that can be read.
    """
    description = root / "dataset_description.json"
    if not description.is_file():
        raise InputError(f"{root.name!r} is no dataset of maps: it has no dataset_description.json.")
    return str(read_json(description, root).get("Name") or "").strip() or root.resolve().name


def cohort_name(root: Path, given: str | None = None) -> str:
    """Return what the cohort calls a dataset, by the name `given` or its own, such that paths can be made of it."""
    name = given or dataset_name(root).removeprefix(_NAME_PREFIX)
    return re.sub(r"[\\/\s]+", " ", name.replace("/", "-")).strip()


def find_maps(
    root: Path, *, suffix: str = "boldmap", extension: str = ".nii.gz", runs: bool = True
) -> list[tuple[Path, BIDSName]]:
    """List the files of a dataset that are named ``..._stat-<indicator>_<suffix><extension>``.

    `runs` says whether a run's map is listed where there is a mean over runs too. Raises `InputError` if there is none.
    """
    found: list[tuple[Path, BIDSName]] = []
    for path in functional_files(root, f"*_{suffix}{extension}"):
        name = parse_name(path)
        if name is not None and "stat" in name.entities and name.suffix == suffix and name.extension == extension:
            found.append((path, name))
    if not found:
        raise InputError(f"{root.name!r} holds no *_stat-*_{suffix}{extension}; run the participant level first.")
    return found if runs else _means_first(found)


def _means_first(found: Sequence[tuple[Path, BIDSName]]) -> list[tuple[Path, BIDSName]]:
    """Leave out a run's map where there is one over all runs, whose name is the same but for ``run-``."""

    def key(name: BIDSName) -> tuple[tuple[str, str], ...]:
        return tuple(item for item in name.entities.items() if item[0] != "run")

    means = {key(name) for _, name in found if "run" not in name.entities}
    return [(path, name) for path, name in found if "run" not in name.entities or key(name) not in means]


def _map_row(path: Path, name: BIDSName, root: Path, dataset: str) -> dict[str, Any]:
    metadata = inherited_metadata(path, root)
    entities = name.entities
    return {
        "dataset": dataset,
        "participant_id": f"sub-{entities['sub']}",
        "session": entities.get("ses"),
        "task": entities.get("task"),
        "run": entities.get("run"),
        "indicator": entities["stat"],
        "form": entities.get("desc", DEFAULT_FORM),
        "space": entities.get("space"),
        "res": entities.get("res"),
        "path": path,
        "excluded": bool(metadata.get("Excluded", False)),
        "exclusion_reason": metadata.get("ExclusionReason"),
    }


def as_numbers(column: pd.Series) -> pd.Series:
    """Turn a column of text into numbers if all of it is numbers; ``n/a`` is missing either way."""
    import pandas as pd

    column = column.replace({"n/a": pd.NA, "N/A": pd.NA, "": pd.NA})
    try:
        return pd.to_numeric(column).astype("float64")
    except (ValueError, TypeError):
        return column


def mean_displacement(root: Path, participant: str, runs: Collection[tuple[str | None, str | None]]) -> float | None:
    """Mean framewise displacement (mm) of a person from the confounds beside the maps; None if they say nothing of it.

    The mean over the kept volumes of a run, and over the runs that were not excluded; volumes without a displacement,
    as the first one is, do not count. Only the `runs` count that are named by session and task (either None if there is
    none). Raises `InputError` if a table cannot be read.
    """
    import numpy as np
    import pandas as pd

    means = []
    folder = root / participant
    for path in sorted({*folder.glob("func/*_timeseries.tsv"), *folder.glob("ses-*/func/*_timeseries.tsv")}):
        name = parse_name(path)
        if name is None or name.entities.get("desc") != "confounds":
            continue
        if (name.entities.get("ses"), name.entities.get("task")) not in runs:
            continue
        if inherited_metadata(path, root).get("Excluded"):
            continue
        table = read_tsv(path, root)
        if "framewise_displacement" not in table:
            continue
        values = pd.to_numeric(table["framewise_displacement"], errors="coerce").to_numpy(dtype=np.float64)
        kept = np.isfinite(values)
        if "kept" in table:
            kept &= pd.to_numeric(table["kept"], errors="coerce").to_numpy() == 1
        if kept.any():
            means.append(float(values[kept].mean()))
    return float(np.mean(means)) if means else None
