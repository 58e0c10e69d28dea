"""Who gives the soft labels of a set, as the command line names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.data import Data
from limbeck.engine.distill import make_context
from limbeck.engine.run_file import FILE, read_run_file
from limbeck.engine.settings import Settings
from limbeck.evaluation.labels import ByTeacher
from limbeck.evaluation.protocols import Protocol
from limbeck.evaluation.teaching import recipe_teacher, teacher_context, teacher_labels
from limbeck.registry import parts
from limbeck.storage.weights import network_in
from limbeck.teachers import teacher_for
from limbeck.training.taught import TeacherMode

__all__ = ["TeacherOptions", "named_teacher", "teacher_of"]

PUBLISHED = "published"


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """Who gives soft labels, where the protocol teaches by them."""

    taught_by: str | None = None
    """By default the teacher that the recipe brings. Else a network that is trained on the real images ('limbeck list
    networks', for example convnet3:norm=batch), a checkpoint ('limbeck teacher --out'), the folder of a run whose
    teacher it is, or 'published' for the published teacher of the data."""
    taught_network: str | None = None
    """Architecture of the checkpoint, where the file does not say."""
    taught_epochs: int | None = None
    """Epochs of the training, with a network."""
    taught_mode: TeacherMode | None = None
    """Whether the teacher's batch norm uses its running statistics (eval) or those of the mixed batch (train, as in the
    authors' scripts for CIFAR); by default what the protocol says, which is eval."""

    def applied(self, protocol: Protocol) -> Protocol:
        """The protocol with the teacher's mode, where that is set."""
        return protocol if self.taught_mode is None else replace(protocol, teacher_mode=self.taught_mode)


def named_teacher(
    options: TeacherOptions, data: Data, settings: Settings, say: Callable[[str], None] = lambda message: None
) -> ByTeacher | None:
    """The teacher that is named, trained or loaded; None if none is.

    Args:
        options: what was named.
        data: the real images whose classes it knows.
        settings: device, execution and the folder of trained networks.
        say: reports what is being done.

    Raises:
        InputError: there is no such network, run or file, it knows other classes, or an option has no effect.
    """
    name = options.taught_by
    if name is None:
        if options.taught_network is not None or options.taught_epochs is not None:
            raise InputError("--taught-network and --taught-epochs say more on a teacher; name it with --taught-by.")
        return None
    path = Path(name)
    if path.is_dir():
        _refuse(options, epochs="the run", network="the run")
        return _of_run(path, data, settings, say)
    teacher = teacher_for(data.spec)
    if path.is_file():
        _refuse(options, epochs="a checkpoint")
        network = options.taught_network or network_in(path)
        if network is None:
            raise InputError(f"{path} does not say which network it holds; name it with --taught-network.")
        teacher = replace(teacher, network=network, weights=str(path))
    elif name != PUBLISHED:
        _refuse(options, network="a network")
        teacher = replace(teacher, network=name, weights="trained")
    if options.taught_epochs is not None:
        teacher = replace(teacher, epochs=options.taught_epochs)
    context = teacher_context(
        teacher,
        data.train,
        device=settings.torch_device(),
        execution=settings,
        cache=settings.network_cache,
        say=say,
    )
    return teacher_labels(teacher, context, "--taught-by")


def teacher_of(
    distilled: Distilled, options: TeacherOptions, data: Data, settings: Settings, say: Callable[[str], None]
) -> ByTeacher:
    """The teacher that is named, or else that of the recipe of a set.

    Args:
        distilled: the set.
        options: what was named.
        data: the real images whose classes it knows.
        settings: device, execution and the folder of trained networks.
        say: reports what is being done.

    Raises:
        InputError: as `named_teacher`; or none is named and the recipe brings none.
    """
    found = named_teacher(options, data, settings, say)
    if found is not None:
        return found
    return _of_recipe(distilled.recipe, distilled.ipc, distilled.seed, data, settings, say)


def _of_run(folder: Path, data: Data, settings: Settings, say: Callable[[str], None]) -> ByTeacher:
    if not (folder / FILE).is_file():
        raise InputError(f"{folder} is no folder of a run ({FILE} is missing); name a run, a checkpoint or a network.")
    run = read_run_file(folder, parts())
    return _of_recipe(run.recipe, run.ipc, run.seed, data, settings, say)


def _of_recipe(
    recipe: Recipe, ipc: int, seed: int, data: Data, settings: Settings, say: Callable[[str], None]
) -> ByTeacher:
    """Its teacher in the surroundings of its run, where the same network was trained before."""
    teacher = recipe_teacher(recipe)
    if teacher is None:
        raise InputError(
            f"recipe '{recipe.name}' brings no teacher, which soft labels need; name one with --taught-by, for example "
            "--taught-by convnet3:norm=batch, or take the labels of the set (--labels hard)."
        )
    return teacher_labels(teacher, make_context(recipe, data, ipc, seed, settings, say=say), f"'{recipe.name}'")


def _refuse(options: TeacherOptions, *, epochs: str = "", network: str = "") -> None:
    """Refuse options that would have no effect."""
    if epochs and options.taught_epochs is not None:
        raise InputError(f"--taught-epochs is for networks that are trained now; {epochs} brings its own training.")
    if network and options.taught_network is not None:
        raise InputError(f"--taught-network is for checkpoints; {network} says for itself what it is.")
