"""Trajectory matching: training on the synthetic images should lead where an expert went (MTT, TESLA, FTD, AST)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import Block, ClassBatch, Draws, Moment, Trajectory, View
from limbeck.core.context import Context
from limbeck.core.contracts import Objective, Peers, Pull, State, Workload
from limbeck.core.errors import InputError, RunError
from limbeck.core.execution import Execution
from limbeck.core.guard import Guard
from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.core.streams import Streams
from limbeck.ops import trajectory as ops
from limbeck.training.passes import as_convolved, forward, portions

__all__ = ["TrajectoryMatching"]


@dataclass(frozen=True, kw_only=True)
class TrajectoryMatching(Objective):
    """Distance of a student from an expert, relative to the way that the expert has gone meanwhile.

    The student starts at the expert's weights and takes steps of gradient descent on the synthetic images, augmented
    anew at each. Its step size is learnt beside the images. The loss is 1 for a student that stays where it is.
    """

    references = ("cazenavette2022mtt",)

    student_steps: int = 30
    """Steps of the student, N."""
    student_lr: float = 0.01
    """The student's step size at the beginning, beta."""
    lr_step: float = 1e-5
    """Step size at which it is learnt; 0 keeps it."""
    lr_momentum: float = 0.5
    """Heavy-ball momentum of that."""
    rate: Literal["positive", "raw"] = "positive"
    """How the student's step size is learnt: as ``beta_0 exp(a / beta_0)``, which moves like beta itself at first and
    is never 0 or less, or as it is (the authors' codes)."""
    rate_limit: float = 0.1
    """Most that one step changes a positive step size by, relative to it: a single steep loss would end the learning.
    0 for any."""
    synthetic_batch: int = 0
    """Decoded images in a step of the student, drawn without replacement until all were; 0 for all."""
    student_momentum: float = 0.0
    """Heavy-ball momentum of the student; 0.9 in AST's code."""
    labels: Literal["hard", "expert"] = "hard"
    """What the student is taught of an image: its class, or what the expert says at the target epoch (TESLA)."""
    balance: bool = False
    """Whether the student's loss is scaled by where in the training it starts (AST, Eq. 2)."""
    balance_base: float = 5.0
    """Base of the logarithm in that scale; it only rescales the step size."""
    intermediate: Literal["off", "equal", "varied"] = "off"
    """Whether the student is compared with the expert's epochs on the way too (AST, Eq. 4): with weight 1, or i / M."""
    points: Literal["paper", "official"] = "paper"
    """At which of its steps: ``floor(i N / M)``, or ``i floor(N / M)`` as in AST's code."""
    perturb: Literal["off", "filters", "tensors"] = "off"
    """Whether the start is moved at random: each filter by ``alpha`` of its norm (AST, Eq. 5), or kernels multiplied by
    a random direction of the whole tensor (AST's code)."""
    alpha: float = 0.1
    """How far: relative to the filter's norm, or the factor of the code's direction (1 there)."""
    perturb_linear: bool = False
    """Whether rows of the classifier are moved as filters are."""
    weight_dropout: float = 0.0
    """Share of the entries of one random tensor of the start that are set to zero (AST, Fig. 5); 0 for none."""
    engine: Literal["adjoint", "unroll", "tesla"] = "adjoint"
    """How the gradient is found: exactly with the graph of one step in memory, exactly through the graph of all steps,
    or as TESLA does, which takes the student's weights for constants: exact for a single step only."""
    tesla_scale: float = 1.0
    """What TESLA's gradient in the images is multiplied by; 0.5 is what its published code does."""
    guard: Guard = field(default_factory=Guard)
    """What is done about steps with a loss that is too large or no number."""

    def needs(self) -> frozenset[str]:
        """Experts, beside what every objective needs."""
        return super().needs() | {"expert trajectories"}

    def reads(self) -> frozenset[str]:
        """A transformation, when there is one."""
        return frozenset({"shared augmentation"})

    def offers(self) -> frozenset[str]:
        """Gradients, also where the student learns finished images beside those that are learnt."""
        return super().offers() | {"unions of segments"}

    def check(self, context: Context) -> None:
        """Numbers are in their ranges."""
        if self.student_steps < 1 or self.synthetic_batch < 0 or not 0 <= self.student_momentum < 1:
            raise InputError(
                "objective 'trajectory_matching' needs student_steps >= 1, synthetic_batch >= 0 and 0 <= "
                f"student_momentum < 1, not {self.student_steps}, {self.synthetic_batch} and {self.student_momentum}."
            )
        if not (0 < self.student_lr < math.inf and 0 <= self.lr_step < math.inf and 0 <= self.lr_momentum < 1):
            raise InputError(
                "objective 'trajectory_matching' needs student_lr > 0, lr_step >= 0 and 0 <= lr_momentum < 1, not "
                f"{self.student_lr}, {self.lr_step} and {self.lr_momentum}."
            )
        if not 0 <= self.rate_limit < math.inf:
            raise InputError(f"objective 'trajectory_matching' needs rate_limit >= 0, not {self.rate_limit}.")
        if not (self.balance_base > 1 and self.alpha >= 0 and 0 <= self.weight_dropout < 1 and self.tesla_scale > 0):
            raise InputError(
                "objective 'trajectory_matching' needs balance_base > 1, alpha >= 0, 0 <= weight_dropout < 1 and "
                f"tesla_scale > 0, not {self.balance_base}, {self.alpha}, {self.weight_dropout} and {self.tesla_scale}."
            )
        if self.tesla_scale != 1 and self.engine != "tesla":
            raise InputError(
                f"objective 'trajectory_matching' scales TESLA's gradient alone, not that of engine '{self.engine}'; "
                "leave tesla_scale at 1."
            )
        self.guard.check("objective 'trajectory_matching'")

    def guards(self) -> Guard:
        """As it was given."""
        return self.guard

    def passes(self, context: Context, load: Workload) -> float:
        """A gradient, and a gradient of a gradient with what leads to it, at each step of the student."""
        images = context.spec.classes * load.decoded
        shown = min(self.synthetic_batch or images, images)
        each = 9.0 if self.engine == "unroll" else 12.0
        labels = images if self.labels == "expert" else 0
        return load.iterations * load.steps * (each * self.student_steps * shown + labels)

    def joins_classes(self, network: FunctionalNetwork) -> bool:
        """Always: the student learns all of them."""
        return True

    def init(self, context: Context) -> State:
        """The student's first step size, which nothing moves yet."""
        still = torch.zeros((), dtype=torch.float64, device=context.device)
        return {"offset": still, "velocity": still.clone()}

    def learnt(self, state: State) -> dict[str, Tensor]:
        """The student's step size."""
        return {"student_lr": self._rate(state)}

    def _rate(self, state: State) -> Tensor:
        """beta, a scalar in float64."""
        offset: Tensor = state["offset"]
        if self.rate == "raw":
            return self.student_lr + offset
        return self.student_lr * torch.exp(offset / self.student_lr)

    def learn(self, state: State, context: Context, moment: Moment, gradients: Mapping[str, Tensor]) -> State:
        """One step of heavy-ball descent on the student's step size."""
        slope = gradients["student_lr"].double()
        if self.rate == "positive":
            slope = slope * self._rate(state) / self.student_lr
        velocity = self.lr_momentum * state["velocity"] + slope
        if self.rate == "positive" and self.rate_limit:
            most = math.log1p(self.rate_limit) * self.student_lr / self.lr_step
            velocity = velocity.clamp(-most, most)
        return {"offset": state["offset"] - self.lr_step * velocity, "velocity": velocity}

    def draw(self, context: Context, moment: Moment, label: int, peers: Peers) -> tuple[Draws, Tensor | None]:
        """What all classes share, as `draws` says."""
        return self.draws(context, moment, (label,), peers)[0]

    def draws(
        self, context: Context, moment: Moment, labels: tuple[int, ...], peers: Peers
    ) -> list[tuple[Draws, Tensor | None]]:
        """For all classes alike: which images each step of the student has, how they are transformed, a seed.

        A ragged batch comes first: a permutation is cut into batches and used from its end (MTT's code).
        """
        images = context.spec.classes * (peers.parametrization.parts(len(context.positions)) + _beside(context))
        size = min(self.synthetic_batch or images, images)
        place = (moment.iteration, moment.step)
        found: Draws = {"seed": torch.tensor(context.streams("student", *place).seed)}
        left: list[Tensor] = []
        for number in range(self.student_steps):
            if not left:
                order = context.streams("student batches", *place, number).permutation(images)
                left = list(order.split(size))
            rows = left.pop()
            # Apart from the names of an augmentation, which may have rows of its own.
            found[f"batch/{number}"] = rows
            if peers.augmentation is not None:
                stream = context.streams("student augmentation", *place, number)
                drawn = peers.augmentation.draw(stream, context.spec.shape, len(rows))
                found |= {f"{number}/{name}": tensor for name, tensor in drawn.items()}
        return [(found, None)] * len(labels)

    def shown(self, block: Block, peers: Peers) -> tuple[Tensor, Tensor]:
        """The images of the student's first step."""
        images = _decoded(block.stored, block, peers)
        rows = block.draws[0]["batch/0"].to(images.device)
        return _show(images, block.draws[0], 0, peers), block.targets.flatten()[rows]

    def loss(self, view: View, batch: ClassBatch, peers: Peers) -> Tensor:
        """There is none of one class alone.

        Raises:
            RunError: always.
        """
        raise RunError("objective 'trajectory_matching' compares a student that has learnt all classes.")

    def gradients(self, view: View, block: Block, peers: Peers) -> tuple[Tensor, Tensor]:
        """Losses ``[K]``, equal shares of the loss, and gradients ``[K, n, C, H, W]``."""
        found = self.pull(view, block, peers)
        return found.losses, found.gradients

    def pull(self, view: View, block: Block, peers: Peers) -> Pull:
        """The same, and the gradient in the student's step size."""
        student = _Student(self, view, block, peers)
        terms, images, rate = student.unrolled() if self.engine == "unroll" else student.retraced()
        count = len(block.labels)
        return Pull(terms.sum().expand(count) / count, images, {"student_lr": rate} if self.lr_step else {})


