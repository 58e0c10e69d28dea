"""DD-Ranking's scores of a distilled set, from accuracies of networks trained on it and on other images.

Li et al., "DD-Ranking: rethinking the evaluation of dataset distillation", 2025; formulae as its documentation states
them. All accuracies are fractions in [0, 1]: version 0.2.0 of the authors' package passes percentages on, with which
its scores leave [0, 1].
"""

from __future__ import annotations

import math

from limbeck.core.errors import InputError

__all__ = [
    "augmentation_gain",
    "augmentation_robust_score",
    "hard_label_recovery",
    "improvement_over_random",
    "label_robust_score",
]


def hard_label_recovery(full: float, synthetic: float) -> float:
    """HLR: what is lost against all real images, both taught by hard labels; in [-1, 1], lower is better.

    Args:
        full: accuracy after training on all real images.
        synthetic: after training on the distilled set.
    """
    _check(full, synthetic)
    return full - synthetic


def improvement_over_random(synthetic: float, random: float) -> float:
    """IOR: what is won against random real images in equal number, both taught alike; in [-1, 1], higher is better.

    Args:
        synthetic: accuracy after training on the distilled set, by the labels and the training of its method.
        random: after training on random images, by the same labels and training.
    """
    _check(synthetic, random)
    return synthetic - random


def label_robust_score(recovery: float, improvement: float, weight: float = 0.5) -> float:
    """LRS: ``(e^a - 1/e) / (e - 1/e)`` with ``a = w IOR - (1 - w) HLR``; in [0, 1], higher is better.

    Args:
        recovery: HLR.
        improvement: IOR.
        weight: w in [0, 1].

    Raises:
        InputError: the weight or a difference is out of its range.
    """
    return _normalized(_weighted(improvement, -recovery, weight))


def augmentation_gain(augmented: float, plain: float, weight: float = 0.5) -> float:
    """``b = g IOR(augmented) + (1 - g) IOR(not augmented)``; in [-1, 1].

    Args:
        augmented: improvement over random with data augmentation.
        plain: without.
        weight: g in [0, 1].

    Raises:
        InputError: the weight or a difference is out of its range.
    """
    return _weighted(augmented, plain, weight)


def augmentation_robust_score(augmented: float, plain: float, weight: float = 0.5) -> float:
    """ARS: as LRS, of `augmentation_gain`; in [0, 1], higher is better.

    Args:
        augmented: improvement over random with data augmentation.
        plain: without.
        weight: g in [0, 1].

    Raises:
        InputError: the weight or a difference is out of its range.
    """
    return _normalized(augmentation_gain(augmented, plain, weight))


def _weighted(first: float, second: float, weight: float) -> float:
    if not 0 <= weight <= 1 or not (abs(first) <= 1 and abs(second) <= 1):
        raise InputError(
            f"scores take a weight in [0, 1] and differences of fractions in [-1, 1], not {weight:g}, {first:g} and "
            f"{second:g}; divide percentages by 100."
        )
    return weight * first + (1 - weight) * second


def _normalized(value: float) -> float:
    low = math.exp(-1)
    return (math.exp(value) - low) / (math.e - low)


def _check(*accuracies: float) -> None:
    if not all(0 <= value <= 1 for value in accuracies):
        raise InputError(f"accuracies are fractions in [0, 1], not {accuracies}; divide percentages by 100.")
