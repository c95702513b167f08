"""What a map explains, and where in a network it looks: a weighted sum of logits, and a layer found by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from migxai.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Target:
    """A weighted sum of logits.

    The probabilities of a softmax know logits only up to a common shift. So one class's logit alone may rise with every
    other's; its margin over the mean of the others says what speaks for the class.

    Attributes
    ----------
    of
        The class, 0 to C - 1, or None for the class that is predicted for each image.
    margin
        Whether the mean of the other classes' logits is subtracted: for two classes, their difference.
    """

    of: int | None = None
    margin: bool = False

    def coefficients(self, logits: Tensor) -> Tensor:
        """Return the weight of each logit, both (B, C); `UsageError` says if there is no such class."""
        import torch

        count, classes = logits.shape
        if self.of is not None and not 0 <= self.of < classes:
            raise UsageError(f"There is no class number {self.of} to explain; there are {classes}.")
        chosen = logits.argmax(dim=1) if self.of is None else torch.full((count,), self.of, device=logits.device)
        wanted = torch.nn.functional.one_hot(chosen, classes).to(logits.dtype)
        return wanted - (1 - wanted) / (classes - 1) if self.margin else wanted


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """Return a layer by its name in the network; `UsageError` says which there are if none has it."""
    layers: dict[str, nn.Module] = dict(network.named_modules())
    if name and name in layers:
        return layers[name]
    parent = name.rpartition(".")[0]
    while parent and parent not in layers:
        parent = parent.rpartition(".")[0]
    there = [f"{parent}.{child}" if parent else child for child, _ in layers[parent].named_children()]
    raise UsageError(f"The network has no layer {name!r}; {parent or 'it'} has {', '.join(there)}.")


@contextmanager
def watch(
    network: nn.Module, names: Sequence[str], keep: Callable[[str, Any, Mapping[str, Any]], Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Keep what layers give out, by name, while the network runs inside; a `UsageError` says if one is missing.

    `keep` may replace an output, for the network too, by its layer's name and what was kept before.
    """
    seen: dict[str, Any] = {}

    def hook_of(name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:  # noqa: ARG001
            seen[name] = output if keep is None else keep(name, output, seen)
            return seen[name]

        return hook

    handles = [find_layer(network, name).register_forward_hook(hook_of(name)) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
