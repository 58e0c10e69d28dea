"""One distilled set of several whose classes differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec

__all__ = ["merged"]


def merged(sets: Sequence[Distilled], spec: DataSpec) -> Distilled:
    """The sets of several steps as one, class after class.

    Soft labels keep their probabilities; those of classes that a set did not know are 0. Of step sizes that were learnt
    the geometric mean is taken.

    Args:
        sets: of one recipe, IPC and normalization, each of classes of its own.
        spec: of all their classes, in the order of the sets.

    Raises:
        InputError: the classes are not those of the sets, or the sets do not fit together.
    """
    first = sets[0]
    names = tuple(name for one in sets for name in one.spec.class_names)
    if names != spec.class_names:
        raise InputError(
            f"the sets have classes {', '.join(names)}, not {', '.join(spec.class_names)}; merge in order."
        )
    for one in sets:
        if (one.recipe, one.ipc, one.storage) != (first.recipe, first.ipc, first.storage):
            raise InputError("sets of different recipes, IPC or storage are no one set; distil all steps alike.")
        if one.spec.normalization.key != spec.normalization.key:
            raise InputError("the sets were made of images that are normalized otherwise; take steps of one data set.")
    learnt: dict[str, Tensor] = {}
    if all("labels" in one.learnt for one in sets):
        blocks = [one.learnt["labels"].flatten(0, 1) for one in sets]
        shape = (spec.classes, -1, spec.classes)
        learnt["labels"] = torch.block_diag(*blocks).reshape(shape)
    rates = [one.student_lr for one in sets]
    if all(rate is not None and rate > 0 for rate in rates):
        learnt["student_lr"] = torch.tensor(math.exp(sum(math.log(rate) for rate in rates if rate) / len(rates)))
    stored = torch.cat([one.stored for one in sets])
    return replace(first, stored=stored, spec=spec, learnt=learnt)
