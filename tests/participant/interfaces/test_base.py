import dataclasses
import pickle
from pathlib import Path

import numpy as np
from nipype.pipeline import engine as pe

from migxai.participant.interfaces.base import Step, inputs, load_chain, outputs, save_chain
from migxai.participant.interfaces.registration import NormaliseT1w
from migxai.registration.space import Affine, Chain, Field


@dataclasses.dataclass(frozen=True)
class Seen:
    number: float


class Square(Step):
    """Squares a number, and counts in a file how often it has been asked."""

    input_spec = inputs(seen="value", log="value", hint="file?")
    output_spec = outputs(seen="value", file="file")

    def _make(self, folder):
        with (Path(self.inputs.log) / "log.txt").open("a") as log:
            log.write("x")
        (folder / "file.txt").write_text("x")
        return {"seen": Seen(self.inputs.seen.number**2), "file": str(folder / "file.txt")}


def run(folder, number):
    node = pe.Node(Square(seen=Seen(number), log=str(folder)), name="square", base_dir=str(folder))
    return node.run().outputs


def test_facts_survive_nipypes_cache(tmp_path):
    assert run(tmp_path, 3.0).seen == Seen(9.0)
    found = run(tmp_path, 3.0)
    assert found.seen == Seen(9.0)
    assert found.file.endswith("file.txt")
    assert (tmp_path / "log.txt").read_text() == "x", "the second time nothing was computed"
    assert run(tmp_path, 4.0).seen == Seen(16.0)
    assert (tmp_path / "log.txt").read_text() == "xx"


def test_specifications_can_be_pickled():
    step = NormaliseT1w()
    assert type(pickle.loads(pickle.dumps(step.output_spec()))) is NormaliseT1w.output_spec
    assert NormaliseT1w.input_spec is not NormaliseT1w.output_spec
    assert step.inputs.traits()["mask"].mandatory
    assert not Square().inputs.traits()["hint"].mandatory


def test_a_chain_survives_being_kept(tmp_path):
    rng = np.random.default_rng(0)
    matrix = np.eye(4)
    matrix[:3, 3] = 1, 2, 3
    field = Field(rng.normal(size=(3, 4, 5, 3)).astype(np.float32), np.diag([2.0, 2, 2, 1]))
    chain = Chain((field, Affine(matrix)))
    found = load_chain(save_chain(tmp_path / "chain.npz", chain))
    points = rng.uniform(0, 6, (20, 3))
    np.testing.assert_array_equal(found.map_points(points), chain.map_points(points))
