"""Whitening of whole images (ZCA): what networks see in place of channels that are normalized one by one."""

from __future__ import annotations

import functools
import hashlib
import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from limbeck.core.errors import InputError

__all__ = ["Whitening", "spectral_power"]

_SAME = 1e-5
"""Largest difference, in shares of the largest value, of two fits of the same images on two machines."""

_CPU = torch.device("cpu")


def spectral_power(basis: Tensor, variances: Tensor, eps: float, exponent: float) -> Tensor:
    """``U diag((S + eps) ** exponent) U'``, a symmetric matrix.

    Args:
        basis: U, eigenvectors as columns ``[D, D]``.
        variances: S, eigenvalues ``[D]``, none below 0.
        eps: added to each.
        exponent: -1/2 whitens, 1/2 takes it back.
    """
    return (basis * (variances + eps) ** exponent) @ basis.mT


@dataclass(frozen=True, eq=False, repr=False)
class Whitening:
    """``x' = (x - mean) W`` of images flattened in the order C, H, W, with ``W = U diag((S + eps) ** -1/2) U'``.

    U and S are eigenvectors and eigenvalues of the covariance of the training images: directions in which they vary
    much are shrunk, those in which they hardly vary are stretched, at most by ``eps ** -1/2``. ZCA as in the code of
    MTT, which takes eps 0.1 (by kornia).

    The three float32 tensors are the definition: what is read from a file is what was written, to the bit. W and its
    inverse are made of them in float64 when they are needed first, and kept for each device and dtype; they do not
    travel to other processes. Two whitenings are equal when their definitions are.

    Args:
        basis: U, float32 ``[D, D]`` on the CPU, eigenvectors as columns.
        variances: S, float32 ``[D]``, none below 0.
        mean: mean of the training images, float32 ``[D]``, in units of [0, 1].
        eps: added to each variance, above 0.

    Raises:
        InputError: tensors of other types or shapes, or values that cannot be.
    """

    basis: Tensor
    variances: Tensor
    mean: Tensor
    eps: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what is no whitening: it may come from a file."""
        values = self.variances.numel()
        shapes = {"basis": (values, values), "variances": (values,), "mean": (values,)}
        for name, shape in shapes.items():
            tensor = getattr(self, name)
            if tensor.dtype != torch.float32 or tuple(tensor.shape) != shape or tensor.device.type != "cpu":
                raise InputError(
                    f"'{name}' of a whitening must be float32 of shape {list(shape)} on the CPU, not {tensor.dtype} "
                    f"{list(tensor.shape)} on {tensor.device}; fit it anew."
                )
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(f"'{name}' of a whitening holds values that are not finite; fit it anew.")
        if not (values and 0 < self.eps < math.inf and float(self.variances.min()) >= 0):
            raise InputError("a whitening needs at least one variance, none below 0, and eps above 0; fit it anew.")

    @property
    def values(self) -> int:
        """D, the numbers of one image."""
        return self.variances.numel()

    @property
    def bytes(self) -> int:
        """Bytes of the definition."""
        return 4 * self.values * (self.values + 2)

    @functools.cached_property
    def digest(self) -> str:
        """What identifies the definition: 32 hexadecimal digits."""
        state = hashlib.blake2b(f"zca {self.values} {self.eps!r}".encode(), digest_size=16)
        for tensor in (self.basis, self.variances, self.mean):
            state.update(tensor.contiguous().numpy().data)
        return state.hexdigest()

    def apply(self, images: Tensor) -> Tensor:
        """``(images - mean) W`` for images ``[..., C, H, W]`` in [0, 1]; differentiable.

        Raises:
            InputError: images of another size than those that it was fitted to.
        """
        flat = self._flat(images)
        return ((flat - self._centre(flat)) @ self.matrix(flat.device, flat.dtype)).view(images.shape)

    def invert(self, images: Tensor) -> Tensor:
        """``images W^-1 + mean`` for whitened images ``[..., C, H, W]``; not clamped.

        Raises:
            InputError: images of another size than those that it was fitted to.
        """
        flat = self._flat(images)
        return (flat @ self.inverse(flat.device, flat.dtype) + self._centre(flat)).view(images.shape)

    def matrix(self, device: torch.device = _CPU, dtype: torch.dtype = torch.float32) -> Tensor:
        """W ``[D, D]``, rounded from float64; not a copy."""
        return self._power(-0.5, device, dtype)

    def inverse(self, device: torch.device = _CPU, dtype: torch.dtype = torch.float32) -> Tensor:
        """The inverse of W, ``U diag((S + eps) ** 1/2) U'``, likewise."""
        return self._power(0.5, device, dtype)

    def difference(self, other: Whitening) -> str:
        """The first difference to another whitening, in words; empty where both come from the same images.

        Another machine rounds otherwise and may turn eigenvectors round, which changes hardly anything of W: so it is
        eps, mean and W that count, not the definitions.
        """
        if self.digest == other.digest:
            return ""
        if self.values != other.values:
            return f"values of an image: {self.values} and {other.values}"
        if self.eps != other.eps:
            return f"eps: {self.eps} and {other.eps}"
        for name, ours, theirs in (
            ("mean", self.mean, other.mean),
            ("matrix", self.matrix().flatten(), other.matrix().flatten()),
        ):
            off = (ours - theirs).abs() > _SAME * float(theirs.abs().max())
            if bool(off.any()):
                place = int(off.nonzero()[0])
                where = str(place) if name == "mean" else f"{place // self.values}, {place % self.values}"
                return f"{name}[{where}]: {float(ours[place]):.6g} and {float(theirs[place]):.6g}"
        return ""

    def _flat(self, images: Tensor) -> Tensor:
        if images.ndim < 3 or images.shape[-3:].numel() != self.values:
            raise InputError(
                f"images of shape {list(images.shape)} cannot be whitened by what was fitted to images of "
                f"{self.values} values; whiten whole images of the data's own size."
            )
        return images.reshape(*images.shape[:-3], self.values)

    def _centre(self, like: Tensor) -> Tensor:
        return self.mean.to(like.device, like.dtype)

    def _power(self, exponent: float, device: torch.device, dtype: torch.dtype) -> Tensor:
        key = (exponent, device, dtype)
        if key not in self._kept:
            # Whoever asks first may be in inference mode, and the next one may differentiate.
            with torch.inference_mode(False), torch.no_grad():
                if device.type == "cpu":
                    made = spectral_power(self.basis.double(), self.variances.double(), self.eps, exponent).to(dtype)
                else:
                    made = self._power(exponent, _CPU, dtype).to(device)
            self._kept[key] = made
        return self._kept[key]

    @functools.cached_property
    def _kept(self) -> dict[tuple[float, torch.device, torch.dtype], Tensor]:
        """Matrices made so far."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """The definition; what is made of it is made again elsewhere."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The definition, into an object that is otherwise frozen."""
        self.__dict__.update(state)

    def __eq__(self, other: object) -> bool:
        """Whether the definitions are the same bits."""
        return isinstance(other, Whitening) and (self is other or self.digest == other.digest)

    def __hash__(self) -> int:
        """That of the digest."""
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Whitening({self.values} values, eps={self.eps}, {self.digest[:8]})"
