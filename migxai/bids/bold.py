"""Check a BOLD file before anything is computed from it, and load it once, as one float32 array."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from migxai.errors import ImageError, TimingError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from nibabel.nifti1 import Nifti1Header, Nifti1Image

#: Not finite in more of the voxels than this (outside the background), a series is refused.
MAX_NOT_FINITE = 0.01

#: Relative difference up to which two repetition times are the same one, rounded differently.
SAME_REPETITION_TIME = 1e-3

_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


class Bold(NamedTuple):
    """A BOLD series: data float32 (X, Y, Z, T), affine (4, 4) in mm, its NIfTI header, and what is odd about it."""

    data: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    header: Nifti1Header
    messages: tuple[str, ...]


def load_bold(path: Path) -> Bold:
    """Load a BOLD series whole, scaled, as one float32 array; values that are not finite stay: see `clean_bold`.

    Raises `ImageError` if it is not there, is no NIfTI, is not 4-D, has an affine that maps nothing, is cut short, or
    its checksum is wrong.
    """
    with _open(path) as stream:
        image = _image(stream, path)
        affine = _checked_affine(image, path)
        try:
            data = _scaled(image.dataobj)
            while stream.read(1 << 20):  # gzip checks its checksum at the end alone
                pass
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise ImageError(_broken(path, error)) from error
    return Bold(data, affine, image.header, _orientation(image, path))


def _scaled(proxy: Any) -> npt.NDArray[np.float32]:
    """Apply the header's slope and intercept in float64 volume by volume; nibabel would hold the whole series so."""
    import numpy as np

    stored = proxy.get_unscaled()
    data = np.empty(stored.shape, dtype=np.float32, order="F")
    for volume in range(stored.shape[3]):
        data[..., volume] = stored[..., volume] * np.float64(proxy.slope) + np.float64(proxy.inter)
    return data


def clean_bold(data: npt.NDArray[np.float32], name: str) -> tuple[str, ...]:
    """Check the values of a series (X, Y, Z, T), zero voxels that are not finite in place, and say what changed.

    Voxels that are not finite in any volume and are joined to the border of the image are its background, as some
    programs write it. Any other voxel that is not finite in some volume is damaged: zero where there are few, an
    `ImageError` beyond `MAX_NOT_FINITE` of all voxels. So is a series that is all zero or constant.
    """
    import numpy as np

    messages = []
    volumes = data.shape[3]
    damage = np.zeros(data.shape[:3], dtype=np.int32)
    for volume in range(volumes):  # one volume at a time: a mask of the whole series would be a quarter of a copy
        damage += ~np.isfinite(data[..., volume])
    if damage.any():
        background = _joined_to_border(damage == volumes)
        damaged = int(np.count_nonzero((damage > 0) & ~background))
        if damaged > MAX_NOT_FINITE * damage.size:
            raise ImageError(
                f"{name} has values that are not finite (NaN or infinite) in {damaged} voxels "
                f"({100 * damaged / damage.size:.1f} %); repair the file or the step that made it."
            )
        data[damage > 0] = 0
        if background.any():
            messages.append(f"{name}: {int(background.sum())} background voxels without value (NaN) are set to zero.")
        if damaged:
            messages.append(f"{name}: {damaged} voxels with values that are not finite (NaN) are set to zero.")
    empty = [volume for volume in range(volumes) if not data[..., volume].any()]
    if len(empty) == volumes:
        raise ImageError(f"{name} holds nothing but zeros.")
    if volumes > 1 and all(np.array_equal(data[..., 0], data[..., volume]) for volume in range(1, volumes)):
        raise ImageError(f"{name} is constant: all {volumes} volumes are the same.")
    if empty:
        messages.append(f"{name}: {len(empty)} volumes are all zero (the first is number {empty[0]}, counted from 0).")
    return tuple(messages)


