"""Weights that timm offers for its models, as weights of our networks (extra ``timm``).

They are downloaded and read by timm, from the Hugging Face hub as a rule; nothing is imported before one of these
functions is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from http.client import HTTPException
from typing import Any

import torch

from limbeck.core.errors import InputError, unknown
from limbeck.core.network import Weights
from limbeck.core.real import DataSpec
from limbeck.networks.catalog import TIMM, build
from limbeck.networks.from_timm import TimmNetwork, require_timm_model, timm_module
from limbeck.networks.pretrained_rows import REMEDY, in_our_names, rows_of

__all__ = ["check_timm_weights", "timm_classes", "timm_weights"]

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of ImageNet's channels, by which images are normalized."""


def timm_weights(name: str, spec: DataSpec, which: str = "default", classes: Sequence[int] | None = None) -> Weights:
    """Trained weights, for a network of timm as it is.

    Args:
        name: ``timm:MODEL`` or ``timm:MODEL:dropout=true``.
        spec: the images: channels, and the size where the model is made for one.
        which: timm's tag of the weights, for example ``a1_in1k``, or ``default``.
        classes: for each label of the data the number of its class among the logits; None if the data have all of them
            in that order.

    Returns:
        The weights by name, float32 on the CPU.

    Raises:
        InputError: it is no model of timm's or not as it was trained, the classes do not fit, there are no such
            weights, they cannot be downloaded, or timm is missing.
    """
    rows = check_timm_weights(name, spec, which, classes)
    model, network = _model(name), build(name, spec)
    module = network.module()
    assert isinstance(module, TimmNetwork)
    given = _download(model, _configuration(model, which).tag)
    return in_our_names(given, module.own_name, rows, module.state_dict(), _what(model), network.name)


def check_timm_weights(
    name: str, spec: DataSpec, which: str = "default", classes: Sequence[int] | None = None
) -> list[int]:
    """Refuse what `timm_weights` would, but for the download; nothing is fetched.

    Args:
        name: as for `timm_weights`, like the others.
        spec: the images.
        which: timm's tag of the weights.
        classes: for each label of the data the number of its class.

    Returns:
        The rows of the classifier for the classes of the data.

    Raises:
        InputError: it is no model of timm's or not as it was trained, the classes do not fit, there are no such
            weights, or timm is missing.
    """
    model = _model(name)
    found, network = _configuration(model, which), build(name, spec)
    module = network.module()
    assert isinstance(module, TimmNetwork)
    rows = rows_of(_what(model), found.num_classes, spec, classes)
    _check(network.name, module, model, found, spec)
    return rows


def timm_classes(name: str, which: str = "default") -> int:
    """How many classes the weights know.

    Args:
        name: ``timm:MODEL``, with or without options.
        which: timm's tag of the weights, or ``default``.

    Raises:
        InputError: it is no model of timm's, there are no such weights, or timm is missing.
    """
    return int(_configuration(_model(name), which).num_classes)


def _model(name: str) -> str:
    """The name that timm has for a model."""
    if not name.startswith(TIMM):
        raise InputError(f"timm has weights for its own models only, not for '{name}'; {REMEDY}")
    model = name.removeprefix(TIMM).partition(":")[0]
    require_timm_model(model)
    return model


def _what(model: str) -> str:
    return f"timm's weights of '{model}'"


def _configuration(model: str, which: str) -> Any:
    """What timm knows of the weights."""
    timm = timm_module()
    tags = [name.partition(".")[2] for name in timm.list_models(f"{model}.*", pretrained=True)]
    if not tags:
        raise InputError(f"timm has no weights for '{model}'; {REMEDY}")
    if which not in ("default", *tags):
        raise unknown(_what(model), which, ["default", *tags])
    first = timm.get_pretrained_cfg(model).tag
    tag = which if which != "default" else first if first in tags else tags[0]
    found = timm.get_pretrained_cfg(f"{model}.{tag}")
    if not found.num_classes:
        raise InputError(f"{_what(model)} '{tag}' have no classifier; use others: {', '.join(tags)}")
    return found


def _download(model: str, tag: str) -> Weights:
    """The weights as timm's own model holds them, so that it maps names of other files itself."""
    try:
        with torch.random.fork_rng(devices=[]):
            body = timm_module().create_model(f"{model}.{tag}", pretrained=True)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(
            f"{_what(model)} '{tag}' could not be downloaded ({reason}); fetch them elsewhere and give the file as a "
            "checkpoint (limbeck.networks.checkpoint_weights)"
        ) from error
    weights: Weights = body.state_dict()
    return weights


def _check(name: str, module: TimmNetwork, model: str, found: Any, spec: DataSpec) -> None:
    """Refuse, before anything is downloaded, a network that is not what was trained."""
    channels, *size = found.input_size
    if module.norm != "standard":
        reason = f"were trained with the model's own norm, not with norm={module.norm}"
    elif spec.channels != channels:
        reason = f"need images with {channels} channels, not {spec.channels}"
    elif spec.normalization.whitening is not None:
        reason = "have seen images normalized by channel, and these are whitened (--normalization zca)"
    elif (tuple(found.mean), tuple(found.std)) != _IMAGENET:
        reason = f"have seen images less {found.mean} over {found.std}, other than ImageNet's mean and deviation"
    elif found.fixed_input_size and size != [spec.height, spec.width]:
        reason = f"need images of {size[0]} x {size[1]} pixels, not {spec.height} x {spec.width}"
    else:
        return
    raise InputError(f"{_what(model)} '{found.tag}' do not fit '{name}', because they {reason}; else {REMEDY}")
