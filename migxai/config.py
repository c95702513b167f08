"""The run's configuration: frozen dataclasses, one per concern, in and out of TOML.

`Config` is handed to every ``init_*_wf``; nothing in migxai reads configuration from anywhere else. Fields that
hold a path or concern one machine alone (`Run`) are left out of the hash that decides whether a result can be reused.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from migxai.errors import UsageError

#: Stands in the written configuration for what only the command line knows.
PLACEHOLDER = "<command line>"


@dataclass(frozen=True)
class Run:
    """Where and how a run happens. Nothing here may change a number in an output."""

    bids_dir: Path | None = None
    output_dir: Path | None = None
    work_dir: Path | None = None
    derivatives: tuple[tuple[str, Path], ...] = ()
    bids_database_dir: Path | None = None
    skip_bids_validation: bool = False
    nprocs: int | None = None
    omp_nthreads: int | None = None
    mem_gb: float | None = None
    low_mem: bool = False
    use_plugin: Literal["slurm"] | Path | None = None
    keep: Literal["none", "some", "all"] = "none"
    resource_monitor: bool = False
    stop_on_first_crash: bool = False
    strict: bool = False
    write_graph: bool = False
    verbose: int = 0


@dataclass(frozen=True)
class Selection:
    """Which part of the dataset is processed."""

    participant_label: tuple[str, ...] = ()
    session_label: tuple[str, ...] = ()
    task_id: str = "rest"
    run_id: tuple[str, ...] = ()
    bids_filters: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Preprocessing:
    """From acquired voxels to a 4-D series in template space."""

    dummy_scans: int | Literal["auto"] = 10
    repetition_time: float | None = None
    slice_timing: Literal["auto", "force", "off"] = "auto"
    slice_time_ref: float = 0.5
    max_translation: float = 2.0
    max_rotation: float = 2.0
    anat: Literal["auto", "t1w", "none"] = "auto"
    skull_strip_t1w: Literal["auto", "force", "skip"] = "auto"
    registration: Literal["greedy", "ants"] = "greedy"
    space: str | None = None
    resolution: float | Literal["native"] = 3.0
    use_aroma: bool = False


class Band(NamedTuple):
    """A frequency band in Hz, handed on whole, so that whoever needs no edge need not name one."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g} Hz"


@dataclass(frozen=True)
class Denoising:
    """Nuisance model, filter, smoothing and censoring."""

    low: float = 0.01
    high: float = 0.08
    fwhm: float = 4.0
    motion_terms: Literal[6, 12, 24] = 24
    wm: bool = True
    csf: bool = True
    gsr: bool = False
    order: Literal["regress-filter", "paper"] = "regress-filter"
    fd_threshold: float | None = None
    min_time: float | None = None

    @property
    def band(self) -> Band:
        """The band of the filter and of ALFF."""
        return Band(self.low, self.high)


@dataclass(frozen=True)
class Indicators:
    """Which maps are made, and by which definition."""

    indicators: tuple[str, ...] = ("alff", "falff", "reho", "rfcs")
    alff_definition: Literal["rest", "dpabi", "afni", "xcpd"] = "rest"
    reho_neighbours: Literal[7, 19, 27] = 27
    reho_constant: Literal["keep", "exclude"] = "keep"
    reho_tie_correction: bool = False
    reho_border: Literal["zero", "partial"] = "partial"
    rfcs_divisor: Literal["n-1", "n"] = "n-1"
    forms: tuple[str, ...] = ("mean",)
    atlas: Path | None = None
    atlas_labels: Path | None = None
    min_coverage: float = 0.0
    bold: bool = True


@dataclass(frozen=True)
class Learning:
    """The group level: who is compared with whom, on which maps, by which models, and how that is scored."""

    indicators: tuple[str, ...] = ()
    models: tuple[str, ...] = ("googlenet", "resnet18", "vit_b_16", "svm", "rf")
    comparisons: tuple[str, ...] = ()
    label_column: str = "group"
    site_column: str = "site"
    where: tuple[str, ...] = ()
    min_fov: float = 0.8
    slices: int = 30
    slice_range: tuple[float, ...] = ()
    slice_axis: Literal["axial", "coronal", "sagittal"] = "axial"
    augmentations: int = 8
    crop: float = 0.9
    rotation: float = 10.0
    augment_flip: bool = False
    weights: Literal["imagenet", "random"] | Path = "imagenet"
    weights_dir: Path | None = None
    unfreeze: Literal["last-conv", "last-block", "linear"] = "last-conv"
    dropout: float = 0.5
    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    class_weights: Literal["balanced", "none"] = "balanced"
    epoch_choice: Literal["last", "inner"] = "last"
    feature_norm: Literal["batch", "none"] = "batch"
    cv: Literal["kfold", "leave-one-out", "leave-one-site-out"] = "kfold"
    folds: int = 5
    trials: int = 4
    folds_file: Path | None = None
    vote: Literal["mean", "majority"] = "mean"
    precision: Literal["bf16", "fp32"] = "fp32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    bootstraps: int = 2000
    permutations: int = 0
    save_models: Literal["folds", "final", "none"] = "folds"


