"""Lessons by a teacher that looks at every batch as its student sees it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.training.lessons import Lessons
from limbeck.training.passes import forward
from limbeck.training.settings import BatchDraws

__all__ = ["KnownTeacher", "Taught", "TeacherMode"]

TeacherMode = Literal["eval", "train"]


@dataclass(frozen=True)
class KnownTeacher:
    """A trained network whose word is taken for labels.

    Args:
        network: its architecture.
        weights: its weights; never changed.
        class_names: what its outputs are called, in order.
    """

    network: FunctionalNetwork
    weights: Weights
    class_names: tuple[str, ...]

    def on(self, device: torch.device) -> KnownTeacher:
        """The same on a device, all in float32, whatever it was trained in."""
        execution = replace(self.network.execution, precision="float32")
        network = self.network.to(device, torch.float32, execution)
        weights = {
            name: tensor.detach().to(device, torch.float32 if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in self.weights.items()
        }
        return KnownTeacher(network, weights, self.class_names)

    @property
    def bytes(self) -> int:
        """Bytes of its weights, which whoever wants its labels must have."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.weights.values())

    @property
    def digest(self) -> str:
        """What identifies names and numbers of its weights: 32 hexadecimal digits."""
        state = hashlib.blake2b(self.network.name.encode(), digest_size=16)
        for name in sorted(self.weights):
            tensor = self.weights[name].detach().cpu().contiguous()
            state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            state.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        return state.hexdigest()

    def as_plain(self) -> dict[str, Any]:
        """Who it is, for files that hold its labels."""
        return {"network": self.network.name, "weights": self.digest, "bytes": self.bytes}

    @torch.no_grad()
    def logits(self, images: Tensor, mode: TeacherMode = "eval") -> Tensor:
        """What it says of a batch.

        Args:
            images: augmented, mixed and in normalized space, ``[B, C, H, W]``.
            mode: ``eval``, or ``train``: batch norm takes the statistics of this batch (the authors' scripts for
                CIFAR); its running ones stay what they are.

        Returns:
            ``[B, K]``.
        """
        if mode == "eval":
            return forward(self.network, self.weights, images)
        return self.network(self.network.fresh_buffers(self.weights), images, train=True)


class Taught(Lessons):
    """The batches of other lessons, taught by what a teacher says of each as it is seen.

    Args:
        batches: which images stand in which batch, and what is done to them.
        teacher: who looks.
        mode: how its batch norm computes.
    """

    def __init__(self, batches: Lessons, teacher: KnownTeacher, mode: TeacherMode = "eval") -> None:
        self._batches = batches
        self._teacher = teacher
        self._mode: TeacherMode = mode

    def order(self, epoch: int) -> list[Tensor]:
        """That of the other lessons."""
        return self._batches.order(epoch)

    def draws(self, epoch: int, batch: int, rows: Tensor) -> BatchDraws:
        """Those of the other lessons."""
        return self._batches.draws(epoch, batch, rows)

    def logits(self, epoch: int, batch: int, images: Tensor) -> Tensor | None:
        """What the teacher says of these images."""
        return self._teacher.logits(images, self._mode)
