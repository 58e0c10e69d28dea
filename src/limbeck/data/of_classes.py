"""Some classes of a data set that is there already, in an order of choice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.real import RealSet
from limbeck.data.splits import Data

__all__ = ["SomeClasses", "of_classes"]


class SomeClasses(RealSet):
    """A view of some classes of a set, numbered anew; nothing is copied, and streamed sets stay streamed.

    Images are seen through the normalization of the whole, so that sets of different classes fit together.

    Args:
        whole: the set.
        numbers: its classes; the first becomes class 0, and so on.

    Raises:
        InputError: no class, one that is not there, or one twice.
    """

    def __init__(self, whole: RealSet, numbers: Sequence[int]) -> None:
        count = whole.spec.classes
        if not numbers or len(set(numbers)) < len(numbers) or not all(0 <= number < count for number in numbers):
            raise InputError(
                f"classes {list(numbers)} are no choice among the {count} of '{whole.spec.name}'; name each once, "
                f"from 0 to {count - 1}."
            )
        self._whole = whole
        self._numbers = tuple(numbers)
        each = [whole.class_rows(number) for number in numbers]
        # In data set order, as the rows of the whole are.
        self._rows, order = torch.cat(each).sort()
        self._labels = torch.arange(len(each)).repeat_interleave(torch.tensor([len(rows) for rows in each]))[order]
        self._class_rows = [torch.searchsorted(self._rows, rows) for rows in each]
        digest = hashlib.sha256(f"{whole.spec.digest} {self._numbers}".encode()).hexdigest()
        names = tuple(whole.spec.class_names[number] for number in numbers)
        self.spec = replace(whole.spec, class_names=names, digest=digest)

    @property
    def labels(self) -> Tensor:
        """Labels, int64 ``[N]`` on the CPU; not a copy."""
        return self._labels

    def class_rows(self, label: int) -> Tensor:
        """Rows of one class in data set order, int64 ``[n]`` on the CPU; not a copy."""
        return self._class_rows[label]

    def images(self, rows: Tensor | Sequence[int]) -> Tensor:
        """Images of the given rows, any shape of rows, in [0, 1]: ``[*rows.shape, C, H, W]``."""
        return self._whole.images(self._rows[torch.as_tensor(rows).cpu()])

    def to(self, device: torch.device, dtype: torch.dtype) -> SomeClasses:
        """The same whose images arrive on ``device`` as ``dtype``."""
        return SomeClasses(self._whole.to(device, dtype), self._numbers)


def of_classes(data: Data, numbers: Sequence[int]) -> Data:
    """A data set of some classes of another, in their order.

    Args:
        data: the whole.
        numbers: its classes; the first becomes class 0, and so on.

    Raises:
        InputError: no class, one that is not there, or one twice.
    """
    train = SomeClasses(data.train, numbers)
    others = [None if part is None else SomeClasses(part, numbers) for part in (data.validation, data.test)]
    for other in others:
        if other is not None:
            other.spec = train.spec
    return Data(train=train, validation=others[0], test=others[1], spec=train.spec)
