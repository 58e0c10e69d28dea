"""One pass over several classes gives each class the weight gradients that it has alone, of every order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from limbeck.core.classwise import accept_class_axis
from limbeck.core.errors import InputError

CLASSES, EACH = 3, 4


def network(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(5)).double()


NETWORKS = {
    "group": lambda: network(nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.SiLU()),
    "strided, dilated, grouped, no bias": lambda: network(
        nn.Conv2d(2, 4, 3, stride=2, dilation=2, padding=2, groups=2, bias=False), nn.SiLU()
    ),
    "layer": lambda: network(nn.Conv2d(2, 4, 3), nn.LayerNorm([4, 4, 4]), nn.SiLU()),
    "batch": lambda: network(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.SiLU()).eval(),
}


@pytest.fixture
def images() -> Tensor:
    return torch.randn(CLASSES, EACH, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def second_order(module: nn.Module, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """Gradients of a loss in the weights, and of their squares' sum in the images."""
    own = {name: tensor.detach().requires_grad_() for name, tensor in weights.items()}
    logits = functional_call(module, {**buffers, **own}, (x,))
    first = torch.autograd.grad(logits.logsumexp(dim=1).square().sum(), list(own.values()), create_graph=True)
    (pull,) = torch.autograd.grad(sum(g.square().sum() for g in first), x)
    return [*first, pull]


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_both_orders(name: str, images: Tensor) -> None:
    module = NETWORKS[name]()
    module(images[0])
    weights = {key: tensor.detach() for key, tensor in module.named_parameters()}
    buffers = {key: tensor.detach() for key, tensor in module.named_buffers()}
    alone = [second_order(module, weights, buffers, x.detach().requires_grad_()) for x in images]
    accept_class_axis(module)
    # Weights without the axis are as before.
    for found, expected in zip(
        second_order(module, weights, buffers, images[0].detach().requires_grad_()), alone[0], strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    repeated = {key: tensor.expand(CLASSES, *tensor.shape) for key, tensor in weights.items()}
    *first, pull = second_order(module, repeated, buffers, images.flatten(0, 1).detach().requires_grad_())
    for label in range(CLASSES):
        *expected, pulled = alone[label]
        for found, wanted in zip(first, expected, strict=True):
            torch.testing.assert_close(found[label], wanted, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(pull.unflatten(0, (CLASSES, EACH))[label], pulled, rtol=1e-10, atol=1e-10)


def test_only_some_weights_have_the_axis(images: Tensor) -> None:
    module = NETWORKS["group"]()
    module(images[0])
    accept_class_axis(module)
    weights = {key: tensor.detach() for key, tensor in module.named_parameters()}
    expected = functional_call(module, weights, (images.flatten(0, 1),))
    for key, tensor in weights.items():
        mixed = {**weights, key: tensor.expand(CLASSES, *tensor.shape)}
        torch.testing.assert_close(functional_call(module, mixed, (images.flatten(0, 1),)), expected)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(InputError, match="PReLU; use --blocks loop"):
        accept_class_axis(nn.Sequential(nn.PReLU()))
    reflecting = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"))
    accept_class_axis(reflecting)
    weights = {"0.weight": torch.zeros(2, 4, 2, 3, 3), "0.bias": torch.zeros(4)}
    with pytest.raises(InputError, match="--blocks loop"):
        functional_call(reflecting, weights, (torch.zeros(2, 2, 4, 4),))


def test_batch_norm_in_training_would_mix_the_classes(images: Tensor) -> None:
    module = NETWORKS["batch"]()
    module(images[0])
    accept_class_axis(module.train())
    with pytest.raises(InputError, match="mix the classes"):
        module(images[0])
