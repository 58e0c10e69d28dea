"""``limbeck teacher``."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

from limbeck.cli.overrides import apply
from limbeck.cli.shared import choose_recipe, load_data, note, preset_name, print_json
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.execution import use_allocator
from limbeck.core.network import Weights
from limbeck.core.real import RealSet
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Streams
from limbeck.data import Data, LoadOptions
from limbeck.engine.distill import make_context
from limbeck.engine.progress import Progress, progress
from limbeck.engine.settings import Settings
from limbeck.networks import build
from limbeck.registry import methods
from limbeck.storage.weights import SUFFIX, write_weights
from limbeck.teachers import Teacher, teacher_for
from limbeck.training.pretraining import cache_folder
from limbeck.training.supervised import accuracy

__all__ = ["TeacherVerb"]


@dataclass(frozen=True, kw_only=True)
class TeacherVerb:
    """Train a network on the real images, or fetch one that was, and say how good it is.

    Networks are kept between runs, and on their way in long trainings: a run that needs the same teacher finds it, and
    the same command goes on where it was stopped. With a method the teacher is that of its recipe, which --with and
    --SLOT.FIELD VALUE change as in 'limbeck distill'.
    """

    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="METHOD_OR_NETWORK")]
    """Method that has a teacher ('limbeck list methods'), or a network ('limbeck list networks') that is trained as
    published for the data, or where nothing is published, as on CIFAR for 30 epochs."""
    data: str = "digits"
    """Data set by name, or a folder of images or parquet files."""
    ipc: int = 10
    """Stored images per class of the run to come, with a method; large runs compile their steps, and small ones not."""
    epochs: int | None = None
    """Epochs of the training, with a network."""
    preset: str | None = None
    """Whose settings to use, with a method; by default those of the data set, or 'small' if there are none."""
    base: str | None = None
    """Method to build on, for add-ons."""
    out: Path | None = None
    """File .safetensors to write the network to, with the names of its classes; by default it is only kept for runs."""
    test: bool = False
    """Also say how many of the test images it gets right. What is chosen by that is no longer judged fairly."""
    load: tyro.conf.OmitArgPrefixes[LoadOptions] = field(default_factory=LoadOptions)
    """How the data are loaded."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    """How it is computed; the same flags as those of the run to come, which finds no other networks."""
    json: bool = False
    """Print the result as JSON, alone on standard output."""

    def run(self, swaps: list[str], fields: list[str]) -> int:
        """Train, judge and write."""
        self._check_out()
        recipe = self._recipe(swaps, fields)
        data = load_data(self.data, self.load)
        test = data.require_test() if self.test else None
        with progress(self.settings.progress) as display:
            teacher, context = self._prepared(recipe, data, display)
            teacher.check(context, f"'limbeck teacher {self.what}'")
            began = time.monotonic()
            weights = teacher.load(context)
            seconds = time.monotonic() - began
        found: dict[str, Any] = {
            "network": teacher.architecture(context).name,
            "data": data.spec.name,
            "weights": teacher.weights,
            "epochs": teacher.epochs if teacher.weights == "trained" else None,
            "seconds": seconds,
            "validation": _accuracy(teacher, context, weights, data.validation),
            "test": _accuracy(teacher, context, weights, test),
            "out": None if self.out is None else str(self.out),
        }
        if self.out is not None:
            write_weights(
                self.out, weights, found["network"], data.spec.class_names, normalization=data.spec.normalization
            )
        if self.json:
            print_json(found)
        else:
            self._tell(found)
        return 0

    def _check_out(self) -> None:
        if self.out is None:
            return
        if self.out.suffix != SUFFIX:
            raise InputError(f"--out names '{self.out}'; networks are written to files {SUFFIX}.")
        if self.out.exists():
            raise InputError(f"{self.out} is there already; remove it or name another file with --out.")

    def _recipe(self, swaps: list[str], fields: list[str]) -> Recipe | None:
        """The recipe of the method, or None where a network is asked for."""
        if self.what not in methods():
            if swaps or fields or self.preset is not None or self.base is not None:
                raise InputError(
                    f"'{self.what}' is no method, so that there is no recipe to change; leave --with, --SLOT.FIELD, "
                    "--preset and --base out, or name a method ('limbeck list methods')."
                )
            return None
        if self.epochs is not None:
            raise InputError(f"the recipe of '{self.what}' says for how many epochs; leave --epochs out.")
        recipe = choose_recipe(self.what, self.preset, self.base, preset_name(self.data), self.ipc)
        recipe = apply(recipe, swaps, fields, f"limbeck teacher {self.what}")
        if _teacher_of(recipe) is None:
            raise InputError(f"method '{self.what}' has no teacher; name a network instead ('limbeck list networks').")
        return recipe

    def _prepared(self, recipe: Recipe | None, data: Data, display: Progress) -> tuple[Teacher, Context]:
        """The teacher and the surroundings that it has in a run."""
        if recipe is not None:
            teacher = _teacher_of(recipe)
            assert teacher is not None
            return teacher, make_context(recipe, data, self.ipc, 0, self.settings, say=display.say)
        teacher = replace(teacher_for(data.spec), network=self.what)
        if self.epochs is not None:
            teacher = replace(teacher, epochs=self.epochs)
        use_allocator(self.settings.allocator)
        device, dtype = self.settings.torch_device(), self.settings.torch_dtype()
        context = Context(
            data=data.train.to(device, dtype),
            ipc=1,
            streams=Streams(0),
            build=build,
            device=device,
            dtype=dtype,
            say=display.say,
            cache=cache_folder(self.settings.network_cache),
        )
        flops = teacher.passes(context) * teacher.architecture(context).flops(data.spec.shape)
        return teacher, replace(context, execution=self.settings.resolve(device, dtype, flops, self.settings.blocks))

    def _tell(self, found: dict[str, Any]) -> None:
        """The result for a person."""
        judged = [part for part in ("validation", "test") if found[part] is not None]
        words = [f"{100 * found[part]:.2f} % of the {part} images" for part in judged]
        reached = " and ".join(words) if words else "not judged (no validation images)"
        note(f"{found['network']} on {found['data']}: {reached}; {found['seconds']:.0f} seconds")
        if found["out"] is not None:
            note(f"written to {found['out']}; a run takes it with teacher.weights {found['out']}")


def _teacher_of(recipe: Recipe) -> Teacher | None:
    """The teacher of a recipe: that of its pool, or of another part."""
    held = (getattr(part, "teacher", None) for _, part in recipe.parts())
    return next((teacher for teacher in held if isinstance(teacher, Teacher)), None)


def _accuracy(teacher: Teacher, context: Context, weights: Weights, judges: RealSet | None) -> float | None:
    """Share of images that the teacher gets right, in evaluation mode; None where there are none."""
    if judges is None:
        return None
    seen = judges.to(context.device, context.dtype)

    def images(rows: Tensor) -> Tensor:
        return context.spec.normalization.apply(seen.images(rows))

    with torch.no_grad():
        return accuracy(teacher.architecture(context), weights, images, judges.labels.to(context.device))