@dataclass(frozen=True)
class Explaining:
    """What is shown of where a network looks, and how that is checked."""

    explain: bool = True
    cam: tuple[str, ...] = ("gradcam", "fused", "attention")
    cam_threshold: float = 0.5
    sanity_checks: bool = True


@dataclass(frozen=True)
class Config:
    """Everything a run depends on.

    `extensions` holds the settings of indicators, networks and so on that other packages bring; its keys are
    ``<entry's name>.<setting>``, its values what the command line or a configuration file yielded (see
    `migxai.registry.Entry.setting`).
    """

    run: Run = field(default_factory=Run)
    selection: Selection = field(default_factory=Selection)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    denoising: Denoising = field(default_factory=Denoising)
    indicators: Indicators = field(default_factory=Indicators)
    learning: Learning = field(default_factory=Learning)
    explaining: Explaining = field(default_factory=Explaining)
    extensions: dict[str, Any] = field(default_factory=dict)
    preset: Literal["default", "paper"] = "default"
    random_seed: int = 0

    def replace(self, section: str, **changes: Any) -> Config:
        """Return a copy with fields of one section changed (``"config"`` for the top level)."""
        if section == "config":
            return dataclasses.replace(self, **changes)
        return dataclasses.replace(self, **{section: dataclasses.replace(getattr(self, section), **changes)})

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, without the fields that are None."""
        plain = _plain(self)
        assert isinstance(plain, dict)
        if not self.extensions:
            del plain["extensions"]
        return plain

    def resume_key(self) -> str:
        """Twelve hexadecimal digits that say whether a subject's finished results are those this run would make.

        `hash` covers the numbers; which runs they were made from also depends on the selection within a subject and
        on whether the input was raw or somebody's derivatives.
        """
        selection = {key: value for key, value in self.to_dict()["selection"].items() if key != "participant_label"}
        names = sorted(name for name, _ in self.run.derivatives)
        content = json.dumps([self.hash(), selection, names], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def hash(self) -> str:
        """Eight hexadecimal digits that change when, and only when, a number of the participant level may change."""
        elsewhere = ("run", "selection", "learning", "explaining", "preset", "extensions")
        numbers = {key: value for key, value in self.to_dict().items() if key not in elsewhere}
        made = [f"{stat}." for stat in self.indicators.indicators]
        own = {key: _plain(value) for key, value in self.extensions.items() if key.startswith(tuple(made))}
        if own:
            numbers["extensions"] = own
        # The user's atlas enters by content, not by where it lies on one machine.
        numbers["indicators"].pop("atlas", None)
        numbers["indicators"].pop("atlas_labels", None)
        digest = hashlib.sha256(json.dumps(numbers, sort_keys=True).encode())
        for path in (self.indicators.atlas, self.indicators.atlas_labels):
            if path is not None:
                digest.update(path.read_bytes())
        return digest.hexdigest()[:8]


#: What the paper did, where today's practice (the defaults) does it otherwise. README lists the reasons.
PAPER_PRESET: dict[str, dict[str, Any]] = {
    "denoising": {"order": "paper"},
    "indicators": {"indicators": ("alff", "reho", "rfcs"), "rfcs_divisor": "n"},
    "learning": {"augment_flip": True, "feature_norm": "none"},
    "explaining": {"cam": ("paper", "attention")},
}


def directories(config: Config) -> tuple[Path, Path, Path]:
    """Return the dataset, the output and the work directory of a run."""
    bids_dir, output_dir = config.run.bids_dir, config.run.output_dir
    assert bids_dir is not None
    assert output_dir is not None
    return bids_dir, output_dir, config.run.work_dir or output_dir / ".work"


def to_toml(config: Config) -> str:
    """Write a configuration as TOML that names no path: those become a placeholder.

    `from_toml` reads it back, and the command line fills the placeholders.
    """
    import tomli_w

    plain = config.to_dict()
    for section in dataclasses.fields(config):
        content = getattr(config, section.name)
        if not dataclasses.is_dataclass(content):
            continue
        for item in dataclasses.fields(content):
            value = getattr(content, item.name)
            if isinstance(value, Path):
                plain[section.name][item.name] = PLACEHOLDER
            elif item.name == "derivatives" and value:
                plain[section.name][item.name] = [[name, PLACEHOLDER] for name, _ in value]
    for key, value in config.extensions.items():
        if isinstance(value, Path):
            plain["extensions"][key] = PLACEHOLDER
    return tomli_w.dumps(plain)


def from_toml(text: str, base: Config | None = None, origin: str = "configuration") -> Config:
    """Read a configuration from TOML with the sections of `Config`; sections and keys may be missing.

    A missing key takes its value from `base` (default: the defaults); `origin` is the file's name, for messages.
    Raises `UsageError` if the text is no TOML, or holds an unknown section, key, or value.
    """
    config = base or Config()
    content = _load(text, origin)
    for name, value in content.items():
        if isinstance(value, dict) and dataclasses.is_dataclass(getattr(config, name, None)):
            section = type(getattr(config, name))
            changes = {
                key: _typed(section, key, item, f"{origin}: {name}.{key}")
                for key, item in value.items()
                if not _is_placeholder(item)
            }
            config = config.replace(name, **changes)
        elif name == "extensions" and isinstance(value, dict):
            given = {key: item for key, item in _dotted(value).items() if not _is_placeholder(item)}
            config = dataclasses.replace(config, extensions={**config.extensions, **given})
        else:
            config = config.replace("config", **{name: _typed(Config, name, value, f"{origin}: {name}")})
    return config


def placeholders(text: str, origin: str = "configuration") -> tuple[str, ...]:
    """Name the settings (``section.key``) that a written configuration leaves to the command line."""
    sections = ((name, section) for name, section in _load(text, origin).items() if isinstance(section, dict))
    return tuple(
        f"{name}.{key}" for name, section in sections for key, item in section.items() if _is_placeholder(item)
    )


def _load(text: str, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin} is not valid TOML: {error}.") from error


def _is_placeholder(value: Any) -> bool:
    if isinstance(value, list):
        return any(_is_placeholder(item) for item in value)
    return bool(value == PLACEHOLDER)


def _dotted(content: dict[str, Any]) -> dict[str, Any]:
    """Bring ``[extensions.dc]`` with ``threshold = 0.3`` and ``"dc.threshold" = 0.3`` to one form, the latter."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= {f"{key}.{name}": item for name, item in value.items()} if isinstance(value, dict) else {key: value}
    return found


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = ((item.name, _plain(getattr(value, item.name))) for item in dataclasses.fields(value))
        return {name: item for name, item in items if item is not None}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _typed(owner: type, name: str, value: Any, where: str) -> Any:
    hints = _hints(owner)
    if name not in hints:
        raise UsageError(f"{where} is not a setting of migxai; known are: {', '.join(sorted(hints))}.")
    for candidate in _alternatives(hints[name]):
        converted = _convert(candidate, value)
        if converted is not None:
            return converted
    raise UsageError(f"{where} = {value!r} does not fit; expected {_describe(hints[name])}.")


