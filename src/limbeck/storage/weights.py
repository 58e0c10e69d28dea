"""Weights of one network in one safetensors file, by name: no code is run when it is read."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from limbeck.core.errors import InputError, RunError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import DataSpec, Normalization
from limbeck.storage.atomic import replacing

__all__ = [
    "SUFFIX",
    "check_weights",
    "check_whitening",
    "checksum",
    "class_names_in",
    "difference",
    "digest",
    "keep_weights",
    "kept_weights",
    "network_in",
    "read_weights",
    "weight_files",
    "write_tensors",
    "write_weights",
]

SUFFIX = ".safetensors"


def write_weights(
    path: Path,
    weights: Weights,
    network: str,
    class_names: Sequence[str] = (),
    normalization: Normalization | None = None,
) -> None:
    """Write the parameters and buffers of a network, atomically; equal weights make equal files.

    Args:
        path: the file, which ends in ``.safetensors``.
        weights: by name, as the network's ``state_dict`` has them.
        network: name of the architecture, kept in the header.
        class_names: what the classes are called in the order of the logits, kept likewise if they are given.
        normalization: how the network saw images; a whitening is kept by its digest, for `check_whitening`.
    """
    about = {"class_names": json.dumps(list(class_names), ensure_ascii=False)} if class_names else {}
    if normalization is not None and normalization.whitening is not None:
        about["whitening"] = normalization.whitening.digest
    write_tensors(path, _on_cpu(weights), network=network, **about)


def class_names_in(path: Path) -> tuple[str, ...] | None:
    """What the classes are called whose logits the weights in a file make, in their order.

    They stand under ``class_names`` in the header of a safetensors file, or in a file ``NAME.json`` beside ``NAME.*``,
    either as a list or as a list under ``class_names``.

    Args:
        path: a file of weights.

    Returns:
        The names, or None where neither says any.

    Raises:
        InputError: what is said is not a list of texts.
    """
    from safetensors import SafetensorError, safe_open

    said = None
    if path.suffix == SUFFIX:
        with contextlib.suppress(SafetensorError, OSError), safe_open(path, framework="pt") as file:
            said = (file.metadata() or {}).get("class_names")
    beside = path.with_suffix(".json")
    if said is None and beside.is_file():
        path, said = beside, beside.read_text(encoding="utf-8")
    if said is None:
        return None
    try:
        names = json.loads(said)
    except ValueError:
        names = None
    if isinstance(names, dict):
        names = names.get("class_names", ())
        if not names:
            return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path} does not say the names of classes as a list of texts; correct or remove them.")
    return tuple(names)


def network_in(path: Path) -> str | None:
    """The name of the architecture in the header of a safetensors file; None where it is not said."""
    from safetensors import SafetensorError, safe_open

    if path.suffix == SUFFIX:
        with contextlib.suppress(SafetensorError, OSError), safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("network")
    return None


def weight_files(folder: str | Path) -> list[Path]:
    """The safetensors files of a folder, by name.

    Raises:
        InputError: there is no such folder, or no file in it.
    """
    folder = Path(folder)
    found = sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))
    if not found:
        lacks = "holds no network" if folder.is_dir() else "is no folder with networks"
        raise InputError(
            f"{folder} {lacks} (files *{SUFFIX}); save some with pretrain() of limbeck.pools.pretrained, or leave the "
            "folder out."
        )
    return found


def check_weights(path: Path, network: FunctionalNetwork) -> None:
    """Compare names and shapes in a file with those of a network; its numbers are not read.

    Raises:
        InputError: it is no safetensors file, or holds another network.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            saved = (file.metadata() or {}).get("network", network.name)
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no safetensors file that can be read ({error}); remove or restore it.") from error
    wanted = {name: tuple(tensor.shape) for name, tensor in network.module().state_dict().items()}
    reason = difference(found, wanted)
    if reason is None and saved != network.name:
        reason = f"it was saved from '{saved}'"
    if reason is not None:
        raise InputError(
            f"{path} does not hold network '{network.name}' ({reason}); name the network that was saved, or another "
            "folder."
        )


