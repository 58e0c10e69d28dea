"""Checks for those who write methods and parts: what our own battery asks of everything that the registry finds.

In the test suite of a package that brings a method:

>>> from limbeck.testing import check_method, check_part
>>> def test_the_method() -> None:
...     check_method(new)
>>> def test_its_part() -> None:
...     check_part(NewSampler)

Both run on a toy, with sizes cut down (`small`), in seconds and on the CPU. A check that fails raises `AssertionError`
with a sentence; the single checks (``check_...``) can be called by themselves as well.
"""

from __future__ import annotations

import dataclasses
import inspect
import tempfile
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from limbeck.core.context import Context
from limbeck.core.contracts import FACTS, Augmentation, Part
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.plain import decode_dataclass, encode
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.recipe import SLOTS, Recipe, part_name
from limbeck.core.streams import Streams
from limbeck.data.images import ImageSet
from limbeck.data.splits import Data
from limbeck.engine.checkpoint import Checkpoints
from limbeck.engine.distill import check_learnt_together, distill
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.run_file import read_run_file
from limbeck.engine.settings import Settings
from limbeck.formats.native import load
from limbeck.initializers.coresets import Forgetting
from limbeck.networks import build
from limbeck.pools.experts import Experts
from limbeck.registry import Method, methods, parts
from limbeck.storage.tree import load_tree, save_tree
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.settings import Training
from limbeck.training.teacher import Teacher

__all__ = [
    "check_cited",
    "check_class_blocks",
    "check_facts",
    "check_in_a_recipe",
    "check_method",
    "check_moves",
    "check_own_check",
    "check_part",
    "check_part_documented",
    "check_part_typed",
    "check_presets",
    "check_recipe",
    "check_resumes",
    "check_run",
    "check_run_file",
    "check_short_run",
    "check_state",
    "check_typed",
    "check_unequal_classes",
    "check_value",
    "small",
    "small_part",
    "starting_recipe",
    "toy",
    "toy_context",
]

_INSTALL = "name its module in an entry point of the group limbeck.methods, and install the package"

NETWORK = "convnet2:width=4"
"""What looks at the toy."""
SMALL: dict[str, Any] = {
    "network": NETWORK,
    "iterations": 1,
    "steps": 3,
    "interval": 2,
    "samples": 16,
    "epochs": 1,
    "early_epochs": 1,
    "count": 2,
    "batch_size": 6,
    "synthetic_batch": 5,
    "most": 4,
    "most_epochs": 2,
    "images": 4,
    "shift": 2,
    "student_steps": 3,
}
"""Fields by which a recipe becomes tiny, wherever they occur, with their most."""
SIZES: dict[str, Any] = {
    "network": "convnet1:width=4",
    "epochs": 1,
    "course": ExpertTraining(training=Training(lr=0.01, batch_size=16), epochs=2),
    "count": 2,
    "starts": 1,
    "span": 2,
    "teacher": Teacher(network="convnet1:width=4,norm=batch", epochs=1, seed=None),
}
"""Fields by which a part with its defaults becomes quick."""


def toy(classes: int = 3, each: int | Iterable[int] = 12, channels: int = 1) -> ImageSet:
    """Images of 8 x 8 that a network can tell apart: a pattern for each class, and noise.

    Args:
        classes: number of classes.
        each: images of every class, or one number per class.
        channels: channels per image.
    """
    sizes = [each] * classes if isinstance(each, int) else list(each)
    streams = Streams(0)
    labels = torch.repeat_interleave(torch.arange(classes), torch.tensor(sizes))
    # Classes are interleaved, so that rows and positions within a class differ.
    labels = labels[streams("toy order").permutation(len(labels))]
    patterns = streams("toy patterns").uniform(classes, channels, 8, 8)
    noise = streams("toy noise").uniform(len(labels), channels, 8, 8)
    pixels = (255 * (0.7 * patterns[labels] + 0.3 * noise)).round().to(torch.uint8)
    values = pixels.double().div(255).transpose(0, 1).flatten(1)
    statistics = Normalization(tuple(values.mean(dim=1).tolist()), tuple(values.std(dim=1).tolist()))
    names = tuple(f"class {label}" for label in range(classes))
    return ImageSet(pixels, labels, DataSpec("toy", channels, 8, 8, names, statistics, digest=f"toy {sizes}"))


def toy_context(data: ImageSet | None = None, ipc: int = 2, seed: int = 0, **changes: Any) -> Context:
    """The surroundings of a run on a toy, in float64 unless told otherwise.

    Args:
        data: images; by default those of `toy`.
        ipc: images per class.
        seed: seed of all random streams.
        **changes: other fields of `Context`.
    """
    dtype = changes.pop("dtype", torch.float64)
    data = (toy() if data is None else data).to(torch.device("cpu"), dtype)
    return Context(data=data, ipc=ipc, streams=Streams(seed), build=build, dtype=dtype, **changes)


