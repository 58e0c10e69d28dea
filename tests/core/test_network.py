from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.core.context import Context
from limbeck.core.network import FunctionalNetwork, gradient_and_value
from limbeck.core.streams import Stream


@pytest.fixture
def network(context_of: Callable[..., Context]) -> FunctionalNetwork:
    return context_of().network("convnet1:width=2,norm=batch")


def images() -> torch.Tensor:
    return Stream(5).normal(4, 1, 8, 8)


def test_initial_weights_follow_the_stream(network: FunctionalNetwork) -> None:
    first, same, other = (network.initial(Stream(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    name = network.parameter_names()[0]
    assert not torch.equal(first[name], other[name])


def test_initial_weights_are_those_of_the_framework(network: FunctionalNetwork) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        module = network._make()
    ours = network.initial(Stream(7))
    assert ours.keys() == module.state_dict().keys()
    for name, tensor in module.state_dict().items():
        assert torch.equal(ours[name].to(tensor.dtype), tensor)


def test_initial_weights_do_not_depend_on_the_dtype(context_of: Callable[..., Context]) -> None:
    wide, narrow = (
        context_of(dtype=dtype).network("convnet1:width=2").initial(Stream(1))
        for dtype in (torch.float64, torch.float32)
    )
    assert all(wide[name].dtype == torch.float64 and narrow[name].dtype == torch.float32 for name in wide)
    assert all(torch.equal(wide[name], narrow[name].double()) for name in wide)


def test_global_generators_are_left_alone(network: FunctionalNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(seed: int) -> None:
        raise AssertionError("a GPU's generator was seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    before = torch.get_rng_state()
    assert network.module() is network.module()
    network.initial(Stream(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_arguments(network: FunctionalNetwork) -> None:
    first, second = network.initial(Stream(1)), network.initial(Stream(2))
    module = network._make().double().eval()
    for weights in (second, first, second):
        module.load_state_dict(weights)
        assert torch.equal(network(weights, images(), train=False), module(images()))


def test_outputs(network: FunctionalNetwork) -> None:
    weights = network.initial(Stream(1))
    logits, embedding, blocks = (
        network(weights, images(), output, train=False) for output in ("logits", "embedding", "blocks")
    )
    assert logits.shape == (4, 3)
    assert embedding.shape[0] == 4 and embedding.ndim == 2
    torch.testing.assert_close(blocks[-1].flatten(1), embedding, rtol=0, atol=0)
    head = torch.nn.functional.linear(embedding, weights["classifier.weight"], weights["classifier.bias"])
    torch.testing.assert_close(head, logits, rtol=1e-12, atol=1e-12)


def test_batch_norm_records_statistics_in_training_only(network: FunctionalNetwork) -> None:
    weights = network.initial(Stream(1))
    buffers = [name for name in weights if name.endswith("running_mean")]
    assert buffers
    before = weights[buffers[0]].clone()
    network(weights, images(), train=False)
    assert torch.equal(weights[buffers[0]], before)
    network(weights, images(), train=True)
    assert not torch.equal(weights[buffers[0]], before)


def test_only_parameters_are_trained(network: FunctionalNetwork) -> None:
    names = network.parameter_names()
    assert names == tuple(name for name, _ in network._make().named_parameters())
    assert not any("running" in name for name in names)


@pytest.mark.parametrize("functional", [True, False])
def test_a_weight_that_is_not_used_has_gradient_zero(functional: bool) -> None:
    leaves = {"used": torch.ones(2), "unused": torch.ones(3)}
    found, value, _ = gradient_and_value(lambda given: ((given["used"] ** 2).sum(), ()), leaves, functional=functional)
    assert torch.equal(found["used"], torch.full((2,), 2.0)) and torch.equal(found["unused"], torch.zeros(3))
    assert float(value) == 2.0


def test_a_skeleton_has_shapes_and_no_memory(network: FunctionalNetwork) -> None:
    skeleton = network.skeleton()
    assert {tensor.device.type for tensor in skeleton.state_dict().values()} == {"meta"}
    assert list(skeleton.state_dict()) == list(network.initial(Stream(0)))
