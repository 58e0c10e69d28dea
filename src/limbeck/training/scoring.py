"""Networks trained on a synthetic set, and how hard real images are for them, or for networks that know real ones."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.errors import RunError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import RealSet
from limbeck.core.streams import Streams
from limbeck.ops.difficulty import Score, scored
from limbeck.ops.selection import forgetting_events
from limbeck.storage.tree import load_tree, save_tree
from limbeck.training.embedding import embed
from limbeck.training.halfway import UNFINISHED, Halfway
from limbeck.training.pretraining import Voice
from limbeck.training.settings import Training
from limbeck.training.supervised import fit, still

__all__ = ["CHECKPOINTS", "Judgement", "difficulty", "forgotten", "guesses", "scorers"]

CHECKPOINTS = (0.1, 0.25, 0.5, 1.0)
"""Shares of a training after which its network is kept."""
_CHUNK = 4096
"""Real images that all networks look at before somebody may stop."""


@dataclass(frozen=True)
class Judgement:
    """What networks say of the real images.

    Args:
        difficulty: of each, float64 ``[N]`` on the CPU; larger is harder.
        right: share of the networks that classify it rightly, float64 ``[N]``; None where none were asked.
    """

    difficulty: Tensor
    right: Tensor | None = None


def _go_on() -> None:
    pass


@dataclass(frozen=True)
class _Lesson:
    """What all scorers are trained on, and how."""

    network: FunctionalNetwork
    images: Tensor
    targets: Tensor
    training: Training
    epochs: int
    shape: tuple[int, int, int]
    streams: Streams
    folder: Path | None
    voice: Voice

    def lr(self, epoch: int) -> float:
        """Step size in an epoch: a fifth after two thirds of them, and again after five sixths."""
        drops = (2 * self.epochs // 3, 5 * self.epochs // 6)
        return self.training.lr * 0.2 ** sum(epoch >= drop for drop in drops)


def scorers(
    context: Context,
    network: FunctionalNetwork,
    images: Tensor,
    targets: Tensor,
    training: Training,
    epochs: int,
    count: int,
) -> list[list[Weights]]:
    """Fresh networks trained on a synthetic set, each as it was after a tenth, a quarter, a half and all of its epochs.

    Every network is an independent task of the run's executor. The step size is divided by 5 after two thirds of the
    epochs and again after five sixths, as in IDC's evaluation. With ``context.scratch`` finished networks are kept
    there, and one on its way when it is stopped between two epochs or has taken some minutes.

    Args:
        context: the run.
        network: architecture.
        images: of the set, in normalized space ``[N, C, H, W]``.
        targets: their labels, int64 ``[N]``.
        training: how networks are trained.
        epochs: for how long, at least 1.
        count: how many networks.

    Returns:
        For each network the weights in the order of `CHECKPOINTS`.

    Raises:
        RunError: a loss is no longer finite.
        Interrupted: somebody asked to stop (`Context.pause`).
    """
    training, spec = training.bound(context.spec), context.spec
    voice, folder = Voice(context.say, context.pause), context.scratch
    lesson = _Lesson(network, images, targets, training, epochs, spec.shape, context.streams, folder, voice)
    return list(context.executor.map(functools.partial(_scorer, lesson), range(count)))


def _scorer(lesson: _Lesson, number: int) -> list[Weights]:
    """One scorer at all its checkpoints: as it was kept, or trained now."""
    folder = lesson.folder
    halfway = Halfway(None if folder is None else folder / f"scorer-{number:04d}{UNFINISHED}")
    kept = _kept(
        folder, f"scorer-{number:04d}", lesson.network.device, lambda: {"bank": _train(lesson, number, halfway)}
    )
    halfway.remove()
    bank: list[Weights] = kept["bank"]
    return bank


def _train(lesson: _Lesson, number: int, halfway: Halfway) -> list[Weights]:
    """One scorer at all its checkpoints, from where it was stopped."""
    network, epochs = lesson.network, lesson.epochs
    weights = network.initial(lesson.streams("scorer", number))
    velocity, begun = still(network, weights, lesson.training), 0
    due = [max(1, round(part * epochs)) for part in CHECKPOINTS]
    bank: list[Weights] = []
    found = halfway.kept(network.device, {"weights": weights, "velocity": velocity})
    if found is not None:
        weights, velocity, bank, begun = found["weights"], found["velocity"], found["bank"], int(found["epochs"])
    for epoch, _ in fit(
        network,
        weights,
        lambda rows: lesson.images[rows.to(lesson.images.device)],
        lesson.targets,
        lesson.training,
        Streams(lesson.streams("scorer training", number).seed),
        lesson.shape,
        lesson.lr,
        (epochs - begun) * -(-len(lesson.images) // lesson.training.batch_size),
        velocity=velocity,
        first=begun,
    ):
        bank += [{name: tensor.clone() for name, tensor in weights.items()} for at in due if at == epoch + 1]
        if epoch + 1 < epochs:
            state = {"epochs": epoch + 1, "weights": weights, "velocity": velocity, "bank": bank}
            halfway.keep_if_due(state)
            halfway.pause(lesson.voice.pause, state)
    return bank


def _kept(folder: Path | None, name: str, device: torch.device, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A tree as it was kept in a folder, or made now and kept."""
    path = None if folder is None else folder / f"{name}.safetensors"
    if path is not None and path.is_file():
        try:
            return load_tree(path, device)
        except RunError:
            path.unlink(missing_ok=True)  # damaged: it is made again
    made = make()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tree(path, made)
    return made


