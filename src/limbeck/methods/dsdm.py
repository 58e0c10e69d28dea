"""DSDM: matching prototypes, covariances and the prototypes of before (Li et al., ACM MM 2024).

Algorithm 1 of the paper, line by line:

| line | here |
| --- | --- |
| train M networks for E epochs on the real images | `Pretrained.count`, `Pretrained.epochs` |
| initialize S with real images, several packed into each | `Mixed` |
| repeat: one of the networks at random | `AllAtOnce.iterations`, `Pretrained.draw` |
| for each class: a real batch, decode S, augment both alike | `Epochwise`, `Partition`, `IDCAugment` |
| L = L_p + lambda1 L_cov + lambda2 L_h | `SemanticDistribution` |
| S <- S - lr * grad L, one step of a shared momentum SGD per class | `SGD(turns="class")` |
| h <- alpha h + (1 - alpha) mu | `SemanticDistribution.advance` |

Where paper and code differ the code is followed, but for the initialization, which is random and not the first images
of each class; ``-paper`` presets use the paper's divisor, and its scale and time of the history term. The ablations of
the paper's table 4: ``--objective.covariance 0``, ``--objective.history 0``, ``--with pool=fresh``. ``small``,
``digits`` and ``fsdd`` are ours, for a CPU.
"""

from __future__ import annotations

from limbeck.core.errors import unknown
from limbeck.core.recipe import Recipe
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.methods import idc as _idc
from limbeck.objectives.semantic_distribution import SemanticDistribution
from limbeck.optimizers.sgd import SGD
from limbeck.pools.pretrained import Pretrained
from limbeck.samplers.epochwise import Epochwise
from limbeck.training.supervised import Training

__all__ = ["PRESETS", "dsdm"]

_OURS = {"small": 300, "digits": 200, "fsdd": 300}
"""Iterations of the presets for a CPU."""
_PAPER = ("cifar10", "cifar100", "svhn", "mnist", "fashion-mnist", "mini-speech-commands")

PRESETS = (*_PAPER, *(f"{name}-paper" for name in _PAPER), *_OURS)


def dsdm(preset: str = "cifar10", factor: int | None = None) -> Recipe:
    """The recipe of DSDM.

    Args:
        preset: whose settings to use: a data set of the paper, or ``small``, ``digits`` or ``fsdd`` (ours, minutes on a
            CPU); with ``-paper`` behind a data set the formulae are the paper's instead of the code's.
        factor: images per side packed into a stored one; 2 by default. 1 packs none.

    Raises:
        InputError: there is no such preset.
    """
    if preset not in PRESETS:
        raise unknown("preset of dsdm", preset, PRESETS)
    name = preset.removesuffix("-paper")
    base = _idc.idc(name, factor)
    objective = SemanticDistribution()
    if preset != name:
        objective = SemanticDistribution(divisor="n", history_scale="paper", history_after=-1)
    spoken, training = base.augmentation is None, base.pool.training  # type: ignore[union-attr]
    recipe = base.with_(
        name="dsdm",
        objective=objective,
        sampler=Epochwise(batch_size=256),
        pool=Pretrained(
            network="convnet4" if name == "mini-speech-commands" else "convnet3",
            training=Training(batch_size=256, augmentation=training.augmentation, cutmix=0.0 if spoken else 0.5),
            epochs=20,
            count=10,
        ),
        curriculum=AllAtOnce(iterations=10_000, steps=1),
        optimizer=SGD(lr=0.1, momentum=0.5, clamp=base.optimizer.clamp),  # type: ignore[union-attr]
        references=("li2024dsdm", "kim2022idc"),
    )
    if name not in _OURS:
        return recipe
    return recipe.with_(
        objective__history_after=_OURS[name] // 5,
        sampler__batch_size=64,
        pool__network="convnet4:width=16" if name == "fsdd" else "convnet3:width=32",
        pool__training__batch_size=64,
        pool__count=3,
        pool__epochs={"small": 2, "digits": 10, "fsdd": 5}[name],
        curriculum__iterations=_OURS[name],
        optimizer__lr=0.01 if name == "fsdd" else 0.2,
    )
