"""What a run will take, before it starts: memory and disk from the shapes, time from a short probe."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch

from limbeck.core.batch import Block, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Peers, Workload
from limbeck.core.distilled import Storage
from limbeck.core.execution import Execution
from limbeck.core.recipe import Recipe
from limbeck.engine.segments import united
from limbeck.engine.workload import flops, workload
from limbeck.storage.disk import free_bytes
from limbeck.training.passes import forward
from limbeck.training.supervised import Training, still, supervised_step

__all__ = ["Plan", "disk_bytes", "memory_bytes", "plan", "shortage"]

_PASSES = {False: 3.0, True: 6.0}
"""How often the activations of an image are in memory at once: in a gradient, and in a gradient of a gradient."""


@dataclass(frozen=True)
class Plan:
    """What a run is expected to take.

    Args:
        load: steps, and images in each.
        flops: floating point operations of the networks.
        execution: how steps will be computed.
        step_seconds: an average inner step.
        preparation_seconds: before the first step: compiling, and networks that are trained, unless they were before,
            or classes that are clustered for the initial images.
        memory_bytes: largest memory, of the process or on its GPU.
        memory_free_bytes: what is free now, with what this process holds.
        disk_bytes: the finished run with its two checkpoints.
        disk_free_bytes: what is free where the run will be written.
        remedies: what to lower if memory or disk is short; empty when the run fits.
    """

    load: Workload
    flops: float
    execution: Execution
    step_seconds: float
    preparation_seconds: float
    memory_bytes: int
    memory_free_bytes: int
    disk_bytes: int
    disk_free_bytes: int
    remedies: tuple[str, ...]

    @property
    def steps(self) -> int:
        """Inner steps of the whole run."""
        return self.load.iterations * self.load.steps

    @property
    def seconds(self) -> float:
        """The whole run."""
        return self.preparation_seconds + self.steps * self.step_seconds


def plan(recipe: Recipe, context: Context, out: Path, storage: Storage = "float32", class_block: int = 10) -> Plan:
    """Predict a run from shapes and a probe of seconds: one class matched, a batch trained on, a batch embedded.

    With compiled steps the probe compiles them, which the run then finds done. What k-means costs is not
    counted.

    Args:
        recipe: the recipe.
        context: its surroundings, as `make_context` made them.
        out: where the run would be written.
        storage: how pixels would be kept.
        class_block: classes whose real batches are in memory at once.
    """
    load = workload(recipe, context)
    preparation = step = 0.0
    own = recipe.initializer.architecture(context)
    if own is not None:
        training = getattr(recipe.initializer, "training", None) or Training()
        view = View(own, own.initial(context.streams("probe")))
        train, first = _training_seconds(context, view, training)
        preparation += first + recipe.initializer.passes(context, load) * train / 3
    if recipe.pool is not None:
        view = recipe.pool.probe(context)
        learner = getattr(recipe.pool, "teacher", None) or recipe.pool
        training = getattr(learner, "training", None) or Training()
        (train, first), (look, second) = _training_seconds(context, view, training), _forward_seconds(context, view)
        preparation += first + second
        once = replace(load, iterations=0)
        for slot, part in recipe.parts():
            if slot == "initializer" and own is not None:
                continue
            seconds = {"pool": train / 3}.get(slot, look)
            before, total = part.passes(context, once), part.passes(context, load)
            preparation += before * seconds * (1 - recipe.pool.kept(context) if slot == "pool" else 1)
            if slot != "objective" and load.iterations:
                step += (total - before) * seconds / (load.iterations * load.steps)
        if recipe.objective is not None:
            matching, first = _matching_seconds(recipe, context, view, load)
            preparation += first
            step += matching * context.spec.classes
    memory, disk = memory_bytes(recipe, context, class_block), disk_bytes(recipe, context, storage)
    return Plan(
        load=load,
        flops=flops(recipe, context),
        execution=context.execution,
        step_seconds=step,
        preparation_seconds=preparation,
        memory_bytes=memory,
        memory_free_bytes=_free_memory(context.device),
        disk_bytes=disk,
        disk_free_bytes=free_bytes(out),
        remedies=shortage(recipe, context, out, storage, class_block),
    )


def shortage(
    recipe: Recipe, context: Context, out: Path | None, storage: Storage = "float32", class_block: int = 10
) -> tuple[str, ...]:
    """What to lower because memory or disk will not do, by the shapes alone; empty when they will."""
    found = []
    memory, free = memory_bytes(recipe, context, class_block), _free_memory(context.device)
    if memory > free:
        largest = max(_memory_by_cause(recipe, context, class_block).items(), key=lambda pair: pair[1])[0]
        found.append(
            f"about {memory / 1e9:.1f} GB of memory are needed, {free / 1e9:.1f} GB are free; most goes to {largest}."
        )
    if out is not None:
        disk, room = disk_bytes(recipe, context, storage), free_bytes(out)
        if disk > room:
            found.append(
                f"about {disk / 1e9:.1f} GB of disk are needed and {room / 1e9:.1f} GB are free; free some, choose "
                "another --out, or lower --ipc."
            )
    return tuple(found)


def memory_bytes(recipe: Recipe, context: Context, class_block: int = 10) -> int:
    """Largest memory of a run by its shapes: on a CPU with what the process holds already."""
    held = psutil.Process().memory_info().rss if context.device.type == "cpu" else 0
    return held + int(sum(_memory_by_cause(recipe, context, class_block).values()))


def disk_bytes(recipe: Recipe, context: Context, storage: Storage = "float32") -> int:
    """Bytes of the finished run, its previews, and the two checkpoints that it keeps while it runs."""
    pixels = context.spec.classes * context.ipc * context.spec.channels * context.spec.height * context.spec.width
    size = 8 if context.dtype == torch.float64 else 4
    result = pixels * (1 if storage == "uint8" else 4) + min(pixels, 4_000_000)
    whitening = context.spec.normalization.whitening
    result += 0 if whitening is None else whitening.bytes
    if recipe.objective is None:
        return result
    weights = _weights(recipe, context) * recipe.pool.copies() if recipe.pool is not None else 0
    groups = recipe.curriculum.groups(context) if recipe.curriculum is not None else ()
    if groups:  # finished ones, the checkpoints of one, what all begin with, and what lessons hold
        # A lesson and what it is made of; with those that may still be needed, where it is made anew.
        lessons = (5 if _renewed(recipe) else 2) * _bank(recipe, context)
        return result + size * lessons + 4 * pixels + 2 * size * (3 * pixels // len(groups) + weights) + size * weights
    return result + 2 * size * (2 * pixels + weights)


def _memory_by_cause(recipe: Recipe, context: Context, class_block: int) -> dict[str, float]:
    """Bytes by what they are for; the key says what to lower."""
    load, spec = workload(recipe, context), context.spec
    size = 8 if context.dtype == torch.float64 else 4
    image = spec.channels * spec.height * spec.width * size
    joined = recipe.objective is not None and recipe.pool is not None
    joined = joined and recipe.objective.joins_classes(recipe.pool.architecture(context))  # type: ignore[union-attr]
    groups = recipe.curriculum.groups(context) if recipe.curriculum is not None and recipe.objective else ()
    together = len(groups[0].labels) if groups else spec.classes
    class_block = together if joined else min(class_block, together)
    every = float(spec.classes * context.ipc * image)
    found = {
        "the stored images (lower --ipc)": 2.0 * every + 4.0 * every / len(groups) if groups else 4.0 * every,
        "the real images of a block (lower --class-block)": 3.0 * min(class_block, spec.classes) * load.real * image,
    }
    whitening = context.spec.normalization.whitening
    if whitening is not None:  # two matrices; a third for what they are made of lies on the CPU
        made = 2.0 * size * whitening.values**2
        found["whitening (lower --image-size, or --normalization measured)"] = made
    if recipe.pool is None:
        return found
    network, execution = recipe.pool.architecture(context), context.execution
    activations = network.activations(spec.shape) * size
    together = min(class_block, spec.classes) if joined or (execution.blocks != "loop" and load.real) else 1
    whole = not execution.microbatch or network.mixes_images
    pass_ = load.real if whole else min(execution.microbatch, load.real)
    limit = getattr(recipe.objective, "synthetic_batch", 0) or load.decoded
    shown = min(load.decoded, limit) if recipe.objective is not None else 0
    found |= {
        "the real images of a pass (lower --microbatch)": _PASSES[False] * together * pass_ * activations,
        "the synthetic images of a step (lower --objective.synthetic-batch)": _PASSES[True]
        * together
        * shown
        * activations,
        "the network (choose a smaller one, --pool.network)": (4.0 + recipe.pool.copies())
        * _weights(recipe, context)
        * size,
        "the networks that score segments (lower --curriculum.scorers)": float(
            (2 if _renewed(recipe) else 1) * _bank(recipe, context) * size
        ),
    }
    return found


def _bank(recipe: Recipe, context: Context) -> int:
    """Numbers in the networks that a lesson of the curriculum holds."""
    if recipe.pool is None or recipe.curriculum is None or recipe.objective is None:
        return 0
    return recipe.curriculum.copies(context.ipc) * _weights(recipe, context)


def _renewed(recipe: Recipe) -> bool:
    """Whether lessons are made anew on the way, while the last one is in use."""
    return recipe.curriculum is not None and recipe.curriculum.renewed(1) > 0


def _weights(recipe: Recipe, context: Context) -> int:
    """Numbers in one network."""
    assert recipe.pool is not None
    return sum(tensor.numel() for tensor in recipe.pool.architecture(context).module().state_dict().values())


def _training_seconds(context: Context, view: View, training: Training) -> tuple[float, float]:
    """Seconds per image of one training step, and what the first one took longer."""
    network, training = view.network, training.bound(context.spec)
    images, labels = _real(context, training.batch_size)
    weights = {name: tensor.clone() for name, tensor in view.weights.items()}
    velocity = still(network, weights, training)
    draws = training.draw(context.streams, context.spec.shape, len(labels))

    def run() -> None:
        supervised_step(network, weights, velocity, images, labels, training, draws, 0.01)

    seconds, first = _seconds(run, context.device)
    return seconds / len(labels), first


def _forward_seconds(context: Context, view: View) -> tuple[float, float]:
    """Seconds per image of a forward pass, and what the first one took longer."""
    images, _ = _real(context, 128)
    seconds, first = _seconds(lambda: forward(view.network, view.weights, images, "embedding"), context.device)
    return seconds / len(images), first


def _matching_seconds(recipe: Recipe, context: Context, view: View, load: Workload) -> tuple[float, float]:
    """Seconds of one class in one step, and what the first took longer.

    Classes of a group, and classes that the objective looks at together, are probed together.
    """
    objective = recipe.objective
    assert objective is not None and recipe.curriculum is not None
    groups = recipe.curriculum.groups(context)
    if groups:
        together = range(context.ipc) if united(recipe) else groups[0].images
        context = replace(context, group=replace(groups[0], images=together))
    joined = objective.joins_classes(view.network)
    labels = tuple(context.labels) if groups else tuple(range(context.spec.classes)) if joined else (0,)
    ipc = len(context.positions)
    images, _ = _real(context, max(load.real, ipc * len(labels)))
    augmentation = recipe.augmentation and recipe.augmentation.bound(context.spec)
    peers = Peers(recipe.parametrization, augmentation, context.spec)
    raw = context.spec.normalization.invert(images)
    stored = images if recipe.parametrization.space == "normalized" else raw
    stored = stored.repeat(-(-ipc * len(labels) // len(stored)), 1, 1, 1)[: ipc * len(labels)]
    drawn = objective.draws(context, Moment(0, 0, load.steps), labels, peers)
    chosen = [subset for _, subset in drawn if subset is not None]
    block = Block(
        labels=labels,
        stored=stored.unflatten(0, (len(labels), ipc)),
        targets=torch.stack([recipe.labeler.targets(label, load.decoded) for label in labels]).to(context.device),
        real=raw[: load.real].expand(len(labels), *raw[: load.real].shape),
        counts=(min(load.real, len(raw)),) * len(labels),
        draws=tuple(draws for draws, _ in drawn),
        chosen=torch.stack(chosen).to(context.device) if chosen else None,
        memory=objective.init(context),
    )
    seconds, first = _seconds(lambda: objective.gradients(view, block, peers), context.device)
    return seconds / len(labels), first


def _real(context: Context, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first real images in normalized space, and their labels."""
    rows = torch.arange(min(count, len(context.data)))
    images = context.spec.normalization.apply(context.data.images(rows))
    return images, context.data.labels[rows].to(context.device)


def _seconds(run: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds of the quicker of two calls, and how much longer the one before took, which may have compiled."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - began)
    best = min(taken[1:])
    return best, max(0.0, taken[0] - best)


def _free_memory(device: torch.device) -> int:
    """Bytes that this process may hold: what it has and what is free."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return int(psutil.virtual_memory().available) + int(psutil.Process().memory_info().rss)
