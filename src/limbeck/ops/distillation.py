"""Learning from a teacher's logits instead of labels.

Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["soft_loss", "soft_losses"]


def soft_losses(student: Tensor, teacher: Tensor, temperature: float, square: bool) -> Tensor:
    """How far a student's predictions are from its teacher's, for each image; differentiable in the student.

    ``sum_k p_k (log p_k - log q_k)`` with ``p = softmax(teacher / T)`` and ``q = softmax(student / T)``. Classes that
    the teacher gives no chance at all, with a logit of minus infinity, count nothing.

    Args:
        student: logits ``[B, K]``.
        teacher: logits ``[B, K]``.
        temperature: T, above 0.
        square: whether to multiply by T squared, which keeps the size of the gradient as T changes.

    Returns:
        ``[B]``, not below 0.
    """
    chances = F.softmax(teacher.detach() / temperature, dim=1)
    said = F.log_softmax(student / temperature, dim=1)
    losses = (torch.xlogy(chances, chances) - chances * said).sum(dim=1)
    return losses * temperature**2 if square else losses


def soft_loss(student: Tensor, teacher: Tensor, temperature: float, square: bool) -> Tensor:
    """The mean of `soft_losses` over the batch, a scalar."""
    return soft_losses(student, teacher, temperature, square).mean()
