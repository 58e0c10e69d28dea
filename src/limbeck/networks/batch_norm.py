"""Which networks have batch norm: methods that read its running statistics (SRe2L, DWA) need it."""

from __future__ import annotations

import functools

from torch.nn.modules.batchnorm import _BatchNorm

from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork, Network
from limbeck.core.real import DataSpec, Normalization
from limbeck.networks.blocks import Unused
from limbeck.networks.catalog import build, names, with_option

__all__ = ["batch_norms", "bn_variant", "require_batch_norm"]

EXAMPLE = DataSpec("example", 3, 32, 32, ("a", "b"), Normalization((0.5,) * 3, (0.5,) * 3), "none")
"""The images for which the networks that work are listed."""


def batch_norms(network: FunctionalNetwork) -> tuple[str, ...]:
    """Names of the batch norms that images pass, in the order in which the network registers them.

    Each is a module whose input has its channels on axis 1, and whose running statistics are the weights
    ``NAME.running_mean`` and ``NAME.running_var``.

    Args:
        network: the architecture.
    """
    return _names(network.module())


def bn_variant(name: str, spec: DataSpec) -> str:
    """The name of the same network with batch norm; one that has it already comes back as it is.

    Args:
        name: ``NAME`` or ``NAME:option=value,option=value``.
        spec: what the images look like.

    Raises:
        InputError: there is no such network, it cannot take these images, or it has no form with batch norm.
    """
    found = _variant(name, spec)
    if found is None:
        raise InputError(f"network '{name}' has no form with batch norm; use one that has: {_working()}")
    return found


def require_batch_norm(network: FunctionalNetwork, where: str) -> None:
    """Refuse a network without batch norm.

    Args:
        network: the architecture.
        where: who needs it, for example ``objective 'bn_statistics'``.

    Raises:
        InputError: it has none.
    """
    if not batch_norms(network):
        raise InputError(
            f"{where} needs a network with batch norm, and '{network.name}' has none; use its form with batch norm "
            f"(limbeck.networks.bn_variant names it, where there is one) or another network: {_working()}"
        )


def _names(network: Network) -> tuple[str, ...]:
    modules = dict(network.named_modules())
    unused = tuple(f"{name}." for name, module in modules.items() if isinstance(module, Unused))
    return tuple(
        name
        for name, module in modules.items()
        if isinstance(module, _BatchNorm) and not any(name.startswith(prefix) for prefix in unused)
    )


def _variant(name: str, spec: DataSpec) -> str | None:
    """What `bn_variant` says, or None."""
    if _names(build(name, spec).skeleton()):
        return name
    try:
        changed = build(with_option(name, "norm", "batch"), spec)
    except InputError:  # no such option, or not for this network
        return None
    return changed.name


@functools.cache
def _working() -> str:
    """The networks of the catalog that have batch norm or a form with it, in words."""
    found = [variant for name in names() if (variant := _variant(name, EXAMPLE)) is not None]
    return ", ".join(found) + ", torchvision's others with batch norm, its ViT and Swin with norm=batch"
