"""Official weights under our names: stored ones of ConvNets, and the zoos' closed-form ones."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.core.network import Network, Weights


def load_convnet_weights(
    arrays: Mapping[str, Any],
    prefix: str = "",
    names: Sequence[str] | None = None,
    *,
    batch_norm: bool = False,
) -> Weights:
    """Weights of our ConvNet in float64 from arrays ``{prefix}p00``, ``{prefix}p01``, ...

    Official parameters may come in either order (DC: block by block; IDC: convolutions, norms, classifier).

    Args:
        arrays: an opened vector file.
        prefix: what stands before ``pNN``.
        names: official names in the order of the arrays; by default ``{prefix}names``, else ``names``.
        batch_norm: add fresh running statistics, one set per norm.
    """
    if names is None:
        names = arrays[f"{prefix}names" if f"{prefix}names" in arrays else "names"]
    tensors = [
        torch.tensor(np.asarray(arrays[f"{prefix}p{index:02d}"]), dtype=torch.float64) for index in range(len(names))
    ]
    renamed = convnet_names(map(str, names), [tensor.shape for tensor in tensors])
    weights = dict(zip(renamed, tensors, strict=True))
    return weights | fresh_statistics(weights) if batch_norm else weights


def convnet_names(official: Iterable[str], shapes: Iterable[Sequence[int]]) -> list[str]:
    """Our names of a ConvNet's parameters: the dimensions of a weight tell what its module is."""
    kinds = {4: "conv", 2: "classifier"}  # the rest are norms: 1-D, or 3-D for layer norm
    counts = {"conv": 0, "norm": 0, "classifier": 0}
    modules: dict[str, str] = {}
    renamed = []
    for name, shape in zip(official, shapes, strict=True):
        owner, leaf = name.rsplit(".", 1)
        if owner not in modules:
            assert leaf == "weight", f"{name} comes before its module's weight"
            kind = kinds.get(len(shape), "norm")
            modules[owner] = kind if kind == "classifier" else f"blocks.{counts[kind]}.{kind}"
            counts[kind] += 1
        renamed.append(f"{modules[owner]}.{leaf}")
    assert counts["classifier"] == 1 and counts["norm"] in (0, counts["conv"])
    return renamed


def fresh_statistics(weights: Weights) -> Weights:
    """Batch norm's running buffers before the first batch, for every norm among the weights."""
    buffers: Weights = {}
    for name, tensor in weights.items():
        if name.endswith(".norm.weight"):
            owner = name.removesuffix("weight")
            buffers[owner + "running_mean"] = torch.zeros_like(tensor)
            buffers[owner + "running_var"] = torch.ones_like(tensor)
            buffers[owner + "num_batches_tracked"] = torch.tensor(0)
    return buffers


def parse_shapes(texts: Iterable[str]) -> list[tuple[int, ...]]:
    """Shapes from texts such as ``(8, 3, 3, 3)``."""
    return [tuple(ast.literal_eval(str(text))) for text in texts]


def closed_form(index: int, name: str, shape: Sequence[int]) -> Tensor:
    """Parameter number ``index`` of the zoos' formula, float64."""
    flat = torch.arange(math.prod(shape)) % 9973
    j = flat.double()
    wave = torch.sin(0.7 * j + 1.3 * index + 0.0007 * j**2).reshape(tuple(shape))
    if len(shape) >= 2:
        return wave * math.sqrt(3.0 / math.prod(shape[1:]))
    return 0.1 * wave if name.endswith("bias") else 1.0 + 0.1 * wave


def closed_form_weights(network: Network, names: Iterable[str], shapes: Iterable[Sequence[int]]) -> Weights:
    """Closed-form parameters under our names, and the network's fresh buffers, float64.

    The official order is that of our modules; every shape is checked.
    """
    official = list(zip(names, shapes, strict=True))
    ours = list(network.named_parameters())
    assert [tuple(parameter.shape) for _, parameter in ours] == [tuple(shape) for _, shape in official]
    weights = {
        name: closed_form(index, official_name, shape)
        for index, ((name, _), (official_name, shape)) in enumerate(zip(ours, official, strict=True))
    }
    buffers = {
        name: buffer.double() if buffer.is_floating_point() else buffer.clone()
        for name, buffer in network.named_buffers()
    }
    return weights | buffers


def closed_form_images(shape: tuple[int, int, int, int], phase: float) -> Tensor:
    """The zoos' input batch, float64."""
    j = torch.arange(math.prod(shape)).double()
    return torch.sin(0.013 * j + phase + 1e-5 * j**2).reshape(shape)
