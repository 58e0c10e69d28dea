"""`evaluate`: train fresh networks on a set and report what they reach on test images."""

from __future__ import annotations

import copy
import functools
import math
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
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import DataSpec, RealSet
from limbeck.core.streams import Streams
from limbeck.evaluation.labels import LabelKind, Labels
from limbeck.evaluation.protocol import Protocol
from limbeck.networks import build
from limbeck.training.lessons import Shuffled
from limbeck.training.supervised import accuracy, fit

__all__ = [
    "NetworkScores",
    "Reached",
    "Scores",
    "check",
    "evaluate",
    "evaluate_real",
    "require_same_whitening",
    "train",
]

Fetch = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class NetworkScores:
    """Accuracies of one architecture.

    Args:
        network: its name.
        accuracies: test accuracy of each network in [0, 1], after the last epoch.
        seeds: seed of each network's streams.
        lr: step size used: that of the set or the protocol, or chosen on the validation part if there was a choice.
        execution: how training steps were computed.
        best: the best test accuracy of each network over the looks of its training, which is selected on test data and
            no fair figure; empty where the protocol looks once (`Protocol.checked_every`).
    """

    network: str
    accuracies: tuple[float, ...]
    seeds: tuple[int, ...]
    lr: float
    execution: Execution = field(default_factory=Execution)
    best: tuple[float, ...] = ()

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
        own_label_bytes: bytes of soft labels that the set carries; 0 for hard ones.
    """

    protocol: Protocol
    networks: tuple[NetworkScores, ...]
    images: int
    test_images: int
    seed: int
    seconds: float
    labels: Labels | None = None
    own_label_bytes: int = 0

    @property
    def precision(self) -> Precision:
        """Number format of convolutions."""
        return self.networks[0].execution.precision

    @property
    def label_kind(self) -> LabelKind:
        """``hard``, ``own`` (soft ones of the set), ``teacher`` (every batch labelled by a teacher) or ``stored``."""
        if self.labels is None:
            return "own" if self.own_label_bytes else "hard"
        return self.labels.kind

    @property
    def label_bytes(self) -> int:
        """Bytes of labels: 0 for hard ones, which the order implies; else of the set's, of files, or of a teacher."""
        return self.own_label_bytes if self.labels is None else self.labels.bytes

    @property
    def mean(self) -> float:
        """Mean accuracy over all networks of all architectures."""
        return statistics.fmean(value for entry in self.networks for value in entry.accuracies)

    @property
    def std(self) -> float:
        """Sample standard deviation over all networks; 0 for one."""
        every = [value for entry in self.networks for value in entry.accuracies]
        return statistics.stdev(every) if len(every) > 1 else 0.0

    @property
    def selected_on_test(self) -> float | None:
        """Mean over all networks of their best look at the test images; None where the protocol looks once."""
        every = [value for entry in self.networks for value in entry.best]
        return statistics.fmean(every) if every else None


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
            effect, a choice is to be made without validation images, or the protocol takes the step size of the set,
            which has none or one that is not above 0.
    """
    device = device or torch.device("cpu")
    soft = _checked(labels, protocol, distilled.spec, distilled, device)
    rated = _step_size(protocol, distilled.student_lr, "the set")
    images, targets = distilled.decoded()
    own = distilled.soft_labels
    images = distilled.spec.normalization.apply(images.to(device, torch.float32))
    labelled = (targets if own is None else own).to(device)
    source = _Source(_Rows(images), labelled, distilled.spec, soft, distilled.label_bytes, rated)
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
    rated = _step_size(protocol, None, f"training on all real images of '{train.spec.name}'")
    source = _Source(_Real(train.to(device, torch.float32)), train.labels.to(device), train.spec, soft, 0, rated)
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


def _step_size(protocol: Protocol, learnt: float | None, what: str) -> float:
    """The step size that networks begin with: that of the set or of the protocol."""
    if protocol.lr_of_set == "ignored" or (learnt is None and protocol.lr_of_set == "preferred"):
        return protocol.training.lr
    if protocol.learning_rates:
        return protocol.training.lr  # chosen by the validation part
    if learnt is None:
        raise InputError(
            f"protocol '{protocol.name}' trains with the step size that a set has learnt, and {what} has none; name "
            "one (--lr), or take protocol 'limbeck'."
        )
    if not 0 < learnt < math.inf:
        raise InputError(
            f"protocol '{protocol.name}' trains with the step size that {what} has learnt, and {learnt:g} is not above "
            "0; lower the rate that it is learnt with, or take protocol 'limbeck'."
        )
    return learnt


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
    soft: Labels | None
    own_label_bytes: int
    lr: float

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class _Task:
    """One network to train and judge."""

    network: str
    seed: int
    lr: float
    judges: RealSet
    execution: Execution


@dataclass(frozen=True)
class Reached:
    """Test accuracy of a network after the last epoch, and the best of its looks before, if there were any."""

    last: float
    best: float | None = None


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
    reached: list[Reached] = []
    for value in executor.map(run, tasks):
        reached.append(value)
        if done is not None:
            done(len(reached), len(tasks))
    entries = []
    for index, name in enumerate(protocol.networks):
        part = slice(index * protocol.repeats, (index + 1) * protocol.repeats)
        seeds = tuple(task.seed for task in tasks[part])
        last = tuple(one.last for one in reached[part])
        best = tuple(one.best for one in reached[part] if one.best is not None)
        entries.append(NetworkScores(name, last, seeds, rates[name], ways[name], best))
    spent = time.monotonic() - began
    own = source.own_label_bytes
    return Scores(protocol, tuple(entries), len(source), len(test), seed, spent, source.soft, own)


def _flops(network: str, source: _Source, protocol: Protocol, test: int) -> float:
    """Floating point operations of training and judging all networks of one architecture."""
    total = len(source)
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
    """The step size with the best accuracy on the validation part; that of set or protocol if there is no choice."""
    if not protocol.learning_rates:
        return source.lr
    if validation is None:
        raise InputError(
            f"protocol '{protocol.name}' chooses among step sizes, which needs validation images; load the data with "
            "--validation above 0."
        )
    require_same_whitening(source.spec, validation.spec)
    judges = _seen_through(validation, source.spec).to(source.labels.device, torch.float32)
    chosen_by = _network_seed(seed, f"{network} on validation", 0)
    tasks = [_Task(network, chosen_by, lr, judges, execution) for lr in protocol.learning_rates]
    run = functools.partial(_train_and_judge, source, replace(protocol, checked_every=0))
    reached = [one.last for one in executor.map(run, tasks)]
    return protocol.learning_rates[reached.index(max(reached))]


def _network_seed(seed: int, network: str, repeat: int) -> int:
    return Streams(seed)(f"evaluation of {network}", repeat).seed


def train(
    network: FunctionalNetwork,
    weights: Weights,
    images: Fetch,
    labels: Tensor,
    spec: DataSpec,
    protocol: Protocol,
    lr: float,
    streams: Streams,
    *,
    soft: Labels | None = None,
    look: Callable[[], float] | None = None,
) -> float | None:
    """Train one network as a protocol says, whatever number format it has.

    Args:
        network: the architecture.
        weights: its weights, changed in place.
        images: training images in normalized space ``[B, C, H, W]`` for rows ``[B]``.
        labels: int64 ``[N]``, or probabilities ``[N, K]``, on the network's device.
        spec: shape, classes and normalization of the images.
        protocol: how.
        lr: step size at the beginning.
        streams: random streams of this network.
        soft: a teacher's labels, where the protocol teaches by them.
        look: gives the test accuracy of the network as it is; needed where the protocol looks during training.

    Returns:
        The best look during training; None where there was none.
    """
    total, training = len(labels), protocol.training.bound(spec)
    batches = Shuffled(streams, training, spec.shape, total)
    looks = []
    for epoch, _ in fit(
        network,
        weights,
        images,
        labels,
        training,
        streams,
        spec.shape,
        lambda epoch: protocol.lr(epoch, total, lr),
        protocol.steps(total),
        protocol.forgets,
        lessons=batches if soft is None else soft.lessons(batches, protocol, spec.classes),
        soft=protocol.soft,
        momentum=None if protocol.momentum_after is None else protocol.momentum,
    ):
        if protocol.looks(epoch) and look is not None:
            looks.append(look())
    return max(looks, default=None)


def _train_and_judge(source: _Source, protocol: Protocol, task: _Task) -> Reached:
    """Test accuracy of one fresh network. A pure function of its arguments."""
    network = build(task.network, source.spec).to(source.labels.device, torch.float32, task.execution)
    streams = Streams(task.seed)
    weights = network.initial(streams("network"))
    look = functools.partial(accuracy, network, weights, _Real(task.judges), task.judges.labels)
    images, labels, spec = source.images, source.labels, source.spec
    best = train(network, weights, images, labels, spec, protocol, task.lr, streams, soft=source.soft, look=look)
    return Reached(look(), best)
