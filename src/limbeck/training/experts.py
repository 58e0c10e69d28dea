"""Experts: networks trained on the real images whose way through the weights is kept, epoch by epoch.

The experts of one set are files ``NNNN.safetensors`` in a folder with a ``manifest.json``. In the cache the folder is
named by a hash of all that decides their numbers, down to rounding, so that the cache changes no result: an expert that
is missing or damaged is trained again, to the same bytes. A folder that was given is compared with what a run needs, by
its manifest, and its files by their digests; nothing in it is ever replaced by a run.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.core.context import Context
from limbeck.core.errors import InputError, RunError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.plain import encode
from limbeck.core.real import RealSet
from limbeck.core.streams import Streams
from limbeck.storage.disk import free_bytes
from limbeck.storage.trajectories import (
    MANIFEST,
    read_manifest,
    trajectory_facts,
    trajectory_path,
    write_manifest,
    write_trajectory,
)
from limbeck.storage.weights import SUFFIX, digest
from limbeck.training.ensemble import side_by_side, split, stack
from limbeck.training.expert_training import ExpertBatch, ExpertTraining, expert_step
from limbeck.training.halfway import UNFINISHED, Halfway
from limbeck.training.lessons import Shuffled
from limbeck.training.pretraining import SILENCE, Voice, content_key
from limbeck.training.supervised import still

__all__ = [
    "Expert",
    "Wanted",
    "build_experts",
    "cached_folder",
    "expert_bytes",
    "expert_seconds",
    "mean_change",
    "rebuild_expert",
    "require_fitting",
    "squared_change",
    "train_experts",
]

_VERSION = 1
"""Goes up whenever the same settings come to make other experts."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which experts are wanted.

    Args:
        network: architecture.
        course: how each is trained.
        count: experts; the first ones are the same for any count.
        epochs: epochs whose snapshots are kept, 0 for the initial weights; ascending.
        half: whether snapshots are kept in float16.
        seed: seed of their random numbers.
    """

    network: str
    course: ExpertTraining
    count: int
    epochs: tuple[int, ...]
    half: bool
    seed: int


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


def cached_folder(context: Context, wanted: Wanted) -> Path | None:
    """The folder of these experts in the run's cache; None where nothing is kept.

    Experts of which all epochs are kept serve as well, if there are enough of them.
    """
    if context.cache is None:
        return None
    root = context.cache / "experts"
    every = root / _key(context, replace(wanted, epochs=tuple(range(wanted.course.epochs + 1))))
    entries = (read_manifest(every) or {}).get("experts", ())
    return every if len(entries) >= wanted.count else root / _key(context, wanted)


def _key(context: Context, wanted: Wanted) -> str:
    settings = _settings(context, wanted)
    if wanted.course.together > 1:  # else nothing is rounded otherwise
        settings["together"] = wanted.course.together
    kept = {"epochs": wanted.epochs, "half": wanted.half}
    return content_key(context, wanted.network, wanted.seed, experts=_VERSION, training=settings, **kept)


def _settings(context: Context, wanted: Wanted) -> dict[str, Any]:
    """How experts are trained, as plain data, without what only says how that is computed."""
    settings: dict[str, Any] = encode(wanted.course.bound(context.spec))
    del settings["together"]
    return settings


def _normalization(context: Context) -> dict[str, Any]:
    """How networks see images; a whitening follows from the data and its eps."""
    seen = context.spec.normalization
    whitening = seen.whitening
    return {"mean": list(seen.mean), "std": list(seen.std), "whitening": None if whitening is None else whitening.eps}


def _manifest(context: Context, wanted: Wanted) -> dict[str, Any]:
    """What a folder of these experts says, without the experts."""
    execution, spec = context.execution, context.spec
    return {
        "format": 1,
        "settings": _settings(context, wanted),
        "data": {"name": spec.name, "digest": spec.digest, "images": len(context.data)},
        "normalization": _normalization(context),
        "network": context.network(wanted.network).name,
        "seed": wanted.seed,
        "dtype": _dtype(context.dtype, wanted.half),
        "epochs": list(wanted.epochs),
        "computed": {
            "torch": torch.__version__,
            "device": context.device.type,
            "dtype": str(context.dtype).removeprefix("torch."),
            "precision": execution.precision,
            "compile": execution.compile,
            "together": wanted.course.together,
        },
    }


def _dtype(dtype: torch.dtype, half: bool) -> str:
    return "float16" if half else str(dtype).removeprefix("torch.")


def require_fitting(context: Context, wanted: Wanted, folder: Path, *, growing: bool = False) -> list[dict[str, Any]]:
    """Refuse a folder whose experts are not those that are wanted, with the first field that differs.

    Args:
        context: the run.
        wanted: which experts.
        folder: where they should be.
        growing: whether experts are to be added: there may be too few, but the seed must be the same.

    Returns:
        What the manifest says of each expert.

    Raises:
        InputError: there is no manifest, it does not fit, there are too few experts, or one is missing or cut off.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(
            f"{folder} has no {MANIFEST} that can be read, so that nobody knows what its experts are; make a folder of "
            "experts with 'limbeck experts METHOD --out FOLDER'."
        )
    ours, theirs = _manifest(context, wanted), manifest
    fields = ("format", "settings", "data.digest", "normalization", "network", "dtype")
    for field, asked, there in _compared(ours, theirs, (*fields, "seed") if growing else fields):
        if asked != there:
            raise InputError(
                f"the experts in {folder} do not fit: {field} is {_shown(there)} there and {_shown(asked)} here; name "
                "another folder, or set it alike."
            )
    kept = theirs.get("epochs", [])
    if not set(wanted.epochs) <= set(kept) or (growing and list(wanted.epochs) != kept):
        raise InputError(
            f"the experts in {folder} do not fit: epochs {_ranges(kept)} are kept there and {_ranges(wanted.epochs)} "
            "are read here; train experts with --all-epochs, or lower starts."
        )
    entries: list[dict[str, Any]] = manifest.get("experts", [])
    if growing:
        return entries
    if len(entries) < wanted.count:
        raise InputError(
            f"the experts in {folder} do not fit: count is {len(entries)} there and {wanted.count} here; train more "
            "with 'limbeck experts', or lower count."
        )
    for entry in entries[: wanted.count]:
        path = trajectory_path(folder, entry["number"])
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            state = "damaged" if path.is_file() else "missing"
            raise InputError(f"expert {entry['number']} in {folder} is {state} ({path.name}); restore it.")
    return entries


