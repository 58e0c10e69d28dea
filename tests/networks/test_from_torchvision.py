from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.core.streams import Stream
from limbeck.networks import TorchvisionNetwork, build
from limbeck.networks.from_torchvision import model_names, require_model

Spec = Callable[..., DataSpec]


def test_cifar_resnet_has_the_published_count() -> None:
    with torch.device("meta"):
        network = TorchvisionNetwork((3, 32, 32), 100, model="resnet18")
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_220_132
    assert network.body.conv1.stride == (1, 1) and isinstance(network.body.maxpool, nn.Identity)


def test_large_images_keep_the_stem() -> None:
    with torch.device("meta"):
        network = TorchvisionNetwork((3, 65, 65), 10, model="resnet18")
    assert network.body.conv1.kernel_size == (7, 7) and isinstance(network.body.maxpool, nn.MaxPool2d)


def test_stem_may_be_chosen(spec: Spec) -> None:
    network = build("torchvision:resnet18:stem=standard", spec())
    assert network.module().body.conv1.kernel_size == (7, 7)
    with pytest.raises(InputError, match="ResNets only"):
        build("torchvision:mobilenet_v2:stem=small", spec())


@pytest.mark.parametrize("model", ["mobilenet_v3_small", "shufflenet_v2_x0_5"])
@pytest.mark.parametrize("channels", [1, 4])
def test_channels_and_classes_follow_the_data(model: str, channels: int, spec: Spec) -> None:
    network = build(f"torchvision:{model}", spec(channels, 32, 48, classes=7))
    weights = network.initial(Stream(0))
    x = torch.zeros(2, channels, 32, 48)
    embedding = network(weights, x, "embedding", train=False)
    logits = nn.functional.linear(embedding, weights["classifier.weight"], weights["classifier.bias"])
    torch.testing.assert_close(network(weights, x, train=False), logits)
    assert tuple(logits.shape) == (2, 7)
    (block,) = network(weights, x, "blocks", train=False)
    assert torch.equal(block, embedding)
    *maps, seen, said = network(weights, x, "layers", train=False)
    assert all(torch.equal(shown, embedding) for shown in (*maps, seen))
    torch.testing.assert_close(said, logits)


@pytest.mark.parametrize("model", ["vit_b_16", "swin_t", "convnext_tiny", "efficientnet_b0", "densenet121"])
def test_families_build(model: str, spec: Spec) -> None:
    assert build(f"torchvision:{model}", spec()).name == f"torchvision:{model}"


def test_dropout_is_off_unless_asked_for() -> None:
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        quiet = TorchvisionNetwork((3, 32, 32), 10, model="mobilenet_v2").train()
        noisy = TorchvisionNetwork((3, 32, 32), 10, model="mobilenet_v2", dropout=True).train()
        before = torch.get_rng_state()
        assert torch.equal(quiet(x), quiet(x))
        assert torch.equal(before, torch.get_rng_state())
        assert not torch.equal(noisy(x), noisy(x))
    assert torch.equal(state, torch.get_rng_state())


def test_regnet_is_checked_without_the_global_generator(spec: Spec) -> None:
    state = torch.get_rng_state()
    build("torchvision:regnet_y_400mf", spec())
    assert torch.equal(state, torch.get_rng_state())


def test_errors(spec: Spec) -> None:
    with pytest.raises(InputError, match="unknown torchvision model 'resnet5'; did you mean 'resnet50'"):
        require_model("resnet5")
    with pytest.raises(InputError, match="has no embedding"):
        build("torchvision:squeezenet1_0", spec())
    with pytest.raises(InputError, match="divisible by 16, not 28"):
        build("torchvision:vit_b_16", spec(1, 28, 28))
    with pytest.raises(InputError, match="square"):
        build("torchvision:vit_b_16", spec(3, 32, 48))
    with pytest.raises(InputError, match=r"cannot take images of 3 x 32 x 32.*not divisible by partition"):
        build("torchvision:maxvit_t", spec())
    with pytest.raises(InputError, match=r"cannot take images of 3 x 32 x 32.*too small"):
        build("torchvision:alexnet", spec())
    with pytest.raises(InputError, match="unknown stem 'tiny'"):
        TorchvisionNetwork((3, 32, 32), 10, model="resnet18", stem="tiny")  # type: ignore[arg-type]
    assert "resnet50" in model_names() and "squeezenet1_1" not in model_names()


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("resnet18", 11_689_512),
        ("efficientnet_b0", 5_288_548),
        ("mobilenet_v2", 3_504_872),
        ("shufflenet_v2_x0_5", 1_366_792),
    ],
)
def test_imagenet_models_have_the_published_counts(model: str, parameters: int) -> None:
    with torch.device("meta"):
        network = TorchvisionNetwork((3, 224, 224), 1000, model=model)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("model", ["resnet18", "vgg11", "mobilenet_v2", "vit_b_16", "densenet121", "convnext_tiny"])
def test_names_of_torchvision(model: str) -> None:
    import torchvision.models

    with torch.device("meta"):
        network = TorchvisionNetwork((3, 224, 224), 1000, model=model)
        theirs = torchvision.models.get_model(model, weights=None)
    found = {network.own_name(name): tensor.shape for name, tensor in theirs.state_dict().items()}
    assert found == {name: tensor.shape for name, tensor in network.state_dict().items()}


def test_unknown_norm() -> None:
    with torch.device("meta"), pytest.raises(InputError, match="unknown norm 'weight'"):
        TorchvisionNetwork((3, 32, 32), 10, model="vit_b_16", norm="weight")  # type: ignore[arg-type]
