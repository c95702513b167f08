"""The nipype interface that all of migxai's derive from: what a step used is kept with its result."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

from nipype.interfaces.base import SimpleInterface


class MeasuredInterface(SimpleInterface):
    """A step of a workflow whose result says what it used.

    That is ``peak_gb``, by the kernel's account of its whole process up to its end, since a thread that samples gets no
    turn while an engine holds the interpreter; and ``cpu_seconds``.
    """

    def _pre_run_hook(self, runtime: Any) -> Any:
        runtime.cpu_seconds = -time.process_time()
        return runtime

    def _post_run_hook(self, runtime: Any) -> Any:
        runtime.cpu_seconds += time.process_time()
        unit = 1e9 if sys.platform == "darwin" else 1e6 / 1.024
        runtime.peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        return runtime
