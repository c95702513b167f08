"""Find what is to be processed: raw runs with their T1w, or what fMRIPrep made of them, subject by subject."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from migxai.bids.fmriprep import FmriprepRun, choose_space, collect_fmriprep, is_fmriprep, refuse_ancient
from migxai.bids.layout import (
    check_dataset,
    check_filters,
    choose_labels,
    find_images,
    functional_files,
    inherited_metadata,
    needs_metadata,
    open_layout,
    pybids_filters,
    require_content,
    same_run,
    subject_labels,
)
from migxai.bids.names import BIDSName, bids_uri, parse_name, run_entities, strip_prefix
from migxai.bids.outputs import SourceDataset
from migxai.config import Config, Selection
from migxai.errors import InputError, MigxaiError, UsageError

if TYPE_CHECKING:
    from bids.layout import BIDSLayout

DEFAULT_TASK = "rest"

#: The space that raw data are normalised to.
RAW_SPACE = "MNI152NLin2009cAsym"


@dataclass(frozen=True)
class RawRun:
    """One acquired BOLD run and the T1w that goes with it."""

    entities: dict[str, str]
    bold: Path
    metadata: dict[str, Any]
    t1w: Path | None
    sources: tuple[str, ...]
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """One subject's runs, or the sentence that says why there are none."""

    label: str
    runs: tuple[RawRun | FmriprepRun, ...] = ()
    failure: str | None = None
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetInputs:
    """What a run of migxai works on; plain data that any process can be handed."""

    mode: Literal["raw", "fmriprep"]
    root: Path
    participants: SourceDataset
    sources: tuple[SourceDataset, ...]
    subjects: tuple[Subject, ...]
    task: str
    messages: tuple[str, ...] = ()


def collect_inputs(config: Config) -> DatasetInputs:
    """Find the runs that the configuration selects: one `Subject` for each selected label, in sorted order.

    A subject whose input is broken has a `failure`. Raises `UsageError` if a participant, session, task, filter or
    derivative was asked for that does not exist, and `InputError` if the dataset is none, or has no run at all of the
    default task.
    """
    bids_dir = config.run.bids_dir
    if bids_dir is None:
        raise UsageError("No bids_dir was given.")
    check_filters(config.selection.bids_filters)
    description = check_dataset(bids_dir)
    own = is_fmriprep(description)
    chained = None if own else fmriprep_derivative(config.run.derivatives)
    root = chained or bids_dir
    if chained is not None:
        check_dataset(chained, "the fMRIPrep derivative")
    if chained is None and not own and description.get("DatasetType") == "derivative":
        raise InputError(
            f"bids_dir {bids_dir.name!r} is a derivative dataset that fMRIPrep did not make; "
            "give a raw BIDS dataset or an fMRIPrep output."
        )
    labels = choose_labels(config.selection.participant_label, subject_labels(root), "sub")
    if own or chained:
        return _from_fmriprep(config, bids_dir, root, labels)
    return _from_raw(config, root, labels)


def dataset_root(config: Config) -> Path:
    """Return the dataset whose subjects are processed: fMRIPrep's, where one is given beside ``bids_dir``, or that."""
    bids_dir = config.run.bids_dir
    assert bids_dir is not None
    if is_fmriprep(check_dataset(bids_dir)):
        return bids_dir
    return fmriprep_derivative(config.run.derivatives) or bids_dir


def select_subjects(config: Config) -> tuple[str, ...]:
    """Return the labels of the selected subjects, sorted, without indexing the dataset.

    Raises `UsageError` if a subject or task was asked for that does not exist, and `InputError` if the dataset is none,
    or has no resting run.
    """
    root = dataset_root(config)
    check_dataset(root, "the fMRIPrep derivative")
    labels = choose_labels(config.selection.participant_label, subject_labels(root), "sub")
    choose_task(root, config.selection.task_id)
    return labels


def check_output_place(bids_dir: Path, output_dir: Path) -> None:
    """Raise `UsageError` where the output contains the input dataset, or lies in it other than in ``derivatives``."""
    source, target = bids_dir.resolve(), output_dir.resolve()
    if source == target:
        raise UsageError("The output directory is the input dataset itself; choose another.")
    if target.is_relative_to(source):
        inside = target.relative_to(source).parts
        if inside[0] != "derivatives" or len(inside) < 2:
            raise UsageError(
                "The output directory lies inside the input dataset; choose one outside it, "
                "or derivatives/migxai in it."
            )


