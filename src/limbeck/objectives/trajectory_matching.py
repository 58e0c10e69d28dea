"""Trajectory matching: training on the synthetic images should lead where an expert went (MTT, TESLA, FTD, AST)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from limbeck.core.batch import Block, ClassBatch, Draws, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Objective, Peers, Pull, State, Workload
from limbeck.core.errors import InputError, RunError
from limbeck.core.guard import Guard
from limbeck.core.network import FunctionalNetwork
from limbeck.objectives.student import Student, decode, show

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
        images = decode(block.stored, block, peers)
        rows = block.draws[0]["batch/0"].to(images.device)
        return show(images, block.draws[0], 0, peers), block.targets.flatten()[rows]

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
        student = Student(self, view, block, peers, self._rate(block.memory))
        terms, images, rate = student.unrolled() if self.engine == "unroll" else student.retraced()
        count = len(block.labels)
        return Pull(terms.sum().expand(count) / count, images, {"student_lr": rate} if self.lr_step else {})


def _beside(context: Context) -> int:
    """Finished images of a class that stand beside those that are learnt."""
    return 0 if context.company is None else context.company.images.shape[1]
