from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.core.streams import Stream
from limbeck.networks import build
from limbeck.networks.token_norm import TokenBatchNorm

Spec = Callable[..., DataSpec]


@pytest.mark.parametrize("shape", [(4, 7, 5), (4, 2, 3, 5)])
def test_each_channel_is_normalized_over_all_else(shape: tuple[int, ...]) -> None:
    x = 3 + 2 * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    norm = TokenBatchNorm(5).double()
    found = norm(x)
    axes = tuple(range(len(shape) - 1))
    expected = (x - x.mean(axes)) / torch.sqrt(x.var(axes, correction=0) + 1e-5)
    assert found.shape == x.shape
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(norm.norm.running_mean, 0.1 * x.mean(axes))


@pytest.mark.parametrize(("model", "size", "blocks"), [("vit_b_16", 32, 12), ("swin_t", 64, 12), ("swin_v2_t", 64, 12)])
def test_transformers_of_torchvision(model: str, size: int, blocks: int, spec: Spec) -> None:
    """Every layer norm has become a batch norm of its width; each feed-forward block has one more."""
    before, after = (
        build(f"torchvision:{model}{ending}", spec(3, size, size)).skeleton() for ending in ("", ":norm=batch")
    )
    widths = [part.normalized_shape[0] for part in before.modules() if isinstance(part, nn.LayerNorm)]
    found = [part.num_features for part in after.modules() if isinstance(part, nn.BatchNorm1d)]
    assert not any(isinstance(part, nn.LayerNorm) for part in after.modules())
    assert len(found) == len(widths) + blocks
    pairs = zip(after.named_modules(), [None, *list(after.modules())[:-1]], strict=True)
    inner = [one.num_features for (name, one), _ in pairs if name.endswith("mlp.1.norm")]
    assert len(inner) == blocks
    assert sorted(found) == sorted([*widths, *inner])


def test_a_converted_vit_computes(spec: Spec) -> None:
    network = build("torchvision:vit_b_16:norm=batch", spec(3, 32, 32, classes=3))
    assert network.name == "torchvision:vit_b_16:norm=batch" and network.mixes_images
    module = network.skeleton().train()
    assert module(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 3)


@pytest.mark.slow
def test_a_converted_vit_learns_statistics(spec: Spec) -> None:
    network = build("torchvision:vit_b_16:norm=batch", spec(3, 32, 32, classes=3))
    weights = network.initial(Stream(0))
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    said = network(weights, x)
    assert said.shape == (2, 3) and bool(said.isfinite().all())
    assert bool((weights["body.encoder.ln.norm.running_mean"] != 0).any())


@pytest.mark.parametrize("model", ["resnet18", "convnext_tiny", "maxvit_t", "vgg11"])
def test_other_models_are_refused(model: str, spec: Spec) -> None:
    with pytest.raises(InputError, match="ViT and Swin models only, not for"):
        build(f"torchvision:{model}:norm=batch", spec(3, 224, 224))
