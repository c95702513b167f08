"""Files that are whole or not there, written below the layers that know BIDS."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from migxai.errors import InputError, OutputError, ResourceError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its name only once it is whole.

    The temporary name is fixed, so what a killed run leaves behind is overwritten by the next.

    Raises
    ------
    OutputError, ResourceError
        If the file cannot be written; nothing of it stays behind.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            yield stream
        temporary.replace(path)
    except OSError as error:
        if error.errno in _FULL:
            raise ResourceError(
                f"The disk (or quota) is full: {path} could not be written; free space and start again."
            ) from error
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that takes its name only once it is whole.

    Raises
    ------
    OutputError, ResourceError
        As `atomic`.
    """
    with atomic(path) as stream:
        stream.write(content)


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError
        If it is none; the sentence ends with `remedy`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {remedy}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object: {remedy}.")
    return content
