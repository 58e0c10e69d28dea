from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.core.streams import Stream
from limbeck.networks import VisionTransformer, batch_norms, build
from limbeck.networks.vit import Attention, AttentionBlock

Spec = Callable[..., DataSpec]


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_published_counts() -> None:
    with torch.device("meta"):
        assert count(VisionTransformer((3, 224, 224), 1000)) == 5_717_416
        assert count(VisionTransformer((3, 224, 224), 1000, width=384)) == 22_050_664
        assert count(VisionTransformer((3, 224, 224), 1000, width=768)) == 86_567_656


@pytest.mark.parametrize(
    ("shape", "patch", "tokens"),
    [((3, 32, 32), 0, 65), ((3, 64, 64), 0, 257), ((1, 28, 28), 0, 50), ((3, 224, 224), 0, 197), ((3, 32, 48), 8, 25)],
)
def test_tokens(shape: tuple[int, int, int], patch: int, tokens: int) -> None:
    with torch.device("meta"):
        network = VisionTransformer(shape, 5, width=64, depth=2, patch=patch)
        maps = network(torch.empty(2, *shape), "blocks")
    assert [tuple(one.shape) for one in maps] == [(2, tokens, 64)] * 3


def test_batch_norm_takes_the_place_of_every_layer_norm(spec: Spec) -> None:
    layer, batch = (build(f"deit_tiny:norm={norm}", spec()).skeleton() for norm in ("layer", "batch"))
    before = sum(isinstance(part, nn.LayerNorm) for part in layer.modules())
    assert before == 2 * 12 + 1
    assert not any(isinstance(part, nn.LayerNorm) for part in batch.modules())
    found = [part.num_features for part in batch.modules() if isinstance(part, nn.BatchNorm1d)]
    assert len(found) == before + 12 and found.count(768) == 12
    assert count(batch) == count(layer) + 12 * 2 * 768
    assert len(batch_norms(build("deit_tiny:norm=batch", spec()))) == 37
    feed = [
        name
        for name, _ in next(part for part in batch.modules() if isinstance(part, AttentionBlock)).feed.named_children()
    ]
    assert feed == ["up", "norm", "activation", "down"]


def test_statistics_are_those_of_images_and_tokens(spec: Spec) -> None:
    network = build("deit_tiny:width=64,depth=1,norm=batch", spec()).to(torch.device("cpu"), torch.float64)
    weights = network.initial(Stream(0))
    x = torch.randn(3, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    tokens = network(weights, x, "blocks", train=False)[0]
    network(weights, x)
    assert tuple(tokens.shape) == (3, 65, 64)
    flat = tokens.reshape(-1, 64)
    found = weights["blocks.1.norm1.norm.running_mean"], weights["blocks.1.norm1.norm.running_var"]
    torch.testing.assert_close(found[0], 0.1 * flat.mean(dim=0))
    torch.testing.assert_close(found[1], 0.9 + 0.1 * flat.var(dim=0))


def test_attention_is_that_of_the_framework() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ours, theirs = Attention(128).double(), nn.MultiheadAttention(128, 2, batch_first=True).double()
        x = torch.randn(2, 5, 128, dtype=torch.float64)
    pairs = {"inputs.weight": "in_proj_weight", "inputs.bias": "in_proj_bias"}
    pairs |= {f"output.{key}": f"out_proj.{key}" for key in ("weight", "bias")}
    state = theirs.state_dict()
    ours.load_state_dict({own: state[other] for own, other in pairs.items()})
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0])


def test_it_starts_as_deit_does() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VisionTransformer((3, 32, 32), 10, depth=1)
    linears = [part for part in network.modules() if isinstance(part, nn.Linear)]
    weights = torch.cat([part.weight.detach().flatten() for part in linears])
    assert float(weights.std()) == pytest.approx(0.02, rel=0.01)
    assert all(bool((part.bias == 0).all()) for part in linears)
    assert float(network.blocks[0].position.detach().std()) == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 30, 30), {}, "cannot be cut into patches of 4 x 4"),
        ((3, 32, 32), {"patch": 5}, "patches of 5 x 5; use an option patch"),
        ((3, 32, 32), {"width": 100}, "divisible by 64, not 100"),
        ((3, 32, 32), {"depth": 0}, "depth of a network must be at least 1"),
        ((3, 32, 32), {"norm": "instance"}, "unknown norm 'instance'"),
    ],
)
def test_wrong_options(shape: tuple[int, int, int], options: dict[str, int], message: str) -> None:
    with torch.device("meta"), pytest.raises(InputError, match=message):
        VisionTransformer(shape, 10, **options)  # type: ignore[arg-type]
