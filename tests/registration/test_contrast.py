from __future__ import annotations

import numpy as np

from migxai.registration.contrast import Tissues, template_as_seen
from migxai.registration.transforms import Affine, Chain
from migxai.registration.volume import template_volume


def test_the_template_is_drawn_in_the_image_s_own_contrast():
    """An EPI-like image of the template itself, with a coil's slow shading, noise and a spot that is no tissue."""
    tissues = Tissues(template_volume("WM"), template_volume("CSF"), template_volume("mask"))
    inside = tissues.mask.data > 0
    resolution = np.array([3.0, 3.0, 4.0])
    truth = np.where(inside, 1 - 0.2 * tissues.white.data + 0.4 * tissues.fluid.data, 0)
    shading = np.linspace(600, 1400, truth.shape[0])[:, None, None]
    noise = np.random.default_rng(0).normal(0, 0.05, truth.shape)
    image = ((truth + noise) * shading * inside).astype(np.float32)
    image[40:46, 60:66, 40:46] = 9000
    shift = np.eye(4)
    shift[:3, 3] = 4, -6, 8
    moved = tissues.mask.affine.copy()
    moved[:3, 3] += shift[:3, 3]
    seen, brain = (type(tissues.mask)(data, moved) for data in (image, inside.astype(np.float32)))
    drawn = template_as_seen(seen, brain, Chain((Affine(shift),)), tissues, resolution).data
    white, fluid = inside & (tissues.white.data > 0.95), inside & (tissues.fluid.data > 0.95)
    assert abs(np.median(drawn[white]) - 0.8) < 0.05
    assert np.median(drawn[fluid]) > 1.15
    assert not drawn[~inside].any()
