from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from limbeck.core.context import Context
from limbeck.core.network import FunctionalNetwork, Network, Output
from limbeck.networks import build
from limbeck.training.ensemble import each, program, side_by_side, split, stack, stackable

SHAPE = (1, 8, 8)


class Odd(Network):
    """A linear classifier with something before it."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first, self.classifier = first, nn.Linear(64, 10)

    def forward(self, x: Tensor, output: Output = "logits") -> Tensor | tuple[Tensor, ...]:
        return self.classifier(self.first(x).flatten(1))


class Looking(nn.Module):
    """Does as the numbers say."""

    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.sum()) > 0 else -x


def _logits(network: FunctionalNetwork, weights: dict[str, Tensor], fixed: dict[str, Tensor], *x: Tensor) -> Tensor:
    images, factor = x
    return factor * network({**weights, **fixed}, images)


@pytest.mark.parametrize("name", ["mlp", "convnet1:width=4", "convnet1:width=4,norm=batch", "resnet10", "deit_tiny"])
def test_usual_architectures_can_be_side_by_side(context_of: Callable[..., Context], name: str) -> None:
    spec = replace(context_of().spec, height=32, width=32)
    assert stackable(build(name, spec), spec.shape)


@pytest.mark.parametrize("first", [nn.Dropout, Looking])
def test_what_draws_numbers_or_looks_at_them_cannot(first: Callable[[], nn.Module]) -> None:
    assert not stackable(FunctionalNetwork("odd", lambda: Odd(first())), SHAPE)
    assert stackable(FunctionalNetwork("plain", lambda: Odd(nn.Identity())), SHAPE)


def test_a_program_of_several_networks_is_that_of_each(context_of: Callable[..., Context]) -> None:
    context = context_of()
    alone = context.network("convnet1:width=4")
    fresh = [alone.initial(context.streams("network", number)) for number in range(3)]
    network, stacked = side_by_side(alone, 3), stack(fresh)
    assert side_by_side(network, 1).execution == alone.execution
    assert stack(fresh[:1]) is fresh[0] and split(alone, fresh[0]) == [fresh[0]]
    for mine, own in zip(split(network, stacked), fresh, strict=True):
        assert all(torch.equal(mine[name], own[name]) for name in own)
    images = torch.randn(5, 3, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    factor = torch.tensor(2.0, dtype=torch.float64)
    found = program(network, _logits, shared=1)(stacked, {}, images, factor)
    for place, own in enumerate(fresh):
        wanted = program(alone, _logits, shared=1)(own, {}, images[:, place], factor)
        torch.testing.assert_close(found[place], wanted, rtol=0, atol=1e-12)


def test_a_function_of_weights_sees_those_of_one_network(context_of: Callable[..., Context]) -> None:
    context = context_of()
    alone = context.network("mlp")
    fresh = [alone.initial(context.streams("network", number)) for number in range(2)]

    def scaled(weights: dict[str, Tensor], by: float) -> dict[str, Tensor]:
        return {name: by * tensor / tensor.norm() for name, tensor in weights.items()}

    found = each(side_by_side(alone, 2), scaled, stack(fresh), by=3.0)
    for place, own in enumerate(fresh):
        for name, tensor in each(alone, scaled, own, by=3.0).items():
            torch.testing.assert_close(found[name][place], tensor)