def check_whitening(path: Path, spec: DataSpec) -> None:
    """Refuse weights of a network that saw whitened images where images are not, and the other way round.

    Files that do not name their network were written by others and say nothing of it.

    Args:
        path: a file of weights.
        spec: what the network is to see.

    Raises:
        InputError: it has seen other images.
    """
    from safetensors import SafetensorError, safe_open

    about: dict[str, str] = {}
    if path.suffix == SUFFIX:
        with contextlib.suppress(SafetensorError, OSError), safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
    whitened = spec.normalization.whitening is not None
    if "network" not in about or ("whitening" in about) == whitened:
        return
    saw, sees = ("images that were not", "are") if whitened else ("images that were", "are not")
    raise InputError(
        f"{path} was trained on {saw} whitened, and those of '{spec.name}' {sees}; load the data with normalization "
        f"(--normalization) {'measured' if whitened else 'zca'}, or train another network."
    )


def digest(path: Path) -> str:
    """What identifies the content of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_weights(path: Path, network: FunctionalNetwork, expected: str) -> Weights:
    """The weights in a file, on the network's device and in its dtype.

    Args:
        path: the file, checked by `check_weights` before.
        network: where and as what its tensors shall be.
        expected: the digest of the file that is meant.

    Raises:
        RunError: the file is gone, or has another content.
    """
    from safetensors.torch import load

    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}, which this run began with, cannot be read ({error}); restore it.") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise RunError(
            f"{path} is not the file that this run began with (its digest differs); restore it, or begin another run."
        )
    # Copies: tensors in the file lie at odd addresses, where sums may be rounded otherwise.
    return {
        name: tensor.to(network.device, network.dtype if tensor.is_floating_point() else tensor.dtype, copy=True)
        for name, tensor in load(content).items()
    }


def keep_weights(path: Path, weights: Weights) -> None:
    """Write weights with their checksum, for `kept_weights`."""
    tensors = _on_cpu(weights)
    write_tensors(path, tensors, checksum=checksum(tensors))


def kept_weights(path: Path, network: FunctionalNetwork) -> Weights | None:
    """The weights that `keep_weights` wrote, in their own dtype on the network's device.

    Args:
        path: the file.
        network: whose weights they should be.

    Returns:
        The weights, or None where the file is missing, damaged or not of this network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        written = json.loads(content[8 : 8 + size])["__metadata__"]["checksum"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    wanted = network.module().state_dict()
    if {name: tensor.shape for name, tensor in tensors.items()} != {name: one.shape for name, one in wanted.items()}:
        return None
    if written != checksum(tensors):
        return None
    # Copies for their addresses, as above, and in the order of fresh weights, in which sums over them are taken.
    return {name: tensors[name].to(network.device, copy=True) for name in wanted}


def _on_cpu(weights: Weights) -> Weights:
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}


def write_tensors(path: Path, tensors: Weights, **about: str) -> None:
    """Write tensors of the CPU and facts about them, atomically; equal ones make equal files."""
    from safetensors.torch import save

    with replacing(path) as temporary:
        temporary.write_bytes(_ordered(save(tensors, metadata=about)))


def _ordered(content: bytes) -> bytes:
    """A safetensors file whose header names the facts in order; safetensors writes several in any."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    written = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    written += b" " * (-len(written) % 8)
    return len(written).to_bytes(8, "little") + written + content[8 + size :]


def checksum(weights: Weights) -> str:
    """What identifies names, shapes, types and numbers of weights, wherever they are."""
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        tensor = weights[name].detach().cpu()
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        state.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def difference(found: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> str | None:
    """How two sets of named shapes first differ, in the order of what is wanted, or None."""
    for name in wanted:
        if name not in found:
            return f"'{name}' is missing"
        if found[name] != wanted[name]:
            return f"'{name}' is {list(found[name])}, not {list(wanted[name])}"
    extra = next((name for name in found if name not in wanted), None)
    return None if extra is None else f"it has no '{extra}'"
