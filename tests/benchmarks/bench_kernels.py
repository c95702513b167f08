"""Time ALFF, ReHo and RFCS beside straightforward numpy and scipy code, in one run, and check that they agree.

Run ``python tests/benchmarks/bench_kernels.py [--repeats 5] [--reference-share 1.0]``. The series is noise on the 3 mm
MNI grid (61x73x61, about 70 000 voxels, 170 volumes); times are the best of the repeats, and the first call (with
compilation, or loading of the compiled code where a cache is at hand) stands beside them. ``--cold`` compiles anew.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SHAPE, VOLUMES, REPETITION_TIME, REGIONS = (61, 73, 61), 170, 2.0, 116


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--reference-share", type=float, default=1.0, help="share of voxels the slow code is timed on")
    parser.add_argument("--cold", action="store_true", help="compile into an empty cache")
    options = parser.parse_args()
    if options.cold:
        # numba reads it when it is first imported, which the kernels do late.
        os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp()
    from migxai.signal import alff_voxels, falff_voxels, region_means, reho_voxels, rfcs
    from migxai.signal.voxels import worker_count

    mask, series, labels = make_data()
    share = max(1, int(len(series) * options.reference_share))

    def strength(samples: NDArray[np.float32]) -> NDArray[np.float64]:
        return rfcs(region_means(samples, labels, np.arange(1, REGIONS + 1)))

    rows = [
        ("ALFF", lambda: alff_voxels(series, REPETITION_TIME), lambda: plain_alff(series[:share])),
        ("fALFF", lambda: falff_voxels(series, REPETITION_TIME), lambda: plain_falff(series[:share])),
        ("ReHo", lambda: reho_voxels(series, mask, border="partial"), lambda: plain_reho(series, mask, share)),
        ("RFCS", lambda: strength(series), lambda: plain_rfcs(series, labels)),
    ]
    print(f"{len(series)} voxels x {VOLUMES} volumes, float32, {worker_count()} threads")
    print(f"{'':6}{'first call':>11}{'ours':>9}{'plain':>9}{'ratio':>8}{'largest difference':>20}")
    for name, ours, plain in rows:
        first, _ = timed(ours, 1)
        best, found = timed(ours, options.repeats)
        slow, expected = timed(plain, 1)
        if name != "RFCS":
            slow *= len(series) / share
            found = found[:share]
        difference = float(np.abs(found - expected).max())
        print(f"{name:6}{first:9.3f} s{best:7.3f} s{slow:7.2f} s{slow / best:8.0f}{difference:20.1e}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


def make_data() -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.int64]]:
    """An ellipsoid of about 70 000 voxels, smooth-ish noise around 1000, and 116 regions of neighbouring voxels."""
    rng = np.random.default_rng(0)
    centred = [(np.arange(size) - size / 2) / radius for size, radius in zip(SHAPE, (27, 31, 20), strict=True)]
    x, y, z = np.meshgrid(*centred, indexing="ij")
    mask = x**2 + y**2 + z**2 < 1
    series = rng.standard_normal((int(mask.sum()), VOLUMES), dtype=np.float32)
    series += np.roll(series, 1, axis=0) + np.roll(series, 1, axis=1)
    series *= 10
    series += 1000
    return mask, series, np.arange(len(series)) * (REGIONS + 1) // len(series)


def timed(function: Callable[[], NDArray[np.floating]], repeats: int) -> tuple[float, NDArray[np.floating]]:
    """Return the best time in seconds and the last result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def amplitudes(series: NDArray[np.float32]) -> NDArray[np.float64]:
    """REST's spectrum, as its description reads: detrend, pad to 192, FFT."""
    from scipy.signal import detrend

    return np.asarray(2 * np.abs(np.fft.rfft(detrend(series.astype(np.float64), axis=1), 192, axis=1)) / VOLUMES)


def plain_alff(series: NDArray[np.float32]) -> NDArray[np.float64]:
    """ALFF by FFT: bins 4..30 of 384 s."""
    return np.asarray(amplitudes(series)[:, 4:31].mean(axis=1))


def plain_falff(series: NDArray[np.float32]) -> NDArray[np.float64]:
    """fALFF by FFT."""
    spectrum = amplitudes(series)
    return np.asarray(spectrum[:, 4:31].sum(axis=1) / spectrum[:, 1:].sum(axis=1))


def plain_reho(series: NDArray[np.float32], mask: NDArray[np.bool_], share: int) -> NDArray[np.float64]:
    """Kendall's W with scipy's ranks and one loop over voxels."""
    from scipy.stats import rankdata

    ranks = rankdata(series, axis=1)
    padded = np.pad(np.where(mask, np.cumsum(mask).reshape(mask.shape) - 1, -1), 1, constant_values=-1)
    result = np.empty(share)
    for voxel, (x, y, z) in enumerate(np.argwhere(mask)[:share]):
        rows = padded[x : x + 3, y : y + 3, z : z + 3].ravel()
        rows = rows[rows >= 0]
        sums = ranks[rows].sum(axis=0)
        spread = ((sums - sums.mean()) ** 2).sum()
        result[voxel] = 12 * spread / (len(rows) ** 2 * (VOLUMES**3 - VOLUMES))
    return result


def plain_rfcs(series: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Regional means one after the other, numpy's correlations."""
    means = [series[labels == region].mean(axis=0, dtype=np.float64) for region in range(1, REGIONS + 1)]
    return np.asarray((np.abs(np.corrcoef(means)).sum(axis=1) - 1) / (REGIONS - 1))


if __name__ == "__main__":
    main()
