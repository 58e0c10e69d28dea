"""Networks trained on the real images before a run: built in one place, kept on disk, shared between runs.

A network is a file ``NNNN.safetensors`` with a checksum, in a folder whose name is a hash of everything that decides
how its numbers come out, down to rounding: a network from the cache has the bits of the one that would be trained now,
so the cache changes no result. Each file is written when its network is done: a run that is killed keeps those, and of
two runs that train the same one the later writes what is there already. A network that takes longer than some minutes
is kept on its way as well, as ``NNNN.unfinished`` with what its optimizer remembers, and goes on from there in the bits
of one that was never interrupted. A damaged file is trained again. The files may be deleted at any time; nothing else
limits their size, which is that of the weights.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from limbeck.core.context import Context
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.plain import encode
from limbeck.core.real import RealSet
from limbeck.core.streams import Streams
from limbeck.storage.cache import cache_root
from limbeck.storage.weights import SUFFIX, keep_weights, kept_weights
from limbeck.training.halfway import UNFINISHED, Halfway, only_warned
from limbeck.training.schedules import CONSTANT, Schedule
from limbeck.training.supervised import Training, fit, still

__all__ = ["SILENCE", "Voice", "cache_folder", "cache_key", "content_key", "kept_share", "pretrained"]

_VERSION = 1
"""Goes up whenever the same settings come to make other networks."""
SILENCE = 5.0
"""Seconds between two lines on the epochs of a network."""


def cache_folder(choice: bool | Path) -> Path | None:
    """The folder of all trained networks: the default one (True), the one given, or none (False)."""
    if isinstance(choice, bool):
        return cache_root() / "networks" if choice else None
    return choice.expanduser()


def pretrained(
    context: Context,
    network: str,
    training: Training,
    epochs: int,
    count: int,
    seed: int | None = None,
    schedule: Schedule = CONSTANT,
) -> Iterator[Weights]:
    """Networks that differ by their random numbers alone, each trained on all real images from scratch.

    Every network is an independent task of the run's executor and a pure function of the arguments; it is read from
    ``context.cache`` if it is there, else trained and kept there.

    Args:
        context: the run: its real images, executor, execution settings and cache.
        network: architecture.
        training: how each is trained.
        epochs: epochs over the real images; with more epochs a network is that of fewer, trained further, if the step
            size stays as it is.
        count: networks; the first ones are the same for any count.
        seed: seed of their random numbers; None takes the run's.
        schedule: how the step size goes over the epochs; constant by default.

    Returns:
        The weights, one network after the other, as soon as they are known.

    Raises:
        RunError: a loss is no longer finite.
        Interrupted: somebody asked to stop (`Context.pause`).
    """
    streams = context.streams if seed is None else Streams(seed)
    key = cache_key(context, network, training, epochs, streams.seed, schedule)
    task = functools.partial(
        _network,
        context.network(network),
        context.data,
        _Course(training.bound(context.spec), epochs, schedule),
        count,
        streams,
        context.cache / key if context.cache else None,
        Voice(context.say, context.pause),
    )
    return iter(context.executor.map(task, range(count)))


def kept_share(
    context: Context,
    network: str,
    training: Training,
    epochs: int,
    count: int,
    seed: int | None = None,
    schedule: Schedule = CONSTANT,
) -> float:
    """Share in [0, 1] of networks that `pretrained` would not train, because they lie in the cache.

    Args:
        context: the run.
        network: architecture.
        training: how each is trained.
        epochs: epochs over the real images.
        count: networks.
        seed: seed of their random numbers; None takes the run's.
        schedule: how the step size goes over the epochs.
    """
    if context.cache is None or not count:
        return 0.0
    key = cache_key(context, network, training, epochs, context.streams.seed if seed is None else seed, schedule)
    return sum((context.cache / key / f"{number:04d}{SUFFIX}").is_file() for number in range(count)) / count


def cache_key(
    context: Context, network: str, training: Training, epochs: int, seed: int, schedule: Schedule = CONSTANT
) -> str:
    """Name of the folder of networks that come out alike: 32 hexadecimal digits.

    How steps are computed and on what is part of it, because sums are rounded otherwise elsewhere, and training
    makes other networks of that.

    Args:
        context: the run.
        network: architecture.
        training: how each is trained.
        epochs: epochs over the real images.
        seed: seed of their random numbers.
        schedule: how the step size goes over the epochs.
    """
    return content_key(
        context, network, seed, training=encode(training.bound(context.spec)), schedule=encode(schedule), epochs=epochs
    )


def content_key(context: Context, network: str, seed: int, **course: Any) -> str:
    """A hash of all that decides how trained networks come out: 32 hexadecimal digits.

    Args:
        context: the run.
        network: architecture.
        seed: seed of their random numbers.
        **course: how they are trained, as plain data.
    """
    spec, execution = context.spec, context.execution
    facts = {
        "version": [_VERSION, _own_version(), torch.__version__],
        "data": [spec.digest, spec.shape, context.data.class_counts()],
        "normalization": spec.normalization.key,
        "network": context.network(network).name,
        "seed": seed,
        "numbers": [str(context.dtype), execution.precision, execution.compile, execution.microbatch],
        "device": _device(context.device),
        **course,
    }
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _go_on() -> None:
    pass


@dataclass(frozen=True)
class Voice:
    """Says something in this process and stops there when somebody asks to; a copy in another one does neither."""

    say: Callable[[str], None]
    pause: Callable[[], None] = _go_on

    def __reduce__(self) -> tuple[Any, ...]:
        return (Voice, (_say_nothing,))


def _say_nothing(message: str) -> None:
    pass


@dataclass(frozen=True)
class _Course:
    """How a network is trained from the first epoch to the last."""

    training: Training
    epochs: int
    schedule: Schedule

    def lr(self, epoch: int) -> float:
        """Step size in an epoch."""
        return self.training.lr * self.schedule.factor(epoch, self.epochs)


def _network(
    network: FunctionalNetwork,
    data: RealSet,
    course: _Course,
    count: int,
    streams: Streams,
    folder: Path | None,
    voice: Voice,
    number: int,
) -> Weights:
    """Network ``number``: the one in the folder, or a new one that is then kept there."""
    which = f"network {number + 1} of {count}"
    path = None if folder is None else folder / f"{number:04d}{SUFFIX}"
    found = None if path is None else kept_weights(path, network)
    if found is not None:
        voice.say(f"{which} was trained before and is taken from {folder}")
        return found
    halfway = Halfway(None if folder is None else folder / f"{number:04d}{UNFINISHED}")
    weights = _train(network, data, course, streams, number, f"training {which} on real images", halfway, voice)
    if path is not None:
        with only_warned(path.parent):
            keep_weights(path, weights)
            halfway.remove()
    return weights


def _train(
    network: FunctionalNetwork,
    data: RealSet,
    course: _Course,
    streams: Streams,
    number: int,
    title: str,
    halfway: Halfway,
    voice: Voice,
) -> Weights:
    """A network trained to its last epoch, from the one that is kept in ``halfway`` on if there is one."""
    training, epochs = course.training, course.epochs
    weights = network.initial(streams("pretrained network", number))
    velocity, begun = still(network, weights, training), 0
    kept = halfway.kept(network.device, {"weights": weights, "velocity": velocity})
    if kept is not None:
        weights, velocity, begun = kept["weights"], kept["velocity"], int(kept["epochs"])
    voice.say(title if not begun else f"{title}, from epoch {begun} of {epochs} on")
    said = time.monotonic()
    normalize = data.spec.normalization.apply
    for epoch, _ in fit(
        network,
        weights,
        lambda rows: normalize(data.images(rows)),
        data.labels.to(network.device),
        training,
        Streams(streams("pretraining", number).seed),
        data.spec.shape,
        course.lr,
        (epochs - begun) * -(-len(data) // training.batch_size),
        velocity=velocity,
        first=begun,
    ):
        done = epoch + 1
        if time.monotonic() - said >= SILENCE:
            voice.say(f"{title}: {done} of {epochs} epochs")
            said = time.monotonic()
        if done < epochs:
            state = {"epochs": done, "weights": weights, "velocity": velocity}
            halfway.keep_if_due(state)
            halfway.pause(voice.pause, state)
    return {name: tensor.detach() for name, tensor in weights.items()}


def _device(device: torch.device) -> list[Any]:
    """What decides how a sum is rounded there."""
    if device.type == "cuda":
        return [device.type, torch.cuda.get_device_name(device)]
    return [device.type, platform.machine(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]


def _own_version() -> str:
    try:
        return importlib.metadata.version("limbeck")
    except importlib.metadata.PackageNotFoundError:
        return "source"
