"""How well networks that were trained on a distilled set hold out against an adversary.

Projected gradient descent in the maximum norm (Madry et al., "Towards deep learning models resistant to adversarial
attacks", ICLR 2018), by the Adversarial Robustness Toolbox, which is an optional dependency. Budgets are in units of
images in [0, 1]; the attack looks through the normalization of the set, whitening included.
"""

from __future__ import annotations

import functools
import importlib.metadata
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.execution import ExecutionSettings
from limbeck.core.executor import Executor, InProcess
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import DataSpec, Normalization, RealSet
from limbeck.core.streams import Streams
from limbeck.evaluation.evaluate import source_of, students_of
from limbeck.evaluation.labels import Labels
from limbeck.evaluation.protocol import Protocol
from limbeck.evaluation.students import Source, Student, trained_students

__all__ = ["Attack", "Attacked", "Robustness", "Seen", "robustness", "toolbox_version"]


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Projected gradient descent in the maximum norm, from a random start."""

    epsilons: tuple[float, ...] = (2 / 255, 4 / 255, 8 / 255)
    """How far a pixel may be moved, in units of images in [0, 1]; rising."""
    steps: int = 10
    """Steps of each attack, each by ``2.5 * epsilon / steps`` along the sign of the gradient."""
    images: int = 1000
    """Test images that are attacked, chosen by the seed; 0 for all."""
    batch: int = 256
    """Images that are attacked at once."""

    def check(self, spec: DataSpec) -> None:
        """Refuse what cannot be.

        Args:
            spec: the images.

        Raises:
            InputError: a value is out of its range, the images are sound, or the library is missing.
        """
        rising = all(one < other for one, other in zip((0.0, *self.epsilons), self.epsilons, strict=False))
        if not self.epsilons or not rising or self.epsilons[-1] > 1 or self.steps < 1 or self.images < 0:
            raise InputError(
                "an attack needs budgets above 0 and up to 1 in rising order, at least one step and no negative number "
                f"of images, not {self.epsilons}, {self.steps} and {self.images}."
            )
        if spec.sound is not None:
            raise InputError(
                f"'{spec.name}' is sound, whose pixels nobody moves one by one; robustness is for pictures."
            )
        toolbox_version()


@dataclass(frozen=True)
class Attacked:
    """One architecture under attack.

    Args:
        network: its name.
        clean: accuracy of each network on the images as they are.
        accuracies: of each network at each budget: the share of images that no attack of this budget or a smaller one
            has led astray, ``[networks][budgets]``.
        seeds: seed of each network's streams.
        lr: step size.
    """

    network: str
    clean: tuple[float, ...]
    accuracies: tuple[tuple[float, ...], ...]
    seeds: tuple[int, ...]
    lr: float


@dataclass(frozen=True)
class Robustness:
    """Networks of a protocol under attack.

    Args:
        protocol: how they were trained.
        attack: what was done to the test images.
        networks: one entry per architecture.
        images: test images that were attacked.
        seed: of the evaluation.
        seconds: wall time.
        toolbox: version of the library.
    """

    protocol: Protocol
    attack: Attack
    networks: tuple[Attacked, ...]
    images: int
    seed: int
    seconds: float
    toolbox: str

    def points(self) -> list[tuple[float, float, float]]:
        """Budget, mean accuracy and its deviation over all networks; budget 0 is the images as they are."""
        columns = [[value for entry in self.networks for value in entry.clean]]
        columns += [
            [each[place] for entry in self.networks for each in entry.accuracies]
            for place in range(len(self.attack.epsilons))
        ]
        return [
            (epsilon, statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
            for epsilon, values in zip((0.0, *self.attack.epsilons), columns, strict=True)
        ]


class Seen(nn.Module):
    """A network as attackers want it: a module that takes images in [0, 1] and gives logits.

    Args:
        network: the architecture, in evaluation mode.
        weights: its weights, which take no gradient.
        normalization: by which it sees images.
    """

    def __init__(self, network: FunctionalNetwork, weights: Weights, normalization: Normalization) -> None:
        super().__init__()
        self._network, self._normalization = network, normalization
        self._weights = {name: tensor.detach() for name, tensor in weights.items()}

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, K]`` of images ``[B, C, H, W]`` in [0, 1]; differentiable in them."""
        return self._network(self._weights, self._normalization.apply(images), train=False)


