"""Networks as functions: weights are arguments, so that one module serves many networks of its shape."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from limbeck.core.streams import Stream

__all__ = ["FunctionalNetwork", "Network", "Output", "Weights"]

Output = Literal["logits", "embedding", "blocks"]
Weights = dict[str, Tensor]
"""Parameters and buffers of one network by name."""


class Network(nn.Module, abc.ABC):
    """A classifier that shows its inner layers.

    ``forward(x, output)`` maps images ``[B, C, H, W]`` in normalized space to ``logits`` ``[B, classes]``, to the
    ``embedding`` ``[B, D]`` that the classifier reads, or to ``blocks``, the tuple of feature maps after each block.
    """

    @abc.abstractmethod
    def forward(self, x: Tensor, output: Output = "logits") -> Tensor | tuple[Tensor, ...]:
        """Logits, embedding or block outputs of a batch."""


class FunctionalNetwork:
    """A network architecture called with weights as an argument.

    Args:
        name: the name that `limbeck.networks.build` understands.
        make: builds a module with fresh random weights.
    """

    def __init__(self, name: str, make: Callable[[], Network]) -> None:
        self.name = name
        self._make = make
        self._module: Network | None = None
        self.device = torch.device("cpu")
        self.dtype = torch.float32

    def to(self, device: torch.device, dtype: torch.dtype) -> FunctionalNetwork:
        """This architecture with weights on ``device`` as ``dtype``; changes and returns itself."""
        self.device, self.dtype = device, dtype
        return self

    def initial(self, stream: Stream) -> Weights:
        """Fresh weights, drawn in float32 whatever the dtype, so that a float64 run starts alike.

        The framework's initialization reads the global generator: it is set aside meanwhile and put back.
        """
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would seed the GPUs as well.
            torch.default_generator.manual_seed(stream.seed)
            module = self._make()
        self._module = self._module or module
        state = {name: tensor.detach() for name, tensor in module.state_dict().items()}
        return {
            name: tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in state.items()
        }

    @property
    def module(self) -> Network:
        """The module that computes; its own weights are never used."""
        if self._module is None:
            with torch.random.fork_rng(devices=[]):
                self._module = self._make()
        return self._module

    def parameter_names(self) -> tuple[str, ...]:
        """Names of the weights that are trained, in the module's order."""
        return tuple(name for name, _ in self.module.named_parameters())

    def __call__(self, weights: Weights, x: Tensor, output: Output = "logits", train: bool = True) -> Tensor:
        """Evaluate the network.

        Args:
            weights: parameters and buffers by name; batch norm's running buffers are updated in place in training.
            x: images ``[B, C, H, W]`` in normalized space.
            output: ``logits``, ``embedding`` or ``blocks``.
            train: whether batch norm uses (and records) the statistics of this batch.
        """
        module = self.module
        if module.training is not train:
            module.train(train)
        return functional_call(module, weights, (x,), {"output": output})
