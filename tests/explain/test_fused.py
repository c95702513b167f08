import numpy as np
import pytest
import torch
from torch import nn

from migxai.config import Learning
from migxai.errors import UsageError
from migxai.explain.explainers import explain_network
from migxai.explain.methods import METHODS
from migxai.explain.methods.fused import explain_fused, fuse, fused_layers, fused_people, respond_to_average
from migxai.explain.targets import Target, watch
from migxai.explain.volumes import SliceSpace, find_receptive_fields
from migxai.learning.backbone import make_backbone
from migxai.learning.backbones import NETWORKS, find_split, make_head
from migxai.learning.family import Split
from migxai.learning.slices import cut, plan_slices, to_pixels
from migxai.learning.weights import synthetic_images

#: 2 mm voxels: five of them are 10 mm.
AFFINE = np.array([[2.0, 0, 0, -96], [0, 2, 0, -132], [0, 0, 2, -20], [0, 0, 0, 1]])
SHAPE = (97, 115, 20)
PHANTOM = Split(
    "resnet18", "linear", {}, {}, {}, receptive_fields={"fine": (1.5, 4), "middle": (7.5, 16), "last": (15.5, 32)}
)
MARGIN = Target(of=1, margin=True)


@pytest.fixture(scope="module")
def space():
    world = np.stack(np.indices(SHAPE), axis=-1) * 2.0 + AFFINE[:3, 3]
    brain = (((world - (0, -18, 0)) / (70, 88, 70)) ** 2).sum(axis=-1) <= 1
    return SliceSpace(plan_slices(SHAPE, AFFINE, brain, axis="axial", count=3), brain)


class Phantom(nn.Module):
    """Its logits' margin is how much brightness a picture holds; cells of 4, 16 and 32 pixels count it."""

    def __init__(self):
        super().__init__()
        self.fine = nn.Conv2d(3, 1, 4, stride=4, bias=False)
        self.middle, self.last = nn.AvgPool2d(4), nn.AvgPool2d(2)
        self.fc = nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            self.fine.weight.fill_(1.0)
            self.fc.weight.copy_(torch.tensor([[0.0], [1.0]]))

    def forward(self, images):
        return self.fc(self.last(self.middle(self.fine(images))).mean(dim=(2, 3)))


def pictures(volume, space):
    planes = cut(volume.astype(np.float32), space.geometry)
    return torch.from_numpy(to_pixels(planes, space.geometry)).unsqueeze(1).expand(-1, 3, -1, -1)


def explained(network, images, average, split, targets, space, layers=None):
    average_seen = respond_to_average(network, average, targets, layers or fused_layers(split))
    return explain_fused(network, images, split, average_seen, space, layers)


def peaks(line):
    """Places that are higher than what lies around them, plateaus once."""
    steps = np.diff(np.concatenate([[0.0], line, [0.0]]))
    signs = np.sign(steps[np.abs(steps) > 1e-6 * line.max()])
    return int(((signs[:-1] > 0) & (signs[1:] < 0)).sum())


@pytest.mark.parametrize("first", [30, 37, 44, 51, 58])
@pytest.mark.parametrize("direction", [0, 1])
def test_points_10_mm_apart_are_two_with_fusion_and_one_without(space, first, direction):
    plane = space.geometry.indices[1]
    volume = np.zeros(SHAPE)
    for place in (first, first + 5):
        volume[(place, 50, plane) if direction == 0 else (50, place, plane)] = 1.0
    images, network = pictures(volume, space), Phantom().eval()

    def line(layers):
        row = explained(network, images, torch.zeros_like(images), PHANTOM, [MARGIN], space, layers)[0]
        made = space.volume(row, fill=0.0)
        return made[:, 50, plane] if direction == 0 else made[50, :, plane]

    fused = line(("fine", "middle", "last"))
    assert peaks(fused) == 2
    assert peaks(line(("last",))) == 1
    inside = fused[first : first + 6]
    assert inside.min() < 0.9 * inside.max()


def test_a_point_stays_where_it_is(space):
    """On the left of the brain, towards the back."""
    plane = space.geometry.indices[2]
    volume = np.zeros(SHAPE)
    volume[30, 30, plane] = 1.0
    images = pictures(volume, space)
    network = Phantom().eval()
    made = explained(network, images, torch.zeros_like(images), PHANTOM, [MARGIN], space, ("fine", "last"))[0]
    peak = np.unravel_index(space.volume(made, fill=0.0).argmax(), SHAPE)
    assert peak[2] == plane
    assert np.abs(np.subtract(peak, (30, 30, plane))).max() <= 1


@pytest.fixture(scope="module", params=["googlenet", "resnet18"])
def built(request):
    backbone = make_backbone(request.param, Learning(weights="random", precision="fp32"), seed=1)
    head = make_head(backbone.split, 3, torch.Generator().manual_seed(2)).eval()
    return backbone, head


def test_what_everybody_has_says_nothing(space):
    world = np.linspace(0, 1, SHAPE[0])[:, None, None] * np.ones(SHAPE)
    images = pictures(world, space)
    made = explained(Phantom().eval(), images, images, PHANTOM, [MARGIN], space, ("fine", "last"))
    assert not made.any()


