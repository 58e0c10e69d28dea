"""A group of experts that are trained together, from their first weights to the last epoch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.core.context import Context
from limbeck.core.errors import RunError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import RealSet
from limbeck.core.streams import Streams
from limbeck.training.ensemble import side_by_side, split, stack
from limbeck.training.expert_folders import Wanted
from limbeck.training.expert_training import ExpertBatch, expert_step
from limbeck.training.halfway import UNFINISHED, Halfway
from limbeck.training.lessons import Shuffled
from limbeck.training.pretraining import SILENCE, Voice
from limbeck.training.supervised import still

__all__ = ["Expert", "expert_seconds", "halfway_of", "mean_change", "squared_change", "train_group"]


@dataclass(frozen=True)
class Expert:
    """One trained expert.

    Args:
        facts: ``accuracy``, the share of images that it got right in its last epoch, as it saw them; ``changes``, the
            squared change of its parameters in each epoch; ``avg_var``, their mean.
        snapshots: weights on the CPU by epoch, as they are kept.
    """

    facts: dict[str, Any]
    snapshots: dict[int, Weights]


def squared_change(before: Weights, after: Weights) -> float:
    """Squared distance of two sets of parameters, summed in float64 over all numbers."""
    return float(
        sum((after[name].detach().double() - one.detach().double()).square().sum() for name, one in before.items())
    )


def mean_change(changes: Sequence[float]) -> float:
    """AvgVar: the mean over consecutive snapshots of the squared change of all parameters (AST, table 6)."""
    return sum(changes) / len(changes)


def expert_seconds(context: Context, wanted: Wanted) -> float:
    """Seconds that one expert takes to be trained here, by two steps that are tried."""
    course = wanted.course.bound(context.spec)
    network = side_by_side(context.network(wanted.network), course.together)
    streams, training = context.streams, course.training
    rows = torch.arange(min(training.batch_size, len(context.data)))
    images = context.spec.normalization.apply(context.data.images(rows))
    labels = context.data.labels[rows].to(network.device)
    batch = ExpertBatch(images, labels, training.draw(streams, context.spec.shape, len(rows)))
    numbers = range(course.together)
    weights = stack([network.initial(streams("probe", number)) for number in numbers])
    velocity, taken = still(network, weights, training), []
    for _ in range(3):  # the first one may compile
        began = time.perf_counter()
        expert_step(network, weights, velocity, [batch] * len(numbers), course, 0)
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)
        taken.append(time.perf_counter() - began)
    steps = course.epochs * -(-len(context.data) // training.batch_size)
    return min(taken[1:]) / len(numbers) * steps


def halfway_of(folder: Path | None, first: int) -> Halfway:
    """What is kept of the group with this first expert on its way, beside the experts of a folder."""
    return Halfway(None if folder is None else folder / f"{first:04d}{UNFINISHED}")


def train_group(
    network: FunctionalNetwork, data: RealSet, wanted: Wanted, folder: Path | None, voice: Voice, first: int
) -> list[Expert]:
    """The experts of a group, trained to the last epoch, from where they were kept on their way.

    Args:
        network: the architecture.
        data: the real images.
        wanted: which experts; their course bound to the data.
        folder: where they are kept on their way; None keeps nothing.
        voice: says how far they are.
        first: number of the first one; there are as many as are trained together.

    Raises:
        RunError: a loss is no longer finite.
    """
    course, streams = wanted.course, Streams(wanted.seed)
    numbers = range(first, first + course.together)
    training, epochs = course.training, course.epochs
    labels, normalize = data.labels.to(network.device), data.spec.normalization.apply
    lessons = [_lessons(wanted, streams, data, number) for number in numbers]
    weights = stack([_initial(wanted, network, streams, number) for number in numbers])
    velocity, halfway = still(network, weights, training), halfway_of(folder, first)
    snapshots: dict[int, list[Weights]] = {}
    changes: list[list[float]] = []
    right, shown = torch.zeros(len(numbers), dtype=torch.int64, device=network.device), 0
    begun, title = 0, _title(wanted, numbers)
    kept = halfway.kept(network.device, {"weights": weights, "velocity": velocity})
    if kept is not None:
        weights, velocity, begun, changes = kept["weights"], kept["velocity"], int(kept["epochs"]), kept["changes"]
        snapshots = {int(epoch): [_to_cpu(one) for one in found] for epoch, found in kept["snapshots"].items()}
    elif 0 in wanted.epochs:
        snapshots[0] = _snapshots(network, weights, wanted.half)
    voice.say(f"training {title}" + (f", from epoch {begun} of {epochs} on" if begun else ""))
    said = time.monotonic()
    for epoch in range(begun, epochs):
        before = {name: weights[name].detach().clone() for name in network.parameter_names()}
        if course.forgets(epoch):
            velocity.update(still(network, weights, training))
        losses = []
        for number, rows in enumerate(zip(*(lesson.order(epoch) for lesson in lessons), strict=True)):
            batches = [
                ExpertBatch(
                    normalize(data.images(some)), labels[some.to(labels.device)], lesson.draws(epoch, number, some)
                )
                for some, lesson in zip(rows, lessons, strict=True)
            ]
            loss, guesses = expert_step(network, weights, velocity, batches, course, epoch)
            losses.append(loss)
            if epoch == epochs - 1:
                shown += len(rows[0])
                right += (guesses == torch.stack([batch.labels for batch in batches])).sum(dim=1)
        _require_finite(network, torch.stack(losses).mean(dim=0), epoch, numbers)
        changes.append(
            [squared_change(*pair) for pair in zip(split(network, before), split(network, weights), strict=True)]
        )
        done = epoch + 1
        if done in wanted.epochs:
            snapshots[done] = _snapshots(network, weights, wanted.half)
        if time.monotonic() - said >= SILENCE:
            voice.say(f"{title}: {done} of {epochs} epochs")
            said = time.monotonic()
        if done < epochs:
            state: dict[str, Any] = {"epochs": done, "weights": weights, "velocity": velocity, "changes": changes}
            state["snapshots"] = {str(key): value for key, value in snapshots.items()}
            halfway.keep_if_due(state)
            halfway.pause(voice.pause, state)
    return [
        Expert(
            {
                "accuracy": int(right[place]) / shown,
                "avg_var": mean_change([change[place] for change in changes]),
                "changes": [change[place] for change in changes],
            },
            {epoch: found[place] for epoch, found in snapshots.items()},
        )
        for place in range(len(numbers))
    ]


def _initial(wanted: Wanted, network: FunctionalNetwork, streams: Streams, number: int) -> Weights:
    """What an expert begins with."""
    if wanted.beginning is not None:
        return wanted.beginning.initial(network, streams, number)
    return network.initial(streams("expert", number))


def _lessons(wanted: Wanted, streams: Streams, data: RealSet, number: int) -> Shuffled:
    """The batches of an expert."""
    own, training = Streams(streams("expert training", number).seed), wanted.course.training
    if wanted.beginning is not None:
        return wanted.beginning.lessons(own, training, data.spec.shape)
    return Shuffled(own, training, data.spec.shape, len(data))


def _title(wanted: Wanted, numbers: range) -> str:
    last = min(numbers[-1] + 1, wanted.count)
    which = f"expert {last}" if last == numbers[0] + 1 else f"experts {numbers[0] + 1} to {last}"
    return f"{which} of {wanted.count}"


def _require_finite(network: FunctionalNetwork, losses: Tensor, epoch: int, numbers: range) -> None:
    for number, loss in zip(numbers, losses.reshape(-1).tolist(), strict=True):
        if not torch.isfinite(torch.tensor(loss)):
            raise RunError(
                f"training of expert {number} ({network.name}) diverged in epoch {epoch} (loss {loss}); lower its "
                "learning rate or its penalty."
            )


def _snapshots(network: FunctionalNetwork, weights: Weights, half: bool) -> list[Weights]:
    """Copies of the weights of each network on the CPU, which no later step changes, in the order of its module."""
    return [
        {name: _to_kept(one[name], half) for name in network.module().state_dict()} for one in split(network, weights)
    ]


def _to_kept(tensor: Tensor, half: bool) -> Tensor:
    dtype = torch.float16 if half and tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype, copy=True).contiguous()


def _to_cpu(weights: Weights) -> Weights:
    return {name: tensor.cpu() for name, tensor in weights.items()}
