import numpy as np

from migxai.participant.interfaces.base import load_chain, save_chain
from migxai.registration.transforms import Affine, Chain, Field


def test_a_chain_survives_being_kept(tmp_path):
    rng = np.random.default_rng(0)
    matrix = np.eye(4)
    matrix[:3, 3] = 1, 2, 3
    field = Field(rng.normal(size=(3, 4, 5, 3)).astype(np.float32), np.diag([2.0, 2, 2, 1]))
    chain = Chain((field, Affine(matrix)))
    found = load_chain(save_chain(str(tmp_path / "chain.npz"), chain))
    points = rng.uniform(0, 6, (20, 3))
    np.testing.assert_array_equal(found.map_points(points), chain.map_points(points))
