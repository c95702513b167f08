"""Where and on how many threads torch computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from migxai.errors import UsageError

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> torch.device:
    """Return the device asked for: ``cpu``, ``cuda``, or ``auto``, the GPU where there is one.

    Raises UsageError if a GPU is asked for and PyTorch finds none.
    """
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        why = "finds no GPU here (containers need --gpus all in Docker, --nv in Apptainer)"
        if torch.version.cuda is None and torch.version.hip is None:
            why = "is a build for CPUs alone"
        raise UsageError(f"--device cuda was given, but this PyTorch {why}; use --device cpu (or auto).")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


@contextmanager
def single_thread() -> Iterator[None]:
    """Compute on one thread inside, whatever the process does elsewhere.

    Sums are split among threads, so another number of threads gives other last bits. One process a core is also the
    fastest way to train many small heads.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
