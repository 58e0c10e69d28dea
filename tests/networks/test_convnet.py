from __future__ import annotations

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.networks import ConvNet


@pytest.mark.parametrize(
    ("shape", "classes", "depth", "count"),
    [
        ((3, 32, 32), 10, 3, 320_010),
        ((3, 32, 32), 100, 3, 504_420),
        ((1, 28, 28), 10, 3, 317_706),
        ((3, 64, 64), 200, 4, 857_160),
        ((1, 64, 64), 8, 4, 461_448),
    ],
)
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_published_parameter_counts(
    shape: tuple[int, int, int], classes: int, depth: int, count: int, norm: str
) -> None:
    with torch.device("meta"):
        network = ConvNet(shape, classes, depth=depth, norm=norm)  # type: ignore[arg-type]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters == count


def test_gray_28_goes_on_as_32() -> None:
    network = ConvNet((1, 28, 28), 10, width=4)
    maps = network(torch.zeros(2, 1, 28, 28), "blocks")
    assert [tuple(block.shape) for block in maps] == [(2, 4, 16, 16), (2, 4, 8, 8), (2, 4, 4, 4)]


@pytest.mark.parametrize("pooling", ["avg", "max", "none"])
def test_layers_are_the_maps_before_pooling(pooling: Literal["avg", "max", "none"]) -> None:
    network = ConvNet((3, 16, 16), 5, depth=2, width=4, pooling=pooling)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    seen: list[Tensor] = []
    for block in network.blocks:
        block.activation.register_forward_hook(lambda layer, given, found: seen.append(found))
    layers = network(x, "layers")
    assert len(layers) == 2 + 3 and len(seen) == 2
    assert all(torch.equal(shown, hooked) for shown, hooked in zip(layers, seen, strict=False))
    blocks = network(x, "blocks")
    pooled = {"avg": F.avg_pool2d, "max": F.max_pool2d, "none": lambda maps, side: maps}[pooling]
    torch.testing.assert_close(blocks, tuple(pooled(shown, 2) for shown in seen[:2]))
    torch.testing.assert_close(layers[2], blocks[-1])
    torch.testing.assert_close(layers[3], blocks[-1].flatten(1))
    torch.testing.assert_close(layers[4], network(x))


def test_rows_and_columns_may_differ() -> None:
    network = ConvNet((3, 16, 24), 5, width=4, norm="layer")
    assert tuple(network(torch.zeros(2, 3, 16, 24)).shape) == (2, 5)
    assert tuple(network(torch.zeros(2, 3, 16, 24), "embedding").shape) == (2, 4 * 2 * 3)


def test_parameter_order_is_block_by_block() -> None:
    names = [name for name, _ in ConvNet((3, 8, 8), 2, depth=2, width=4).named_parameters()]
    parts = ("conv.weight", "conv.bias", "norm.weight", "norm.bias")
    expected = [f"blocks.{index}.{part}" for index in range(2) for part in parts]
    assert names == [*expected, "classifier.weight", "classifier.bias"]


def test_without_pooling_the_map_keeps_its_size() -> None:
    network = ConvNet((3, 4, 4), 2, depth=4, width=4, pooling="none")
    assert tuple(network(torch.zeros(1, 3, 4, 4), "blocks")[-1].shape) == (1, 4, 4, 4)


def test_deepest_network_that_fits() -> None:
    ConvNet((3, 8, 8), 2, depth=3, width=4)
    ConvNet((1, 8, 8), 2, depth=3, width=4)
    with pytest.raises(InputError, match=r"8 x 8 pixels are too small for a ConvNet of depth 4.*use depth 3 or less"):
        ConvNet((3, 8, 8), 2, depth=4, width=4)


@pytest.mark.parametrize(
    "option", [{"depth": 0}, {"width": 0}, {"norm": "no"}, {"activation": "gelu"}, {"pooling": "sum"}]
)
def test_wrong_options(option: dict[str, object]) -> None:
    with pytest.raises(InputError):
        ConvNet((3, 16, 16), 2, **option)  # type: ignore[arg-type]


def test_unknown_output() -> None:
    network = ConvNet((3, 8, 8), 2, depth=1, width=4)
    with pytest.raises(InputError, match="unknown output 'embeding'; did you mean 'embedding'"):
        network(torch.zeros(1, 3, 8, 8), "embeding")


def test_second_derivatives_agree_with_finite_differences() -> None:
    network = ConvNet((2, 4, 4), 2, depth=1, width=4, activation="swish").double()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradgradcheck(lambda images: network(images).square().sum(), x.requires_grad_())
