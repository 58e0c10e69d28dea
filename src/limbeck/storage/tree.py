"""Trees of tensors and numbers in one safetensors file: no code is run when it is read.

The tensors lie in the file under their path; what is not a tensor lies as JSON in its header.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.core.errors import RunError
from limbeck.storage.atomic import replacing

__all__ = ["load_tree", "save_tree"]

_TENSOR = "\x00tensor"


def save_tree(path: Path, tree: dict[str, Any]) -> None:
    """Write a tree of dicts, lists, tensors, numbers, texts and None, atomically.

    Args:
        path: the file.
        tree: the tree; keys are texts without ``/``.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    skeleton = _strip(tree, "", tensors)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"tree": json.dumps(skeleton)})


def load_tree(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save_tree` wrote.

    Args:
        path: the file.
        device: where tensors go.

    Raises:
        RunError: the file is damaged or was not written by `save_tree`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            # Copies, because tensors in the file lie at odd addresses, where sums are rounded otherwise than in memory
            # that PyTorch has aligned: a resumed run would differ in the last bits.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  no mapping
            skeleton = json.loads((file.metadata() or {})["tree"])
        tree = _fill(skeleton, "", tensors)
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise RunError(f"{path} is damaged or no checkpoint ({error}); remove it.") from error
    if not isinstance(tree, dict):
        raise RunError(f"{path} is damaged or no checkpoint; remove it.")
    return tree


def _strip(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, Tensor):
        # A copy of its own: safetensors refuses views that share memory.
        tensors[path] = node.detach().clone().contiguous()
        return _TENSOR
    if isinstance(node, dict):
        return {key: _strip(value, f"{path}/{key}", tensors) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_strip(value, f"{path}/{index}", tensors) for index, value in enumerate(node)]
    return node


def _fill(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if node == _TENSOR:
        return tensors[path]
    if isinstance(node, dict):
        return {key: _fill(value, f"{path}/{key}", tensors) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, f"{path}/{index}", tensors) for index, value in enumerate(node)]
    return node