def toolbox_version() -> str:
    """Version of the library that attacks.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.metadata.version("adversarial-robustness-toolbox")
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            "robustness is measured with the Adversarial Robustness Toolbox, which is not installed; pip install "
            "'limbeck[robustness]'."
        ) from error


def robustness(
    distilled: Distilled,
    test: RealSet,
    protocol: Protocol,
    attack: Attack,
    *,
    labels: Labels | None = None,
    seed: int = 0,
    validation: RealSet | None = None,
    device: torch.device | None = None,
    execution: ExecutionSettings | None = None,
    executor: Executor | None = None,
    done: Callable[[int, int], None] | None = None,
) -> Robustness:
    """Train the networks of an evaluation, the same as `evaluate` trains with this seed, and attack them.

    Args:
        distilled: the set.
        test: test images of the same classes and shape.
        protocol: how networks are trained.
        attack: what is done to the test images.
        labels: soft labels, where the protocol teaches by them.
        seed: seed of the networks, of the choice of images and of the attacks.
        validation: images to choose the step size by; needed when the protocol leaves a choice.
        device: where to compute; the CPU by default.
        execution: how training steps are computed.
        executor: where the networks are trained; this process by default.
        done: called after each network with the number of networks done and of all.

    Raises:
        InputError: as `evaluate`, and as `Attack.check`.
    """
    began, device, executor = time.monotonic(), device or torch.device("cpu"), executor or InProcess()
    attack.check(distilled.spec)
    protocol = replace(protocol, checked_every=0)
    source = source_of(distilled, protocol, labels, device)
    groups = students_of(source, test, protocol, seed, validation, device, execution, executor)
    order = Streams(seed)("attacked images").permutation(len(test))
    rows = (order[: attack.images] if attack.images else order).sort().values
    run = functools.partial(_train_and_attack, source, protocol, attack, rows)
    found: list[tuple[float, ...]] = []
    for values in executor.map(run, groups):
        found.extend(values)
        if done is not None:
            done(len(found), len(protocol.networks) * protocol.repeats)
    students, entries = [student for group in groups for student in group], []
    for index, name in enumerate(protocol.networks):
        part = slice(index * protocol.repeats, (index + 1) * protocol.repeats)
        clean = tuple(values[0] for values in found[part])
        seeds = tuple(student.seed for student in students[part])
        attacked = tuple(values[1:] for values in found[part])
        entries.append(Attacked(name, clean, attacked, seeds, students[part][0].lr))
    spent = time.monotonic() - began
    return Robustness(protocol, attack, tuple(entries), len(rows), seed, spent, toolbox_version())


def _train_and_attack(
    source: Source, protocol: Protocol, attack: Attack, rows: Tensor, students: Sequence[Student]
) -> tuple[tuple[float, ...], ...]:
    """Accuracy of each network on the images as they are and at each budget. A pure function of its arguments."""
    for _, alone, trained in trained_students(source, protocol, students):  # noqa: B007 - the last is what is meant
        pass
    judges = students[0].judges
    images, labels = judges.images(rows), judges.labels[rows]
    return tuple(
        _survivors(Seen(alone, own, source.spec.normalization), source.spec, attack, images, labels, student.seed)
        for own, student in zip(trained, students, strict=True)
    )


def _survivors(
    model: Seen, spec: DataSpec, attack: Attack, images: Tensor, labels: Tensor, seed: int
) -> tuple[float, ...]:
    """Share of images that are still predicted right, without an attack and at each budget."""
    right = _right(model, images, labels, attack.batch)
    shares = [float(right.double().mean())]
    for number, epsilon in enumerate(attack.epsilons):
        moved = _moved(model, spec, attack, epsilon, images, labels, Streams(seed)("attack", number).seed)
        # What a smaller budget has led astray, this one can as well.
        right = right & _right(model, moved, labels, attack.batch)
        shares.append(float(right.double().mean()))
    return tuple(shares)


@torch.no_grad()
def _right(model: Seen, images: Tensor, labels: Tensor, batch: int) -> Tensor:
    guesses = torch.cat([model(some).argmax(dim=1).cpu() for some in images.split(batch)])
    return guesses == labels.cpu()


def _moved(
    model: Seen, spec: DataSpec, attack: Attack, epsilon: float, images: Tensor, labels: Tensor, seed: int
) -> Tensor:
    """Images within a budget that the attack has found, in [0, 1]."""
    import numpy as np
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    device = images.device
    place: dict[str, Any] = {"device_type": "cpu" if device.type == "cpu" else "gpu"}
    classifier = PyTorchClassifier(
        model, nn.CrossEntropyLoss(), spec.shape, spec.classes, clip_values=(0.0, 1.0), **place
    )
    search = ProjectedGradientDescentPyTorch(
        classifier,
        norm="inf",
        eps=epsilon,
        eps_step=2.5 * epsilon / attack.steps,
        max_iter=attack.steps,
        num_random_init=1,
        batch_size=attack.batch,
        verbose=False,
    )
    # The library draws its starts from NumPy's global generator, and its loader reads PyTorch's; both are put back.
    state = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        with torch.random.fork_rng(devices=[]):
            found = search.generate(images.cpu().numpy(), labels.cpu().numpy())
    finally:
        np.random.set_state(state)
    return torch.from_numpy(found).to(device, images.dtype)
