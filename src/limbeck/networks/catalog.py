"""Networks by name: ``NAME`` or ``NAME:option=value,option=value``."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.func import functional_call

from limbeck.core.errors import InputError, unknown
from limbeck.core.network import FunctionalNetwork, Network
from limbeck.core.real import DataSpec
from limbeck.networks.classic import MLP, AlexNet, LeNet
from limbeck.networks.convnet import ConvNet
from limbeck.networks.densenet import DenseNet
from limbeck.networks.efficientnet import EfficientNet
from limbeck.networks.from_timm import TimmNetwork, require_timm_model
from limbeck.networks.from_torchvision import TorchvisionNetwork, require_model
from limbeck.networks.mobilenet import MobileNetV2
from limbeck.networks.resnet import ResNet
from limbeck.networks.shufflenet import ShuffleNet
from limbeck.networks.vgg import VGG11, VGG16
from limbeck.networks.vit import VisionTransformer

__all__ = ["build", "names", "options", "with_option"]

TORCHVISION, TIMM = "torchvision:", "timm:"


@dataclass(frozen=True)
class Entry:
    """A named network: its class and how its options differ from the class's own defaults.

    Args:
        builder: called with the shape of an image, the number of classes and the options.
        summary: one line for people.
        fixed: options that the name stands for and that cannot be changed.
        defaults: options that start from another value than the class's.
    """

    builder: Callable[..., Network]
    summary: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """Options that a user may set, with their defaults, in the order of the constructor."""
        return {
            name: self.defaults.get(name, parameter.default)
            for name, parameter in inspect.signature(self.builder).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name not in self.fixed
        }


ENTRIES = {
    "mlp": Entry(MLP, "two hidden layers of 128"),
    "lenet": Entry(LeNet, "LeNet, two 5x5 convolutions and 120-84-classes"),
    "alexnet": Entry(AlexNet, "DC's AlexNet, five convolutions; norm=batch is AlexNetBN"),
    "vgg11": Entry(VGG11, "DC's VGG11 with instance norm; norm=batch is VGG11BN"),
    "vgg16": Entry(VGG16, "VGG-16 of DWA's tables, batch norm"),
    "resnet10": Entry(
        ResNet, "IDC's CIFAR ResNet-10, 32-64-128-256 channels, batch norm", {"depth": 10}, {"width": 32}
    ),
    "resnet10_wide": Entry(ResNet, "the usual ResNet-10, 64-128-256-512 channels, batch norm", {"depth": 10}),
    "resnet_ap10": Entry(
        ResNet,
        "IDC's ResNetAP-10: average pooling instead of strides, instance norm",
        {"depth": 10, "downsample": "pool"},
        {"norm": "instance"},
    ),
    "resnet18": Entry(
        ResNet,
        "ResNet-18, stem by image size, batch norm; init=idc for IDC's and torchvision's",
        {"depth": 18},
        {"init": "default"},
    ),
    "resnet34": Entry(ResNet, "ResNet-34, stem by image size, batch norm, starts as torchvision's", {"depth": 34}),
    "resnet50": Entry(ResNet, "ResNet-50, stem by image size, batch norm, starts as torchvision's", {"depth": 50}),
    "resnet101": Entry(ResNet, "ResNet-101, stem by image size, batch norm, starts as torchvision's", {"depth": 101}),
    "resnet18_ap": Entry(
        ResNet,
        "DC's ResNet18AP: average pooling instead of strides, flat map to the classifier, batch norm",
        {"depth": 18, "downsample": "pool"},
        {"head": "flat", "init": "default"},
    ),
    "densenet121_cifar_k12": Entry(DenseNet, "IDC's DenseNet-121 for CIFAR, growth 12"),
    "mobilenetv2": Entry(MobileNetV2, "MobileNetV2 for small images, as in DWA's tables, batch norm"),
    "shufflenet_g2": Entry(ShuffleNet, "ShuffleNet with two groups for small images, DWA's 'V2', batch norm"),
    "efficientnet_b0": Entry(EfficientNet, "EfficientNet-B0 for small images, as in DWA's tables, batch norm"),
    "deit_tiny": Entry(VisionTransformer, "DeiT-Tiny, 12 blocks of width 192; norm=batch is DWA's DeiT-BN"),
}


def names() -> dict[str, str]:
    """Names that `build` understands, each with one line on what it is.

    ``convnetD`` exists for every depth D, ``torchvision:NAME`` for every classification model of torchvision, and
    ``timm:NAME`` for every image classifier of timm, where it is installed; each is listed by one example.
    """
    summaries = {name: entry.summary for name, entry in ENTRIES.items()}
    return {
        "convnet3": "the field's ConvNet: 3 blocks of width 128, instance norm; convnetD has D blocks",
        **summaries,
        "torchvision:resnet18": "any classification model of torchvision by its name, random weights",
        "timm:resnet10t": "any image classifier of timm by its name, random weights; needs the extra timm",
    }


def options(name: str) -> dict[str, Any]:
    """The options of a network and their values: those that the name gives, and the defaults of the others.

    Args:
        name: ``NAME`` or ``NAME:option=value,option=value``.

    Raises:
        InputError: there is no such network or option.
    """
    base, items = _split(name)
    entry = _entry(base)
    return {**entry.options(), **_read_options(base, entry, items)}


def with_option(name: str, key: str, value: Any) -> str:
    """The name with one option set, or set anew; nothing is checked before it is built.

    Args:
        name: ``NAME`` or ``NAME:option=value,option=value``.
        key: the option.
        value: its value.
    """
    base, items = _split(name)
    others = [item.strip() for item in items if item.partition("=")[0].strip() != key]
    return f"{base}:{','.join([*others, f'{key}={_write(value)}'])}"


@functools.lru_cache(maxsize=256)
def build(name: str, spec: DataSpec) -> FunctionalNetwork:
    """The network of this name for images and classes of a data set.

    Name, options and image size are checked at once, without weights; the global generator is not touched.
    The result's name is canonical: options in a fixed order, those that equal the default left out. The same
    architecture comes back for the same arguments, so that what it has compiled serves again.

    Args:
        name: ``NAME`` or ``NAME:option=value,option=value``, for example ``convnet3:width=32,norm=batch``.
        spec: what the images look like.
    """
    base, items = _split(name)
    entry = _entry(base)
    chosen = _read_options(base, entry, items)
    settable = entry.options()
    changed = {key: chosen[key] for key in settable if key in chosen and chosen[key] != settable[key]}
    canonical = base
    if changed:
        canonical += ":" + ",".join(f"{key}={_write(value)}" for key, value in changed.items())
    make = partial(entry.builder, spec.shape, spec.classes, **{**entry.fixed, **entry.defaults, **changed})
    _check(canonical, make, spec)
    return FunctionalNetwork(canonical, make)


def _split(name: str) -> tuple[str, list[str]]:
    """The name without options, and the text of each option."""
    prefix = next((prefix for prefix in (TORCHVISION, TIMM) if name.startswith(prefix)), "")
    base, colon, given = name.removeprefix(prefix).partition(":")
    return prefix + base, given.split(",") if colon else []


def _entry(base: str) -> Entry:
    if base.startswith(TORCHVISION):
        model = base.removeprefix(TORCHVISION)
        require_model(model)
        return Entry(TorchvisionNetwork, "torchvision model", {"model": model})
    if base.startswith(TIMM):
        model = base.removeprefix(TIMM)
        require_timm_model(model)
        return Entry(TimmNetwork, "timm model", {"model": model})
    convnet = re.fullmatch(r"convnet([1-9]\d?)", base)
    if convnet:
        return Entry(ConvNet, "ConvNet", {"depth": int(convnet[1])})
    if base not in ENTRIES:
        known = [*names(), *(f"convnet{depth}" for depth in range(1, 7))]
        raise unknown("network", base, known)
    return ENTRIES[base]


def _read_options(base: str, entry: Entry, items: Iterable[str]) -> dict[str, Any]:
    """Options from texts ``key=value``, checked against the constructor's type hints."""
    settable = entry.options()
    constructor = entry.builder.__init__ if inspect.isclass(entry.builder) else entry.builder
    hints = typing.get_type_hints(constructor)
    chosen: dict[str, Any] = {}
    for item in items:
        key, equals, text = (part.strip() for part in item.partition("="))
        if not equals or not key or not text:
            raise InputError(f"'{item}' in the options of network '{base}' must have the form option=value")
        if key in entry.fixed:
            raise InputError(f"option '{key}' of network '{base}' is set by its name; use another name")
        if key not in settable:
            raise unknown(f"{base} option", key, settable)
        if key in chosen:
            raise InputError(f"option '{key}' of network '{base}' is given twice; give it once")
        chosen[key] = _read(base, key, text, hints[key])
    return chosen


