from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from limbeck.core.errors import InputError
from limbeck.networks import ResNet


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_published_parameter_counts() -> None:
    with torch.device("meta"):
        assert count(ResNet((3, 32, 32), 10, width=32)) == 1_228_970
        assert count(ResNet((3, 32, 32), 100, depth=18)) == 11_220_132
        assert count(ResNet((3, 32, 32), 10, depth=18, downsample="pool", head="flat")) == 11_250_762


@pytest.mark.parametrize("depth", [10, 50])
@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize("side", [28, 32, 64, 65, 100, 128, 130])
def test_announced_sizes_are_those_computed(depth: int, downsample: str, side: int) -> None:
    options = {"depth": depth, "downsample": downsample, "norm": "instance", "head": "flat", "width": 2}
    network = ResNet((1, side, side), 3, **options)  # type: ignore[arg-type]
    assert tuple(network(torch.zeros(1, 1, side, side)).shape) == (1, 3)


@pytest.mark.parametrize(("side", "kernel"), [(64, 3), (96, 3), (128, 3), (224, 7)])
def test_stem_by_image_size(side: int, kernel: int) -> None:
    with torch.device("meta"):
        for downsample in ("stride", "pool"):
            network = ResNet((3, side, side), 2, width=4, downsample=downsample)  # type: ignore[arg-type]
            assert network.blocks[0].conv.kernel_size == (kernel, kernel)
            maps = network(torch.empty(2, 3, side, side), "blocks")
            shrink = 1 if side <= 64 else 2 if side <= 128 else 4
            assert maps[0].shape[-1] == side // shrink and len(maps) == 5


def test_initial_convolutions() -> None:
    torch_state = torch.get_rng_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        idc = ResNet((3, 32, 32), 10, width=32)
        default = ResNet((3, 32, 32), 10, width=32, init="default")
    assert torch.equal(torch_state, torch.get_rng_state())
    weight = idc.blocks[4][0].conv2.weight.detach()
    assert float(weight.std()) == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.01)
    bound = 1 / math.sqrt(9 * 256)
    assert float(default.blocks[4][0].conv2.weight.detach().abs().max()) <= bound < float(weight.abs().max())


def test_the_idc_start_is_that_of_torchvision() -> None:
    """Every convolution of a deep ResNet from N(0, 2 / (k * k * outputs)), norms from 1 and 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ResNet((3, 32, 32), 10, depth=50, width=16)
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and part.weight.numel() > 5000:
            spread = math.sqrt(2 / (part.kernel_size[0] ** 2 * part.out_channels))
            assert float(part.weight.detach().std()) == pytest.approx(spread, rel=0.05)
        if isinstance(part, nn.BatchNorm2d):
            assert bool((part.weight == 1).all()) and bool((part.bias == 0).all())


@pytest.mark.parametrize(
    "option",
    [{"depth": 12}, {"width": 0}, {"norm": "layer"}, {"downsample": "max"}, {"head": "max"}, {"init": "he"}],
)
def test_wrong_options(option: dict[str, object]) -> None:
    with pytest.raises(InputError):
        ResNet((3, 32, 32), 2, **option)  # type: ignore[arg-type]


def test_too_small_images() -> None:
    for depth in (10, 50):
        with pytest.raises(InputError, match="use downsample=stride"):
            ResNet((3, 4, 4), 2, depth=depth, downsample="pool")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="norm=batch"):
        ResNet((3, 8, 8), 2, norm="instance")
    ResNet((3, 4, 4), 2, width=4)


def test_layers_of_a_stem_that_pools() -> None:
    """The stem's map before its pooling; a stage does not pool at its end."""
    network = ResNet((3, 96, 96), 2, width=2, downsample="pool").eval()
    with torch.no_grad():
        blocks, layers = (network(torch.zeros(1, 3, 96, 96), output) for output in ("blocks", "layers"))
    assert layers[0].shape[-1] == 96 and blocks[0].shape[-1] == 48
    assert all(torch.equal(shown, block) for shown, block in zip(layers[1:5], blocks[1:], strict=True))
    assert torch.equal(layers[5], blocks[-1]) and len(layers) == 8
