"""Networks cut in two: trunk and head together are the intact network."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from torch import nn

from migxai.errors import UsageError
from migxai.learning.backbone import Backbone
from migxai.learning.backbones import NETWORKS, find_family, find_split, make_head
from migxai.learning.devices import single_thread
from migxai.learning.family import IMAGENET, Split
from migxai.learning.timm_networks import PlainTransformer, TokenHead
from tests.learning.networks import backbone, network, pictures

CUTS = [
    *((name, cut) for name in ("googlenet", "resnet18") for cut in ("last-conv", "last-block", "linear")),
    ("vit_b_16", "last-conv"),
    ("timm:vit_tiny_patch16_224", "last-block"),
    ("timm:vit_tiny_patch16_224", "linear"),
    ("timm:resnet18", "linear"),
    ("timm:convnext_pico", "linear"),
]


@pytest.mark.parametrize(("name", "cut"), CUTS)
def test_trunk_and_original_head_are_the_network(name: str, cut: str) -> None:
    made, images = backbone(name, cut), pictures(3)
    features = made.features(images, clean=True)
    with torch.inference_mode():
        expected = made.network(made.normalise(images))
        logits = made.original_head()(features)
    assert torch.allclose(logits, expected, rtol=1e-5, atol=2e-5)
    assert expected.std(dim=0).mean() > 0.05, "the network must tell the pictures apart"
    shapes = {key: tuple(tensor.shape[1:]) for key, tensor in features.items()}
    assert shapes == {**made.split.features, **made.split.clean}
    assert set(made.features(images[:1])) == set(made.split.features)


@pytest.mark.parametrize(("name", "cut"), CUTS)
def test_a_new_head_goes_back_into_the_network(name: str, cut: str) -> None:
    made, images = backbone(name, cut), pictures(3)
    head = make_head(made.split, 3, torch.Generator().manual_seed(1)).eval()
    with torch.inference_mode():
        assembled = made.assemble(head)(made.normalise(images))
        assert torch.allclose(head(made.features(images)), assembled, rtol=1e-5, atol=1e-5)
    again = make_head(made.split, 3, torch.Generator().manual_seed(1))
    other = make_head(made.split, 3, torch.Generator().manual_seed(2))
    assert torch.equal(head.classifier.weight, again.classifier.weight)
    assert not torch.equal(head.classifier.weight, other.classifier.weight)


@pytest.mark.parametrize("name", ["googlenet", "resnet18"])
@pytest.mark.parametrize("cut", ["last-conv", "last-block", "linear"])
def test_logits_are_means_of_maps(name: str, cut: str) -> None:
    made, images = backbone(name, cut), pictures(2)
    head = make_head(made.split, 2, torch.Generator().manual_seed(1)).eval()
    features = made.features(images, clean=True)
    place = "layer4" if name == "resnet18" else "inception5b"
    with torch.inference_mode():
        maps = head.maps(features)
        logits = torch.einsum("bkhw,ck->bc", maps, head.classifier.weight) / maps[0, 0].numel() + head.classifier.bias
        assert torch.allclose(logits, head(features), rtol=1e-5, atol=1e-5)
        seen = []
        intact = made.assemble(head)
        intact.get_submodule(place).register_forward_hook(lambda module, given, output: seen.append(output))
        intact(made.normalise(images))
    assert torch.allclose(maps, seen[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["googlenet", "resnet18"])
def test_features_do_not_depend_on_other_images_of_the_batch(name: str) -> None:
    made, images = backbone(name), pictures(4)
    alone, together = made.features(images[:1]), made.features(images)
    for key, tensor in alone.items():
        assert torch.allclose(tensor, together[key][:1], rtol=1e-4, atol=1e-5)
    # With batch normalisations left in training mode, they would.
    # A copy: in training mode its statistics change.
    trained = copy.deepcopy(network(name).network).train()
    with torch.no_grad():
        first, second = (trained(made.normalise(part))[0] for part in (images[:2], images))
    assert (first - second).abs().max() > 0.05 * second.abs().max()


def test_networks_are_frozen_and_heads_are_not() -> None:
    made = backbone("resnet18")
    assert not any(parameter.requires_grad for parameter in made.network.parameters())
    assert not any(isinstance(part, nn.BatchNorm2d) for part in made._trunk.modules()), "folded into convolutions"
    head = make_head(made.split, 2, torch.Generator())
    assert all(parameter.requires_grad for parameter in head.parameters())
    assert {name.split(".")[0] for name, _ in head.named_parameters()} == {"conv", "norm", "classifier"}


@pytest.mark.parametrize("name", ["googlenet", "resnet18", "timm:vit_tiny_patch16_224"])
def test_16_bits_are_close_to_32(name: str) -> None:
    images = pictures(4)
    low, high = (backbone(name, precision=bits).features(images, clean=True) for bits in ("bf16", "fp32"))
    for key, tensor in high.items():
        assert (low[key].float() - tensor).norm() < 0.25 * tensor.norm(), key


def test_googlenet_takes_images_as_torchvision_transforms_them() -> None:
    made, images = backbone("googlenet"), pictures(2)
    mean, sd = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (IMAGENET.mean, IMAGENET.sd))
    intact = made.network
    intact.transform_input = True
    try:
        with torch.inference_mode():
            transformed = intact._transform_input((images - mean) / sd)
    finally:
        intact.transform_input = False
    assert torch.allclose(made.normalise(images), transformed, atol=1e-6)


# --- the folded block --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folded() -> tuple[TokenHead, nn.Module, torch.Tensor]:
    """A folded head, timm's block with the same weights, and tokens."""
    split = find_split("timm:vit_tiny_patch16_224", "last-block")
    generator = torch.Generator().manual_seed(0)
    head = make_head(split, 2, generator)
    assert isinstance(head, TokenHead)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    block = timm.models.vision_transformer.Block(192, 3, qkv_bias=True)
    assert block.norm1.eps == split.details["eps"]
    block.load_state_dict(head.block.state_dict())
    return head, block, torch.randn(4, 197, 192, generator=generator)


