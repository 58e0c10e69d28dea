"""The protocols of MTT and its followers, in which networks are trained at the step size that the set has learnt.

All are DSA's but for that; each says what it changes besides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict, Unpack

from limbeck.evaluation.condensation import dsa
from limbeck.evaluation.protocol import Protocol

__all__ = ["RATED", "Asked", "ast", "ast_official", "mtt"]

RATED = ("mtt", "ast", "ast_official")
"""Names of the protocols that take the step size from the set."""


class Asked(TypedDict, total=False):
    """What is chosen of these protocols."""

    networks: tuple[str, ...]
    """Architectures; ``convnet3`` by default."""
    repeats: int
    """Networks of each; 5 unless a protocol says otherwise."""
    data: str
    """Name of the data set, CIFAR-10 by default; digits are never mirrored."""
    epochs: int
    """Epochs as they are stated, 1000 by default."""
    lr: float | None
    """Step size for sets that have learnt none; by default they are refused."""


def mtt(**asked: Unpack[Asked]) -> Protocol:
    """The protocol of MTT, TESLA and FTD, as in their code (but last images, not best): DSA's, with a learnt step size.

    SGD begins with the step size that the set has learnt, whatever the network; momentum 0.9, weight decay 5e-4,
    batches of 256, one token of DSA per batch. One epoch more than stated, and x 0.1 after epoch ``epochs // 2 + 1``,
    counted from 0, with a velocity of zero. Cazenavette et al., "Dataset distillation by matching training
    trajectories", CVPR 2022.

    Args:
        **asked: as `Asked` says; TESLA's code trains 3 networks.
    """
    return _rated("mtt", **asked)


def ast(**asked: Unpack[Asked]) -> Protocol:
    """The protocol of AST as its paper states it: the learnt step size, halved after half of 1000 epochs.

    What the paper leaves open is MTT's: momentum 0.9, weight decay 5e-4, batches of 256, one token of DSA per batch,
    5 networks. Nothing says that the velocity is lost. Shen et al., "AST: effective dataset distillation through
    alignment with smooth and high-quality expert trajectories", arXiv:2310.10541 (v1).

    Args:
        **asked: as `Asked` says.
    """
    base = _rated("ast", **asked)
    return replace(base, length=base.length - 1, drops=(0.5,), drop_factor=0.5, forget=False)


def ast_official(**asked: Unpack[Asked]) -> Protocol:
    """The protocol of AST's authors' code, which also looks for the best epoch on the test images.

    As `mtt`, but weight decay 1e-3, and after epoch ``epochs // 2 + 1``, counted from 0, the step size is halved and
    momentum is 0.8. The code tests after the first epoch and every 20 later and keeps the largest accuracy: that is
    selected on test data, and given under that name beside the accuracy after the last epoch, which is the figure.

    Args:
        **asked: as `Asked` says, but one network by default, as in the code; the authors' scripts have 300 or 1000
            epochs.
    """
    asked.setdefault("repeats", 1)
    base = _rated("ast_official", **asked)
    training = replace(base.training, weight_decay=1e-3)
    return replace(base, training=training, drop_factor=0.5, momentum_after=0.8, checked_every=20)


def _rated(
    name: str,
    *,
    networks: tuple[str, ...] = ("convnet3",),
    repeats: int = 5,
    data: str = "cifar10",
    epochs: int = 1000,
    lr: float | None = None,
) -> Protocol:
    """DSA's protocol with the step size of the set, or this one for sets that have none."""
    base = replace(dsa(networks=networks, repeats=repeats, data=data, epochs=epochs), name=name)
    if lr is None:
        return replace(base, lr_of_set="required")
    return replace(base, lr_of_set="preferred", training=replace(base.training, lr=lr))
