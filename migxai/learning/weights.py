"""Find, check and read pretrained weights, or draw random ones. Nothing here uses the network."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from migxai.config import Learning
from migxai.errors import InputError
from migxai.io import read_json
from migxai.learning.backbones import find_family
from migxai.learning.devices import single_thread
from migxai.learning.family import Family, Normalisation
from migxai.learning.heads import draw_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Written into the hash of random weights; it changes when the way of drawing them does.
_RECIPE = "1"
#: torchvision and timm end the name of a file with the first digits of its SHA-256.
_DIGITS = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")
#: What wraps the weights in files of training scripts.
_WRAPPERS = ("state_dict", "model", "model_state_dict")
#: How strongly random positions of a transformer tell themselves from their content, which has variance 1.
_POSITION_SD = 0.5
#: Images that the statistics of random networks are set on.
_SYNTHETIC = 16


@dataclass(frozen=True)
class LoadedNetwork:
    """An intact network with its weights, in evaluation mode, and what it wants its images to be normalised with."""

    network: nn.Module
    normalisation: Normalisation
    weights_hash: str


def find_weights(name: str, settings: Learning) -> Path | None:
    """Find the file with the weights of a network; None for random weights.

    Raises InputError if there is no such file, or several of the same rank.
    """
    if isinstance(settings.weights, Path):
        if not settings.weights.is_file():
            what = "is a folder; give it with --weights-dir" if settings.weights.is_dir() else "does not exist"
            raise InputError(f"The weights file {settings.weights} {what}.")
        return settings.weights
    if settings.weights == "random":
        return None
    if settings.weights_dir is not None and not settings.weights_dir.is_dir():
        raise InputError(f"--weights-dir {settings.weights_dir} is not a folder.")
    patterns = find_family(name).files()
    folders = _folders(settings.weights_dir)
    for folder in folders:
        for pattern in patterns:
            # A snapshot of Hugging Face is a link, and two snapshots may link to the same file.
            found = {path.resolve(): path for path in sorted(folder.glob(pattern)) if path.is_file()}
            if len(found) > 1:
                names = " and ".join(str(path) for path in found.values())
                raise InputError(f"Several files may hold the weights of {name}: {names}. Name one with --weights.")
            if found:
                return found.popitem()[1]
    raise InputError(
        f"No pretrained weights of {name} were found (files like {', '.join(patterns[:3])}) in "
        f"{', '.join(str(folder) for folder in folders)}. Put the file there or give its folder with --weights-dir; "
        "--weights random does without, at the price of far weaker features."
    )


def _folders(given: Path | None) -> list[Path]:
    """Where weights may lie: the folder given, and the caches of torch and of Hugging Face, which timm uses."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    home = Path(os.environ.get("HF_HOME", cache / "huggingface"))
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    return ([given] if given is not None else []) + [Path(torch.hub.get_dir()) / "checkpoints", hub]


def hash_weights(name: str, settings: Learning, seed: int) -> str:
    """Return what tells the weights of a network, and how images are normalised for them, from all others.

    The seed is that of random weights. Raises InputError as `find_weights`, or if the file is not what its name says.
    """
    path = find_weights(name, settings)
    if path is None:
        content = f"random {_RECIPE} {name} {seed} torch {torch.__version__.split('+')[0]}"
        return hashlib.sha256(content.encode()).hexdigest()
    digest = _hash_file(path, path.stat().st_mtime_ns)
    expected = _DIGITS.search(path.name)
    if expected is not None and not digest.startswith(expected[1]):
        raise InputError(
            f"The weights file {path} is damaged or not what its name says: its SHA-256 begins with "
            f"{digest[: len(expected[1])]}, not {expected[1]}. Fetch it again."
        )
    stated = _stated_normalisation(path)
    return digest if stated is None else hashlib.sha256(f"{digest} {stated}".encode()).hexdigest()


