"""Registration by greedy (Yushkevich), the default engine."""

from __future__ import annotations

import io
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from migxai.registration.engines import Metric, Registration
from migxai.registration.images import from_itk_field, to_itk
from migxai.registration.transforms import Affine, Chain
from migxai.registration.volume import Volume
from migxai.signal._parallel import worker_count

#: Two greedy objects at work in one process crash it.
_LOCK = threading.Lock()
_METRICS = {"NMI": "-m NMI", "NCC": "-m NCC 2x2x2"}
#: Greedy's affine mode sums over threads as they finish, so two runs on two threads differ; one thread is exact.
_AFFINE_THREADS = 1
#: No jitter of samples, no added noise, a seed all the same.
_REPEATABLE = "-noise 0 -seed 1 -V 0"


class GreedyEngine:
    """Affine mode on one thread (the only repeatable way), deformable mode on all (its result is the same)."""

    @property
    def name(self) -> str:
        """Name and version."""
        return f"greedy {version('picsl-greedy')}"

    def rigid(self, moving: Volume, fixed: Volume, *, start: Affine, metric: Metric) -> Affine:
        """Six degrees of freedom."""
        return self._linear(moving, fixed, start, 6, _METRICS[metric])

    def affine(self, moving: Volume, fixed: Volume, *, start: Affine, metric: Metric) -> Affine:
        """Twelve degrees of freedom."""
        return self._linear(moving, fixed, start, 12, _METRICS[metric])

    def _linear(self, moving: Volume, fixed: Volume, start: Affine, degrees: int, metric: str) -> Affine:
        command = (
            f"-a -dof {degrees} -i fixed moving -ia {{start}} -o result {metric} -n {_levels(fixed, degrees)} "
            f"-jitter 0 -threads {_AFFINE_THREADS} {_REPEATABLE}"
        )
        result = _run(command, start, fixed=to_itk(fixed), moving=to_itk(moving), result=None)
        # Greedy's affine maps fixed RAS points to moving RAS points.
        return Affine(np.asarray(result["result"]))

    def deformable(self, moving: Volume, fixed: Volume, *, start: Affine, smoothness: float = 1.0) -> Registration:
        """Local correlation over 5x5x5 voxels, three levels."""
        command = (
            f"-i fixed moving -it {{start}} -o warp -oinv unwarp -m NCC 2x2x2 -n 100x50x20 "
            f"-s {1.732 * smoothness:.4f}vox {0.7071 * smoothness:.4f}vox -wp 0 -threads {worker_count()} {_REPEATABLE}"
        )
        result = _run(command, start, fixed=to_itk(fixed), moving=to_itk(moving), warp=None, unwarp=None)
        # Points go through the warp (on the fixed grid) before the affine.
        warp, unwarp = from_itk_field(result["warp"]), from_itk_field(result["unwarp"])
        return Registration(Chain((warp, start)), Chain((start.inverse(), unwarp)))


def _levels(fixed: Volume, degrees: int) -> str:
    """Iterations from coarse to fine: twelve degrees of freedom gain nothing from the full grid and cost most there."""
    return "100x50x10" if degrees == 6 or fixed.data.size < 500_000 else "100x50x0"


def _run(command: str, start: Affine, **images: Any) -> Any:
    from picsl_greedy import Greedy3D

    with tempfile.TemporaryDirectory(prefix="migxai-") as folder, _LOCK:
        path = Path(folder) / "start.mat"
        np.savetxt(path, start.matrix, fmt="%.17g")
        greedy = Greedy3D()
        # Its progress would go to the terminal; errors come as exceptions.
        greedy.execute(command.format(start=path), out=io.StringIO(), err=io.StringIO(), **images)
        return greedy