def _joined_to_border(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    import numpy as np
    from scipy import ndimage

    labels, _ = ndimage.label(mask)
    border = np.ones(mask.shape, dtype=bool)
    border[1:-1, 1:-1, 1:-1] = False
    joined: npt.NDArray[np.bool_] = np.isin(labels, np.unique(labels[border & mask]))
    return joined


def repetition_time(
    path: Path,
    header: Nifti1Header,
    metadata: Mapping[str, Any],
    *,
    override: float | None = None,
    header_suffices: bool = False,
) -> tuple[float, tuple[str, ...]]:
    """Settle the repetition time, in seconds, between the JSON sidecar, the NIfTI header and the user; with messages.

    The sidecar's `metadata` come with inheritance applied; `override` (``--repetition-time``) settles everything.
    `header_suffices` says that the header is believed where the sidecar is silent: for derivatives, since raw BIDS
    requires the field. Raises `TimingError` if the time is absent, not positive, or the two disagree by more than 0.1
    %.
    """
    if override is not None:
        return override, (f"{path.name}: the repetition time is {override:g} s as given, whatever the files say.",)
    settle = "correct the file or give --repetition-time."
    stated = metadata.get("RepetitionTime")
    if stated is None and "VolumeTiming" in metadata:
        raise TimingError(f"{path.name} was acquired at irregular times (VolumeTiming), which migxai cannot filter.")
    if stated is not None and (isinstance(stated, bool) or not isinstance(stated, int | float) or not 0 < stated < 1e4):
        raise TimingError(f"The JSON of {path.name} gives an impossible RepetitionTime, {stated!r}; {settle}")
    in_header = header_repetition_time(header)
    if stated is None:
        if header_suffices and in_header is not None:
            return in_header, (f"{path.name}: the repetition time, {in_header:g} s, is taken from the NIfTI header.",)
        raise TimingError(f"The JSON of {path.name} has no RepetitionTime; {settle}")
    if in_header is None:
        return float(stated), (f"{path.name}: the NIfTI header has no repetition time; that of the JSON is used.",)
    if _differ(stated, in_header):
        unit_unknown = header.get_xyzt_units()[1] not in _SECONDS
        if unit_unknown and not _differ(stated, in_header / 1000):
            return float(stated), (f"{path.name}: the NIfTI header names no unit of time; milliseconds are taken.",)
        raise TimingError(
            f"The repetition times of {path.name} disagree: {stated:g} s in the JSON, {in_header:g} s in the NIfTI "
            f"header; {settle}"
        )
    return float(stated), ()


def header_repetition_time(header: Nifti1Header) -> float | None:
    """Repetition time of a NIfTI header in seconds; None where it is not set or not a number above zero."""
    value = float(header["pixdim"][4]) * _SECONDS.get(header.get_xyzt_units()[1], 1.0)
    return value if 0 < value < float("inf") else None


def _differ(first: float, second: float) -> bool:
    return abs(first - second) > SAME_REPETITION_TIME * max(abs(first), abs(second))


def _open(path: Path) -> BufferedIOBase:
    if not path.exists():
        raise ImageError(f"{path.name} does not exist or is a link to content that is not here.")
    if not path.is_file() or path.stat().st_size == 0:
        raise ImageError(f"{path.name} is empty or no file.")
    try:
        # A real file object, not nibabel's: it alone reads to the end, where the checksum is.
        return gzip.open(path) if path.name.endswith(".gz") else path.open("rb")
    except OSError as error:
        raise ImageError(f"{path.name} cannot be read: {error.strerror or error}.") from error


def _image(stream: BufferedIOBase, path: Path) -> Nifti1Image:
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    nibabels = (ImageFileError, HeaderDataError, WrapStructError)
    try:
        size = stream.read(4)
        stream.seek(0)
        is_second = 540 in (int.from_bytes(size, "little"), int.from_bytes(size, "big"))
        kind: Any = nib.Nifti2Image if is_second else nib.Nifti1Image
        file_map = kind.make_file_map({"image": stream})
        image: Nifti1Image = kind.from_file_map(file_map, mmap=False)
    except (OSError, EOFError, ValueError, zlib.error, *nibabels) as error:
        raise ImageError(_broken(path, error)) from error
    return image


def _broken(path: Path, error: Exception) -> str:
    cut = isinstance(error, EOFError) or "Expected" in str(error) or "could not" in str(error).lower()
    if isinstance(error, gzip.BadGzipFile) and "Not a gzipped" in str(error):
        return f"{path.name} is not compressed although its name ends with .gz; rename or compress it."
    what = "is cut short" if cut else "is damaged or no NIfTI image"
    return f"{path.name} {what} and cannot be read; copy or convert it again."


def _checked_affine(image: Nifti1Image, path: Path) -> npt.NDArray[np.float64]:
    """Return the affine of a header that can be that of a BOLD series; refuse any other."""
    import numpy as np

    shape = tuple(int(size) for size in image.shape)
    if len(shape) != 4:
        raise ImageError(
            f"{path.name} is {len(shape)}-D with shape {shape}, but a BOLD series is 4-D; convert it again."
        )
    if min(shape) < 1 or min(shape[:3]) < 2:
        raise ImageError(f"{path.name} has shape {shape}, which is no volume.")
    if image.get_data_dtype().fields is not None or np.iscomplexobj(np.zeros(1, image.get_data_dtype())):
        raise ImageError(f"{path.name} holds colours or complex numbers, not a BOLD signal.")
    affine: npt.NDArray[np.float64] = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise ImageError(f"{path.name} has an affine that maps nothing (not finite or singular); convert it again.")
    return affine


def _orientation(image: Nifti1Image, path: Path) -> tuple[str, ...]:
    import numpy as np

    qform, qcode = image.header.get_qform(coded=True)
    sform, scode = image.header.get_sform(coded=True)
    if not qcode and not scode:
        return (f"{path.name} has no orientation in its header; left and right can't be known from it.",)
    if qcode and scode:
        corners = np.array(np.meshgrid(*[(0, size - 1) for size in image.shape[:3]])).reshape(3, 8)
        apart = np.abs((qform - sform)[:3] @ np.vstack([corners, np.ones(8)])).max()
        if apart > 0.5:
            return (f"{path.name}: qform and sform differ by up to {apart:.1f} mm; the sform is used.",)
    return ()