@functools.lru_cache(maxsize=64)
def _hash_file(path: Path, modified: int) -> str:  # noqa: ARG001  (a changed file is read again)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_network(name: str, settings: Learning, seed: int) -> LoadedNetwork:
    """Build a network and give it its weights.

    Raises InputError as `hash_weights`, or if the file cannot be read, or holds code or the weights of another network.
    """
    family = find_family(name)
    path = find_weights(name, settings)
    digest = hash_weights(name, settings, seed)
    if path is None:
        return LoadedNetwork(draw_network(family, seed), family.normalisation, digest)
    state, normalisation = family.convert(read_state(path))
    classifier = family.split("linear").modules["classifier"]
    weight = state.get(f"{classifier}.weight")
    network = build_network(family, 1000 if weight is None else len(weight), seed)
    _fill(network, state, name, path)
    return LoadedNetwork(network.eval(), _stated_normalisation(path) or normalisation, digest)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name; no code in it is run.

    Raises InputError if the file is damaged, holds code, or holds anything else than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch says so both of code and of a pickle that ends early.
        if "weights_only" not in str(error).lower() and "unsupported" not in str(error).lower():
            raise InputError(f"The weights file {path} is damaged or cut short: fetch it again.") from error
        raise InputError(
            f"The weights file {path} holds more than numbers: reading it would run code from the file, so it is not "
            "read. Save the state dict alone, or as safetensors."
        ) from error
    except Exception as error:  # torch and safetensors raise many kinds for a damaged file
        raise InputError(f"The weights file {path} is damaged or cut short: fetch it again. ({error})") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"The weights file {path} does not hold a state dict, that is, tensors by name.")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _fill(network: nn.Module, state: dict[str, Tensor], name: str, path: Path) -> None:
    """Load a state dict into a network, every tensor of which must be there with its shape."""
    needed = network.state_dict()
    counters = {key for key in needed if key.endswith("num_batches_tracked")}
    wrong = [key for key, own in needed.items() if key not in counters and _shape(state.get(key)) != tuple(own.shape)]
    wrong += [key for key in state if key not in needed]
    if wrong:
        raise InputError(
            f"The weights file {path} does not fit {name}: {len(wrong)} of its tensors are missing, too many or of "
            f"another shape, {wrong[0]!r} among them. It belongs to another network or version."
        )
    network.load_state_dict(state, strict=False)


def _shape(tensor: Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)


def _stated_normalisation(path: Path) -> Normalisation | None:
    """Read what timm's ``config.json`` beside a checkpoint says of its images."""
    config = path.with_name("config.json")
    if not config.is_file():
        return None
    try:
        stated = read_json(config).get("pretrained_cfg", {})
        mean, sd = stated.get("mean"), stated.get("std")
        return None if mean is None or sd is None else Normalisation(_three(mean), _three(sd))
    except (InputError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{config}, which describes the weights beside it, cannot be read: fetch it again.") from error


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def build_network(family: Family, n_classes: int, seed: int) -> nn.Module:
    """Build a network; libraries draw initial weights from torch's global state, which is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family.network(n_classes)


def draw_network(family: Family, seed: int) -> nn.Module:
    """Build a network with random weights that still carry signal to its end.

    Layers keep the variance of what goes through them (He et al. 2015), and statistics of batch normalisations are set
    on synthetic images that are the same for everyone: with the library's initial values, which presume training,
    activations of GoogLeNet vanish on the way. No subject's image is seen.
    """
    network = build_network(family, 1000, seed)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            draw_weights(module, generator)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.rsplit(".", 1)[-1] in ("pos_embed", "cls_token"):
                parameter.normal_(std=_POSITION_SD, generator=generator)
    _set_statistics(network, family.normalisation)
    return network.eval()


@torch.no_grad()
def _set_statistics(network: nn.Module, normalisation: Normalisation) -> None:
    """Set running statistics of every batch normalisation to those of its input for synthetic images."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    network.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        # The mean over all batches seen since, of which there is one.
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    mean, sd = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (normalisation.mean, normalisation.sd))
    with single_thread():
        network((torch.from_numpy(synthetic_images(_SYNTHETIC)) - mean) / sd)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def synthetic_images(count: int, size: int = 224) -> NDArray[Any]:
    """Draw smooth random pictures inside an ellipse, 0 to 1 and zero around, always the same.

    Returns them as (count, 1, size, size), float32.
    """
    import numpy as np
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(20250613)
    rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    images = np.zeros((count, 1, size, size), dtype=np.float32)
    for image in images[:, 0]:
        noise = [gaussian_filter(generator.standard_normal((size, size)), sd) for sd in (4.0, 10.0, 25.0)]
        field = np.sum([smooth / smooth.std() for smooth in noise], axis=0)
        height, width = generator.uniform(0.5, 0.9, 2)
        inside = (rows / height) ** 2 + (columns / width) ** 2 < 1
        low, high = np.percentile(field[inside], (1, 99))
        image[:] = np.clip((field - low) / (high - low), 0, 1) * inside
    return images