def small(recipe: Recipe, **changes: Any) -> Recipe:
    """The recipe with its sizes cut down, so that it takes three inner steps on small networks.

    Args:
        recipe: a recipe of any size.
        **changes: what is set afterwards, as `Recipe.with_` takes it.
    """
    recipe = _cut(recipe)
    if recipe.curriculum is not None and recipe.curriculum.length() == 1 and hasattr(recipe.curriculum, "iterations"):
        recipe = recipe.with_(curriculum__iterations=3)  # one step to an iteration
    if isinstance(recipe.initializer, Forgetting):
        # In one epoch nothing is forgotten, so that every seed would choose alike.
        recipe = recipe.with_(initializer__epochs=8)
    return recipe.with_(**changes)


def starting_recipe(method: Method) -> Recipe:
    """The recipe that is tried on a toy: the preset ``digits``, whose images are as small, or the first."""
    return method.recipe("digits" if "digits" in method.presets else None)


def small_part(kind: type[Part]) -> Part:
    """The part with its defaults, but for what makes it slow."""
    names = {item.name for item in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in SIZES.items() if name in names})


def check_part(kind: type[Part], data: ImageSet | None = None) -> None:
    """All that is asked of a part by itself.

    Args:
        kind: its class, whose fields have defaults.
        data: images to try it on; by default those of `toy`.

    Raises:
        AssertionError: something is not as it should be.
    """
    check_value(kind)
    check_part_documented(kind)
    check_part_typed(kind)
    check_run_file(kind)
    check_facts(kind)
    check_own_check(kind, data)
    check_state(kind, toy_context(data))
    with tempfile.TemporaryDirectory(prefix="limbeck-testing-") as folder:
        check_in_a_recipe(kind, Path(folder), data)


def check_method(make: Callable[..., Recipe] | Method, data: ImageSet | None = None) -> None:
    """All that is asked of a method: its function, its presets, its parts, and runs of each preset cut down.

    Args:
        make: the function that returns its recipe, or the method as the registry knows it; it must be installed.
        data: images to run on; by default those of `toy`.

    Raises:
        AssertionError: something is not as it should be.
    """
    name = make.name if isinstance(make, Method) else make.__name__
    method = methods().get(name)
    assert method is not None and make in (method, method.make), f"method '{name}' is not found; {_INSTALL}"
    check_cited(method)
    check_typed(inspect.getmodule(method.make))
    check_presets(method)
    recipes = {small(method.recipe(preset)): None for preset in reversed(method.presets)}
    for recipe in recipes:
        check_recipe(recipe, data)


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


def check_value(kind: type[Part]) -> None:
    """A part is a frozen value with defaults, made with keywords, keeps only its fields, and is not subclassed."""
    assert kind() == kind(), f"two {kind.__name__} with their defaults differ"
    part = small_part(kind)
    assert part == small_part(kind), f"two {kind.__name__} of the same fields differ"
    hash(part)
    assert kind.__dataclass_params__.frozen, f"{kind.__name__} is not frozen"  # type: ignore[attr-defined]
    assert all(item.kw_only for item in dataclasses.fields(kind)), f"{kind.__name__} has positional fields"
    for item in dataclasses.fields(kind):
        try:
            setattr(part, item.name, None)
        except dataclasses.FrozenInstanceError:
            continue
        raise AssertionError(f"{kind.__name__}.{item.name} can be set")
    assert set(vars(part)) == {item.name for item in dataclasses.fields(kind)}, f"{kind.__name__} keeps a secret"
    finals = [base for base in kind.__mro__[1:] if issubclass(base, Part) and base is not Part]
    concrete = [base.__name__ for base in finals if not inspect.isabstract(base)]
    assert not concrete, f"{kind.__name__} derives from {concrete[0]}, which is final; change its fields instead"


def check_part_documented(kind: type[Part]) -> None:
    """A part has a docstring, and each field a text under it, which is the help of its flag."""
    assert len((kind.__doc__ or "").strip()) > 20, f"{kind.__name__} has no docstring"
    for item in dataclasses.fields(kind):
        owner = next(base for base in kind.__mro__ if item.name in vars(base).get("__annotations__", {}))
        source = inspect.getsource(owner)
        position = source.index(f"    {item.name}: ")
        below = source[position:].split("\n", 1)[1].lstrip()
        assert below.startswith('"""'), f"{kind.__name__}.{item.name} has no text under it"