def given(tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"tokens": nn.functional.layer_norm(tokens, (192,), eps=1e-6), "cls": tokens[:, 0]}


def test_folded_block_is_the_block(folded: tuple[TokenHead, nn.Module, torch.Tensor]) -> None:
    head, block, tokens = folded
    head.zero_grad()
    expected = head.classifier(head.norm(block(tokens)[:, 0]))
    made = head(given(tokens))
    assert torch.allclose(made, expected, atol=1e-5)
    torch.manual_seed(0)
    weights = torch.randn(4, 2)
    (expected * weights).sum().backward()
    theirs = {name: parameter.grad for name, parameter in block.named_parameters()}
    (made * weights).sum().backward()
    for name, parameter in head.block.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, theirs[name], atol=1e-5 * max(1, float(theirs[name].abs().max()))), name


def test_attention_is_the_blocks(folded: tuple[TokenHead, nn.Module, torch.Tensor]) -> None:
    head, block, tokens = folded
    with torch.no_grad():
        made = head.attention(given(tokens))
        qkv = block.attn.qkv(block.norm1(tokens)).reshape(4, 197, 3, 3, 64).permute(2, 0, 3, 1, 4)
        expected = (qkv[0] @ qkv[1].transpose(-2, -1) / 8).softmax(dim=-1)[:, :, 0]
    assert torch.allclose(made, expected, atol=1e-6)


