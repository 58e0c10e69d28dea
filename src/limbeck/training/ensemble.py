"""Networks of one architecture side by side: their weights along a first axis, and one program for all of them.

How many they are is part of a network's execution settings (`limbeck.core.execution.Execution.together`). Images and
what is taught of them have the networks along the second axis, behind the images of a batch, so that a batch is cut
into parts as that of one network is.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from limbeck.core.network import FunctionalNetwork, Weights

__all__ = ["each", "program", "side_by_side", "split", "stack", "stackable"]


def side_by_side(network: FunctionalNetwork, count: int) -> FunctionalNetwork:
    """The architecture for so many networks; one is what it usually is, and the first axis is not there.

    Args:
        network: the architecture.
        count: networks that are trained in one program.
    """
    return network.to(network.device, network.dtype, replace(network.execution, together=count))


def stack(weights: Sequence[Weights]) -> Weights:
    """Weights of several networks along a first axis; of a single one as they are."""
    if len(weights) == 1:
        return weights[0]
    return {name: torch.stack([one[name] for one in weights]) for name in weights[0]}


def split(network: FunctionalNetwork, weights: Weights) -> list[Weights]:
    """The weights of each network, views of the stacked ones."""
    if network.execution.together == 1:
        return [weights]
    return [{name: tensor[place] for name, tensor in weights.items()} for place in range(network.execution.together)]


def program(network: FunctionalNetwork, function: Callable[..., Any], *, shared: int, **constants: Any) -> Any:
    """`FunctionalNetwork.program`, for as many networks as the execution settings say.

    Args:
        network: the architecture.
        function: called as ``function(network, trained, fixed, *tensors, **constants)`` for one network.
        shared: how many of the last tensors are the same for all networks.
        **constants: hashable.
    """
    if network.execution.together == 1:
        return network.program(function, **constants)
    return network.program(_vectorized, single=function, shared=shared, **constants)


def _vectorized(
    network: FunctionalNetwork,
    trained: Weights,
    fixed: Weights,
    *tensors: Tensor,
    single: Callable[..., Any],
    shared: int,
    **constants: Any,
) -> Any:
    """The function ``single`` of each network, with its own weights, images and what is taught of them."""
    places = (0, 0, *[1] * (len(tensors) - shared), *[None] * shared)
    one = functools.partial(single, network, **constants)
    return torch.func.vmap(one, in_dims=places)(trained, fixed, *tensors)


@torch.no_grad()
def each(network: FunctionalNetwork, function: Callable[..., Weights], *tensors: Weights, **constants: Any) -> Weights:
    """A function of the weights of one network, for each of them."""
    bound = functools.partial(function, **constants)
    found: Weights = bound(*tensors) if network.execution.together == 1 else torch.func.vmap(bound)(*tensors)
    return found


@functools.lru_cache(maxsize=64)
def stackable(network: FunctionalNetwork, shape: tuple[int, int, int]) -> bool:
    """Whether networks of this architecture can be trained side by side, tried without numbers.

    They cannot where a layer draws random numbers of its own or looks at values, and are not where the framework would
    take them one after the other all the same.

    Args:
        network: the architecture.
        shape: ``(C, H, W)`` of its images.
    """
    module = network.skeleton().train()
    names = {name for name, _ in module.named_parameters()}
    state = {name: torch.stack([tensor.detach()] * 2) for name, tensor in module.state_dict().items()}
    trained, fixed = ({name: state[name] for name in state if (name in names) == kind} for kind in (True, False))
    images = torch.empty(2, 2, *shape, device="meta")

    def loss(leaves: Weights, others: Weights, some: Tensor) -> Tensor:
        after = {name: tensor.clone() for name, tensor in others.items()}
        found: Tensor = functional_call(module, {**after, **leaves}, (some,)).sum()
        return found

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            torch.func.vmap(torch.func.grad(loss))(trained, fixed, images)
    except (RuntimeError, ValueError, NotImplementedError, UserWarning):
        return False
    return True