def check_part_typed(kind: type[Part]) -> None:
    """Fields and public methods of a part have types that can be resolved."""
    hints = typing.get_type_hints(kind)
    untyped = [item.name for item in dataclasses.fields(kind) if item.name not in hints]
    assert not untyped, f"{kind.__name__} has fields without types: {', '.join(untyped)}"
    for name, member in vars(kind).items():
        function = getattr(member, "__func__", member.fget if isinstance(member, property) else member)
        if not name.startswith("_") and inspect.isfunction(function):
            _check_annotated(function, f"{kind.__name__}.{name}")


def check_typed(module: types.ModuleType | None) -> None:
    """Public functions that a module defines have types for all arguments and for what they return."""
    assert module is not None, "the function stands in no module"
    for name, function in vars(module).items():
        if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_"):
            _check_annotated(function, f"{module.__name__}.{name}")


def check_run_file(kind: type[Part]) -> None:
    """A part comes back from a run file as it was."""
    part = small_part(kind)
    plain = yaml.safe_load(yaml.safe_dump(encode(part)))
    assert plain.pop("part") == part_name(kind)
    read = decode_dataclass(kind, plain, "part", {**parts(), part_name(kind): kind})
    assert read == part, f"{kind.__name__} does not survive a run file"


def check_facts(kind: type[Part]) -> None:
    """A part's slot exists, and what it needs, reads and offers are known facts; it does not need what it offers."""
    part = small_part(kind)
    assert kind.slot in SLOTS, f"{kind.__name__} is for the slot '{kind.slot}', which no recipe has"
    unknown = (part.needs() | part.reads() | part.offers()) - set(FACTS)
    assert not unknown, f"{kind.__name__} speaks of unknown facts: {', '.join(sorted(unknown))}"
    assert not part.needs() & part.offers(), f"{kind.__name__} needs what it offers"


def check_own_check(kind: type[Part], data: ImageSet | None = None) -> None:
    """The defaults of a part pass its own check; a part that is no use to a recipe says so."""
    part = small_part(kind)
    data = _fitting(part, data)
    if part.offers():
        part.check(toy_context(data))
        return
    try:
        part.check(toy_context(data))
    except InputError:
        return
    raise AssertionError(f"{kind.__name__} offers nothing and does not say so when it is checked")


def check_in_a_recipe(kind: type[Part], folder: Path, data: ImageSet | None = None) -> None:
    """A part with its defaults goes into the recipe of some method, and that runs as `check_short_run` asks.

    Methods that learn are tried first. A part that is no use to a recipe is left alone.

    Args:
        kind: class of the part.
        folder: where checkpoints are written, and networks are kept.
        data: images; by default those of `toy`.
    """
    part = kind()
    images, networks, reasons = _fitting(part, data), folder / "networks", []
    if not part.offers():
        return
    for method in sorted(methods().values(), key=lambda method: (method.baseline, method.name)):
        recipe = starting_recipe(method).with_(**{kind.slot: part})
        context = toy_context(images)
        try:
            recipe.check(context)
            check_learnt_together(recipe, context)
        except InputError as error:
            reasons.append(str(error))
            continue
        check_short_run(small(recipe), lambda: toy_context(images, dtype=torch.float32, cache=networks), folder)
        return
    raise AssertionError(f"no method takes {kind.__name__} with its defaults: {' '.join(reasons)}")


def check_state(kind: type[Part], context: Context) -> None:
    """A part's first state is a tree of plain values and tensors, the same each time."""
    part = small_part(kind)
    before = torch.get_rng_state()
    state = part.init(context)
    assert isinstance(state, dict), f"the state of {kind.__name__} is no dict"
    _check_same(state, part.init(context))
    assert torch.equal(torch.get_rng_state(), before), f"{kind.__name__}.init moves the global generator"


def check_cited(method: Method) -> None:
    """A method says what it is in one line and what its arguments mean, and what is to be cited."""
    assert len(method.summary) > 20 and method.summary.endswith("."), (
        f"the first line of the module of '{method.name}' is no sentence that says what it is"
    )
    text = inspect.getdoc(method.make) or ""
    parameters = inspect.signature(method.make).parameters
    assert "preset" in parameters, f"method '{method.name}' takes no preset"
    silent = [parameter for parameter in parameters if f"{parameter}:" not in text]
    assert not silent, f"the docstring of '{method.name}' does not say what {', '.join(silent)} is"
    assert method.baseline or method.recipe().references, f"method '{method.name}' has no references"
    assert method.recipe().cite(), f"method '{method.name}' has nothing to cite"