class _Student:
    """One life of a student, and what its end says of the images.

    Args:
        objective: the settings.
        view: the expert.
        block: all classes.
        peers: the parts that the objective works with.
    """

    def __init__(self, objective: TrajectoryMatching, view: View, block: Block, peers: Peers) -> None:
        if view.trajectory is None:
            raise RunError("objective 'trajectory_matching' needs a pool of experts.")
        self._objective, self._network, self._block, self._peers = objective, view.network, block, peers
        self._draws = block.draws[0]
        self._names = view.network.parameter_names()
        self._fixed = {name: tensor for name, tensor in view.weights.items() if name not in self._names}
        self._lr = objective._rate(block.memory).to(block.stored.dtype)
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
        images = _decoded(self._block.stored.detach(), self._block, self._peers)
        labels = self._block.targets.flatten()
        classes = self._peers.spec.classes
        if self._objective.labels == "hard":
            return F.one_hot(labels, classes).to(images.dtype)
        weights = {**self._fixed, **{name: path.weights[-1][name] for name in self._names}}
        return forward(self._network, weights, images).softmax(dim=1)

    def unrolled(self) -> tuple[Tensor, Tensor, Tensor]:
        """Terms of the loss, gradients in the stored images and in the step size, through the graph of all steps."""
        stored, lr = self._block.stored.detach().requires_grad_(), self._lr.detach().requires_grad_()
        with torch.enable_grad():
            images = _decoded(stored, self._block, self._peers)
            theta, velocity, after = self._start, [torch.zeros_like(part) for part in self._start], {}
            for number in range(self._objective.student_steps):
                shown = _show(images, self._draws, number, self._peers)
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
            decoded = _decoded(stored, self._block, self._peers)
        images = decoded.detach().requires_grad_()
        total = torch.zeros_like(images)
        frozen = objective.engine == "tesla"
        scale = -self._lr * (objective.tesla_scale if frozen else 1.0)

        def advance(number: int, theta: list[Tensor], velocity: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            with torch.no_grad():
                shown = _show(images, self._draws, number, self._peers)
            found = self._ascend(theta, shown, self._taught_at(number))
            velocity = list(torch._foreach_mul(velocity, objective.student_momentum))
            torch._foreach_add_(velocity, found, alpha=self._factor)
            return [part - self._lr * ahead for part, ahead in zip(theta, velocity, strict=True)], velocity

        def pull(number: int, theta: list[Tensor], heading: list[Tensor]) -> tuple[Tensor, list[Tensor] | None]:
            with torch.enable_grad():
                shown = _show(images, self._draws, number, self._peers)
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


def _beside(context: Context) -> int:
    """Finished images of a class that stand beside those that are learnt."""
    return 0 if context.company is None else context.company.images.shape[1]


def _decoded(stored: Tensor, block: Block, peers: Peers) -> Tensor:
    """All decoded images in normalized space, class by class and finished ones last, ``[N, C, H, W]``."""
    decoded = [peers.normalize(peers.parametrization.decode(some), peers.parametrization.space) for some in stored]
    if block.beside is not None:
        decoded = [torch.cat(pair) for pair in zip(decoded, block.beside, strict=True)]
    return torch.cat(decoded)


def _show(images: Tensor, draws: Draws, number: int, peers: Peers) -> Tensor:
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