def test_the_last_layers_map_is_the_librarys_change(built, space):
    """Where the classifier reads the mean of maps, gradients are the same at every picture."""
    backbone, head = built
    network, split = backbone.assemble(head), backbone.split
    person, average = (backbone.normalise(torch.from_numpy(each)) for each in np.split(synthetic_images(6), 2))
    last = NETWORKS[split.network].fused_layers[-1]
    made = explained(network, person, average, split, [MARGIN], space, (last,))[0]
    theirs = [explain_network(network, each, split, "hirescam", MARGIN).numpy() for each in (person, average)]
    wanted = space.rows(theirs[0] - theirs[1], find_receptive_fields(split, last, 7))
    np.testing.assert_allclose(made, wanted / np.abs(wanted).mean(), atol=1e-3)


def test_gradients_are_averaged_over_a_cell_of_the_last_layer(built):
    backbone, head = built
    network, images = backbone.assemble(head), backbone.normalise(torch.from_numpy(synthetic_images(1)))
    names = NETWORKS[backbone.split.network].fused_layers
    average_seen = respond_to_average(network, images, [MARGIN], names)
    assert [made.shape[-1] for made in average_seen.outputs] == [56, 28, 14, 7]
    with torch.enable_grad(), watch(network, names[:1]) as seen:
        logits = network(images.clone().requires_grad_())
        gradient = torch.autograd.grad(logits[0, 1] - logits[0, (0, 2)].mean(), seen[names[0]])[0]
    # Cells of 4 pixels, so nine of them around a place; at the edge, as many as there are.
    made = average_seen.gradients[0][0][0]
    torch.testing.assert_close(made[:, 20, 30], gradient[0, :, 16:25, 26:35].mean(dim=(1, 2)), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(made[:, 0, 55], gradient[0, :, :5, 51:].mean(dim=(1, 2)), rtol=1e-3, atol=1e-6)


def test_people_are_explained_beside_the_average_of_those_the_model_learned_from(built, space):
    backbone, _ = built
    planes = np.random.default_rng(3).random((4, 3, *space.geometry.planes_shape)).astype(np.float32)
    head = make_head(backbone.split, 3, torch.Generator().manual_seed(2)).eval()
    made = fused_people(backbone, head, planes, space, rows=np.array([2, 0]), trained=np.array([1, 3]), n_classes=3)
    assert made.shape == (2, 3, int(space.inside.sum()))
    person, average = (
        backbone.normalise(torch.from_numpy(to_pixels(each, space.geometry)).unsqueeze(1))
        for each in (planes[0], planes[[1, 3]].mean(axis=0))
    )
    wanted = explained(backbone.assemble(head), person, average, backbone.split, [MARGIN], space)[0]
    # Fused batch normalisations round otherwise, which turns a few ReLUs on or off.
    assert np.corrcoef(made[1, 1], wanted)[0, 1] > 0.999
    assert made[1, 1].std() == pytest.approx(wanted.std(), rel=1e-2)


def test_what_speaks_for_one_of_two_classes_speaks_against_the_other(space):
    backbone = make_backbone("resnet18", Learning(weights="random", precision="fp32"), seed=1)
    head = make_head(backbone.split, 2, torch.Generator().manual_seed(2)).eval()
    planes = np.random.default_rng(3).random((2, 3, *space.geometry.planes_shape)).astype(np.float32)
    made = fused_people(
        backbone,
        head,
        planes,
        space,
        rows=np.array([0]),
        trained=np.array([1]),
        n_classes=2,
        layers=("layer3", "layer4"),
    )
    assert made.any()
    assert np.array_equal(made[:, 0], -made[:, 1])


def test_layers_count_alike_whatever_the_size_of_their_maps():
    rows = np.random.default_rng(4).standard_normal((3, 2, 50)).astype(np.float32)
    scaled = rows * np.array([1.0, 100.0, 0.01], dtype=np.float32)[:, None, None]
    np.testing.assert_allclose(fuse(scaled), fuse(rows), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fuse(-rows), -fuse(rows))


def test_what_can_be_fused_is_known_without_torch():
    fused = METHODS["fused"]
    assert fused.fits(find_split("resnet18", "linear"))
    assert not fused.fits(find_split("vit_b_16", "last-conv"))
    assert fused.by_class
    assert not METHODS["attention"].by_class


def test_maps_of_zero_stay_zero():
    rows = np.random.default_rng(5).standard_normal((2, 4, 9)).astype(np.float32)
    rows[:, 1] = 0
    made = fuse(rows)
    assert np.isfinite(made).all()
    assert not made[1].any()


def test_what_cannot_be_fused_is_refused_in_a_sentence(space):
    with pytest.raises(UsageError, match=r"same patches.*--cam gradcam"):
        fused_layers(find_split("vit_b_16", "last-conv"))
    with pytest.raises(UsageError, match=r"knows the layers of googlenet, resnet18"):
        fused_layers(Split("timm:resnet18", "linear", {}, {}, {}))
    images = pictures(np.ones(SHAPE), space)
    with pytest.raises(UsageError, match="runs 'fine' before 'last'"):
        respond_to_average(Phantom(), images, [MARGIN], ("last", "fine"))
    with pytest.raises(UsageError, match="'fc' gives no maps"):
        respond_to_average(Phantom(), images, [MARGIN], ("fine", "fc"))
    with pytest.raises(UsageError, match="no layer 'layer9'"):
        respond_to_average(Phantom(), images, [MARGIN], ("layer9",))
