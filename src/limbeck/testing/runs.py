"""What is asked of a recipe when it runs, cut down."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from limbeck.core.context import Context
from limbeck.core.distilled import Distilled
from limbeck.core.recipe import Recipe, part_name
from limbeck.data.images import ImageSet
from limbeck.data.splits import Data
from limbeck.engine.checkpoint import Checkpoints
from limbeck.engine.distill import distill
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.run_file import read_run_file
from limbeck.engine.settings import Settings
from limbeck.formats.native import load
from limbeck.registry import parts
from limbeck.storage.tree import load_tree, save_tree
from limbeck.testing.toys import toy, toy_context

__all__ = [
    "INSTALL",
    "check_class_blocks",
    "check_moves",
    "check_recipe",
    "check_resumes",
    "check_run",
    "check_short_run",
    "check_unequal_classes",
]

INSTALL = "name its module in an entry point of the group limbeck.methods, and install the package"
"""What to do about a method or a part that is not found."""


def check_recipe(recipe: Recipe, data: ImageSet | None = None) -> None:
    """All that is asked of a recipe that was cut down (`small`): runs, steps, blocks, resumption, unequal classes.

    Args:
        recipe: what runs.
        data: images to run on; by default those of `toy`.

    Raises:
        AssertionError: something is not as it should be.
    """
    with tempfile.TemporaryDirectory(prefix="limbeck-testing-") as folder:
        check_run(recipe, Path(folder) / "run", data)
        if recipe.objective is not None:
            check_moves(recipe, toy_context(data))
            check_class_blocks(recipe, lambda: toy_context(data))
            check_resumes(recipe, lambda: toy_context(data, dtype=torch.float32), Path(folder))
            check_unequal_classes(recipe, toy_context(toy(3, [12, 3, 7]) if data is None else _unequal(data)))


def check_run(recipe: Recipe, out: Path, data: ImageSet | None = None, cache: Path | None = None) -> None:
    """A run is finite, repeats to the bit, depends on its seed, survives its files, and leaves its surroundings alone.

    The same call on the folder of the finished run reads it back.

    Args:
        recipe: what runs; cut down with `small`.
        out: folder for the run, which must not exist.
        data: images; by default those of `toy`.
        cache: folder of networks that are trained before a run; by default one beside ``out``.
    """
    for _, part in recipe.parts():
        assert parts().get(part_name(part)) is type(part), f"part '{part_name(part)}' is not found; {INSTALL}"
    train, cache = toy() if data is None else data, cache or out.parent / "networks"
    kept, before = (train.pixels.clone(), train.labels.clone()), torch.get_rng_state()
    made = _distil(recipe, train, 3, cache, out)
    assert torch.equal(torch.get_rng_state(), before), f"a run of '{recipe.name}' moves the global generator"
    assert torch.equal(train.pixels, kept[0]) and torch.equal(train.labels, kept[1]), (
        f"a run of '{recipe.name}' changes the caller's images"
    )
    assert made.stored.shape == (train.spec.classes, 2, *train.spec.shape)
    assert torch.isfinite(made.stored).all(), f"a run of '{recipe.name}' leaves numbers that are not finite"

    # The run file holds the recipe, and repeating it gives the same bits.
    asked = read_run_file(out, parts())
    assert asked.recipe == recipe, f"'{recipe.name}' does not survive its run file"
    again = _distil(asked.recipe, train, asked.seed, cache)
    assert torch.equal(again.stored, made.stored), f"'{recipe.name}' does not repeat to the bit"
    other = _distil(recipe, train, 4, cache)
    assert not torch.equal(other.stored, made.stored), f"'{recipe.name}' does not depend on the seed"

    assert torch.equal(_distil(recipe, train, 3, cache, out).stored, made.stored), f"'{recipe.name}' runs on at its end"
    loaded = load(out)
    assert torch.equal(loaded.stored, made.stored) and loaded.recipe == recipe
    images, labels = loaded.decoded()
    count = recipe.parametrization.parts(2)
    assert images.shape == (train.spec.classes * count, *train.spec.shape)
    assert labels.tolist() == [label for label in range(train.spec.classes) for _ in range(count)]


def check_moves(recipe: Recipe, context: Context) -> None:
    """Every step moves pixels of every class, has a loss for each, and stays finite."""
    loop = Loop(recipe, context)
    state = loop.start()
    assert loop.length() == 3, f"'{recipe.name}' takes {loop.length()} steps and not 3; cut it down with small()"
    for _ in range(loop.length()):
        before = state.stored.clone()
        state, losses = loop.step(state)
        _check_step(recipe, before, state, losses)


def check_class_blocks(recipe: Recipe, context: Callable[[], Context]) -> None:
    """How many classes are in memory at once changes nothing beyond rounding."""
    ends = []
    for size in (1, 2, 10):
        loop = Loop(recipe, context(), class_block=size)
        state = loop.start()
        for _ in range(loop.length()):
            state, _ = loop.step(state)
        ends.append(state.stored)
    for other in ends[1:]:
        torch.testing.assert_close(other, ends[0], rtol=0, atol=1e-11)


def check_resumes(recipe: Recipe, context: Callable[[], Context], folder: Path) -> None:
    """From what is written of a run at any step it goes on to the same bits, over two outer iterations.

    Args:
        recipe: what runs; cut down with `small`.
        context: makes the surroundings of a run anew.
        folder: where the states are written.
    """
    if hasattr(recipe.curriculum, "iterations"):
        recipe = recipe.with_(curriculum__iterations=2)
    loop = Loop(recipe, context())
    state, expected = loop.start(), []
    for ordinal in range(loop.length()):
        save_tree(folder / f"{ordinal}", state.tree())
        state, _ = loop.step(state)
        expected.append(state.stored)
    for ordinal, stored in enumerate(expected):
        resumed: Tensor = Loop(recipe, context()).step(LoopState(**load_tree(folder / f"{ordinal}")))[0].stored
        assert torch.equal(resumed, stored), f"'{recipe.name}' does not resume to the bit at step {ordinal}"


def check_short_run(recipe: Recipe, context: Callable[[], Context], folder: Path) -> None:
    """Two outer iterations, or one group of images: each step moves pixels, and the end repeats and resumes to the bit.

    The end is all that a run returns: images, soft labels, what was learnt. Of a recipe without steps it is compared
    all the same.

    Args:
        recipe: what runs; cut down with `small`.
        context: makes the surroundings of a run anew.
        folder: where checkpoints are written.
    """
    if hasattr(recipe.curriculum, "iterations"):
        recipe = recipe.with_(curriculum__iterations=2)
    generator, checkpoints = torch.get_rng_state(), Checkpoints(folder / "checkpoints")
    checkpoints.clear()

    def anew() -> Loop:
        made = context()
        groups = recipe.curriculum.groups(made) if recipe.objective and recipe.curriculum else ()
        return Loop(recipe, dataclasses.replace(made, group=groups[-1]) if groups else made)

    loop = anew()
    pixels = loop.context.data.images(range(len(loop.context.data))).clone()
    state = loop.start()
    middle = loop.length() // 2
    while state.ordinal < loop.length():
        if state.ordinal <= middle:
            checkpoints.save(state.ordinal, state.tree())
        before = state.stored.clone()
        state, losses = loop.step(state)
        _check_step(recipe, before, state, losses)
    ends = {"stored": loop.result(state)[0], **loop.result(state)[1]}
    assert all(torch.isfinite(tensor).all() for tensor in ends.values()), (
        f"'{recipe.name}' ends with what is not finite"
    )
    again = anew()
    starts = {"repeat": again.start()}
    written = checkpoints.latest(again.context.device)
    if written is not None:
        starts["resume"] = LoopState(**written)
    for verb, start in starts.items():
        while start.ordinal < again.length():
            start, _ = again.step(start)
        stored, learnt = again.result(start)
        for name, tensor in {"stored": stored, **learnt}.items():
            assert torch.equal(tensor, ends[name]), f"'{recipe.name}' does not {verb} to the bit: {name} differ"
    assert torch.equal(torch.get_rng_state(), generator), f"a run of '{recipe.name}' moves the global generator"
    assert torch.equal(loop.context.data.images(range(len(loop.context.data))), pixels), (
        f"a run of '{recipe.name}' changes the caller's images"
    )


def check_unequal_classes(recipe: Recipe, context: Context) -> None:
    """Classes of unequal sizes, some below a batch, run and stay finite."""
    loop = Loop(recipe, context)
    state = loop.start()
    for _ in range(loop.length()):
        state, losses = loop.step(state)
        assert torch.isfinite(losses).all() and torch.isfinite(state.stored).all(), (
            f"'{recipe.name}' does not stay finite on classes of unequal sizes"
        )


def _distil(recipe: Recipe, train: ImageSet, seed: int, cache: Path, out: Path | None = None) -> Distilled:
    """A quiet run on the CPU."""
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    settings = Settings(progress="quiet", device="cpu", network_cache=cache)
    return distill(recipe, data, ipc=2, seed=seed, out=out, settings=settings)


def _unequal(data: ImageSet) -> ImageSet:
    """All images of the first class, and less of each that follows."""
    sizes = [max(2, len(data.class_rows(label)) // (label + 1)) for label in range(data.spec.classes)]
    rows = torch.cat([data.class_rows(label)[:size] for label, size in enumerate(sizes)])
    return ImageSet(data.pixels[rows], data.labels[rows], data.spec)


def _check_step(recipe: Recipe, before: Tensor, state: LoopState, losses: Tensor) -> None:
    assert losses.shape == before.shape[:1], f"'{recipe.name}' has losses of shape {list(losses.shape)}"
    assert torch.isfinite(losses).all() and (losses > 0).all(), f"'{recipe.name}' has losses {losses.tolist()}"
    assert torch.isfinite(state.stored).all(), f"'{recipe.name}' leaves numbers that are not finite"
    moved = (state.stored - before).abs().amax(dim=(1, 2, 3, 4)) > 0
    assert moved.all(), f"a step of '{recipe.name}' moves no pixel of a class"
