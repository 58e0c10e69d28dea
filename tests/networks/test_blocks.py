from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.core.errors import InputError
from limbeck.networks.blocks import GlobalAverage, Unused, conv_block, conv_norm, make_activation, make_norm


def test_instance_norm_is_affine_and_keeps_no_statistics() -> None:
    norm = make_norm("instance", 5, (4, 4))
    assert sorted(norm.state_dict()) == ["bias", "weight"]
    y = norm(3 + 2 * torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(y.mean(dim=(2, 3)), torch.zeros(2, 5), atol=1e-6, rtol=0)
    torch.testing.assert_close(y.var(dim=(2, 3), correction=0), torch.ones(2, 5), atol=1e-4, rtol=0)


def test_instance_norm_refuses_single_pixels() -> None:
    with pytest.raises(InputError, match=r"erase the image.*norm=batch"):
        make_norm("instance", 4, (1, 1))
    make_norm("instance", 4, (1, 2))
    make_norm("batch", 4, (1, 1))


def test_group_norm_needs_divisible_width() -> None:
    with pytest.raises(InputError, match="divisible by 4, not 6"):
        make_norm("group", 6, (4, 4))


@pytest.mark.parametrize("make", [lambda: make_norm("instnce", 4, (4, 4)), lambda: make_activation("rellu")])
def test_unknown_kinds_get_a_suggestion(make: object) -> None:
    with pytest.raises(InputError, match="did you mean"):
        make()  # type: ignore[operator]


def test_activations() -> None:
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(make_activation("swish")(x), x * torch.sigmoid(x))
    torch.testing.assert_close(make_activation("leakyrelu")(x), torch.where(x > 0, x, 0.01 * x))
    torch.testing.assert_close(make_activation("sigmoid")(x), torch.sigmoid(x))
    kept = x.clone()
    make_activation("relu")(x)
    assert torch.equal(x, kept)  # out of place


@pytest.mark.parametrize(("kernel", "padding", "pooling"), [(3, 1, "avg"), (5, 0, "max"), (3, 3, "none")])
def test_conv_block_announces_its_size(kernel: int, padding: int, pooling: str) -> None:
    block, size = conv_block(2, 4, (9, 6), kernel=kernel, padding=padding, norm="layer", pooling=pooling)
    assert tuple(block(torch.zeros(1, 2, 9, 6)).shape) == (1, 4, *size)


def test_conv_block_refuses_small_maps() -> None:
    with pytest.raises(InputError, match="shrunk to 4 x 8 pixels"):
        conv_block(2, 4, (4, 8), kernel=5, padding=0)


def test_global_average() -> None:
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    torch.testing.assert_close(GlobalAverage()(x), nn.AdaptiveAvgPool2d(1)(x).flatten(1))


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (3, 1, 2), (5, 2, 4), (3, 2, 1)])
def test_conv_norm_is_padded_and_without_bias(kernel: int, stride: int, groups: int) -> None:
    block = conv_norm(4, 8, kernel, stride=stride, groups=groups, activation="relu")
    assert [name for name, _ in block.named_children()] == ["conv", "norm", "activation"]
    assert block.conv.bias is None and tuple(block.conv.weight.shape) == (8, 4 // groups, kernel, kernel)
    found = block(torch.randn(2, 4, 9, 7, generator=torch.Generator().manual_seed(0)))
    assert tuple(found.shape) == (2, 8, -(-9 // stride), -(-7 // stride)) and float(found.detach().min()) == 0.0
    assert len(conv_norm(4, 8)) == 2


def test_unused_layers_change_nothing() -> None:
    layer = Unused(nn.Linear(3, 3))
    x = torch.ones(2, 3)
    assert layer(x) is x and len(list(layer.parameters())) == 2
