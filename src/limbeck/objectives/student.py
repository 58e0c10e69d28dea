"""The student of trajectory matching: what a life on the synthetic images says of them, by three engines."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import Block, Draws, Trajectory, View
from limbeck.core.contracts import Peers
from limbeck.core.errors import RunError
from limbeck.core.execution import Execution
from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.core.streams import Streams
from limbeck.ops import trajectory as ops
from limbeck.training.passes import as_convolved, forward, portions

if TYPE_CHECKING:
    from limbeck.objectives.trajectory_matching import TrajectoryMatching

__all__ = ["Student", "decode", "show"]


class Student:
    """One life of a student, and what its end says of the images.

    Args:
        objective: the settings.
        view: the expert.
        block: all classes.
        peers: the parts that the objective works with.
        lr: the student's step size, a scalar.

    Raises:
        RunError: there is no expert.
    """

    def __init__(self, objective: TrajectoryMatching, view: View, block: Block, peers: Peers, lr: Tensor) -> None:
        if view.trajectory is None:
            raise RunError("objective 'trajectory_matching' needs a pool of experts.")
        self._objective, self._network, self._block, self._peers = objective, view.network, block, peers
        self._draws = block.draws[0]
        self._names = view.network.parameter_names()
        self._fixed = {name: tensor for name, tensor in view.weights.items() if name not in self._names}
        self._lr = lr.to(block.stored.dtype)
        path = view.trajectory
        self._factor = ops.balance(path.start, path.starts, objective.balance_base) if objective.balance else 1.0
        seed = int(self._draws["seed"])
        first = _moved({name: path.weights[0][name] for name in self._names}, objective, Streams(seed))
        self._start = self._vector(first)
        self._comparisons = self._compared(path)
        self._pieces = self._cut()
        self._targets = self._taught(path)

    def _vector(self, weights: Weights) -> list[Tensor]:
        return [as_convolved(weights[name].detach()) for name in self._names]

    def _cut(self) -> Execution:
        """How batches are cut: evenly, so that little is filled up where programs have one shape."""
        execution = self._network.execution
        steps = range(self._objective.student_steps)
        most = max(len(self._draws[f"batch/{number}"]) for number in steps)
        pieces = -(-most // execution.microbatch) if execution.microbatch else 1
        return replace(execution, microbatch=-(-most // pieces))

    def _compared(self, path: Trajectory) -> list[ops.Comparison]:
        """The terms of the loss: the expert's epochs on the way, if asked for, and the last one."""
        objective, span = self._objective, len(path.weights) - 1
        steps = [*ops.points(objective.student_steps, span, objective.points), objective.student_steps]
        found = []
        for place, step in enumerate(steps, 1):
            if place < span and (objective.intermediate == "off" or step == 0):
                continue
            target = self._vector(path.weights[place])
            share = place / span if objective.intermediate == "varied" else 1.0
            found.append(ops.Comparison(step, target, share / ops.gap(self._start, target)))
        return found

    def _taught(self, path: Trajectory) -> Tensor:
        """Probabilities ``[N, classes]`` of all decoded images."""
        images, labels = decode(self._block.stored.detach(), self._block, self._peers), self._block.targets.flatten()
        classes = self._peers.spec.classes
        if self._objective.labels == "hard":
            return F.one_hot(labels, classes).to(images.dtype)
        weights = {**self._fixed, **{name: path.weights[-1][name] for name in self._names}}
        return forward(self._network, weights, images).softmax(dim=1)

    def unrolled(self) -> tuple[Tensor, Tensor, Tensor]:
        """Terms of the loss, gradients in the stored images and in the step size, through the graph of all steps."""
        stored, lr = self._block.stored.detach().requires_grad_(), self._lr.detach().requires_grad_()
        with torch.enable_grad():
            images = decode(stored, self._block, self._peers)
            theta, velocity, after = self._start, [torch.zeros_like(part) for part in self._start], {}
            for number in range(self._objective.student_steps):
                shown = show(images, self._draws, number, self._peers)
                share = torch.full((len(shown),), 1 / len(shown), dtype=shown.dtype, device=shown.device)
                leaves = dict(zip(self._names, theta, strict=True))
                taught = self._taught_at(number)
                found = _attached(self._network, leaves, self._fixed, shown, taught, share, functional=False)
                velocity = [
                    self._objective.student_momentum * old + self._factor * found[name]
                    for old, name in zip(velocity, self._names, strict=True)
                ]
                theta = [part - lr * ahead for part, ahead in zip(theta, velocity, strict=True)]
                after[number + 1] = theta
            terms = torch.stack([each.loss(after[each.step]) for each in self._comparisons])
            of_images, of_rate = torch.autograd.grad(terms.sum(), (stored, lr))
        return terms.detach(), of_images, of_rate

    def retraced(self) -> tuple[Tensor, Tensor, Tensor]:
        """The same from the weights after each step, one graph at a time."""
        objective = self._objective
        stored = self._block.stored.detach().requires_grad_()
        with torch.enable_grad():
            decoded = decode(stored, self._block, self._peers)
        images = decoded.detach().requires_grad_()
        total = torch.zeros_like(images)
        frozen = objective.engine == "tesla"
        scale = -self._lr * (objective.tesla_scale if frozen else 1.0)

        def advance(number: int, theta: list[Tensor], velocity: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            with torch.no_grad():
                shown = show(images, self._draws, number, self._peers)
            found = self._ascend(theta, shown, self._taught_at(number))
            velocity = list(torch._foreach_mul(velocity, objective.student_momentum))
            torch._foreach_add_(velocity, found, alpha=self._factor)
            return [part - self._lr * ahead for part, ahead in zip(theta, velocity, strict=True)], velocity

        def pull(number: int, theta: list[Tensor], heading: list[Tensor]) -> tuple[Tensor, list[Tensor] | None]:
            with torch.enable_grad():
                shown = show(images, self._draws, number, self._peers)
            heading = [part * self._factor for part in heading] if self._factor != 1.0 else heading
            value, below, of_shown = self._pulled(theta, shown.detach(), self._taught_at(number), heading, frozen)
            total.add_(torch.autograd.grad(shown, images, of_shown)[0] * scale)
            return value, below

        found = ops.iterates(advance, self._start, objective.student_steps)
        terms = torch.stack([each.loss(found[each.step]) for each in self._comparisons])
        rate = ops.adjoint(pull, found, self._lr, objective.student_momentum, self._comparisons)
        return terms, torch.autograd.grad(decoded, stored, total)[0], rate

    def _taught_at(self, number: int) -> Tensor:
        return self._targets[self._draws[f"batch/{number}"].to(self._targets.device)]

    def _ascend(self, theta: list[Tensor], shown: Tensor, taught: Tensor) -> list[Tensor]:
        """The gradient of the student's mean loss in its parameters, a few images at a time."""
        network, leaves = self._network, dict(zip(self._names, theta, strict=True))
        run, parts = network.program(_ascent), []
        for some, which, share in portions(self._pieces, shown, taught, whole=network.mixes_images):
            parts.append(list(run(leaves, self._fixed, some, which, share).values()))
        return _summed(parts)

    def _pulled(
        self, theta: list[Tensor], shown: Tensor, taught: Tensor, heading: list[Tensor], frozen: bool
    ) -> tuple[Tensor, list[Tensor] | None, Tensor]:
        """t, dt/dtheta (or None) and dt/dX of one step."""
        network, leaves = self._network, dict(zip(self._names, theta, strict=True))
        ahead = dict(zip(self._names, heading, strict=True))
        run = network.program(_contraction, frozen=frozen)
        values, belows, pulls = [], [], []
        for some, which, share in portions(self._pieces, shown, taught, whole=network.mixes_images):
            value, below, pull = run(leaves, self._fixed, some, which, share, ahead)
            values.append(value)
            belows.append(list(below.values()))
            pulls.append(pull)
        return torch.stack(values).sum(), None if frozen else _summed(belows), torch.cat(pulls)[: len(shown)]


def _summed(parts: list[list[Tensor]]) -> list[Tensor]:
    """Sums over several sets of tensors."""
    total = parts[0]
    for part in parts[1:]:
        total = list(torch._foreach_add(total, part))
    return total


def _moved(weights: Weights, objective: TrajectoryMatching, streams: Streams) -> Weights:
    """The start of the student: the expert's parameters, perturbed if that is asked for."""

    def noise() -> Weights:
        return {
            name: streams("perturbation", place).normal(*tensor.shape).to(tensor)
            for place, (name, tensor) in enumerate(weights.items())
        }

    if objective.perturb == "filters":
        weights = ops.perturbed_filters(weights, noise(), objective.alpha, objective.perturb_linear)
    elif objective.perturb == "tensors":
        weights = ops.perturbed_tensors(weights, noise(), objective.alpha)
    if objective.weight_dropout:
        stream = streams("weight dropout")
        name = list(weights)[int(stream.integers(0, len(weights) - 1))]
        chances = stream.uniform(*weights[name].shape).to(weights[name].device)
        weights = {**weights, name: ops.dropped(weights[name], chances, objective.weight_dropout)}
    return weights


def decode(stored: Tensor, block: Block, peers: Peers) -> Tensor:
    """All decoded images in normalized space, class by class and finished ones last, ``[N, C, H, W]``."""
    decoded = [peers.normalize(peers.parametrization.decode(some), peers.parametrization.space) for some in stored]
    if block.beside is not None:
        decoded = [torch.cat(pair) for pair in zip(decoded, block.beside, strict=True)]
    return torch.cat(decoded)


def show(images: Tensor, draws: Draws, number: int, peers: Peers) -> Tensor:
    """The batch of one step of the student, transformed."""
    prefix = f"{number}/"
    own = {name.removeprefix(prefix): tensor for name, tensor in draws.items() if name.startswith(prefix)}
    shown = images[draws[f"batch/{number}"].to(images.device)]
    return shown if peers.augmentation is None else peers.augmentation.apply(shown, own)


def _entropy(
    network: FunctionalNetwork, leaves: Weights, fixed: Weights, images: Tensor, taught: Tensor, share: Tensor
) -> Tensor:
    """``sum_b share_b CE(taught_b)``."""
    logits = network({**network.fresh_buffers(fixed), **leaves}, images)
    return -(share.unsqueeze(1) * taught * F.log_softmax(logits, dim=1)).sum()


def _ascent(
    network: FunctionalNetwork, leaves: Weights, fixed: Weights, images: Tensor, taught: Tensor, share: Tensor
) -> Weights:
    """The gradient of the student's loss in its parameters."""

    def value_at(which: Weights) -> tuple[Tensor, tuple[()]]:
        return _entropy(network, which, fixed, images, taught, share), ()

    return gradient_and_value(value_at, leaves, functional=network.execution.functional)[0]


def _attached(
    network: FunctionalNetwork,
    leaves: Weights,
    fixed: Weights,
    images: Tensor,
    taught: Tensor,
    share: Tensor,
    functional: bool,
) -> Weights:
    """The same, itself differentiable in the images and in parameters that have a graph behind them."""
    if functional:
        return torch.func.grad(lambda which: _entropy(network, which, fixed, images, taught, share))(leaves)
    own = {name: part if part.requires_grad else part.detach().requires_grad_() for name, part in leaves.items()}
    value = _entropy(network, own, fixed, images, taught, share)
    return dict(zip(own, torch.autograd.grad(value, list(own.values()), create_graph=True), strict=True))


def _contraction(
    network: FunctionalNetwork,
    leaves: Weights,
    fixed: Weights,
    images: Tensor,
    taught: Tensor,
    share: Tensor,
    heading: Weights,
    *,
    frozen: bool,
) -> tuple[Tensor, Weights, Tensor]:
    """``t = <heading, grad CE>``, its gradient in the parameters (none if they are frozen) and in the images."""
    functional = network.execution.functional

    def value_at(both: Weights) -> tuple[Tensor, tuple[()]]:
        own = {name: both.get(name, part) for name, part in leaves.items()}
        found = _attached(network, own, fixed, both["shown images"], taught, share, functional)
        return torch.stack([(heading[name] * part).sum() for name, part in found.items()]).sum(), ()

    both = {"shown images": images} if frozen else {**leaves, "shown images": images}
    below, value, _ = gradient_and_value(value_at, both, functional=functional)
    return value, below, below.pop("shown images")