def fmriprep_derivative(derivatives: Sequence[tuple[str, Path]]) -> Path | None:
    """Choose the derivative that fMRIPrep made: by what its description says, or by the name the user gave it.

    Raises `UsageError` if one is no directory, or fMRIPrep made several.
    """
    chosen = []
    for name, path in derivatives:
        if not path.is_dir():
            raise UsageError(f"The derivative {name!r} is not a directory; check -d {name}=PATH.")
        if name.lower() == "fmriprep" or is_fmriprep(check_dataset(path, f"the derivative {name!r}")):
            chosen.append((name, path))
    if len(chosen) > 1:
        names = ", ".join(name for name, _ in chosen)
        raise UsageError(f"More than one fMRIPrep derivative was given ({names}); give one.")
    return chosen[0][1] if chosen else None


def _from_raw(config: Config, root: Path, labels: tuple[str, ...]) -> DatasetInputs:
    if config.preprocessing.space not in (None, RAW_SPACE):
        raise UsageError(
            f"Raw data are normalised to {RAW_SPACE}; --space {config.preprocessing.space} needs fMRIPrep's output."
        )
    layout = _open(config, root, labels, derivative=False)
    task, messages = choose_task(root, config.selection.task_id)
    sessions = _sessions(config.selection, root)
    subjects = tuple(_raw_subject(layout, root, label, task, sessions, config) for label in labels)
    source = SourceDataset("raw", root)
    return DatasetInputs("raw", root, source, (source,), subjects, task, messages)


def _from_fmriprep(config: Config, bids_dir: Path, root: Path, labels: tuple[str, ...]) -> DatasetInputs:
    refuse_ancient(root)
    layout = _open(config, root, labels, derivative=True)
    task, messages = choose_task(root, config.selection.task_id)
    sessions = _sessions(config.selection, root)
    space, resolution, chosen = choose_space(root, task, config.preprocessing)

    def subject(label: str) -> Subject:
        try:
            filters = pybids_filters(config.selection.bids_filters.get("bold", {}))
            query = {"suffix": "bold", "task": task, **filters}
            images = _selected(find_images(layout, label, **query), sessions, config.selection.run_id)
            runs = collect_fmriprep(
                images, root, space=space, resolution=resolution, use_aroma=config.preprocessing.use_aroma
            )
            return Subject(label, runs)
        except UsageError:
            raise
        except MigxaiError as error:
            return Subject(label, failure=f"sub-{label}: {error}")

    source = SourceDataset("fmriprep", root)
    sources = (source,) if bids_dir == root else (source, SourceDataset("raw", bids_dir))
    subjects = tuple(subject(label) for label in labels)
    return DatasetInputs("fmriprep", root, sources[-1], sources, subjects, task, (*messages, *chosen))


def _open(config: Config, root: Path, labels: Sequence[str], *, derivative: bool) -> BIDSLayout:
    """Open the dataset; index sidecars only if a filter asks for one of their fields."""
    layout = functools.partial(
        open_layout,
        root,
        labels,
        derivative=derivative,
        database_dir=config.run.bids_database_dir,
        validate=not config.run.skip_bids_validation,
    )
    used = [value for key, value in config.selection.bids_filters.items() if key in ("bold", "t1w")]
    opened = layout()
    return layout(metadata=True) if needs_metadata(opened, used) else opened


def choose_task(root: Path, wanted: str) -> tuple[str, tuple[str, ...]]:
    """Choose the task: the one asked for, or, if that is the default, the only other one that the dataset has.

    The whole dataset is looked at, not the selected subjects alone, so that every job of an array chooses alike. Raises
    `UsageError` if a task other than the default was asked for and does not exist, and `InputError` if there is no BOLD
    run, or no resting one and several others.
    """
    names = [parse_name(path) for path in functional_files(root, "*_bold.nii*")]
    tasks = sorted({name.entities["task"] for name in names if name and "task" in name.entities})
    wanted = strip_prefix(wanted, "task")
    if not tasks:
        raise InputError(f"The dataset {root.name!r} has no BOLD run (no sub-*/func/*_task-*_bold.nii.gz).")
    if wanted in tasks:
        return wanted, ()
    if wanted != DEFAULT_TASK:
        raise UsageError(f"No task {wanted!r} in the dataset; available: {', '.join(tasks)}.")
    if len(tasks) == 1:
        message = f"There is no task-rest; the only task of the dataset, task-{tasks[0]}, is used instead."
        return tasks[0], (message,)
    raise InputError(
        f"The dataset has no resting run (task-rest); choose one of its tasks with -t: {', '.join(tasks)}."
    )


def _sessions(selection: Selection, root: Path) -> tuple[str, ...] | None:
    """Choose sessions among those of the whole dataset; None means all, with or without sessions."""
    if not selection.session_label:
        return None
    available = sorted({path.name.removeprefix("ses-") for path in root.glob("sub-*/ses-*") if path.is_dir()})
    return choose_labels(selection.session_label, available, "ses")


