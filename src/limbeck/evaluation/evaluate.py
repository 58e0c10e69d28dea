"""`evaluate`: train fresh networks on a set and report what they reach on test images."""

from __future__ import annotations

import copy
import functools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.execution import Execution, ExecutionSettings, Precision, use_allocator
from limbeck.core.executor import Executor, InProcess
from limbeck.core.real import DataSpec, RealSet
from limbeck.core.streams import Streams
from limbeck.evaluation.labels import LabelKind, Labels
from limbeck.evaluation.protocol import Protocol
from limbeck.networks import build
from limbeck.training.lessons import Shuffled
from limbeck.training.supervised import accuracy, fit

__all__ = ["NetworkScores", "Scores", "check", "evaluate", "evaluate_real", "require_same_whitening"]

Fetch = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class NetworkScores:
    """Accuracies of one architecture.

    Args:
        network: its name.
        accuracies: test accuracy of each network in [0, 1], after the last epoch.
        seeds: seed of each network's streams.
        lr: step size used, chosen on the validation part if there was a choice.
        execution: how training steps were computed.
    """

    network: str
    accuracies: tuple[float, ...]
    seeds: tuple[int, ...]
    lr: float
    execution: Execution = field(default_factory=Execution)

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float:
        """Sample standard deviation of the accuracies; 0 for one network."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


@dataclass(frozen=True)
class Scores:
    """Result of an evaluation.

    Args:
        protocol: how it was done.
        networks: one entry per architecture.
        images: training images after decoding.
        test_images: size of the test set.
        seed: seed of the evaluation.
        seconds: wall time.
        labels: where soft labels came from; None for the labels of the set.
    """

    protocol: Protocol
    networks: tuple[NetworkScores, ...]
    images: int
    test_images: int
    seed: int
    seconds: float
    labels: Labels | None = None

    @property
    def precision(self) -> Precision:
        """Number format of convolutions."""
        return self.networks[0].execution.precision

    @property
    def label_kind(self) -> LabelKind:
        """``hard``, ``teacher`` (every batch labelled by a teacher) or ``stored``."""
        return "hard" if self.labels is None else self.labels.kind

    @property
    def label_bytes(self) -> int:
        """Bytes of labels: 0 for those of the set, which its order implies; else of files or a teacher's weights."""
        return 0 if self.labels is None else self.labels.bytes

    @property
    def mean(self) -> float:
        """Mean accuracy over all networks of all architectures."""
        return statistics.fmean(value for entry in self.networks for value in entry.accuracies)

    @property
    def std(self) -> float:
        """Sample standard deviation over all networks; 0 for one."""
        every = [value for entry in self.networks for value in entry.accuracies]
        return statistics.stdev(every) if len(every) > 1 else 0.0


def evaluate(
    distilled: Distilled,
    test: RealSet,
    protocol: Protocol,
    *,
    labels: Labels | None = None,
    seed: int = 0,
    validation: RealSet | None = None,
    device: torch.device | None = None,
    execution: ExecutionSettings | None = None,
    executor: Executor | None = None,
    done: Callable[[int, int], None] | None = None,
) -> Scores:
    """Train fresh networks on a distilled set and read the test set once, at the end.

    Args:
        distilled: the set.
        test: test images of the same classes and shape.
        protocol: how.
        labels: soft labels, where the protocol teaches by them: `limbeck.evaluation.labels`. ``protocol.hard()`` needs
            none.
        seed: seed of the networks; network r of an architecture has streams of its own.
        validation: images to choose the step size by; needed when the protocol leaves a choice.
        device: where to compute; the CPU by default.
        execution: how training steps are computed.
        executor: where the networks are trained; this process by default.
        done: called after each network with the number of networks done and of all.

    Returns:
        Accuracies by architecture.

    Raises:
        InputError: test images do not fit the set, soft labels are missing, belong to something else or would have no
            effect, or a choice is to be made without validation images.
    """
    device = device or torch.device("cpu")
    soft = _checked(labels, protocol, distilled.spec, distilled, device)
    images, targets = distilled.decoded()
    images = distilled.spec.normalization.apply(images.to(device, torch.float32))
    source = _Source(_Rows(images), targets.to(device), distilled.spec, soft)
    return _evaluate(source, test, protocol, seed, validation, device, execution, executor or InProcess(), done)


