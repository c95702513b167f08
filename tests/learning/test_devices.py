from __future__ import annotations

import pytest

from migxai.errors import UsageError
from migxai.learning.devices import choose_device

torch = pytest.importorskip("torch")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_without_a_gpu_the_cpu_computes(no_gpu):
    assert {choose_device(name).type for name in ("auto", "cpu")} == {"cpu"}


@pytest.mark.parametrize(("cuda", "sentence"), [("13.0", r"finds no GPU here .*--nv"), (None, "build for CPUs alone")])
def test_a_gpu_that_was_asked_for_and_is_not_there(no_gpu, monkeypatch, cuda, sentence):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(UsageError, match=sentence):
        choose_device("cuda")
