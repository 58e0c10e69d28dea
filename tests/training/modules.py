"""Networks as torch modules, for reference loops in plain PyTorch."""

from __future__ import annotations

import torch

from limbeck.core.context import Context
from limbeck.core.network import FunctionalNetwork, Weights

SHAPE = (1, 8, 8)


def start(context: Context, name: str = "convnet1:width=4") -> tuple[FunctionalNetwork, Weights]:
    network = context.network(name)
    return network, network.initial(context.streams("network", 0))


def module_of(network: FunctionalNetwork, weights: Weights) -> torch.nn.Module:
    module = network._make().double()
    module.load_state_dict(weights)
    return module.train()


def same(module: torch.nn.Module, weights: Weights, adaptive: bool = False) -> None:
    """Equal weights; AdamW shows the rounding of a gradient that is zero, as is that of a bias before a norm."""
    for name, tensor in module.state_dict().items():
        shown = adaptive and name.endswith(("conv.bias", "running_mean"))
        tolerance = 1e-6 if shown else 1e-11 if adaptive else 1e-12
        torch.testing.assert_close(weights[name].detach(), tensor, rtol=0, atol=tolerance, msg=name)
