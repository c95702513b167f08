"""Read and write JSON, tables and images: one way for each.

Files are written whole or not at all, and the same content gives the same bytes. What is read and can't be used is
refused with a sentence.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from migxai.errors import InputError, MigxaiError, OutputError, ResourceError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM}


def as_output_error(error: OSError, path: Path) -> MigxaiError:
    """Turn the system's error on writing into a sentence with the right exit code."""
    if error.errno in _FULL:
        return ResourceError(
            f"The disk (or quota) is full: {path.name} could not be written; free space and start again."
        )
    if error.errno == errno.EROFS:
        return OutputError(f"{path.name} cannot be written: the output directory is on a read-only file system.")
    if error.errno in _DENIED:
        return OutputError(f"{path.name} cannot be written: no permission in the output directory.")
    return OutputError(f"{path.name} cannot be written: {error.strerror or error}.")


def free_gb(folder: Path) -> float:
    """Return the free space in GB where a folder is, or will be, made."""
    while True:
        try:
            return shutil.disk_usage(folder).free / 1e9
        except FileNotFoundError:
            folder = folder.parent


def prepare_directory(path: Path) -> None:
    """Make a directory and try to write into it.

    Raises `OutputError` if it cannot be made, is no directory, or is not writable, and `ResourceError` if the disk is
    full.
    """
    probe = path / ".migxai-write-test"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"0")
    except OSError as error:
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise OutputError(f"{path.name} is a file where a directory is needed; choose another path.") from error
        raise as_output_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[BufferedIOBase]:
    """Open a file that takes its name only once it is whole.

    If it cannot be written, nothing of it stays behind: `ResourceError` for a full disk, else `OutputError`, as from
    all that writes here.
    """
    with _renamed(path.with_name(f".{path.name}.part"), path) as temporary, temporary.open("wb") as stream:
        yield stream


def copy_with(path: Path, write: Callable[[Path], object]) -> None:
    """Let a library write to a temporary path beside `path`, then give the file its name.

    For formats that only the library can write (ITK transforms, figures). The temporary name keeps the extension, since
    libraries choose the format by it.
    """
    with _renamed(path.with_name(f".part-{path.name}"), path) as temporary:
        write(temporary)


@contextlib.contextmanager
def _renamed(temporary: Path, path: Path) -> Iterator[Path]:
    """Give a file that is written meanwhile its name, or remove it.

    The temporary name is fixed, so that what a killed run leaves behind is overwritten by the next; callers hold the
    lock of the subject, or that of the shared files.
    """
    if "_regressors." in path.name:
        raise ValueError(f"{path.name}: confounds are named _desc-confounds_timeseries")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise as_output_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def display_name(path: Path, root: Path | None) -> str:
    """Name a file in a message: relative to its dataset where possible, else by its name alone."""
    if root is not None and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return path.name


def read_json(path: Path, root: Path | None = None, *, remedy: str = "") -> dict[str, Any]:
    """Read a JSON object; raises `InputError` if it cannot be read, is not JSON, or is not an object.

    Messages name the file relative to `root`, the dataset it lies in, and say what to do by `remedy`; without one, the
    file is to be corrected.
    """
    name = display_name(path, root)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name} cannot be read: {reason}{'; ' if remedy else ''}{remedy}.") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{name} is not valid JSON (line {error.lineno}: {error.msg}); {remedy or 'correct the file'}."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{name} holds no JSON object; {remedy or 'correct the file'}.")
    return content


def read_tsv(path: Path, root: Path | None = None, *, numbers: bool = False) -> pd.DataFrame:
    """Read a table of tab-separated values; raises `InputError` if it cannot be read or is no table.

    Messages name the file relative to `root`, the dataset it lies in. With `numbers`, columns of numbers are read as
    numbers, and ``n/a`` as missing; else all is text, cell by cell as it stands.
    """
    import pandas as pd

    name = display_name(path, root)
    try:
        if numbers:
            return pd.read_csv(path, sep="\t", na_values="n/a", encoding="utf-8-sig")
        return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}.") from error
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "empty"
        raise InputError(f"{name} is not a table of tab-separated values: {reason}.") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes, whole or not at all; raises `ValueError` if there are none."""
    if not content:
        raise ValueError(f"{path.name}: an empty file is never written")
    with atomic(path) as stream:
        stream.write(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text with LF line ends."""
    write_bytes(path, content.replace("\r\n", "\n").encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object in the order of its keys, two blanks deep.

    NaN becomes ``"n/a"`` as in BIDS tables; numpy scalars and arrays become numbers and lists. Raises `TypeError` if it
    holds anything JSON does not know; a path above all, since no path of the machine is ever written.
    """
    text = json.dumps(_jsonable(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return "n/a" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def write_tsv(path: Path, table: pd.DataFrame, *, float_format: str | None = None) -> None:
    """Write a table as BIDS wants it: tabs, LF, ``n/a`` for what is missing; raises `ValueError` if it is empty."""
    if table.empty:
        raise ValueError(f"{path.name}: an empty table is never written")
    text = table.to_csv(sep="\t", na_rep="n/a", index=False, lineterminator="\n", float_format=float_format)
    write_text(path, text)


def write_nifti(
    path: Path,
    data: npt.NDArray[Any],
    affine: npt.NDArray[np.floating[Any]],
    *,
    space: str | None = None,
    repetition_time: float | None = None,
    dtype: Literal["float32", "uint8", "int16", "int32"] = "float32",
) -> None:
    """Write an image, (X, Y, Z) or (X, Y, Z, T), whose header holds geometry and units and nothing else.

    The name ends with ``.nii.gz`` or ``.nii``; `affine` (4, 4) maps voxels to mm. An MNI `space` sets both form codes
    to 4 (MNI 152), any other to 1 (scanner). A `repetition_time` in seconds is needed for 4-D data. Raises `ValueError`
    if the data are empty, neither 3-D nor 4-D, a 3-D ``_bold``, or 4-D without a repetition time.
    """
    import nibabel as nib
    import numpy as np

    if data.ndim not in (3, 4) or data.size == 0:
        raise ValueError(f"{path.name}: an image is 3-D or 4-D and not empty, this has shape {data.shape}")
    if path.name.split(".")[0].endswith("_bold") and data.ndim != 4:
        raise ValueError(f"{path.name}: a BOLD series is 4-D, this is 3-D")
    if (data.ndim == 4) != (repetition_time is not None):
        raise ValueError(f"{path.name}: a 4-D image, and no other, has a repetition time")
    image = nib.Nifti1Image(np.asarray(data, dtype=dtype), np.asarray(affine, dtype=np.float64))
    header = image.header
    header.set_xyzt_units("mm", "sec" if data.ndim == 4 else None)
    if repetition_time is not None:
        header["pixdim"][4] = repetition_time
    code = 4 if space is not None and space.startswith("MNI") else 1
    image.set_sform(image.affine, code=code)
    image.set_qform(image.affine, code=code)
    # Noise does not shrink, so a series gets the quick level; maps are small and compress well.
    with atomic(path) as stream:
        if path.name.endswith(".gz"):
            with deterministic_gzip(stream, level=1 if data.ndim == 4 else 6) as packed:
                image.to_stream(packed)
        else:
            image.to_stream(stream)


def deterministic_gzip(stream: BufferedIOBase, level: int) -> gzip.GzipFile:
    """Open a gzip stream whose header holds neither a name nor a time."""
    return gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=stream, mtime=0)
