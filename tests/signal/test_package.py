"""What importing and first use cost, and that an unwritable place for compiled code is no obstacle."""

import os
import subprocess
import sys

import numpy as np
import pytest

from migxai.signal import correct_slice_timing, dvars, region_means, smooth
from migxai.signal.voxels import for_chunks, worker_count

USE = "import numpy as np, migxai.signal as s\n"
USE += "print(s.reho(np.arange(81.0).reshape(3, 3, 3, 3), np.ones((3, 3, 3)))[1, 1, 1])"


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_leaves_the_heavy_libraries_alone():
    heavy = "import sys, migxai.signal; heavy = {'numba', 'scipy', 'nibabel', 'pandas', 'torch'}"
    heavy += "; print(sorted(heavy & set(sys.modules)))"
    assert run(heavy) == "[]"


def test_functions_are_not_hidden_by_modules():
    assert run("import migxai.signal as s, importlib; print(all(callable(getattr(s, n)) for n in s.__all__))") == "True"


def test_nowhere_to_keep_compiled_code(tmp_path):
    # Neither the named cache, nor the package's own folder, nor the home can be written; as root, only a file in the
    # way stops a write, so numba is left with the one locator that is.
    blocked = tmp_path / "file"
    blocked.touch()
    found = run(USE, NUMBA_CACHE_DIR=str(blocked / "cache"), NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator")
    assert float(found) == pytest.approx(1.0)


def test_the_named_cache_is_used(tmp_path):
    assert float(run(USE, NUMBA_CACHE_DIR=str(tmp_path))) == pytest.approx(1.0)
    assert any(tmp_path.rglob("*.nbi"))


def test_chunks_cover_everything_once(monkeypatch):
    for workers in ("1", "2", "7"):
        monkeypatch.setenv("OMP_NUM_THREADS", workers)
        assert worker_count() == int(workers)
        visits = np.zeros(103, dtype=int)

        def visit(start, stop, visits=visits):
            visits[start:stop] += 1

        for_chunks(visit, 103, size=10)
        assert (visits == 1).all()


def test_an_error_in_a_chunk_comes_out(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    def fail(start, stop):
        if start == 20:
            raise ValueError("chunk 20")

    with pytest.raises(ValueError, match="chunk 20"):
        for_chunks(fail, 100, size=10)


def test_bits_do_not_depend_on_the_number_of_threads(monkeypatch):
    rng = np.random.default_rng(0)
    mask = np.ones((20, 20, 20))
    series = (1000 + rng.standard_normal((8000, 40))).astype(np.float32)
    labels, times = rng.integers(0, 30, 8000), np.linspace(0, 1.9, 20)

    def everything():
        return (
            smooth(series, mask, (3, 3, 3), 5.0),
            correct_slice_timing(series.reshape(20, 20, 20, 40), times, 2.0),
            region_means(series, labels, np.arange(1, 30)),
            *dvars(series),
        )

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = everything()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for one, three in zip(alone, everything(), strict=True):
        assert np.array_equal(one, three, equal_nan=True)
