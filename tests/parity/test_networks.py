"""Our networks reproduce the outputs of the official repositories in float64."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from limbeck.core.network import Network, Weights
from limbeck.networks import MLP, VGG11, AlexNet, ConvNet, DenseNet, LeNet, ResNet
from tests.parity.vectors_dir import find
from tests.parity.weights import closed_form_images, closed_form_weights, load_convnet_weights, parse_shapes

TOLERANCE = 1e-9
POOLINGS = {"avgpooling": "avg", "maxpooling": "max", "none": "none"}
OUTPUT = re.compile(r"(?P<network>.+)_logits_(?P<mode>train|eval)")


def cases(prefix: str, pattern: str) -> list[Any]:
    """One case per file and per first group of the pattern among its keys."""
    found = []
    for path in find(prefix):
        with np.load(path) as arrays:
            keys = sorted({match[1] for key in arrays.files if (match := re.fullmatch(pattern, key))})
        assert keys, f"{path} holds nothing to check"
        found += [pytest.param(path, key, id=f"{path.stem}-{key}") for key in keys]
    return found


def close(ours: Tensor, official: np.ndarray) -> None:
    torch.testing.assert_close(ours, torch.tensor(official, dtype=torch.float64), rtol=0.0, atol=TOLERANCE)


def evaluate(network: Network, weights: Weights, x: Tensor, output: str = "logits", train: bool = True) -> Tensor:
    with torch.no_grad():
        return functional_call(network.train(train), weights, (x,), {"output": output})


def test_vectors_exist() -> None:
    assert find("dc_convnet") and find("dc_zoo") and find("idc_nets")


@pytest.mark.parametrize(("path", "key"), cases("dc_convnet", r"(c\d+)_cfg"))
def test_convnet(path: Path, key: str) -> None:
    arrays = np.load(path)
    config = json.loads(str(arrays[f"{key}_cfg"]))
    norm = config["norm"].removesuffix("norm")
    network = ConvNet(
        (config["channel"], *config["im_size"]),
        config["num_classes"],
        depth=config["depth"],
        width=config["width"],
        norm=norm,
        activation=config["act"],
        pooling=POOLINGS[config["pool"]],
    )
    weights = load_convnet_weights(arrays, prefix=f"{key}_", batch_norm=norm == "batch")
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == {
        name: tensor.shape for name, tensor in weights.items()
    }
    x = torch.tensor(arrays[f"{key}_x"], dtype=torch.float64)
    checked = {f"{key}_{name}" for name in ("cfg", "names", "x", "logits", "embed")}
    close(evaluate(network, weights, x), arrays[f"{key}_logits"])
    # The second training-mode forward: running statistics below are those after two.
    close(evaluate(network, weights, x, "embedding"), arrays[f"{key}_embed"])
    if norm == "batch":
        for index in range(config["depth"]):
            for name, buffer in (("mean", "running_mean"), ("var", "running_var")):
                close(weights[f"blocks.{index}.norm.{buffer}"], arrays[f"{key}_bn{index}_{name}"])
                checked.add(f"{key}_bn{index}_{name}")
        close(evaluate(network, weights, x, train=False), arrays[f"{key}_logits_eval"])
        checked.add(f"{key}_logits_eval")
    else:
        close(evaluate(network, weights, x, train=False), arrays[f"{key}_logits"])
    mine = {name for name in arrays.files if name.startswith(f"{key}_") and not re.search(r"_p\d+$", name)}
    assert mine == checked


def check_zoo(path: Path, key: str, network: Network, x: Tensor) -> None:
    """Every stored output of one network of a zoo."""
    arrays = np.load(path)
    weights = closed_form_weights(network, map(str, arrays[f"{key}_names"]), parse_shapes(arrays[f"{key}_shapes"]))
    modes = [match["mode"] for name in arrays.files if (match := OUTPUT.fullmatch(name)) and match["network"] == key]
    # Evaluation first: training moves the running statistics.
    for mode in sorted(modes):
        close(evaluate(network, weights, x, train=mode == "train"), arrays[f"{key}_logits_{mode}"])


def zoo_shapes(path: Path, key: str) -> list[tuple[int, ...]]:
    with np.load(path) as arrays:
        return parse_shapes(arrays[f"{key}_shapes"])


def dc_network(name: str, shape: tuple[int, int, int], shapes: list[tuple[int, ...]]) -> Network:
    """Our network for a name of the DC repository; sizes come from the stored shapes."""
    classes = shapes[-1][0]
    family = re.fullmatch(r"(MLP|LeNet|AlexNet|VGG11|ResNet18)(BN)?(_AP)?", name)
    assert family, f"no network of ours for '{name}'"
    norm = "batch" if family[2] else "instance"
    if family[1] == "MLP":
        return MLP(shape, classes, width=shapes[0][0])
    if family[1] == "LeNet":
        return LeNet(shape, classes)
    if family[1] == "AlexNet":
        return AlexNet(shape, classes, norm="batch" if family[2] else "none")
    if family[1] == "VGG11":
        return VGG11(shape, classes, norm=norm)
    pooled = bool(family[3])
    return ResNet(
        shape,
        classes,
        depth=18,
        width=shapes[0][0],
        norm=norm,
        downsample="pool" if pooled else "stride",
        head="flat" if pooled else "average",
        init="default",
    )


def idc_network(name: str, shape: tuple[int, int, int], shapes: list[tuple[int, ...]]) -> Network:
    """Our network for a name of the IDC repository; sizes come from the stored shapes."""
    classes = shapes[-1][0]
    if name == "DenseNetCifar":
        return DenseNet(shape, classes, growth=shapes[0][0] // 2)
    family = re.fullmatch(r"ResNet(AP)?(\d+)(BN|IN)_.+", name)
    assert family, f"no network of ours for '{name}'"
    return ResNet(
        shape,
        classes,
        depth=int(family[2]),
        width=shapes[0][0],
        norm="batch" if family[3] == "BN" else "instance",
        downsample="pool" if family[1] else "stride",
    )


@pytest.mark.parametrize(("path", "key"), cases("dc_zoo", r"(.+_ch\d+)_shapes"))
def test_dc_zoo(path: Path, key: str) -> None:
    name, channels = key.rsplit("_ch", 1)
    side = 28 if channels == "1" else 32
    shape = (int(channels), side, side)
    check_zoo(path, key, dc_network(name, shape, zoo_shapes(path, key)), closed_form_images((2, *shape), 0.2))


@pytest.mark.parametrize(("path", "key"), cases("idc_nets", r"(.+)_shapes"))
def test_idc_networks(path: Path, key: str) -> None:
    shapes = zoo_shapes(path, key)
    sized = re.search(r"_s(\d+)$", key)
    side = int(sized[1]) if sized else 32
    shape = (shapes[0][1], side, side)
    check_zoo(path, key, idc_network(key, shape, shapes), closed_form_images((2, *shape), 0.4))


@pytest.mark.parametrize("path", find("idc_match"), ids=lambda path: path.stem)
def test_idc_parameter_order(path: Path) -> None:
    """IDC lists all convolutions, then all norms: the logits show that each went to its place."""
    arrays = np.load(path)
    weights = load_convnet_weights(arrays)
    real = torch.tensor(arrays["real"][0])
    depth = sum(name.endswith("conv.weight") for name in weights)
    width = len(weights["blocks.0.conv.weight"])
    network = ConvNet(tuple(real.shape[1:]), len(weights["classifier.bias"]), depth=depth, width=width)
    close(evaluate(network, weights, real), arrays["logits_real0"])
    close(evaluate(network, weights, real, "embedding"), arrays["embed_real0"])
