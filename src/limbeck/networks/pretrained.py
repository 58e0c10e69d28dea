"""Weights that torchvision offers for its models, as weights of our networks.

They are downloaded by torchvision into the folder of torch's hub and read by torchvision; torchvision is imported when
one of these functions is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from http.client import HTTPException
from typing import Any

import torch

from limbeck.core.errors import InputError, unknown
from limbeck.core.network import Weights
from limbeck.core.real import DataSpec
from limbeck.networks.catalog import TORCHVISION, build
from limbeck.networks.from_torchvision import TorchvisionNetwork, require_model
from limbeck.networks.pretrained_rows import REMEDY, in_our_names, rows_of

__all__ = ["check_pretrained", "pretrained_weights", "torchvision_categories"]

NORMALIZING = ("googlenet", "inception_v3")
"""Models that, with torchvision's weights, turn ImageNet's normalization into another one first."""


def pretrained_weights(
    name: str, spec: DataSpec, which: str = "default", classes: Sequence[int] | None = None
) -> Weights:
    """Weights trained on ImageNet-1K, for a network of torchvision as it is.

    Args:
        name: ``torchvision:MODEL`` or ``torchvision:MODEL:option=value``.
        spec: the images: three channels, and the size that the model asks for.
        which: torchvision's name of the weights, for example ``IMAGENET1K_V1``, or ``default``, its best ones.
        classes: for each label of the data the number of its class among `torchvision_categories`; None if the data
            have all of them in that order.

    Returns:
        The weights by name, float32 on the CPU.

    Raises:
        InputError: it is no model of torchvision's or not as it was trained, the classes do not fit, there are no such
            weights, or they cannot be downloaded.
    """
    model, chosen = _model(name), _weights(name, which)
    network = build(name, spec)
    module = network.module()
    assert isinstance(module, TorchvisionNetwork)
    rows = check_pretrained(name, spec, which, classes)
    given = _download(model, chosen)
    return in_our_names(given, module.own_name, rows, module.state_dict(), _what(model), network.name)


def check_pretrained(
    name: str, spec: DataSpec, which: str = "default", classes: Sequence[int] | None = None
) -> list[int]:
    """Refuse what `pretrained_weights` would, but for the download; nothing is fetched.

    Args:
        name: as for `pretrained_weights`, like the others.
        spec: the images.
        which: torchvision's name of the weights.
        classes: for each label of the data the number of its class.

    Returns:
        The rows of the classifier for the classes of the data.

    Raises:
        InputError: it is no model of torchvision's or not as it was trained, the classes do not fit, or there are no
            such weights.
    """
    model, chosen = _model(name), _weights(name, which)
    network = build(name, spec)
    module = network.module()
    assert isinstance(module, TorchvisionNetwork)
    rows = rows_of(_what(model), len(chosen.meta["categories"]), spec, classes)
    _check(network.name, module, model, chosen, spec)
    return rows


def torchvision_categories(name: str, which: str = "default") -> list[str]:
    """What the classes of torchvision's weights are called, in the order of their logits.

    Args:
        name: ``torchvision:MODEL``, with or without options.
        which: torchvision's name of the weights, or ``default``.

    Raises:
        InputError: it is no model of torchvision's, or there are no such weights.
    """
    return list(_weights(name, which).meta["categories"])


def _model(name: str) -> str:
    """The name that torchvision has for a model."""
    if not name.startswith(TORCHVISION):
        raise InputError(f"there are pretrained weights for torchvision's models only, not for '{name}'; {REMEDY}")
    model = name.removeprefix(TORCHVISION).partition(":")[0]
    require_model(model)
    return model


def _what(model: str) -> str:
    return f"torchvision's weights of '{model}'"


def _weights(name: str, which: str) -> Any:
    """The entry of torchvision's enumeration of weights."""
    import torchvision.models

    model = _model(name)
    known = torchvision.models.get_model_weights(model).__members__
    key = "DEFAULT" if which == "default" else which
    if key not in known:
        raise unknown(f"weights of torchvision's '{model}'", which, ["default", *known])
    if known[key].meta["categories"] is None:
        raise InputError(f"torchvision's weights '{which}' of '{model}' have no classifier; use 'default'")
    return known[key]


def _download(model: str, weights: Any) -> Weights:
    """The weights as torchvision's own model holds them, so that it maps names of older files itself."""
    import torchvision.models

    try:
        with torch.random.fork_rng(devices=[]):
            body = torchvision.models.get_model(model, weights=weights, progress=False)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(
            f"torchvision's weights of '{model}' could not be downloaded from {weights.url} ({reason}); fetch them "
            "elsewhere and give the file as a checkpoint (limbeck.networks.checkpoint_weights)"
        ) from error
    return body.state_dict()


def _check(name: str, module: TorchvisionNetwork, model: str, weights: Any, spec: DataSpec) -> None:
    """Refuse, before anything is downloaded, a network that is not what was trained."""
    size = tuple(weights.meta["min_size"])
    if model in NORMALIZING:
        reason = "were trained behind a normalization of the model's own"
    elif module.norm != "standard":
        reason = f"were trained with the model's own norm, not with norm={module.norm}"
    elif spec.channels != 3:
        reason = f"need images with 3 channels, not {spec.channels}"
    elif spec.normalization.whitening is not None:
        reason = "have seen images normalized by channel, and these are whitened (--normalization zca)"
    elif module.small_stem:
        reason = "need the stem that they were trained with (stem=standard)"
    elif model.startswith("vit_") and size != (spec.height, spec.width):
        reason = f"need images of {size[0]} x {size[1]} pixels, not {spec.height} x {spec.width}"
    else:
        return
    raise InputError(f"torchvision's weights of '{model}' do not fit '{name}', because they {reason}; else {REMEDY}")