def evaluate_real(
    train: RealSet,
    test: RealSet,
    protocol: Protocol,
    *,
    labels: Labels | None = None,
    seed: int = 0,
    validation: RealSet | None = None,
    device: torch.device | None = None,
    execution: ExecutionSettings | None = None,
    executor: Executor | None = None,
    done: Callable[[int, int], None] | None = None,
) -> Scores:
    """The same for all real training images: what a distilled set could at best be compared with.

    Args:
        train: real training images.
        test: test images.
        protocol: how.
        labels: soft labels by a teacher, where the protocol teaches by them.
        seed: seed of the networks.
        validation: images to choose the step size by; needed when the protocol leaves a choice.
        device: where to compute; the CPU by default.
        execution: how training steps are computed.
        executor: where the networks are trained; this process by default.
        done: called after each network with the number of networks done and of all.
    """
    device = device or torch.device("cpu")
    soft = _checked(labels, protocol, train.spec, None, device)
    source = _Source(_Real(train.to(device, torch.float32)), train.labels.to(device), train.spec, soft)
    return _evaluate(source, test, protocol, seed, validation, device, execution, executor or InProcess(), done)


def check(protocol: Protocol, spec: DataSpec) -> None:
    """Refuse a protocol that cannot judge sets of such images, before anything is trained.

    Args:
        protocol: how sets are to be judged.
        spec: shape, classes and normalization of the images.

    Raises:
        InputError: the images are too large, or not what the augmentation or a network is made for.
    """
    side = max(spec.height, spec.width)
    if 0 < protocol.largest_side < side:
        raise InputError(
            f"protocol '{protocol.name}' is made for images of up to {protocol.largest_side} pixels, not {side}; use "
            "protocol 'limbeck'."
        )
    protocol.training.check(f"protocol '{protocol.name}'")
    if protocol.training.augmentation is not None:
        protocol.training.augmentation.fits(spec)
    for name in protocol.networks:
        build(name, spec)


def require_same_whitening(spec: DataSpec, data: DataSpec) -> None:
    """Refuse data that are whitened otherwise than a set, whitening fitted to the same images elsewhere apart.

    Args:
        spec: of the set.
        data: of the real images that it meets.

    Raises:
        InputError: one is whitened and the other is not, or both are, by fits to other images.
    """
    difference = spec.normalization.whitened_otherwise(data.normalization)
    if difference:
        wanted = "zca" if spec.normalization.whitening is not None else "measured"
        raise InputError(
            f"the set of '{spec.name}' and the data '{data.name}' are not whitened alike ({difference}); load the data "
            f"with normalization (--normalization) {wanted}, from the source and with the split that the set was made "
            "from."
        )


def _checked(
    labels: Labels | None, protocol: Protocol, spec: DataSpec, distilled: Distilled | None, device: torch.device
) -> Labels | None:
    """The soft labels, on a device, if they are what the protocol needs."""
    if labels is None and protocol.soft is None:
        return None
    if labels is None:
        raise InputError(
            f"protocol '{protocol.name}' teaches by soft labels; say who gives them (--taught-by, --stored-labels), or "
            "take the labels of the set (--labels hard)."
        )
    if protocol.soft is None:
        raise InputError(
            f"protocol '{protocol.name}' teaches by the labels of the set, so that a teacher would have no effect; "
            "leave it out, or take a protocol with soft labels, for example limbeck_soft."
        )
    labels.check(protocol, spec, distilled)
    return labels.on(device)


@dataclass(frozen=True)
class _Rows:
    """Images that are there as one tensor, by row."""

    images: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        return self.images[rows.to(self.images.device)]


@dataclass(frozen=True)
class _Real:
    """Images of a real set in normalized space, by row."""

    data: RealSet

    def __call__(self, rows: Tensor) -> Tensor:
        return self.data.spec.normalization.apply(self.data.images(rows))


@dataclass(frozen=True)
class _Source:
    """Labelled training images in normalized space."""

    images: Fetch
    labels: Tensor
    spec: DataSpec
    soft: Labels | None = None


@dataclass(frozen=True)
class _Task:
    """One network to train and judge."""

    network: str
    seed: int
    lr: float
    judges: RealSet
    execution: Execution


