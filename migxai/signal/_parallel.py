"""Voxel chunks on threads, in a form whose results do not depend on how many threads there are.

Chunks have a fixed size and each writes its own slice of the output; BLAS is held to one thread inside them, because
the blocking it chooses may follow its thread count. Plain Python threads serve, since numpy, scipy and the compiled
kernels all release the interpreter lock: unlike numba's or OpenMP's pools they survive a later ``fork``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

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
    """Call ``task(start, stop)`` for every chunk of ``range(count)``.

    Parameters
    ----------
    task
        Writes its results for items start..stop itself; must not depend on other chunks.
    count
        Number of items.
    size
        Items in one chunk.
    """
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
