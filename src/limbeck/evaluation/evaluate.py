"""`evaluate`: train fresh networks on a set and report what they reach on test images."""

from __future__ import annotations

import copy
import functools
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.execution import Execution, ExecutionSettings, use_allocator
from limbeck.core.executor import Executor, InProcess
from limbeck.core.real import DataSpec, RealSet
from limbeck.core.streams import Streams
from limbeck.evaluation.images import Fetch, RealImages, Rows, images_of
from limbeck.evaluation.labels import Labels
from limbeck.evaluation.protocol import Protocol
from limbeck.evaluation.scores import NetworkScores, Reached, Scores
from limbeck.evaluation.students import Source, Student, train_and_judge
from limbeck.networks import build
from limbeck.training.ensemble import stackable

__all__ = ["check", "evaluate", "evaluate_real", "require_same_whitening", "source_of", "students_of"]


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
    source = source_of(distilled, protocol, labels, device)
    return _evaluate(source, test, protocol, seed, validation, device, execution, executor or InProcess(), done)


def source_of(distilled: Distilled, protocol: Protocol, labels: Labels | None, device: torch.device) -> Source:
    """What networks learn from a distilled set under a protocol.

    Args:
        distilled: the set.
        protocol: how.
        labels: soft labels, where the protocol teaches by them.
        device: where.

    Raises:
        InputError: as `evaluate`, of labels and step size.
    """
    soft = _checked(labels, protocol, distilled.spec, distilled, device)
    rated = _step_size(protocol, distilled.student_lr, "the set")
    own = distilled.soft_labels
    ends: tuple[int, ...] = ()
    if protocol.segments == "in_turn":
        images, targets, ends = _in_turn(distilled, protocol)
        fetch: Fetch = Rows(distilled.spec.normalization.apply(images.to(device, torch.float32)))
    else:
        fetch, targets = images_of(distilled, device), distilled.targets()
    labelled = (targets if own is None else own).to(device)
    return Source(fetch, labelled, distilled.spec, soft, distilled.label_bytes, rated, ends)


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
    if protocol.segments == "in_turn":
        raise InputError(f"protocol '{protocol.name}' shows segments in turn, and real images have none; {_TOGETHER}.")
    rated = _step_size(protocol, None, f"training on all real images of '{train.spec.name}'")
    source = Source(RealImages(train.to(device, torch.float32)), train.labels.to(device), train.spec, soft, 0, rated)
    return _evaluate(source, test, protocol, seed, validation, device, execution, executor or InProcess(), done)


_TOGETHER = "show them together (--segments together)"


def _in_turn(distilled: Distilled, protocol: Protocol) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Images and labels in the order of segments, and how many there are before the end of each."""
    parts = distilled.decoded_in_turn()
    if not parts:
        raise InputError(
            f"protocol '{protocol.name}' shows segments in turn, and the images of this set were learnt together; "
            f"{_TOGETHER}."
        )
    if protocol.soft is not None or distilled.soft_labels is not None:
        raise InputError(
            f"protocol '{protocol.name}' shows segments in turn, which soft labels, that belong to the order of the "
            f"whole set, do not follow; {_TOGETHER}, or take hard ones (--labels hard)."
        )
    ends = tuple(itertools.accumulate(len(labels) for _, labels in parts))
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts]), ends


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


def _evaluate(
    source: Source,
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
    groups = students_of(source, test, protocol, seed, validation, device, execution, executor)
    run = functools.partial(train_and_judge, source, protocol)
    total = len(protocol.networks) * protocol.repeats
    reached: list[Reached] = []
    for values in executor.map(run, groups):
        reached.extend(values)
        if done is not None:
            done(len(reached), total)
    tasks = [student for group in groups for student in group]
    entries = []
    for index, name in enumerate(protocol.networks):
        part = slice(index * protocol.repeats, (index + 1) * protocol.repeats)
        first, *_ = alike = tasks[part]
        last = tuple(one.last for one in reached[part])
        best = tuple(one.best for one in reached[part] if one.best is not None)
        details = tuple(one.details for one in reached[part] if one.details is not None)
        looks = max(one.looks for one in reached[part])
        seeds = tuple(task.seed for task in alike)
        entries.append(NetworkScores(name, last, seeds, first.lr, first.execution, best, details, looks))
    spent = time.monotonic() - began
    own = source.own_label_bytes
    return Scores(protocol, tuple(entries), len(source), len(test), seed, spent, source.soft, own)


def students_of(
    source: Source,
    test: RealSet,
    protocol: Protocol,
    seed: int,
    validation: RealSet | None,
    device: torch.device,
    execution: ExecutionSettings | None,
    executor: Executor,
) -> list[tuple[Student, ...]]:
    """The networks of an evaluation, those together that are trained side by side, in the order of the protocol.

    Args:
        source: what they learn from.
        test: the images that judge.
        protocol: how.
        seed: of the evaluation.
        validation: images to choose the step size by, where the protocol leaves a choice.
        device: where to compute.
        execution: how training steps are computed.
        executor: where networks are trained that step sizes are chosen by.

    Raises:
        InputError: as `evaluate`, of test and validation images.
    """
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
    ways = {name: _way(name, source, protocol, len(test), execution, device) for name in protocol.networks}
    rates = {
        name: _choose(name, source, protocol, seed, validation, ways[name], executor) for name in protocol.networks
    }
    tasks = [
        Student(name, _network_seed(seed, name, repeat), rates[name], judges, ways[name])
        for name in protocol.networks
        for repeat in range(protocol.repeats)
    ]
    return _groups(tasks, protocol.repeats)


def _groups(tasks: Sequence[Student], repeats: int) -> list[tuple[Student, ...]]:
    """Networks that are trained side by side, of one architecture and as many as its execution settings say."""
    groups = []
    for first in range(0, len(tasks), repeats):
        alike = tasks[first : first + repeats]
        size = alike[0].execution.together
        groups += [tuple(alike[place : place + size]) for place in range(0, repeats, size)]
    return groups


def _way(
    network: str, source: Source, protocol: Protocol, test: int, settings: ExecutionSettings, device: torch.device
) -> Execution:
    """How networks of one architecture are trained; one after another where they cannot be side by side."""
    flops = _flops(network, source, protocol, test)
    way = settings.resolve(device, torch.float32, flops, networks=protocol.repeats)
    if way.together > 1 and not stackable(build(network, source.spec), source.spec.shape):
        way = replace(way, together=1)
    return way


def _flops(network: str, source: Source, protocol: Protocol, test: int) -> float:
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
    source: Source,
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
    tasks = [(Student(network, chosen_by, lr, judges, execution),) for lr in protocol.learning_rates]
    run = functools.partial(train_and_judge, source, replace(protocol, checked_every=0))
    reached = [one.last for (one,) in executor.map(run, tasks)]
    return protocol.learning_rates[reached.index(max(reached))]


def _network_seed(seed: int, network: str, repeat: int) -> int:
    return Streams(seed)(f"evaluation of {network}", repeat).seed
