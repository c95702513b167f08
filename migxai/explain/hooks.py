"""Find the layers of a network by name, and see what they give out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from migxai.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """Return a layer by its name in the network.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    layers: dict[str, nn.Module] = dict(network.named_modules())
    if name and name in layers:
        return layers[name]
    parent = name.rpartition(".")[0]
    while parent and parent not in layers:
        parent = parent.rpartition(".")[0]
    there = [f"{parent}.{child}" if parent else child for child, _ in layers[parent].named_children()]
    raise UsageError(f"The network has no layer {name!r}; {parent or 'it'} has {', '.join(there)}.")


@contextmanager
def watch(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Keep what layers give out, by name, while the network runs inside.

    Raises
    ------
    UsageError
        If a layer does not exist.
    """
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001
            seen[name] = output

        return hook

    handles = [find_layer(network, name).register_forward_hook(keep(name)) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
