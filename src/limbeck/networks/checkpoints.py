"""Weights from a file of somebody else's: safetensors, or what PyTorch saved, read without running its code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.networks.from_torchvision import TorchvisionNetwork
from limbeck.storage.weights import SUFFIX, difference

__all__ = ["checkpoint_weights"]

PICKLED = (".pt", ".pth")
HOLDERS = ("state_dict", "model")
"""Under which key a training script keeps the weights beside other things."""
WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and compiled modules put in front of names."""
COUNTER = "num_batches_tracked"
"""Of batch norm; files of old versions of PyTorch lack it, and nothing here reads it."""


def checkpoint_weights(path: str | Path, network: FunctionalNetwork) -> Weights:
    """The weights in a file, on the network's device and in its dtype.

    Names are the network's own or, for a network of torchvision, torchvision's. In a file of PyTorch the weights may
    stand under ``state_dict`` or ``model``; ``module.`` and ``_orig_mod.`` in front of names are taken off.

    Args:
        path: a file ``.safetensors``, or ``.pt`` or ``.pth``, which is read with ``weights_only=True``.
        network: whose weights they are.

    Raises:
        InputError: the file cannot be read, or does not hold weights of this network.
    """
    path = Path(path).expanduser()
    found = {_unwrapped(name): tensor for name, tensor in _read(path, network).items()}
    module = network.module()
    if isinstance(module, TorchvisionNetwork) and not any(name.startswith("body.") for name in found):
        found = {module.own_name(name): tensor for name, tensor in found.items()}
    wanted = module.state_dict()
    for name, tensor in wanted.items():
        if name.endswith(COUNTER):
            found.setdefault(name, torch.zeros_like(tensor))
    shapes = [{name: tuple(tensor.shape) for name, tensor in weights.items()} for weights in (found, wanted)]
    reason = difference(*shapes)
    if reason is not None:
        raise _unfit(path, network, reason)
    # Copies: tensors in a file lie at odd addresses, where sums may be rounded otherwise.
    return {
        name: found[name].to(network.device, network.dtype if tensor.is_floating_point() else tensor.dtype, copy=True)
        for name, tensor in wanted.items()
    }


def _read(path: Path, network: FunctionalNetwork) -> Weights:
    """What the file holds, by the file's names."""
    from safetensors import SafetensorError, safe_open

    if path.suffix not in (SUFFIX, *PICKLED):
        raise InputError(f"{path} is no checkpoint that can be read; give a file {', '.join((SUFFIX, *PICKLED))}.")
    try:
        if path.suffix in PICKLED:
            return _weights_in(torch.load(path, map_location="cpu", weights_only=True), path)
        with safe_open(path, framework="pt") as file:
            saved = (file.metadata() or {}).get("network", network.name)
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except (OSError, EOFError, SafetensorError, RuntimeError, pickle.UnpicklingError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(
            f"{path} cannot be read ({reason}); restore it, or save a plain state_dict of tensors anew."
        ) from error
    if saved != network.name:
        raise _unfit(path, network, f"it was saved from '{saved}'")
    return found


def _weights_in(content: Any, path: Path) -> Weights:
    """The weights among what PyTorch saved."""
    held = content
    if isinstance(content, Mapping):
        held = next((content[key] for key in HOLDERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(held, Mapping) or not held or not all(isinstance(tensor, Tensor) for tensor in held.values()):
        raise InputError(
            f"{path} holds no state_dict of tensors, neither by itself nor under {' or '.join(map(repr, HOLDERS))}; "
            "save module.state_dict()."
        )
    return {str(name): tensor for name, tensor in held.items()}


def _unwrapped(name: str) -> str:
    while name.startswith(WRAPPERS):
        name = name.partition(".")[2]
    return name


def _unfit(path: Path, network: FunctionalNetwork, reason: str) -> InputError:
    return InputError(
        f"{path} does not hold network '{network.name}' ({reason}); name the network that was saved, or give another "
        "file."
    )
