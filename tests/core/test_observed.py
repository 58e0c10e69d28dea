from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.core.execution import Execution, can_compile
from limbeck.core.network import FunctionalNetwork, Network, Output, Weights
from limbeck.core.observed import batch_norms
from limbeck.core.streams import Stream
from limbeck.networks import build
from limbeck.networks.batch_norm import EXAMPLE
from limbeck.networks.blocks import Unused

NAMES = [
    "convnet3:width=4,norm=batch",
    "resnet18:width=4",
    "efficientnet_b0",
    "deit_tiny:norm=batch,depth=2",
    "crossed",
    pytest.param("torchvision:vit_b_16:norm=batch", marks=pytest.mark.slow),
]


class Crossed(Network):
    """A residual network whose shortcut is registered last and called first, beside a norm that nobody calls."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4)
        self.second, self.inner = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.spare = Unused(nn.BatchNorm2d(4))
        self.shortcut = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.classifier = nn.Linear(4, 2)

    def forward(self, x: Tensor, output: Output = "logits") -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        side = self.shortcut(x)
        return self.classifier(F.relu(side + self.inner(self.second(x))).mean(dim=(2, 3)))


def shaken(network: FunctionalNetwork) -> Weights:
    """Fresh weights with running statistics that no two layers share."""
    weights = network.initial(Stream(3))
    for number, name in enumerate(sorted(weights)):
        if name.endswith(("running_mean", "running_var")):
            weights[name] = weights[name] + Stream(number).uniform(*weights[name].shape).to(weights[name])
    return weights


@functools.cache
def case(name: str) -> tuple[FunctionalNetwork, Weights, Tensor]:
    dtype = torch.float32 if name.startswith("torchvision") else torch.float64
    made = FunctionalNetwork("crossed", Crossed) if name == "crossed" else build(name, EXAMPLE)
    network = made.to(torch.device("cpu"), dtype)
    return network, shaken(network), Stream(5).normal(4, *EXAMPLE.shape).to(dtype)


def by_hand(network: FunctionalNetwork, weights: Weights, images: Tensor) -> tuple[Tensor, dict[str, Any], list[str]]:
    """Logits, statistics of each input by the definition, and names in the order of the calls, by a plain module."""
    module = network._make().to(network.dtype).eval()
    module.load_state_dict(weights)
    seen: dict[str, Any] = {}

    def look(name: str, part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows = inputs[0].detach().transpose(0, 1).flatten(1)  # channels first
        mean = rows.sum(dim=1) / rows.shape[1]
        seen[name] = (mean, (rows - mean.unsqueeze(1)).square().sum(dim=1) / rows.shape[1])

    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.register_forward_pre_hook(functools.partial(look, name))
    with torch.no_grad():
        logits = module(images)
    assert isinstance(logits, Tensor)
    return logits, seen, [name for name, _ in module.named_modules() if name in seen]


@pytest.mark.parametrize("name", NAMES)
def test_statistics_are_those_of_every_input_in_the_order_of_registration(name: str) -> None:
    network, weights, images = case(name)
    wanted, inputs, order = by_hand(network, weights, images)
    with torch.no_grad():
        logits, seen = network.observe(weights, images)
    close = {"rtol": 1e-3, "atol": 1e-4} if images.dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-12}
    torch.testing.assert_close(logits, wanted, **close)
    torch.testing.assert_close(logits, network(weights, images, train=False), **close)
    assert network.running_statistics() == tuple((f"{one}.running_mean", f"{one}.running_var") for one in order)
    assert len(seen) == len(order) >= 3
    for found, one in zip(seen, order, strict=True):
        torch.testing.assert_close(found, inputs[one], **close)


def test_the_cases_hold_what_they_are_there_for() -> None:
    """A layer that is called before one that is registered earlier, and layers that nobody calls."""
    _, inputs, order = by_hand(*case("crossed"))
    assert list(inputs) == ["norm", "shortcut.1", "inner"]
    assert order == ["norm", "inner", "shortcut.1"]
    skeleton = case("efficientnet_b0")[0].skeleton()
    assert len(batch_norms(skeleton)) < sum(isinstance(part, nn.BatchNorm2d) for part in skeleton.modules())


def test_a_pass_leaves_nothing_behind() -> None:
    network, weights, images = case("convnet3:width=4,norm=batch")
    before = {name: tensor.clone() for name, tensor in weights.items()}
    module, witness, _ = network._observing()
    _, first = network.observe(weights, images)
    assert witness._seen is None
    module(images.to(next(module.parameters()).dtype))  # nobody asks
    assert witness._seen is None
    _, second = network.observe(weights, 2 * images)
    _, third = network.observe(weights, images)
    assert not torch.equal(first[0][0], second[0][0])
    assert all(
        torch.equal(one, other) for a, b in zip(first, third, strict=True) for one, other in zip(a, b, strict=True)
    )
    assert all(torch.equal(weights[name], tensor) for name, tensor in before.items())
    assert not any(part._forward_pre_hooks for part in network.module(train=False).modules())


def test_gradients_go_through_the_statistics() -> None:
    network, weights, images = case("convnet3:width=4,norm=batch")

    def spread(x: Tensor) -> Tensor:
        _, seen = network.observe(weights, x)
        return torch.cat([torch.cat(pair) for pair in seen])

    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(spread(leaf).sum(), leaf)
    step = Stream(9).normal(*images.shape)
    length = 1e-6
    rise = (spread(images + length * step).sum() - spread(images - length * step).sum()) / (2 * length)
    torch.testing.assert_close((gradient * step).sum(), rise.detach(), rtol=1e-5, atol=1e-7)


def test_a_network_without_batch_norm_shows_nothing() -> None:
    network = build("convnet1:width=2", EXAMPLE)
    logits, seen = network.observe(network.initial(Stream(0)), torch.zeros(2, 3, 32, 32))
    assert seen == () and network.running_statistics() == () and logits.shape == (2, 2)


def _both(network: FunctionalNetwork, weights: Weights, images: Tensor) -> tuple[Tensor, Tensor]:
    logits, seen = network.observe(weights, images)
    return F.log_softmax(logits, dim=1), torch.cat([torch.cat(pair) for pair in seen])


def test_what_observes_is_made_before_a_program_is_compiled() -> None:
    """Making a module draws random numbers, which cannot be compiled: the program would run eagerly."""
    for name, made in (("convnet1:width=2,norm=batch", True), ("convnet1:width=2", False)):
        network = build(name, EXAMPLE).to(torch.device("cpu"), torch.float32, Execution(compile=True))
        network.program(_both)
        assert (network._observed is not None) == made


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="there is no C++ compiler")
def test_a_compiled_program_sees_the_same() -> None:
    plain = build("resnet10:width=4", EXAMPLE)
    compiled = plain.to(torch.device("cpu"), torch.float32, Execution(compile=True))
    weights, images = shaken(plain), Stream(5).normal(4, *EXAMPLE.shape).float()
    found = compiled.program(_both)(weights, images)
    torch.testing.assert_close(found, _both(plain, weights, images), rtol=1e-4, atol=1e-5)
    torch.compiler.reset()
