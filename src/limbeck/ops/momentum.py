"""SGD with momentum in closed form: ``v <- mu v + g``, then ``x <- x - lr v``.

IDC, DSDM and IDM hold all stored images in one tensor and make one optimizer step per class, so that the
images of a class keep moving on their velocity while the other classes have their turns. For class c of C a
round of turns is exactly ``coast(c)``, `step`, ``coast(C - 1 - c)``: one call of each moves all classes at
once when x, velocity and gradient carry a leading class axis, with ``steps = torch.arange(C)`` before and
``C - 1 - torch.arange(C)`` after. The gradient of a class is taken at its images after the first coast.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["coast", "step"]


def coast(x: Tensor, velocity: Tensor, lr: float, momentum: float, steps: int | Tensor) -> tuple[Tensor, Tensor]:
    """Images and velocity after some steps with a zero gradient.

    Args:
        x: images ``[K, ...]``, or any shape when ``steps`` is a number.
        velocity: same shape.
        lr: step size.
        momentum: mu, 0 to 1.
        steps: how many steps t, 0 or more: one number for all, or ``[K]`` for the leading axis.

    Returns:
        ``x - lr (mu + ... + mu^t) velocity`` and ``mu^t velocity``.
    """
    count = torch.as_tensor(steps, dtype=torch.float64, device=None if isinstance(steps, int) else steps.device)
    count = count.reshape(count.shape + (1,) * (x.ndim - count.ndim)) if count.ndim else count
    decay = torch.pow(torch.full_like(count, momentum), count)
    travel = count if momentum == 1.0 else momentum * (1 - decay) / (1 - momentum)
    decay, travel = (factor.to(device=x.device, dtype=x.dtype) for factor in (decay, travel))
    return x - lr * travel * velocity, decay * velocity


def step(x: Tensor, velocity: Tensor, gradient: Tensor, lr: float, momentum: float) -> tuple[Tensor, Tensor]:
    """Images and velocity after one step.

    Args:
        x: images of any shape.
        velocity: same shape; zero before the first step.
        gradient: same shape.
        lr: step size.
        momentum: mu, 0 to 1.
    """
    velocity = momentum * velocity + gradient
    return x - lr * velocity, velocity