def _evaluate(
    source: _Source,
    test: RealSet,
    protocol: Protocol,
    seed: int,
    validation: RealSet | None,
    device: torch.device,
    execution: ExecutionSettings | None,
    executor: Executor,
    done: Callable[[int, int], None] | None,
) -> Scores:
    began = time.monotonic()
    execution = execution or ExecutionSettings()
    use_allocator(execution.allocator)
    if test.spec.shape != source.spec.shape or test.spec.class_names != source.spec.class_names:
        raise InputError(
            f"test images of '{test.spec.name}' ({test.spec.shape}, {test.spec.classes} classes) do not fit a set of "
            f"'{source.spec.name}' ({source.spec.shape}, {source.spec.classes} classes); load them alike."
        )
    require_same_whitening(source.spec, test.spec)
    check(protocol, source.spec)
    judges = _seen_through(test, source.spec).to(device, torch.float32)
    run = functools.partial(_train_and_judge, source, protocol)
    ways = {
        name: execution.resolve(device, torch.float32, _flops(name, source, protocol, len(test)))
        for name in protocol.networks
    }
    rates = {
        name: _choose(name, source, protocol, seed, validation, ways[name], executor) for name in protocol.networks
    }
    tasks = [
        _Task(name, _network_seed(seed, name, repeat), rates[name], judges, ways[name])
        for name in protocol.networks
        for repeat in range(protocol.repeats)
    ]
    reached: list[float] = []
    for value in executor.map(run, tasks):
        reached.append(value)
        if done is not None:
            done(len(reached), len(tasks))
    entries = []
    for index, name in enumerate(protocol.networks):
        part = slice(index * protocol.repeats, (index + 1) * protocol.repeats)
        seeds = tuple(task.seed for task in tasks[part])
        entries.append(NetworkScores(name, tuple(reached[part]), seeds, rates[name], ways[name]))
    spent = time.monotonic() - began
    return Scores(protocol, tuple(entries), source.labels.numel(), len(test), seed, spent, source.soft)


def _flops(network: str, source: _Source, protocol: Protocol, test: int) -> float:
    """Floating point operations of training and judging all networks of one architecture."""
    total = source.labels.numel()
    images = 3.0 * protocol.steps(total) * min(protocol.training.batch_size, total) + test
    return protocol.repeats * images * build(network, source.spec).flops(source.spec.shape)


def _seen_through(data: RealSet, spec: DataSpec) -> RealSet:
    """The same images seen through the normalization of another spec: that of the set that is judged."""
    other = copy.copy(data)
    other.spec = replace(data.spec, normalization=spec.normalization)
    return other


def _choose(
    network: str,
    source: _Source,
    protocol: Protocol,
    seed: int,
    validation: RealSet | None,
    execution: Execution,
    executor: Executor,
) -> float:
    """The step size with the best accuracy on the validation part; the protocol's own if there is no choice."""
    if not protocol.learning_rates:
        return protocol.training.lr
    if validation is None:
        raise InputError(
            f"protocol '{protocol.name}' chooses among step sizes, which needs validation images; load the data with "
            "--validation above 0."
        )
    require_same_whitening(source.spec, validation.spec)
    judges = _seen_through(validation, source.spec).to(source.labels.device, torch.float32)
    chosen_by = _network_seed(seed, f"{network} on validation", 0)
    tasks = [_Task(network, chosen_by, lr, judges, execution) for lr in protocol.learning_rates]
    reached = list(executor.map(functools.partial(_train_and_judge, source, protocol), tasks))
    return protocol.learning_rates[reached.index(max(reached))]


def _network_seed(seed: int, network: str, repeat: int) -> int:
    return Streams(seed)(f"evaluation of {network}", repeat).seed


def _train_and_judge(source: _Source, protocol: Protocol, task: _Task) -> float:
    """Accuracy of one fresh network after the last epoch. A pure function of its arguments."""
    device, total = source.labels.device, source.labels.numel()
    network = build(task.network, source.spec).to(device, torch.float32, task.execution)
    streams = Streams(task.seed)
    weights = network.initial(streams("network"))
    training = protocol.training.bound(source.spec)
    batches = Shuffled(streams, training, source.spec.shape, total)
    for _ in fit(
        network,
        weights,
        source.images,
        source.labels,
        training,
        streams,
        source.spec.shape,
        lambda epoch: protocol.lr(epoch, total, task.lr),
        protocol.steps(total),
        protocol.forgets,
        lessons=batches if source.soft is None else source.soft.lessons(batches, protocol, source.spec.classes),
        soft=protocol.soft,
    ):
        pass
    return accuracy(network, weights, _Real(task.judges), task.judges.labels)
