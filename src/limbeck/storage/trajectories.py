"""Trajectories of networks in safetensors files: snapshots of one network by epoch, read one at a time.

A file holds ``EEEE.NAME`` for every parameter and buffer of each epoch that is kept, and facts about the training and a
checksum of the tensors in its header. A folder of such files has a ``manifest.json``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.core.errors import RunError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.storage.atomic import write_text
from limbeck.storage.weights import SUFFIX, checksum, digest, write_tensors

__all__ = [
    "MANIFEST",
    "is_sound",
    "read_manifest",
    "read_snapshot",
    "trajectory_facts",
    "trajectory_path",
    "write_manifest",
    "write_trajectory",
]

MANIFEST = "manifest.json"


def trajectory_path(folder: Path, number: int) -> Path:
    """The file of one trajectory of a folder."""
    return folder / f"{number:04d}{SUFFIX}"


def write_trajectory(path: Path, snapshots: Mapping[int, Weights], facts: Mapping[str, Any]) -> None:
    """Write the snapshots of one network, atomically; equal ones make equal files.

    Args:
        path: the file.
        snapshots: weights on the CPU by epoch.
        facts: plain data about the training, for `trajectory_facts`.
    """
    tensors = {_key(epoch, name): one for epoch, weights in snapshots.items() for name, one in weights.items()}
    write_tensors(path, tensors, checksum=checksum(tensors), facts=json.dumps(facts, sort_keys=True))


def trajectory_facts(path: Path) -> dict[str, Any] | None:
    """The facts of a file whose tensors are what was written; None where it is missing, damaged or none of ours."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
        facts = json.loads(about["facts"])
        return facts if isinstance(facts, dict) and checksum(load_file(path)) == about["checksum"] else None
    except (SafetensorError, OSError, ValueError, KeyError):
        return None


def is_sound(path: Path, expected: str) -> bool:
    """Whether a file is there and has the digest; it is read whole the first time, and when it has changed since."""
    try:
        about = path.stat()
        return _digest(path, about.st_size, about.st_mtime_ns) == expected
    except OSError:
        return False


@functools.lru_cache(maxsize=4096)
def _digest(path: Path, size: int, changed: int) -> str:
    return digest(path)


def read_snapshot(path: Path, epoch: int, network: FunctionalNetwork) -> Weights:
    """One snapshot, on the network's device and in its dtype; nothing else of the file is read.

    Args:
        path: the file.
        epoch: which; 0 is before the first one.
        network: the architecture, whose names it has.

    Raises:
        RunError: the file cannot be read, or has no such snapshot of this network.
    """
    from safetensors import SafetensorError, safe_open

    found: Weights = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name, like in network.module().state_dict().items():
                tensor = file.get_tensor(_key(epoch, name))
                if tensor.shape != like.shape:
                    raise RunError(f"{path} holds another network than '{network.name}'; name the one it was made of.")
                # Copies, because tensors in the file lie at odd addresses, where sums are rounded otherwise.
                dtype = network.dtype if tensor.is_floating_point() else tensor.dtype
                found[name] = tensor.to(network.device, dtype, copy=True)
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} cannot be read at epoch {epoch} ({error}); remove or restore it.") from error
    return found


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What a folder says of its trajectories; None where it says nothing that can be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Say what the trajectories of a folder are, atomically."""
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def _key(epoch: int, name: str) -> str:
    return f"{epoch:04d}.{name}"