def test_gradients_at_the_first_norm_are_autograds(folded: tuple[TokenHead, nn.Module, torch.Tensor]) -> None:
    head, block, tokens = folded
    kept = []
    handle = block.norm1.register_forward_hook(lambda module, given, output: kept.append(output))
    logits = head.classifier(head.norm(block(tokens)[:, 0]))
    handle.remove()
    (expected,) = torch.autograd.grad(logits[:, 1].sum(), kept[0])
    features = given(tokens)
    scaled = head.scaled(features).detach().requires_grad_()
    assert torch.allclose(scaled, kept[0], atol=1e-5)
    (made,) = torch.autograd.grad(head.from_scaled(scaled, features["cls"])[:, 1].sum(), scaled)
    assert torch.allclose(made, expected, atol=1e-5)


def test_rollout_is_a_distribution_over_tokens() -> None:
    made = backbone("timm:vit_tiny_patch16_224", "last-block").features(pictures(2), clean=True)
    assert torch.allclose(made["rollout"].sum(dim=-1), torch.ones(2, 197), atol=1e-4)
    whole = backbone("timm:vit_tiny_patch16_224", "linear").features(pictures(2), clean=True)
    assert torch.allclose(whole["attention"].sum(dim=-1), torch.ones(2, 3), atol=1e-4)
    # The last block's attention on top of the others' is the rollout of them all.
    last = whole["attention"].mean(dim=1)
    expected = 0.5 * (made["rollout"][:, 0] + torch.einsum("bi,bij->bj", last, made["rollout"]))
    assert torch.allclose(whole["rollout"], expected, atol=1e-5)


# --- names and options -------------------------------------------------------------------------------------------


def test_names() -> None:
    assert "googlenet" in NETWORKS
    assert "timm:anything" in NETWORKS
    assert "timm:" not in NETWORKS
    assert "alexnet" not in NETWORKS
    with pytest.raises(UsageError, match="no network 'alexnet'"):
        find_family("alexnet")
    with pytest.raises(UsageError, match="timm has no network 'nonsense'"):
        find_family("timm:nonsense")


def test_what_cannot_be_cut_is_said() -> None:
    with pytest.raises(UsageError, match="--unfreeze linear"):
        find_split("timm:resnet18", "last-conv")
    with pytest.raises(UsageError, match="384 pixels"):
        find_split("timm:vit_base_patch16_384", "last-block")


def test_cuts_that_are_the_same_have_one_name() -> None:
    assert find_split("vit_b_16", "last-conv") == find_split("vit_b_16", "last-block")
    split = find_split("googlenet", "last-conv")
    assert Split.from_dict(split.to_dict()) == split


def test_a_vit_with_layer_scale_is_not_taken_for_a_plain_one() -> None:
    assert isinstance(find_family("timm:vit_tiny_patch16_224"), PlainTransformer)
    assert not isinstance(find_family("timm:vit_small_patch14_dinov2"), PlainTransformer)


def test_a_backbone_leaves_torchs_state_alone() -> None:
    with single_thread():
        state = torch.get_rng_state()
        network.cache_clear()
        Backbone(find_split("resnet18", "linear"), network("resnet18"))
        assert torch.equal(state, torch.get_rng_state())


def test_names_need_no_torch() -> None:
    code = (
        "import sys; from migxai.learning.backbones import NETWORKS; import migxai.learning.estimators, "
        "migxai.learning.feature_store; assert 'resnet18' in NETWORKS; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_random_googlenet_carries_signal() -> None:
    pooled = backbone("googlenet", "linear").features(pictures(6))["pooled"].numpy()
    assert np.median(pooled.std(axis=0) / pooled.mean(axis=0)) > 0.1


def test_a_default_stands_for_a_network_that_is_not_there() -> None:
    assert NETWORKS.get("resnet81") is None
    assert NETWORKS.get("resnet81", "none") == "none"
    assert NETWORKS.get("timm:vit_tiny_patch16_224").name == "timm:vit_tiny_patch16_224"


def test_networks_are_listed_in_the_order_of_their_publication() -> None:
    assert list(NETWORKS) == ["googlenet", "resnet18", "vit_b_16"]