def _read(base: str, key: str, text: str, hint: Any) -> Any:
    """One value from its text; ``hint`` is int, bool or a Literal."""
    if typing.get_origin(hint) is typing.Literal:
        choices = {str(choice): choice for choice in typing.get_args(hint)}
        expected = f"one of {', '.join(choices)}"
    elif hint is bool:
        choices = {"true": True, "false": False}
        expected = "true or false"
    else:
        choices = {text: int(text)} if re.fullmatch(r"\d{1,9}", text) else {}
        expected = "a whole number"
    if text not in choices:
        raise InputError(f"option '{key}' of network '{base}' must be {expected}, not '{text}'")
    return choices[text]


def _write(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(name: str, make: Callable[[], Network], spec: DataSpec) -> None:
    """Build without memory for weights and pass one image that has a shape and no pixels."""
    image = torch.empty(1, *spec.shape, device="meta")
    try:
        with torch.device("meta"):
            module = make().eval()
        tensors = (*module.named_parameters(), *module.named_buffers())
        functional_call(module, {key: tensor.detach().to("meta") for key, tensor in tensors}, (image,))
    except InputError as error:
        raise InputError(f"network '{name}': {error}") from error
    except (RuntimeError, ValueError) as error:
        size = " x ".join(map(str, spec.shape))
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(
            f"network '{name}' cannot take images of {size} (channels x rows x columns): {reason}"
        ) from error