def _compared(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], fields: Sequence[str]
) -> Iterator[tuple[str, Any, Any]]:
    """Leaves of both trees by their dotted path, in the order of ours."""
    for field in fields:
        one: Any = ours
        other: Any = theirs
        for name in field.split("."):
            one, other = (tree.get(name) if isinstance(tree, Mapping) else None for tree in (one, other))
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            for path, *pair in _compared(one, other, list(dict.fromkeys([*one, *other]))):
                yield f"{field}.{path}", *pair
        else:
            yield field, one, other


def _shown(value: Any) -> str:
    return "not said" if value is None else str(value)


def _ranges(epochs: Sequence[int]) -> str:
    """``0-21, 50`` for many numbers in order."""
    words: list[list[int]] = []
    for epoch in epochs:
        if words and words[-1][1] == epoch - 1:
            words[-1][1] = epoch
        else:
            words.append([epoch, epoch])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in words) or "none"


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
    about = _manifest(context, wanted)
    known = read_manifest(folder)
    if known is not None:
        require_fitting(context, wanted, folder, growing=True)
        about["computed"] = known.get("computed", about["computed"])
    entries = _present(folder, known)
    missing = [number for number in range(wanted.count) if number not in entries]
    if missing:
        _announce(context, wanted, folder, len(missing))
        clock = _Clock(context, wanted.count, len(missing))
        for found in _trained(context, wanted, folder, missing):
            entries.update({entry["number"]: entry for entry in found})
            write_manifest(folder, {**about, "experts": _listed(entries)})
            clock.tell(sum(number in entries for number in missing), found[-1])
    elif known is None or known.get("experts") != _listed(entries):
        write_manifest(folder, {**about, "experts": _listed(entries)})
    return [entries[number] for number in range(wanted.count)]


def _listed(entries: Mapping[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Experts in order, as far as none is missing between."""
    listed: list[dict[str, Any]] = []
    while len(listed) in entries:
        listed.append(entries[len(listed)])
    return listed


def _present(folder: Path, known: Mapping[str, Any] | None) -> dict[int, dict[str, Any]]:
    """What is known of the experts in a folder whose files are there and whole."""
    said = {entry["number"]: entry for entry in (known or {}).get("experts", ())}
    found = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        if not path.stem.isdigit():
            continue
        number = int(path.stem)
        entry = said.get(number)
        if entry is None or path.stat().st_size != entry["bytes"]:
            # A run that was killed between the file and the manifest, or a damaged file.
            entry = _entry(path, number, trajectory_facts(path))
        if entry is not None:
            found[number] = entry
    return found


def _entry(path: Path, number: int, facts: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the manifest says of the expert in a file."""
    if facts is None:
        return None
    return {"number": number, **facts, "bytes": path.stat().st_size, "digest": digest(path)}


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
    for found in context.executor.map(_task(_train, context, wanted, None), groups):
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
        _alike, function, torch.get_num_threads(), network, context.data, wanted, folder, Voice(context.say)
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
    for number, expert in enumerate(_train(network, data, wanted, folder, voice, first), first):
        if number >= wanted.count:
            break
        path = trajectory_path(folder, number)
        facts = trajectory_facts(path)
        if facts is None:
            write_trajectory(path, expert.snapshots, expert.facts)
            facts = expert.facts
        entry = _entry(path, number, facts)
        assert entry is not None
        entries.append(entry)
    _halfway(folder, first).remove()
    return entries


def _halfway(folder: Path | None, first: int) -> Halfway:
    return Halfway(None if folder is None else folder / f"{first:04d}{UNFINISHED}")


def _train(
    network: FunctionalNetwork, data: RealSet, wanted: Wanted, folder: Path | None, voice: Voice, first: int
) -> list[Expert]:
    """The experts of a group, trained to the last epoch, from where they were kept on their way."""
    course, streams = wanted.course, Streams(wanted.seed)
    numbers = range(first, first + course.together)
    training, epochs, shape = course.training, course.epochs, data.spec.shape
    labels, normalize = data.labels.to(network.device), data.spec.normalization.apply
    lessons = [
        Shuffled(Streams(streams("expert training", number).seed), training, shape, len(data)) for number in numbers
    ]
    weights = stack([network.initial(streams("expert", number)) for number in numbers])
    velocity, halfway = still(network, weights, training), _halfway(folder, first)
    snapshots: dict[int, list[Weights]] = {}
    changes: list[list[float]] = []
    right = torch.zeros(len(numbers), dtype=torch.int64, device=network.device)
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
            state = {"epochs": done, "weights": weights, "velocity": velocity, "changes": changes}
            halfway.keep_if_due({**state, "snapshots": {str(key): value for key, value in snapshots.items()}})
    return [
        Expert(
            {
                "accuracy": int(right[place]) / len(data),
                "avg_var": mean_change([change[place] for change in changes]),
                "changes": [change[place] for change in changes],
            },
            {epoch: found[place] for epoch, found in snapshots.items()},
        )
        for place in range(len(numbers))
    ]


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