@functools.cache
def _hints(owner: type) -> dict[str, Any]:
    return typing.get_type_hints(owner)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return tuple(item for item in typing.get_args(hint) if item is not type(None))
    return (hint,)


def _convert(hint: Any, value: Any) -> Any:
    """Return the value as the type asked for, or None if it does not fit."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        # 24 == 24.0 == True in Python, but the hash of a configuration must not depend on how a number was written.
        fitting = (choice for choice in typing.get_args(hint) if choice == value and type(choice) is type(value))
        return next(fitting, None)
    if origin is tuple and isinstance(value, list | tuple):
        inner = typing.get_args(hint)
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            return None
        items = [_convert(kind, item) for kind, item in zip(kinds, value, strict=True)]
        return None if any(item is None for item in items) else tuple(items)
    if origin is dict:
        return value if isinstance(value, dict) else None
    if hint is Path:
        return Path(value) if isinstance(value, str | Path) else None
    if hint is bool or isinstance(value, bool):
        return value if hint is bool and isinstance(value, bool) else None
    if hint is float and isinstance(value, int | float):
        return float(value)
    return value if isinstance(hint, type) and isinstance(value, hint) else None


def _describe(hint: Any) -> str:
    parts = []
    for item in _alternatives(hint):
        if typing.get_origin(item) is Literal:
            parts.append("one of " + ", ".join(str(choice) for choice in typing.get_args(item)))
        else:
            parts.append(getattr(item, "__name__", str(item)) if typing.get_origin(item) is None else str(item))
    return " or ".join(parts)
