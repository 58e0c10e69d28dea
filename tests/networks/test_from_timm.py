from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.core.streams import Stream
from limbeck.networks import build
from limbeck.networks.from_timm import TimmNetwork, require_timm_model

timm = pytest.importorskip("timm")
Spec = Callable[..., DataSpec]


@pytest.mark.parametrize("model", ["resnet10t", "mobilenetv3_small_050", "convnext_atto"])
@pytest.mark.parametrize("channels", [1, 4])
def test_channels_and_classes_follow_the_data(model: str, channels: int, spec: Spec) -> None:
    network = build(f"timm:{model}", spec(channels, 32, 64, classes=7))
    assert network.name == f"timm:{model}"
    weights = network.initial(Stream(0))
    x = torch.rand(2, channels, 32, 64, generator=torch.Generator().manual_seed(0))
    embedding = network(weights, x, "embedding", train=False)
    logits = nn.functional.linear(embedding, weights["classifier.weight"], weights["classifier.bias"])
    torch.testing.assert_close(network(weights, x, train=False), logits)
    assert tuple(logits.shape) == (2, 7)
    (block,) = network(weights, x, "blocks", train=False)
    assert torch.equal(block, embedding)
    *maps, seen, said = network(weights, x, "layers", train=False)
    assert all(torch.equal(shown, embedding) for shown in (*maps, seen))
    torch.testing.assert_close(said, logits)


@pytest.mark.parametrize("model", ["resnet10t", "vit_tiny_patch16_224"])
def test_it_says_what_timms_model_says(model: str) -> None:
    size = {"img_size": 32} if model.startswith("vit") else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        ours = TimmNetwork((3, 32, 32), 5, model=model).eval()
        torch.manual_seed(3)
        theirs = timm.create_model(model, num_classes=5, **size).eval()
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), theirs(x))


def test_seeds_make_weights_and_the_global_generator_stays(spec: Spec) -> None:
    state = torch.get_rng_state()
    network = build("timm:resnet10t", spec())
    first, again, other = (network.initial(Stream(seed)) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_models_of_one_size_are_made_for_the_images(spec: Spec) -> None:
    network = build("timm:vit_tiny_patch16_224", spec(3, 32, 32))
    weights = network.initial(Stream(0))
    assert weights["body.pos_embed"].shape[1] == 1 + 4


def test_dropout_is_off_unless_asked_for() -> None:
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        quiet = TimmNetwork((3, 32, 32), 10, model="ghostnet_050").train()
        assert torch.equal(quiet(x), quiet(x))
        assert {float(getattr(part, "p", 0)) for part in quiet.modules() if isinstance(part, nn.Dropout)} <= {0.0}


def test_what_cannot_be_is_one_sentence(spec: Spec) -> None:
    with pytest.raises(InputError, match="unknown timm model 'resnet10tt'; did you mean 'resnet10t'"):
        build("timm:resnet10tt", spec())
    with pytest.raises(InputError, match=r"unknown timm model 'qqqqqqqqqq'; timm.list_models\(\) lists all 1,\d+"):
        require_timm_model("qqqqqqqqqq")
    with pytest.raises(InputError, match="no embedding"):
        build("timm:deit_tiny_distilled_patch16_224", spec())
    with pytest.raises(InputError, match=r"cannot be made for images of|cannot take images of"):
        build("timm:vit_tiny_patch16_224", spec(3, 8, 8))
    with pytest.raises(InputError, match="unknown timm:resnet10t option 'stem'"):
        build("timm:resnet10t:stem=small", spec())


def test_it_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"need timm; install it with pip install 'limbeck\[timm\]'"):
        require_timm_model("resnet10t")
