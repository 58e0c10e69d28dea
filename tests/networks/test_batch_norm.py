from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.networks import batch_norms, bn_variant, build, names, require_batch_norm
from limbeck.networks.batch_norm import EXAMPLE

Spec = Callable[..., DataSpec]


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in names() if name not in ("resnet101", "resnet34")),
        "convnet3:norm=batch",
        "deit_tiny:norm=batch,depth=2",
        "torchvision:mobilenet_v3_small",
        "torchvision:densenet121",
        "torchvision:vit_b_16:norm=batch",
    ],
)
def test_the_names_are_those_that_an_image_passes(name: str, spec: Spec) -> None:
    network = build(name, spec())
    module, passed = network.skeleton(), []
    for key, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.register_forward_hook(lambda layer, inputs, found, key=key: passed.append((key, inputs[0].shape[1])))
    module(torch.empty(2, 3, 32, 32, device="meta"))
    found = batch_norms(network)
    assert sorted(found) == sorted(key for key, _ in passed)
    state = module.state_dict()
    assert all(len(state[f"{key}.running_mean"]) == channels for key, channels in passed)
    order = [key for key, _ in module.named_modules()]
    assert list(found) == sorted(found, key=order.index)


def test_the_stem_comes_first(spec: Spec) -> None:
    for name in ("resnet18", "mobilenetv2", "shufflenet_g2", "efficientnet_b0", "vgg16"):
        assert batch_norms(build(name, spec()))[0] == "blocks.0.norm"
    assert batch_norms(build("torchvision:resnet18", spec()))[0] == "body.bn1"
    assert len(batch_norms(build("efficientnet_b0", spec()))) == 48
    assert batch_norms(build("convnet3", spec())) == ()


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("convnet3", "convnet3:norm=batch"),
        ("convnet4:norm=group,width=8", "convnet4:width=8,norm=batch"),
        ("alexnet", "alexnet:norm=batch"),
        ("vgg11", "vgg11:norm=batch"),
        ("resnet_ap10", "resnet_ap10:norm=batch"),
        ("resnet10:norm=instance", "resnet10"),
        ("deit_tiny", "deit_tiny:norm=batch"),
        ("resnet18", "resnet18"),
        ("convnet3:norm=batch,width=8", "convnet3:norm=batch,width=8"),
        ("torchvision:resnet18:stem=small", "torchvision:resnet18:stem=small"),
        ("torchvision:vit_b_16", "torchvision:vit_b_16:norm=batch"),
        ("torchvision:swin_t:dropout=true", "torchvision:swin_t:dropout=true,norm=batch"),
    ],
)
def test_variants(name: str, variant: str, spec: Spec) -> None:
    assert bn_variant(name, spec()) == variant
    require_batch_norm(build(variant, spec()), "this test")


@pytest.mark.parametrize("name", ["mlp", "lenet", "torchvision:convnext_tiny"])
def test_a_network_without_a_variant_is_refused_with_what_works(name: str, spec: Spec) -> None:
    with pytest.raises(InputError) as caught:
        bn_variant(name, spec(3, 64, 64))
    message = str(caught.value)
    assert message.startswith(f"network '{name}' has no form with batch norm; use one that has: convnet3:norm=batch, ")
    listed = message.partition(": ")[2].split(", torchvision's others")[0].split(", ")
    assert len(listed) >= 15
    assert all(batch_norms(build(one, EXAMPLE)) for one in listed if one not in ("resnet34", "resnet101"))


def test_errors_about_the_network_itself_stay(spec: Spec) -> None:
    with pytest.raises(InputError, match="unknown network 'convent3'"):
        bn_variant("convent3", spec())
    with pytest.raises(InputError, match="too small"):
        bn_variant("convnet9", spec())


def test_require(spec: Spec) -> None:
    require_batch_norm(build("resnet18", spec()), "objective 'x'")
    with pytest.raises(InputError) as caught:
        require_batch_norm(build("convnet3", spec()), "objective 'x'")
    message = str(caught.value)
    assert message.startswith("objective 'x' needs a network with batch norm, and 'convnet3' has none;")
    assert "bn_variant" in message and "convnet3:norm=batch" in message and "\n" not in message
