from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.core.streams import Stream
from limbeck.networks import build
from limbeck.networks.batch_norm import batch_norms
from limbeck.networks.map_norm import replace_batch_norm

Spec = Callable[..., DataSpec]


def body() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 12, 1),
        nn.BatchNorm2d(12),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    )


def test_every_map_is_normalized_as_in_our_own_networks() -> None:
    model = body().train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    replace_batch_norm(model, "layer", (3, 8, 6), "body")
    first, second = model[1], model[4]
    assert isinstance(first, nn.LayerNorm) and isinstance(second, nn.LayerNorm)
    assert (first.normalized_shape, second.normalized_shape) == ((8, 8, 6), (12, 4, 3))
    assert model.training and not first._forward_pre_hooks
    assert all(torch.equal(state[name], tensor) for name, tensor in model[0].state_dict(prefix="0.").items())
    assert model(torch.rand(2, 3, 8, 6)).shape == (2, 5)


def test_no_norm_and_norms_that_do_not_suit() -> None:
    model = body()
    replace_batch_norm(model, "none", (3, 8, 8), "body")
    assert type(model[1]) is nn.Identity
    with pytest.raises(InputError, match="'body' has none; leave it out"):
        replace_batch_norm(model, "group", (3, 8, 8), "body")
    with pytest.raises(InputError, match="instance norm would erase the image"):
        replace_batch_norm(body(), "instance", (3, 2, 2), "body")


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_models_of_torchvision(norm: str, spec: Spec) -> None:
    network = build(f"torchvision:resnet18:norm={norm}", spec(3, 32, 32, classes=7))
    assert not batch_norms(network) and not network.mixes_images
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    weights = network.initial(Stream(0))
    logits = network(weights, x)
    assert logits.shape == (2, 7) and bool(logits.isfinite().all())
    torch.testing.assert_close(network(weights, x[:1]), logits[:1])  # no image knows of another


def test_activations_that_timm_fused_stay(spec: Spec) -> None:
    pytest.importorskip("timm")
    name = "timm:mobilenetv3_small_050"
    before, after = (build(f"{name}{ending}", spec(3, 64, 64)) for ending in ("", ":norm=group"))
    fused = [part for part in before.skeleton().modules() if type(part).__name__ == "BatchNormAct2d"]
    found = [part for part in after.skeleton().modules() if isinstance(part, nn.Sequential) and len(part)]
    placed = [part for part in found if isinstance(part[0], nn.GroupNorm)]
    assert fused and [type(part[-1]) for part in placed] == [type(part.act) for part in fused]
    assert [part[0].num_channels for part in placed] == [part.num_features for part in fused]
    assert not batch_norms(after)


def test_what_cannot_be_is_one_sentence(spec: Spec) -> None:
    with pytest.raises(InputError, match=r"unknown norm|norm.*must be"):
        build("torchvision:resnet18:norm=weight", spec())
    with pytest.raises(InputError, match="norm=group takes the place of batch norm over maps, and 'vit_b_16' has none"):
        build("torchvision:vit_b_16:norm=group", spec(3, 32, 32))
