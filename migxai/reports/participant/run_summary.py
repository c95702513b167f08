"""What the report says of a run in words and numbers, kept as JSON beside its figures.

The report of a participant is made from these files and the figures alone, so ``--reports-only`` can rebuild it
without touching an image. The schema is the dataclasses' fields, one key each, as written by `write_summary`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from migxai.bids.names import RUN_ENTITIES
from migxai.errors import InputError
from migxai.io import write_text

#: Of the JSON; a reader refuses a higher one.
SCHEMA_VERSION = 1
SUFFIX = "_desc-summary_bold.json"

#: The entities of a run in words.
WORDS = {
    "sub": "participant",
    "ses": "session",
    "acq": "acquisition",
    "ce": "contrast",
    "rec": "reconstruction",
    "dir": "direction",
}

Number = float | int | None


@dataclass(frozen=True)
class ProcessingStep:
    """One step of the processing: done or skipped, and how or why."""

    name: str
    status: Literal["done", "skipped"]
    detail: str = ""


@dataclass(frozen=True)
class QualityMeasure:
    """One figure of quality control; `passed` is None where there is no limit to pass."""

    name: str
    value: Number
    unit: str = ""
    limit: str = ""
    passed: bool | None = None


@dataclass(frozen=True)
class RegionValues:
    """One region of the atlas: its coverage (0 to 1) and the mean of each indicator in it (None without data)."""

    name: str
    coverage: float
    values: dict[str, Number]


@dataclass(frozen=True)
class RunSummary:
    """All that the report says of one run besides its figures.

    Attributes
    ----------
    entities
        Those that name the run, by BIDS keys (sub, ses, task, run, ...): see `migxai.bids.names.run_entities`.
    usable
        Whether group level reads the run.
    exclusion
        Why not, a sentence each.
    warnings
        A sentence each.
    inputs, parameters
        Tables of the report: what went in (no paths), and the settings.
    numbers
        Table of the report: volumes, repetition time, degrees of freedom, displacement and the like.
    steps
        What was done and what was skipped, in order.
    quality
        Figures of quality control.
    regions
        In the atlas's order.
    software
        Versions by name.
    """

    entities: dict[str, str]
    usable: bool
    exclusion: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    inputs: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, Number] = field(default_factory=dict)
    steps: tuple[ProcessingStep, ...] = ()
    quality: tuple[QualityMeasure, ...] = ()
    regions: tuple[RegionValues, ...] = ()
    software: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.usable == bool(self.exclusion):
            raise ValueError("A run is usable, or it has a reason for its exclusion.")
        if not self.entities.get("sub") or set(self.entities) - set(RUN_ENTITIES):
            raise ValueError(f"The entities {self.entities} do not name a run.")

    @property
    def name(self) -> str:
        """Stem of the run's files, such as ``sub-01_ses-1_task-rest_run-1``."""
        return "_".join(f"{key}-{self.entities[key]}" for key in RUN_ENTITIES if key in self.entities)

    @property
    def heading(self) -> str:
        """The run in words, such as ``session 1, task rest, run 1``."""
        keys = [key for key in RUN_ENTITIES if key in self.entities and key != "sub"] or ["sub"]
        return ", ".join(f"{WORDS.get(key, key)} {self.entities[key]}" for key in keys)

    @property
    def title(self) -> str:
        """The heading as a sentence begins."""
        return self.heading[:1].upper() + self.heading[1:]


def write_summary(summary: RunSummary, figures_dir: Path) -> Path:
    """Write a run's summary into a folder of figures, as ``<name>_desc-summary_bold.json``."""
    content = {"SchemaVersion": SCHEMA_VERSION, **dataclasses.asdict(summary)}
    # JSON has no NaN; None says the same, and is read back as such.
    path = figures_dir / f"{summary.name}{SUFFIX}"
    write_text(path, json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def read_summary(path: Path) -> RunSummary:
    """Read what `write_summary` wrote; InputError if the file is absent, no JSON, or not of the schema."""
    remedy = "remove it and run the participant level again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("SchemaVersion") > SCHEMA_VERSION:
            raise InputError(f"{path.name} was written by a newer migxai: update this one, or {remedy}.")
        return RunSummary(
            **{
                **content,
                "exclusion": tuple(content["exclusion"]),
                "warnings": tuple(content["warnings"]),
                "steps": tuple(ProcessingStep(**item) for item in content["steps"]),
                "quality": tuple(QualityMeasure(**item) for item in content["quality"]),
                "regions": tuple(RegionValues(**item) for item in content["regions"]),
            }
        )
    except OSError as error:
        raise InputError(f"{path.name} can't be read ({error.strerror}): run the participant level first.") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path.name} is no summary of a run ({error}): {remedy}.") from error


def find_summaries(output_dir: Path, subject: str) -> tuple[RunSummary, ...]:
    """Read all summaries of a subject, run 2 before run 10; InputError if there is none, or one can't be read."""
    label = subject.removeprefix("sub-")
    folder = output_dir / f"sub-{label}" / "figures"
    paths = sorted(folder.glob(f"sub-*{SUFFIX}"), key=lambda path: natural(path.name))
    if not paths:
        raise InputError(f"There is no summary of a run of sub-{label} in the output: run the participant level first.")
    return tuple(read_summary(path) for path in paths)


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a key that sorts numbers inside names by value."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