@torch.no_grad()
def difficulty(
    context: Context, network: FunctionalNetwork, judges: Sequence[Weights], score: Score = "loss"
) -> Judgement:
    """How hard every real image is for some networks, in evaluation mode and without augmentation.

    Args:
        context: the run, with all real images.
        network: architecture of the networks.
        judges: their weights.
        score: what is called hard, one that logits tell.

    Returns:
        Difficulties and the share of networks that are right, in the order of rows.
    """
    data, found, right = context.data, [], []
    for rows in torch.arange(len(data)).split(_CHUNK):
        context.pause()
        views = [View(network, weights, train=False) for weights in judges]
        logits = torch.stack([embed(view, data, rows, features="logits").cpu().double() for view in views])
        labels = data.labels[rows]
        found.append(scored(score, logits, labels))
        right.append((logits.argmax(dim=-1) == labels).double().mean(dim=0))
    return Judgement(torch.cat(found), torch.cat(right))


def forgotten(context: Context, network: FunctionalNetwork, training: Training, epochs: int, count: int) -> Judgement:
    """How often some networks forget every real image while they are trained on all of them, the mean over networks.

    An image that was never right counts ``epochs`` events, more than any other can have.

    Args:
        context: the run, with all real images.
        network: architecture.
        training: how networks are trained, at a constant step size and without mixing.
        epochs: for how long; one tells nothing.
        count: how many networks.
    """
    total = torch.zeros(len(context.data), dtype=torch.float64)
    for number in range(count):
        context.say(f"training network {number + 1} of {count} on real images to see what it forgets")

        def events(number: int = number) -> dict[str, Any]:
            streams = context.streams
            seen = guesses(
                network,
                network.initial(streams("forgetting scorer", number)),
                context.data,
                training,
                epochs,
                Streams(streams("forgetting of scorers", number).seed),
                context.pause,
            )
            return {"events": forgetting_events(seen, context.data.labels, "infinity").clamp(max=epochs)}

        total += _kept(context.scratch, f"forgetting-{number:04d}", torch.device("cpu"), events)["events"]
    return Judgement(total / count)


def guesses(
    network: FunctionalNetwork,
    weights: Weights,
    data: RealSet,
    training: Training,
    epochs: int,
    streams: Streams,
    pause: Callable[[], None] = _go_on,
) -> Tensor:
    """Class that each real image is taken for in the training step of each epoch, int16 ``[epochs, N]`` on the CPU.

    Args:
        network: the architecture.
        weights: its weights, changed in place.
        data: the real images.
        training: how it is trained, at a constant step size and without mixing.
        epochs: for how long.
        streams: random streams of this network's training.
        pause: called after each epoch (`Context.pause`).
    """
    predictions = torch.zeros(epochs, len(data), dtype=torch.int16)

    def watch(epoch: int, rows: Tensor, said: Tensor) -> None:
        predictions[epoch, rows] = said.to("cpu", torch.int16)

    for _ in fit(
        network,
        weights,
        lambda rows: data.spec.normalization.apply(data.images(rows)),
        data.labels.to(network.device),
        training.bound(data.spec),
        streams,
        data.spec.shape,
        lambda epoch: training.lr,
        epochs * -(-len(data) // training.batch_size),
        watch=watch,
    ):
        pause()
    return predictions
