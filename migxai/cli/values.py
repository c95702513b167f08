"""How the values of options are read from text; each reader refuses with a sentence what it can't read."""

from __future__ import annotations

import json
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any

from migxai.errors import UsageError
from migxai.options import number, whole


def whole_or_auto(text: str) -> int | str:
    """Read a whole number or ``auto``."""
    return text if text == "auto" else whole(text)


def number_or_native(text: str) -> float | str:
    """Read a number or ``native``."""
    return text if text == "native" else number(text)


def label(entity: str) -> Callable[[str], str]:
    """Return the reader of BIDS labels that come with or without their entity in front."""

    def read(text: str) -> str:
        stripped = text.removeprefix(f"{entity}-")
        if not re.fullmatch(r"[A-Za-z0-9+*?\[\]!-]+", stripped) or re.match(r"(sub|ses|task|run)-", stripped):
            hint = "; put bids_dir, output_dir and the level in front of this option" if "/" in text else ""
            raise ArgumentTypeError(f"{text!r} is no {entity}- label (letters and digits; * and ? stand for any){hint}")
        return stripped

    return read


def path(text: str) -> Path:
    """Read a path, made absolute: nothing may depend on where a child process happens to run."""
    return Path(text).expanduser().absolute()


def derivative(text: str) -> tuple[str, Path]:
    """Read ``NAME=PATH``; of a bare path the name is the folder's, up to its version (``fmriprep-24.1``)."""
    name, equals, location = text.partition("=")
    if not equals:
        name, location = re.split(r"[-_]", path(text).name)[0].lower(), text
    if not name or not location:
        raise ArgumentTypeError(f"{text!r} is not NAME=PATH, such as fmriprep=/data/derivatives/fmriprep")
    return name, path(location)


def memory(text: str, unit: str = "") -> float:
    """Read an amount of memory in GB: ``16``, ``16G``, ``16000M``, ``0.5T``.

    Programs differ in what a bare number is; nobody has 1000 GB to a subject and nobody gets far on 999 MB.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), flags=re.IGNORECASE)
    if match is None or float(match[1]) == 0:
        raise ArgumentTypeError(f"{text!r} is not an amount of memory such as 16G or 16000M")
    value = float(match[1])
    suffix = match[2].upper() or unit or ("G" if value < 1000 else "M")
    return value * {"K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3}[suffix]


def memory_gb(text: str) -> float:
    """Read an amount of memory whose bare number is in GB."""
    return memory(text, "G")


def memory_mb(text: str) -> float:
    """Read an amount of memory whose bare number is in MB."""
    return memory(text, "M")


def bids_filters(text: str) -> dict[str, dict[str, Any]]:
    """Read a BIDS filter file: JSON, a dictionary of entities for each query.

    JSON's null (the entity must be absent) becomes the string ``Query.NONE``, since TOML has no null.
    """
    try:
        content = json.loads(Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise ArgumentTypeError(f"the BIDS filter file {text} can't be read ({error.strerror})") from error
    except ValueError as error:
        raise ArgumentTypeError(f"the BIDS filter file {text} is not valid JSON ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(item, dict) for item in content.values()):
        raise ArgumentTypeError(f'the BIDS filter file {text} must look like {{"bold": {{"session": "01"}}}}')
    return {
        query: {entity: _no_null(value) for entity, value in entities.items()} for query, entities in content.items()
    }


def _no_null(value: Any) -> Any:
    if isinstance(value, list):
        return [_no_null(item) for item in value]
    return "Query.NONE" if value is None else value


def comparison(text: str) -> str:
    """Check the form of ``NAME`` or ``NAME=A:B+C``; the groups are known only once the cohort is read."""
    from migxai.cohort.comparisons import parse_comparison

    try:
        parse_comparison(text)
    except UsageError as error:
        raise ArgumentTypeError(str(error).rstrip(".")) from error
    return text


def weights(text: str) -> str | Path:
    """Read ``imagenet``, ``random`` or the name of a file."""
    return text if text in ("imagenet", "random") else path(text)


def plugin(text: str) -> str | Path:
    """Read ``slurm`` or the name of a file."""
    return text if text == "slurm" else path(text)


def array_index(text: str) -> str:
    """Check the form of ``I/N``, ``auto`` or ``auto/N``."""
    match = re.fullmatch(r"(auto|\d+)(?:/(\d+))?", text)
    if match is None or (match[1] != "auto" and not match[2]):
        raise ArgumentTypeError(f"{text!r} is not I/N (such as 3/20), auto or auto/N")
    if match[2] and (int(match[2]) < 1 or (match[1] != "auto" and not 1 <= int(match[1]) <= int(match[2]))):
        raise ArgumentTypeError(f"{text!r} is out of range: the parts are numbered from 1 to N")
    return text
