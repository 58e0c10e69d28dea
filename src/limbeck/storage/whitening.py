"""A whitening as one safetensors file: ``basis``, ``variances``, ``mean``, ``eps``, and the digest of these."""

from __future__ import annotations

import torch

from limbeck.core.errors import InputError
from limbeck.core.whitening import Whitening

__all__ = ["whitening_from_bytes", "whitening_to_bytes"]


def whitening_to_bytes(whitening: Whitening) -> bytes:
    """The content of the file; equal whitenings give equal files."""
    from safetensors.torch import save

    return save(
        {
            "basis": whitening.basis.contiguous(),
            "variances": whitening.variances.contiguous(),
            "mean": whitening.mean.contiguous(),
            "eps": torch.tensor(whitening.eps, dtype=torch.float64),
            "digest": torch.tensor(list(bytes.fromhex(whitening.digest)), dtype=torch.uint8),
        }
    )


def whitening_from_bytes(content: bytes, where: str) -> Whitening:
    """The whitening in the content of a file, to the bit.

    Args:
        content: what `whitening_to_bytes` gave.
        where: what errors call the file.

    Raises:
        InputError: it is no such file, or was edited.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
        found = Whitening(tensors["basis"], tensors["variances"], tensors["mean"], float(tensors["eps"]))
        claimed = bytes(tensors["digest"].tolist()).hex()
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{where} holds no whitening ({error}); restore it from a copy.") from error
    if found.digest != claimed:
        raise InputError(f"{where} was edited (its digest differs); restore it from a copy.")
    return found
