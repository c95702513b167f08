from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
import torchvision

from migxai.config import Learning
from migxai.errors import InputError
from migxai.learning.backbones import find_family
from migxai.learning.family import HALF, IMAGENET
from migxai.learning.weights import find_weights, hash_weights, load_network, read_state
from tests.learning.networks import network, pictures


@pytest.fixture(autouse=True)
def no_caches(monkeypatch, tmp_path):
    """Whoever runs the tests may have real weights in their caches."""
    for name in ("TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)


def official(folder: Path, stem: str, state: dict) -> Path:
    """Save a state dict as torchvision names its files: with the first digits of the content's SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "unnamed.pth"
    torch.save(state, file)
    return file.rename(folder / f"{stem}-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth")


def googlenet_with_auxiliary_heads() -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return torchvision.models.googlenet(weights=None, aux_logits=True, transform_input=True, init_weights=False)


def test_googlenet_in_torchvisions_layout(tmp_path):
    """With auxiliary heads, which are dropped, and inputs transformed as torchvision's pretrained model does."""
    theirs = googlenet_with_auxiliary_heads()
    official(tmp_path, "googlenet", theirs.state_dict())
    loaded = load_network("googlenet", Learning(weights_dir=tmp_path), 0)
    images = pictures(2).repeat(1, 3, 1, 1)
    mean, sd = (torch.tensor(item).reshape(1, 3, 1, 1) for item in (IMAGENET.mean, IMAGENET.sd))
    own, own_sd = (
        torch.tensor(item).reshape(1, 3, 1, 1) for item in (loaded.normalisation.mean, loaded.normalisation.sd)
    )
    with torch.inference_mode():
        expected = theirs.eval()((images - mean) / sd)
        found = loaded.network((images - own) / own_sd)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_resnet18_from_the_cache_of_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    state = network("resnet18").network.state_dict()
    path = official(tmp_path / "hub" / "checkpoints", "resnet18", state)
    assert find_weights("resnet18", Learning()) == path
    loaded = load_network("resnet18", Learning(), 0)
    assert loaded.normalisation == IMAGENET
    assert all(torch.equal(value, state[name]) for name, value in loaded.network.state_dict().items())
    assert loaded.weights_hash == hashlib.sha256(path.read_bytes()).hexdigest()


def test_torchvisions_vit_gives_the_same_logits(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = torchvision.models.vit_b_16(weights=None).eval()
        # Its classifier is zero at first, which every conversion would get right.
        torch.nn.init.normal_(theirs.heads.head.weight, std=0.1)
    official(tmp_path, "vit_b_16", theirs.state_dict())
    loaded = load_network("vit_b_16", Learning(weights_dir=tmp_path), 0)
    assert loaded.normalisation == IMAGENET
    images = pictures(2).repeat(1, 3, 1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(images), theirs(images), rtol=1e-4, atol=1e-4)


def test_timms_vit_is_normalised_by_one_half():
    assert find_family("vit_b_16").normalisation == HALF


def test_none_are_found(tmp_path):
    with pytest.raises(InputError, match=r"No pretrained weights of resnet18.*--weights random") as error:
        find_weights("resnet18", Learning(weights_dir=tmp_path))
    assert str(tmp_path) in str(error.value)


def test_a_file_that_is_not_what_its_name_says(tmp_path):
    path = official(tmp_path, "resnet18", {"a": torch.zeros(3)})
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(InputError, match=r"damaged or not what its name says"):
        hash_weights("resnet18", Learning(weights_dir=tmp_path), 0)


def test_weights_of_another_network(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(network("resnet18").network.state_dict(), file)
    with pytest.raises(InputError, match=r"does not fit googlenet"):
        load_network("googlenet", Learning(weights=file), 0)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_cut_short(tmp_path, suffix):
    from safetensors.torch import save_file

    file = tmp_path / f"weights{suffix}"
    state = {"fc.weight": torch.zeros(100, 100)}
    torch.save(state, file) if suffix == ".pth" else save_file(state, file)
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(InputError, match=r"damaged or cut short"):
        read_state(file)


class Code:
    """Unpickled without care, this would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_code_in_a_pickle_is_not_run(tmp_path):
    ran = tmp_path / "ran"
    torch.save({"fc.weight": Code(ran)}, tmp_path / "weights.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Code(ran)))
    for name in ("weights.pth", "bare.pth"):
        with pytest.raises(InputError, match=r"would run code"):
            read_state(tmp_path / name)
    assert not ran.exists()


def test_no_state_dict(tmp_path):
    torch.save([1, 2, 3], tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"does not hold a state dict"):
        read_state(tmp_path / "weights.pth")


def test_wrappers_of_training_scripts_are_taken_off(tmp_path):
    torch.save({"epoch": torch.tensor(3), "state_dict": {"module.fc.bias": torch.ones(2)}}, tmp_path / "weights.pth")
    assert list(read_state(tmp_path / "weights.pth")) == ["fc.bias"]


def test_random_weights_follow_the_seed():
    options = Learning(weights="random")
    first, again, other = (load_network("resnet18", options, seed) for seed in (0, 0, 1))
    assert all(
        torch.equal(value, again.network.state_dict()[name]) for name, value in first.network.state_dict().items()
    )
    assert not torch.equal(first.network.conv1.weight, other.network.conv1.weight)
    assert first.network.bn1.momentum == torch.nn.BatchNorm2d(1).momentum, "as before its statistics were set"
    assert first.weights_hash == hash_weights("resnet18", options, 0) != other.weights_hash
