"""What functions on voxel series share: checks of their input, and chunks on threads.

The results of chunks do not depend on how many threads there are. Chunks have a fixed size and each writes its own
slice of the output; BLAS is held to one thread inside them, because the blocking it chooses may follow its thread
count. Plain Python threads serve, since numpy, scipy and the compiled kernels all release the interpreter lock: unlike
numba's or OpenMP's pools they survive a later ``fork``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migxai.errors import ImageError

FloatArray: TypeAlias = NDArray[np.floating[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]
_Float = TypeVar("_Float", bound=np.floating[Any])


def as_mask(mask: ArrayLike) -> BoolArray:
    """Return a mask (X, Y, Z) as booleans; raise ImageError if it is not 3-D or empty."""
    found: BoolArray = np.asarray(mask) != 0
    if found.ndim != 3:
        raise ImageError(f"A mask has three dimensions, not {found.ndim}.")
    if not found.any():
        raise ImageError("The brain mask is empty, so there is nothing to compute.")
    return found


def as_series(series: ArrayLike) -> FloatArray:
    """Return voxel series (V, T) as float32 or float64, without a copy where they are that already."""
    found = np.asarray(series)
    if found.ndim != 2:
        raise ImageError(f"Voxel series form a matrix of voxels by volumes, not an array of {found.ndim} dimensions.")
    return np.ascontiguousarray(found, dtype=working_dtype(found.dtype))


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[np.floating[Any]]:
    """Return the floating type that holds a type's values exactly: float32, or float64 if that is too narrow."""
    return np.dtype(np.float32) if np.result_type(dtype, np.float32) == np.float32 else np.dtype(np.float64)


def voxel_series(data: ArrayLike, mask: BoolArray) -> FloatArray:
    """Take the series (V, T) of the voxels in a mask, in C order of the grid, out of data (X, Y, Z, T)."""
    volumes = np.asarray(data)
    if volumes.ndim != 4 or volumes.shape[:3] != mask.shape:
        raise ImageError(f"Data of shape {volumes.shape} do not fit a mask of shape {mask.shape}.")
    return np.asarray(volumes[mask], dtype=working_dtype(volumes.dtype))


def require_finite(values: FloatArray, what: str) -> None:
    """Raise ImageError if a result shows that NaN or infinite samples went in."""
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise ImageError(f"{what}: {bad} voxels hold NaN or infinite samples; leave them out of the mask.")


def to_grid(values: NDArray[_Float], mask: BoolArray) -> NDArray[_Float]:
    """Put values (V,) back on the grid (X, Y, Z), zero outside the mask."""
    grid = np.zeros(mask.shape, dtype=values.dtype)
    grid[mask] = values
    return grid


#: Voxels in one piece of work: large enough for BLAS, small enough (a few MB at 170 volumes) for the cache.
CHUNK = 4096


def worker_count() -> int:
    """Return how many threads to use: ``OMP_NUM_THREADS`` if set, else the processors this process may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def serial_blas() -> Iterator[None]:
    """Hold BLAS to one thread, so that the same product gives the same bits wherever it runs."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def for_chunks(task: Callable[[int, int], None], count: int, size: int = CHUNK) -> None:
    """Call ``task(start, stop)`` for every chunk of ``range(count)``; it must write its own part alone."""
    starts = range(0, count, size)
    workers = min(worker_count(), len(starts))
    with serial_blas():
        if workers <= 1:
            for start in starts:
                task(start, min(start + size, count))
            return
        with ThreadPoolExecutor(workers) as pool:
            # list() waits for all and raises the first error of any.
            list(pool.map(lambda start: task(start, min(start + size, count)), starts))
