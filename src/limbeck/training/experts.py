"""Experts: networks trained on the real images whose way through the weights is kept, epoch by epoch.

They are stored in a folder (`limbeck.training.expert_folders`), where one that is missing or damaged is trained again,
to the same bytes, or kept in memory alone.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork
from limbeck.core.real import RealSet
from limbeck.storage.disk import free_bytes
from limbeck.storage.trajectories import (
    read_manifest,
    trajectory_facts,
    trajectory_path,
    write_manifest,
    write_trajectory,
)
from limbeck.training.ensemble import side_by_side
from limbeck.training.expert_folders import Wanted, entry_of, listed, manifest_of, present, require_fitting
from limbeck.training.expert_groups import Expert, expert_seconds, halfway_of, train_group
from limbeck.training.pretraining import Voice

__all__ = ["build_experts", "expert_bytes", "rebuild_expert", "train_experts"]


def expert_bytes(network: FunctionalNetwork, epochs: int, half: bool) -> int:
    """Bytes of the file of one expert, but for its header.

    Args:
        network: the architecture, in the dtype of the training.
        epochs: snapshots that are kept.
        half: whether in float16.
    """
    total = 0
    for tensor in network.module().state_dict().values():
        size = network.dtype.itemsize if tensor.is_floating_point() else tensor.element_size()
        total += tensor.numel() * (2 if half and tensor.is_floating_point() else size)
    return total * epochs


def build_experts(context: Context, wanted: Wanted, folder: Path) -> list[dict[str, Any]]:
    """Train the experts that a folder lacks and say in its manifest what is there.

    Every group of experts that are trained together is an independent task of the run's executor; each expert is a file
    as soon as it is done, and one that takes long is kept on its way.

    Args:
        context: the run: real images, executor, execution settings.
        wanted: which experts.
        folder: where to; made when missing.

    Returns:
        What the manifest says of each expert that is wanted: ``number``, ``accuracy``, ``avg_var``, ``changes``,
        ``bytes`` and ``digest``.

    Raises:
        InputError: the folder holds other experts, or the disk is too small.
        RunError: a loss is no longer finite.
    """
    about = manifest_of(context, wanted)
    known = read_manifest(folder)
    if known is not None:
        require_fitting(context, wanted, folder, growing=True)
        about["computed"] = known.get("computed", about["computed"])
    entries = present(folder, known)
    missing = [number for number in range(wanted.count) if number not in entries]
    if missing:
        _announce(context, wanted, folder, len(missing))
        clock = _Clock(context, wanted.count, len(missing))
        for found in _trained(context, wanted, folder, missing):
            entries.update({entry["number"]: entry for entry in found})
            write_manifest(folder, {**about, "experts": listed(entries)})
            clock.tell(sum(number in entries for number in missing), found[-1])
    elif known is None or known.get("experts") != listed(entries):
        write_manifest(folder, {**about, "experts": listed(entries)})
    return [entries[number] for number in range(wanted.count)]


def _announce(context: Context, wanted: Wanted, folder: Path | None, missing: int) -> None:
    """Say what is going to be trained and what it will take; refuse what the disk cannot hold."""
    network = context.network(wanted.network)
    size = expert_bytes(network, len(wanted.epochs), wanted.half) * missing
    seconds = expert_seconds(context, wanted) * missing
    where = "memory"
    if folder is not None:
        room = free_bytes(folder)
        where = f"{folder} ({room / 1e9:.1f} GB free)"
        if size > room:
            raise InputError(
                f"{missing} experts take {size / 1e9:.2f} GB and {room / 1e9:.2f} GB are free in {folder}; free some, "
                "keep them in float16 (half), lower starts or count, or choose another folder."
            )
    context.say(
        f"training {missing} experts ({network.name}, {wanted.course.epochs} epochs), about {seconds:.0f} s in one "
        f"process; {size / 1e6:.1f} MB in {where}"
    )


def rebuild_expert(context: Context, wanted: Wanted, folder: Path, number: int) -> None:
    """Train an expert of a folder again, whose file is not what it was.

    Args:
        context: the run.
        wanted: which experts the folder has.
        folder: where.
        number: which one.
    """
    trajectory_path(folder, number).unlink(missing_ok=True)  # else what can be read would stay
    for _ in _trained(context, wanted, folder, [number]):
        pass


def train_experts(context: Context, wanted: Wanted) -> list[Expert]:
    """The experts themselves, with nothing on the disk.

    Args:
        context: the run.
        wanted: which experts.

    Raises:
        RunError: a loss is no longer finite.
    """
    _announce(context, wanted, None, wanted.count)
    groups, clock = _groups(wanted, range(wanted.count)), _Clock(context, wanted.count, wanted.count)
    experts: list[Expert] = []
    for found in context.executor.map(_task(train_group, context, wanted, None), groups):
        experts += found
        clock.tell(min(len(experts), wanted.count), found[-1].facts)
    return experts[: wanted.count]


class _Clock:
    """Says how many experts are done, and how long the others will take by what these took.

    Args:
        context: the run.
        count: experts in all.
        missing: of them, to be trained now.
    """

    def __init__(self, context: Context, count: int, missing: int) -> None:
        self._say, self._count, self._missing = context.say, count, missing
        self._began = time.monotonic()

    def tell(self, done: int, facts: Mapping[str, Any]) -> None:
        """So many are trained now, of which the last one is like this."""
        left = (time.monotonic() - self._began) / done * (self._missing - done)
        reached = f"accuracy {100 * facts['accuracy']:.1f} %, AvgVar {facts['avg_var']:.3g}"
        all_ = self._count - self._missing + done
        self._say(f"{all_} of {self._count} experts done ({reached}), about {left:.0f} s left")


def _groups(wanted: Wanted, numbers: Sequence[int]) -> list[int]:
    """First numbers of the groups that hold these experts."""
    size = wanted.course.together
    return list(dict.fromkeys(number - number % size for number in numbers))


def _trained(context: Context, wanted: Wanted, folder: Path, numbers: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
    """Train experts into a folder; what is known of those of each group, once its files are there."""
    return iter(context.executor.map(_task(_store, context, wanted, folder), _groups(wanted, numbers)))


def _task(function: Callable[..., Any], context: Context, wanted: Wanted, folder: Path | None) -> Callable[[int], Any]:
    """The function of a group's first number, which another process can be given."""
    network = side_by_side(context.network(wanted.network), wanted.course.together)
    wanted = replace(wanted, course=wanted.course.bound(context.spec))
    return functools.partial(
        _alike,
        function,
        torch.get_num_threads(),
        network,
        context.data,
        wanted,
        folder,
        Voice(context.say, context.pause),
    )


def _alike(function: Callable[..., Any], threads: int, *arguments: Any) -> Any:
    """The function's value, computed by as many threads as elsewhere: how sums are rounded depends on it."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    return function(*arguments)


def _store(
    network: FunctionalNetwork, data: RealSet, wanted: Wanted, folder: Path, voice: Voice, first: int
) -> list[dict[str, Any]]:
    """Train a group and write the experts of it that are wanted and not there."""
    entries = []
    for number, expert in enumerate(train_group(network, data, wanted, folder, voice, first), first):
        if number >= wanted.count:
            break
        path = trajectory_path(folder, number)
        facts = trajectory_facts(path)
        if facts is None:
            write_trajectory(path, expert.snapshots, expert.facts)
            facts = expert.facts
        entry = entry_of(path, number, facts)
        assert entry is not None
        entries.append(entry)
    halfway_of(folder, first).remove()
    return entries