def _selected(images: list[Path], sessions: tuple[str, ...] | None, runs: Sequence[str]) -> list[tuple[Path, BIDSName]]:
    named = [(path, name) for path in images if (name := parse_name(path)) is not None]
    return [
        (path, name)
        for path, name in named
        if (sessions is None or name.entities.get("ses") in sessions)
        and (not runs or any(same_run(run, name.entities.get("run")) for run in runs))
        and name.entities.get("part", "mag") == "mag"
    ]


def _raw_subject(
    layout: BIDSLayout, root: Path, label: str, task: str, sessions: tuple[str, ...] | None, config: Config
) -> Subject:
    filters = config.selection.bids_filters
    try:
        query = {"suffix": "bold", "task": task, **pybids_filters(filters.get("bold", {}))}
        images = _selected(find_images(layout, label, **query), sessions, config.selection.run_id)
        images, messages = _one_file_a_run(images)
        if not images:
            raise InputError(f"no run of task-{task} fits the selection; check the dataset and the filters.")
        query = {"suffix": "T1w", **pybids_filters(filters.get("t1w", {}))}
        anatomical = [] if config.preprocessing.anat == "none" else find_images(layout, label, **query)
        if not anatomical and config.preprocessing.anat == "t1w":
            raise InputError("there is no T1w image, and --anat t1w asks for one; use --anat auto to go without.")
        if not anatomical and config.preprocessing.anat == "auto":
            messages.append("There is no T1w image: the BOLD reference is registered to the EPI template directly.")
        if any(root.glob(f"sub-{label}/**/fmap/*.nii*")):
            messages.append(
                "Field maps are not used; to correct distortion, run fMRIPrep first and chain migxai after it."
            )
        runs = tuple(_raw_run(path, name, root, anatomical) for path, name in images)
    except UsageError:
        raise
    except MigxaiError as error:
        return Subject(label, failure=f"sub-{label}: {error}")
    return Subject(label, runs, messages=tuple(messages))


def _raw_run(path: Path, name: BIDSName, root: Path, anatomical: Sequence[Path]) -> RawRun:
    entities = run_entities(name.entities)
    entities.pop("echo", None)
    entities.pop("part", None)
    for image in (path, *anatomical):
        require_content(image, root)
    t1w, messages = choose_t1w(anatomical, name.entities.get("ses"))
    sources = tuple(bids_uri(item, root, "raw") for item in (path, t1w) if item is not None)
    return RawRun(entities, path, inherited_metadata(path, root), t1w, sources, messages)


def _one_file_a_run(images: Sequence[tuple[Path, BIDSName]]) -> tuple[list[tuple[Path, BIDSName]], list[str]]:
    """Keep one image a run: the first echo of several, and the compressed one of two alike."""
    groups: dict[tuple[tuple[str, str], ...], list[tuple[Path, BIDSName]]] = {}
    for path, name in images:
        key = tuple((entity, value) for entity, value in name.entities.items() if entity not in ("echo", "part"))
        groups.setdefault(key, []).append((path, name))
    chosen, messages = [], []
    for group in groups.values():
        ordered = sorted(group, key=lambda item: (_echo(item[1].entities), item[1].extension != ".nii.gz"))
        path, name = ordered[0]
        chosen.append(ordered[0])
        echoes = sorted({_echo(other.entities) for _, other in group})
        if len(echoes) > 1:
            messages.append(f"{path.name}: of {len(echoes)} echoes only echo-{name.entities.get('echo')} is used.")
        if any(other.extension != name.extension and other.entities == name.entities for _, other in group):
            messages.append(f"{path.name}: there are a .nii and a .nii.gz of this run; the .nii.gz is used.")
    return chosen, messages


def _echo(entities: Mapping[str, str]) -> int:
    return int(entities["echo"]) if entities.get("echo", "").isdigit() else 0


def choose_t1w(images: Sequence[Path], session: str | None) -> tuple[Path | None, tuple[str, ...]]:
    """Choose a run's T1w, if any: same session first, then the plainest name, then the first by name."""
    if not images:
        return None, ()

    def rank(path: Path) -> tuple[bool, bool, int, bool, str]:
        name = parse_name(path)
        entities = name.entities if name else {}
        extra = sum(key not in ("sub", "ses", "run") for key in entities)
        return entities.get("ses") != session, "rec" in entities, extra, path.suffix == ".nii", path.as_posix()

    best = min(images, key=rank)
    if len(images) == 1:
        return best, ()
    return best, (f"Of {len(images)} T1w images, {best.name} is used.",)
