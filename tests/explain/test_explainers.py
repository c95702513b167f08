"""Maps in closed form against pytorch-grad-cam, and people explained by running the intact network."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from migxai.config import Learning
from migxai.errors import UsageError
from migxai.explain.explainers import default_layer, explain, explain_network, explain_people, explain_people_by_network
from migxai.explain.methods import METHODS
from migxai.explain.targets import Target, watch
from migxai.explain.volumes import SliceSpace
from migxai.learning.backbone import make_backbone
from migxai.learning.backbones import find_family, make_head
from migxai.learning.weights import synthetic_images
from tests.learning.networks import GRID, backbone, geometry, planes, settings, write_store

CNNS = ("resnet18", "googlenet")
OF_LAYERS = ("gradcam", "layercam", "hirescam", "gradcam++", "eigencam", "paper")


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(synthetic_images(2))


def build(name, unfreeze="last-conv", classes=3):
    backbone = make_backbone(name, Learning(weights="random", unfreeze=unfreeze, precision="fp32"), seed=1)
    head = make_head(backbone.split, classes, torch.Generator().manual_seed(2)).eval()
    with torch.no_grad():
        head.classifier.weight.mul_(10)
    return backbone, head


@pytest.fixture(scope="module", params=[("resnet18", "last-conv"), ("googlenet", "last-conv"), ("googlenet", "linear")])
def cnn(request):
    return build(*request.param)


@pytest.fixture(scope="module")
def vit():
    return build("timm:vit_tiny_patch16_224")


def features_of(backbone, images):
    """The trunk's features with the intact network's own arithmetic: batch normalisations are not fused."""
    with torch.no_grad():
        return find_family(backbone.split.network).trunk(backbone.network, backbone.split)(
            backbone.normalise(images), True
        )


def stretched(maps):
    """As pytorch-grad-cam shows maps: clipped at zero, each image's stretched to 0..1."""
    clipped = maps.clamp(min=0)
    lowest, highest = (getattr(clipped, which)(dim=(1, 2), keepdim=True) for which in ("amin", "amax"))
    return (clipped - lowest) / (highest - lowest + 1e-7)


def largest_difference(ours, theirs):
    # The same scale for both, so that signs and sizes count and not only the pattern.
    scale = theirs.abs().amax().item()
    return max((ours - theirs).abs().amax().item() / scale, (stretched(ours) - stretched(theirs)).abs().amax().item())


@pytest.mark.parametrize(
    ("method", "target"),
    [("gradcam", Target()), ("gradcam", Target(of=1)), *((method, Target(of=2, margin=True)) for method in OF_LAYERS)],
)
def test_closed_form_equals_pytorch_grad_cam(cnn, images, method, target):
    backbone, head = cnn
    ours = explain(head, features_of(backbone, images), backbone.split, METHODS[method], target)
    theirs = explain_network(backbone.assemble(head), backbone.normalise(images), backbone.split, method, target)
    if method == "eigencam":
        # The sign of a principal component is arbitrary, and tiny differences between activations can turn it.
        ours = ours * (ours * theirs).sum(dim=(1, 2), keepdim=True).sign()
        assert largest_difference(ours, theirs) < 1e-3
        return
    assert largest_difference(ours, theirs) < 1e-5


@pytest.mark.parametrize("name", CNNS)
def test_the_librarys_own_call_gives_the_same_pictures(name, images):
    """Nothing of ours between: their class, their call, their scaling, at their usual layer."""
    import cv2
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    backbone, head = build(name)
    network = backbone.assemble(head)
    layer = network.layer4[-1] if name == "resnet18" else network.inception5b
    theirs = GradCAM(model=network, target_layers=[layer])(
        backbone.normalise(images).requires_grad_(), [ClassifierOutputTarget(1)] * len(images)
    )
    made = explain(head, features_of(backbone, images), backbone.split, METHODS["gradcam"], Target(of=1))
    ours = np.stack([cv2.resize(one.numpy(), (224, 224)) for one in stretched(made)])
    ours = stretched(torch.from_numpy(ours)).numpy()
    assert np.abs(ours - theirs).max() < 1e-5


