"""Random crops, rotations and flips of slices: drawn without torch, reproducible by subject and view, applied with it.

A drawn view is a matrix a slice, so a view can be made again at any time, in any process and in any order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from migxai.errors import UsageError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Augmentation:
    """What may be done to a slice; a number out of its range raises UsageError.

    `crop` is the least share of the picture's edge that a random crop keeps, above 0 to 1 (1: no crop); `rotation` the
    largest rotation in the plane, degrees, either way (0: none); `flip` whether half of the slices are mirrored left to
    right, which swaps the hemispheres, so it is off by default.
    """

    crop: float = 0.9
    rotation: float = 10.0
    flip: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise UsageError(f"A random crop keeps a share of the edge above 0 and up to 1, not {self.crop:g}.")
        if not 0 <= self.rotation <= 180:
            raise UsageError(f"The largest rotation lies between 0 and 180 degrees, not at {self.rotation:g}.")

    def key(self) -> str:
        """Hexadecimal digest of the settings."""
        content = f"{float(self.crop)!r} {float(self.rotation)!r} {bool(self.flip)!r}"
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def draw(augmentation: Augmentation, *, seed: int, subject: str, view: int, slices: int) -> NDArray[np.float32]:
    """Draw a view of a subject: another transformation for each slice.

    The seed of the run is 0 or more, and each subject has a stream of its own by its key. View 0 is the identity. The
    first slices do not depend on how many there are.

    Returns
    -------
    numpy.ndarray
        Matrices (S, 2, 3) that take coordinates in the picture made to those in the picture given, both from -1 to 1,
        as `torch.nn.functional.affine_grid` has them.
    """
    matrices = np.zeros((slices, 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = 1.0
    if view == 0:
        return matrices.astype(np.float32)
    # Python's own hash of a string differs between processes.
    words = np.frombuffer(hashlib.sha256(subject.encode()).digest(), dtype="<u4")
    generator = np.random.default_rng(np.random.SeedSequence([seed, view, *words.tolist()]))
    edge, right, down, angle, mirror = generator.random((slices, 5)).T
    share = augmentation.crop + (1.0 - augmentation.crop) * edge
    radians = np.deg2rad(augmentation.rotation) * (2.0 * angle - 1.0)
    matrices[:, 0, 0] = matrices[:, 1, 1] = share * np.cos(radians)
    matrices[:, 1, 0] = share * np.sin(radians)
    matrices[:, 0, 1] = -matrices[:, 1, 0]
    # The crop lies anywhere within the picture.
    matrices[:, 0, 2] = (1.0 - share) * (2.0 * right - 1.0)
    matrices[:, 1, 2] = (1.0 - share) * (2.0 * down - 1.0)
    if augmentation.flip:
        matrices[mirror < 0.5, :, 0] *= -1.0
    return matrices.astype(np.float32)


def apply(images: torch.Tensor, matrices: NDArray[np.floating[Any]]) -> torch.Tensor:
    """Transform pictures (S, 1, H, W), float32, by matrices (S, 2, 3) from `draw`: bilinear, zero beyond the edge.

    Where every matrix is the identity `images` itself comes back: interpolation would blur it in the last bits.
    """
    import torch
    from torch.nn import functional

    if np.array_equal(matrices, np.broadcast_to(np.eye(2, 3), matrices.shape)):
        return images
    theta = torch.as_tensor(matrices, dtype=images.dtype, device=images.device)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
