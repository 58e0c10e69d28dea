"""A memory of distilled exemplars for Avalanche, the library for continual learning (extra ``avalanche``).

>>> from avalanche.training.plugins import ReplayPlugin  # doctest: +SKIP
>>> from limbeck.continual.avalanche import DistilledExemplars  # doctest: +SKIP
>>> memory = DistilledExemplars(200, dm("small"), classes=benchmark.n_classes)  # doctest: +SKIP
>>> plugin = ReplayPlugin(mem_size=200, storage_policy=memory)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.data import from_arrays
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings

try:
    from avalanche.benchmarks.utils import DataAttribute, make_avalanche_dataset
    from avalanche.training.storage_policy import ExemplarsBuffer
except ImportError as error:
    raise ImportError("distilled exemplars need Avalanche: pip install limbeck[avalanche]") from error

__all__ = ["DistilledExemplars"]


class DistilledExemplars(ExemplarsBuffer):
    """A storage policy that distils the classes of every experience and keeps what comes out.

    Every class gets ``max_size // classes`` stored images when it comes, so that no later class takes room from it. The
    buffer holds decoded images: with a recipe that packs several into one stored image (IDC's ``partition``) it has
    more entries than ``max_size``, of the same bytes.

    Images of an experience are taken as the benchmark evaluates them, without the augmentation of training.

    Args:
        max_size: stored images of all classes.
        recipe: how they are made.
        classes: how many classes will come.
        mean: of each channel, where the benchmark gives normalized tensors; its exemplars are normalized likewise.
        std: of each channel, likewise.
        seed: seed of the runs; experience ``k`` is distilled with ``seed + k``.
        out: folder for one run folder per experience, so that a run that was stopped resumes; None keeps all in memory.
        settings: device and progress.

    Raises:
        InputError: there is less than one image for each class.
    """

    def __init__(
        self,
        max_size: int,
        recipe: Recipe,
        *,
        classes: int,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        seed: int = 0,
        out: str | Path | None = None,
        settings: Settings | None = None,
    ) -> None:
        if classes < 1 or max_size < classes:
            raise InputError(f"{max_size} exemplars are less than one for each of {classes} classes; raise max_size.")
        super().__init__(max_size)
        self.max_size: int = max_size
        self.recipe = recipe
        self.ipc = max_size // classes
        self.sets: dict[int, Tensor] = {}
        """Exemplars of each class seen, as the benchmark gives images: ``[m, C, H, W]``."""
        self._tasks: dict[int, int] = {}
        self._mean, self._std = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
        self._seed, self._out = seed, None if out is None else Path(out)
        self._settings = settings or Settings(progress="quiet")
        self._experiences = 0

    def post_adapt(self, agent_state: Any, exp: Any) -> None:
        """Distil the classes of an experience and add them to the buffer.

        Args:
            agent_state: of the strategy; not looked at.
            exp: the experience that was trained on.

        Raises:
            InputError: a class comes again, or images leave [0, 1] once they are no longer normalized.
        """
        dataset = exp.dataset.eval()
        labels = torch.as_tensor([int(label) for label in dataset.targets])
        numbers = sorted(set(labels.tolist()))
        again = [number for number in numbers if number in self.sets]
        if again:
            raise InputError(f"class {again[0]} comes again; distilled exemplars are for classes that come once.")
        images = torch.stack([torch.as_tensor(dataset[row][0]) for row in range(len(dataset))])
        made = self._distil(images * self._std + self._mean, labels, numbers)
        decoded, targets = made.decoded()
        for index, number in enumerate(numbers):
            self.sets[number] = (decoded[targets == index] - self._mean) / self._std
            self._tasks[number] = int(exp.task_label)
        self._experiences += 1
        self._fill()

    def resize(self, strategy: Any, new_size: int) -> None:
        """Keep fewer images: the first of every class. A memory does not grow again.

        Args:
            strategy: not looked at.
            new_size: stored images of all classes.
        """
        share = min(1.0, new_size / self.max_size)
        self.sets = {number: images[: int(share * len(images))] for number, images in self.sets.items()}
        self.ipc, self.max_size = int(share * self.ipc), new_size
        self._fill()

    def _distil(self, images: Tensor, labels: Tensor, numbers: Sequence[int]) -> Distilled:
        low, high = float(images.min()), float(images.max())
        if low < -1e-4 or high > 1 + 1e-4:
            raise InputError(
                f"images lie between {low:.3g} and {high:.3g}, not 0 and 1; give the mean and std that the benchmark "
                "normalizes with."
            )
        renumbered = torch.searchsorted(torch.tensor(numbers), labels)
        data = from_arrays(
            (images.clamp(0, 1), renumbered), class_names=[str(number) for number in numbers], name="experience"
        )
        out = None if self._out is None else self._out / f"experience-{self._experiences}"
        seed = self._seed + self._experiences
        return distill(self.recipe, data, ipc=self.ipc, seed=seed, out=out, settings=self._settings)

    def _fill(self) -> None:
        """The buffer of all classes seen."""
        images = torch.cat([self.sets[number] for number in self.sets])
        labels = torch.cat([torch.full((len(self.sets[number]),), number) for number in self.sets])
        tasks = [self._tasks[int(number)] for number in labels]
        kept = [DataAttribute(labels.tolist(), "targets"), DataAttribute(tasks, "targets_task_labels", True)]
        self.buffer = make_avalanche_dataset(TensorDataset(images, labels), data_attributes=kept)