def check_presets(method: Method) -> None:
    """Every preset of a method makes a recipe that makes sense, always the same; the first is the default."""
    assert len(set(method.presets)) == len(method.presets), f"method '{method.name}' has a preset twice"
    assert method.recipe() == method.recipe(method.presets[0]), f"the first preset of '{method.name}' is no default"
    for preset in method.presets:
        recipe = method.recipe(preset)
        recipe.check()
        assert recipe.name == method.name, f"the recipe of '{method.name}' is called '{recipe.name}'"
        assert method.recipe(preset) == recipe, f"preset '{preset}' of '{method.name}' differs from call to call"
        hash(recipe)
        assert method.baseline == (recipe.objective is None), (
            f"'{method.name}' must have BASELINE = True if its recipes have no objective, and only then"
        )


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
        assert parts().get(part_name(part)) is type(part), f"part '{part_name(part)}' is not found; {_INSTALL}"
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


def _cut(value: Any) -> Any:
    """A dataclass with its sizes cut down; what is zero or smaller stays."""
    if isinstance(value, Teacher):
        # Of the run's seed, like all other networks; its statistics are what a recipe may need.
        return Teacher(network=f"{NETWORK},norm=batch", training=_cut(value.training), epochs=1, seed=None)
    if isinstance(value, Experts):
        # Pieces of the published length, from two starts, of the seed of the run.
        short = dataclasses.replace(_cut(value.course), epochs=value.span + 1)
        return dataclasses.replace(
            value, network=NETWORK, count=2, course=short, starts=2, normalization="any", seed=None
        )
    changes: dict[str, Any] = {}
    for item in dataclasses.fields(value):
        held = getattr(value, item.name)
        if dataclasses.is_dataclass(held):
            changes[item.name] = _cut(held)
        elif item.name in SMALL:
            most = SMALL[item.name]
            changes[item.name] = most if isinstance(most, str) else min(held, most)
    return dataclasses.replace(value, **changes)


def _distil(recipe: Recipe, train: ImageSet, seed: int, cache: Path, out: Path | None = None) -> Distilled:
    """A quiet run on the CPU."""
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    settings = Settings(progress="quiet", device="cpu", network_cache=cache)
    return distill(recipe, data, ipc=2, seed=seed, out=out, settings=settings)


def _fitting(part: Part, data: ImageSet | None) -> ImageSet:
    """The images, normalized as a part wants them that is made for images of its own normalization."""
    data = toy() if data is None else data
    mean, std = getattr(part, "mean", ()), getattr(part, "std", ())
    if not (isinstance(part, Augmentation) and mean):  # those that have none take the data's
        return data
    spec = dataclasses.replace(data.spec, channels=len(mean), normalization=Normalization(mean, std))
    return ImageSet(data.pixels[:, :1].expand(-1, len(mean), -1, -1), data.labels, spec)


def _unequal(data: ImageSet) -> ImageSet:
    """All images of the first class, and less of each that follows."""
    sizes = [max(2, len(data.class_rows(label)) // (label + 1)) for label in range(data.spec.classes)]
    rows = torch.cat([data.class_rows(label)[:size] for label, size in enumerate(sizes)])
    return ImageSet(data.pixels[rows], data.labels[rows], data.spec)


def _check_annotated(function: Callable[..., Any], name: str) -> None:
    signature = inspect.signature(function)
    arguments = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    untyped = [one.name for one in arguments if one.annotation is one.empty]
    assert not untyped, f"{name} has arguments without types: {', '.join(untyped)}"
    assert signature.return_annotation is not signature.empty, f"{name} does not say what it returns"
    typing.get_type_hints(function)


def _check_step(recipe: Recipe, before: Tensor, state: LoopState, losses: Tensor) -> None:
    assert losses.shape == before.shape[:1], f"'{recipe.name}' has losses of shape {list(losses.shape)}"
    assert torch.isfinite(losses).all() and (losses > 0).all(), f"'{recipe.name}' has losses {losses.tolist()}"
    assert torch.isfinite(state.stored).all(), f"'{recipe.name}' leaves numbers that are not finite"
    moved = (state.stored - before).abs().amax(dim=(1, 2, 3, 4)) > 0
    assert moved.all(), f"a step of '{recipe.name}' moves no pixel of a class"


def _check_same(one: Any, other: Any) -> None:
    """Two trees are equal, and made of what can be saved."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert all(isinstance(key, str) and "/" not in key for key in one) and one.keys() == other.keys()
        for key in one:
            _check_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            _check_same(*pair)
    elif isinstance(one, Tensor):
        assert torch.equal(one, other), "a state differs from call to call"
    else:
        assert one is None or isinstance(one, (bool, int, float, str)), f"a state holds a {type(one).__name__}"
        assert one == other, "a state differs from call to call"
