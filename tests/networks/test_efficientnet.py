from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.networks import EfficientNet
from limbeck.networks.blocks import Unused
from limbeck.networks.efficientnet import Squeeze, SqueezedResidual


def seeded(**options: bool) -> EfficientNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return EfficientNet((3, 32, 32), 10, **options)


def test_the_map_is_halved_four_times() -> None:
    with torch.device("meta"):
        maps = EfficientNet((3, 32, 48), 10)(torch.empty(2, 3, 32, 48), "blocks")
    assert [one.shape[1] for one in maps] == [32, 16, 24, 40, 80, 112, 192, 320]
    assert tuple(maps[-1].shape[2:]) == (2, 3)


def test_the_published_count_holds_a_layer_that_no_image_passes() -> None:
    with torch.device("meta"):
        network = EfficientNet((3, 32, 32), 100)
    unused = [part for part in network.modules() if isinstance(part, Unused)]
    assert len(unused) == 1
    assert sum(parameter.numel() for parameter in unused[0].parameters()) == 32 * 32 + 2 * 32


def test_masks_are_off_unless_asked_for() -> None:
    quiet, noisy = seeded().train(), seeded(dropout=True).train()
    assert list(quiet.state_dict()) == list(noisy.state_dict())
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        assert torch.equal(quiet(x), quiet(x))
        assert torch.equal(before, torch.get_rng_state())
        assert not torch.equal(noisy(x), noisy(x))
        fresh, masked = seeded().eval(), seeded(dropout=True).eval()
        assert torch.equal(fresh(x), masked(x))


def test_drop_connect_grows_along_the_network() -> None:
    with torch.device("meta"):
        network = EfficientNet((3, 32, 32), 10, dropout=True)
    units = [part for part in network.modules() if isinstance(part, SqueezedResidual)]
    assert [unit.drop for unit in units] == pytest.approx([0.2 * place / 16 for place in range(16)])


def test_drop_connect_drops_whole_images_and_keeps_the_mean() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unit = SqueezedResidual(4, 4, 6, 3, 1, 0.25).train()
        x = torch.randn(400, 4, 4, 4)
        added = unit(x) - x
        unit.drop = 0.0
        whole = unit(x) - x
    dropped = (added.abs().amax(dim=(1, 2, 3)) < 1e-6).float()
    assert 0.15 < float(dropped.mean()) < 0.35
    kept = dropped == 0
    torch.testing.assert_close(added[kept], whole[kept] / 0.75, rtol=1e-4, atol=1e-4)


def test_squeeze_weights_channels() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        squeeze = Squeeze(8, 2)
        x = torch.rand(3, 8, 4, 4) + 0.1
    weights = squeeze(x) / x
    assert bool(((weights > 0) & (weights < 1)).all())
    torch.testing.assert_close(weights, weights[:, :, :1, :1].expand_as(weights))
    averages = x.mean(dim=(2, 3))
    inner = nn.functional.silu(nn.functional.linear(averages, squeeze.down.weight[:, :, 0, 0], squeeze.down.bias))
    expected = torch.sigmoid(nn.functional.linear(inner, squeeze.up.weight[:, :, 0, 0], squeeze.up.bias))
    torch.testing.assert_close(weights[:, :, 0, 0], expected)