def test_maps_add_up_to_the_target_less_its_bias(cnn, images):
    backbone, head = cnn
    features = backbone.features(images, clean=True)
    with torch.no_grad():
        head.classifier.bias.copy_(torch.tensor([1.0, -2.0, 3.0]))
        logits = head(features)
        maps = explain(head, features, backbone.split, METHODS["hirescam"], Target(of=2, margin=True))
        head.classifier.bias.zero_()
    expected = logits[:, 2] - logits[:, :2].mean(dim=1) - (3.0 - (1.0 - 2.0) / 2)
    torch.testing.assert_close(maps.sum(dim=(1, 2)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["gradcam", "layercam", "hirescam", "gradcam++", "paper"])
def test_tokens_equal_autograd_through_the_intact_block(vit, images, method):
    backbone, head = vit
    assert default_layer(backbone.split) == "blocks.11.norm1"
    target = Target(of=1, margin=True)
    ours = explain(head, features_of(backbone, images), backbone.split, METHODS[method], target)
    theirs = explain_network(backbone.assemble(head), backbone.normalise(images), backbone.split, method, target)
    assert ours.shape == (2, 14, 14)
    assert largest_difference(ours, theirs) < 1e-5


def _attention(block, tokens):
    """Attention of a block, worked out from its own weights: (B, heads, N, N)."""
    made = block.attn.qkv(block.norm1(tokens))
    batch, count, _ = tokens.shape
    query, key, _ = made.reshape(batch, count, 3, block.attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    return (query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(dim=-1)


@pytest.mark.parametrize("unfreeze", ["last-conv", "linear"])
def test_attention_and_rollout_are_those_of_the_intact_network(images, unfreeze):
    backbone, head = build("timm:vit_tiny_patch16_224", unfreeze)
    network = backbone.assemble(head)
    names = [f"blocks.{number}" for number in range(11)]
    with torch.no_grad(), watch(network, ["norm_pre", *names]) as seen:
        network(backbone.normalise(images))
        entering = [seen["norm_pre"], *(seen[name] for name in names)]
        weights = [_attention(block, tokens) for block, tokens in zip(network.blocks, entering, strict=True)]
    product = torch.eye(197)
    for one in weights:
        product = (0.5 * (one.mean(dim=1) + torch.eye(197))) @ product
    features = backbone.features(images, clean=True)
    for method, expected in (("attention", weights[-1].mean(dim=1)), ("rollout", product)):
        ours = explain(head, features, backbone.split, METHODS[method], Target())
        torch.testing.assert_close(ours, expected[:, 0, 1:].reshape(2, 14, 14), rtol=1e-4, atol=1e-7)


def test_patch_tokens_of_the_last_blocks_output_have_no_gradient(vit, images):
    """Why its first normalisation is looked at."""
    backbone, head = vit
    network = backbone.assemble(head)
    made = explain_network(
        network, backbone.normalise(images), backbone.split, "gradcam", Target(of=0), layer="blocks.11"
    )
    assert made.abs().max() == 0


def test_a_method_that_does_not_fit_is_refused_in_a_sentence(images):
    backbone, head = build("resnet18")
    features = backbone.features(images[:1], clean=True)
    for method in ("attention", "rollout"):
        with pytest.raises(UsageError, match="resnet18 has none"):
            explain(head, features, backbone.split, METHODS[method], Target())
        with pytest.raises(UsageError, match=r"one layer's output"):
            explain_network(backbone.assemble(head), images[:1].expand(-1, 3, -1, -1), backbone.split, method, Target())
    vit, frozen = build("timm:vit_tiny_patch16_224", "linear")
    with pytest.raises(UsageError, match="attention or rollout"):
        explain(frozen, vit.features(images[:1], clean=True), vit.split, METHODS["gradcam"], Target())
    with pytest.raises(UsageError, match=r"There is no way to make maps \(--cam\) 'scorecam'.*gradcam"):
        METHODS["scorecam"]
    with pytest.raises(UsageError, match="no class number 3"):
        explain(head, features, backbone.split, METHODS["gradcam"], Target(of=3))


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ("layer5", "has conv1, bn1"),
        ("layer4.7.conv2", r"layer4 has layer4\.0, layer4\.1"),
        ("avgpool.7", "avgpool has"),
        ("fc", "1 x 3, neither maps"),
    ],
)
def test_a_layer_that_does_not_fit_is_refused_in_a_sentence(images, layer, says):
    backbone, head = build("resnet18")
    with pytest.raises(UsageError, match=says):
        explain_network(
            backbone.assemble(head), backbone.normalise(images[:1]), backbone.split, "gradcam", Target(), layer=layer
        )


def test_every_method_says_how_it_makes_maps_and_none_imports_torch():
    code = (
        "import sys; from migxai.explain.methods import METHODS; found = METHODS.values();"
        "assert all((m.combine, m.attend, m.explain_network).count(None) == 2 for m in found);"
        "assert not {'torch', 'numpy'} & set(sys.modules), sys.modules; print(*METHODS)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = "gradcam layercam hirescam gradcam++ eigencam paper attention rollout fused"
    assert found.stdout.split() == names.split()


def test_target_weights_logits_by_class():
    logits = torch.tensor([[0.0, 2.0, 1.0], [5.0, 2.0, 1.0]])
    assert Target().coefficients(logits).tolist() == functional.one_hot(torch.tensor([1, 0]), 3).tolist()
    assert Target(of=2, margin=True).coefficients(logits).tolist() == [[-0.5, -0.5, 1.0]] * 2
    assert Target(of=1, margin=True).coefficients(logits[:, :2]).tolist() == [[-1.0, 1.0]] * 2


@pytest.fixture(scope="module")
def space():
    brain = np.zeros(GRID, dtype=bool)
    brain[2:-2, 2:-2, 2:-2] = True
    return SliceSpace(geometry(), brain)


def explained(name, method, space, rows=(0, 2), classes=2):
    made = backbone(name, "linear")
    head = make_head(made.split, classes, torch.Generator().manual_seed(0)).eval()
    people = {"rows": np.array(rows), "trained": np.array([1])}
    maps = explain_people_by_network(made, head, planes(3), space, method=method, n_classes=classes, **people)
    return maps, head


@pytest.mark.parametrize("name", ["timm:mobilenetv3_small_100", "timm:swin_tiny_patch4_window7_224"])
def test_networks_of_timm_without_a_closed_form_are_explained(name, space):
    split = backbone(name, "linear").split
    assert METHODS["gradcam"].fits(split)
    assert not METHODS["gradcam"].reads_store(split)
    assert not METHODS["attention"].fits(split)
    maps, _ = explained(name, "gradcam", space)
    assert maps.shape == (2, 2, space.inside.sum())
    assert np.isfinite(maps).all()
    assert (maps > 0).any()
    np.testing.assert_array_equal(maps[:, 0], -maps[:, 1])
    assert np.abs(maps[0] - maps[1]).max() > 0


def test_methods_that_know_no_classes_make_one_map(space):
    maps, _ = explained("timm:mobilenetv3_small_100", "eigencam", space, rows=(1,), classes=3)
    assert maps.shape == (1, 1, space.inside.sum())


def test_it_makes_what_the_closed_form_makes(space, tmp_path):
    name, rows = "timm:resnet18", np.array([0, 2])
    options = settings(unfreeze="linear", augmentations=0)
    store, _ = write_store(tmp_path, name, options, 3)
    made = backbone(name, "linear")
    assert store.split.receptive_fields == {"layer4": (0, 32)}
    head = make_head(made.split, 3, torch.Generator().manual_seed(0)).eval()
    assert METHODS["gradcam"].reads_store(made.split)
    theirs = explain_people_by_network(
        made, head, planes(3), space, method="gradcam", rows=rows, trained=np.array([1]), n_classes=3
    )
    ours = explain_people(head, store, rows, "gradcam", space, 3)
    # The store holds 16 bits.
    np.testing.assert_allclose(ours, theirs, atol=2e-3 * np.abs(theirs).max())
