"""Registration by greedy (Yushkevich), the default engine."""

from __future__ import annotations

import io
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from migxai.errors import RegistrationError
from migxai.registration.engines import Metric, Pair, Registration
from migxai.registration.images import from_itk_field, to_itk
from migxai.registration.transforms import Affine, Chain
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

    def rigid(self, pair: Pair, *, start: Affine, metric: Metric) -> Affine:
        """Six degrees of freedom."""
        return self._linear(pair, start, f"-dof 6 {_METRICS[metric]} -n 100x50x10")

    def affine(self, pair: Pair, *, start: Affine, metric: Metric) -> Affine:
        """Twelve degrees of freedom; the full grid costs most there and adds nothing before a deformable step."""
        return self._linear(pair, start, f"-dof 12 {_METRICS[metric]} -n 100x50x0")

    def _linear(self, pair: Pair, start: Affine, options: str) -> Affine:
        command = f"-a {options} -ia {{start}} -o result -jitter 0 -threads {_AFFINE_THREADS}"
        # Greedy's affine maps fixed RAS points to moving RAS points.
        return Affine(np.asarray(_run(command, pair, start, "result")["result"]))

    def deformable(self, pair: Pair, *, start: Affine, smoothness: float = 1.0) -> Registration:
        """Local correlation over 5x5x5 voxels, three levels."""
        command = (
            "-m NCC 2x2x2 -n 100x50x20 -it {start} -o warp -oinv unwarp -wp 0 "
            f"-s {1.732 * smoothness:.4f}vox {0.7071 * smoothness:.4f}vox -threads {worker_count()}"
        )
        result = _run(command, pair, start, "warp", "unwarp")
        # Points go through the warp (on the fixed grid) before the affine.
        warp, unwarp = from_itk_field(result["warp"]), from_itk_field(result["unwarp"])
        return Registration(Chain((warp, start)), Chain((start.inverse(), unwarp)))


def _run(command: str, pair: Pair, start: Affine, *outputs: str) -> Any:
    from picsl_greedy import Greedy3D

    images = {"fixed": to_itk(pair.fixed), "moving": to_itk(pair.moving)}
    if pair.covered is not None:
        images["covered"] = to_itk(pair.covered)
        command += " -mm covered"
    with tempfile.TemporaryDirectory(prefix="migxai-") as folder, _LOCK:
        path = Path(folder) / "start.mat"
        np.savetxt(path, start.matrix, fmt="%.17g")
        greedy = Greedy3D()
        try:
            greedy.execute(
                f"-i fixed moving {command.format(start=path)} {_REPEATABLE}",
                # Its progress would go to the terminal.
                out=io.StringIO(),
                err=io.StringIO(),
                **images,
                **dict.fromkeys(outputs),
            )
        except RuntimeError as error:
            raise RegistrationError(f"greedy gave up: {error}") from error
        return greedy
