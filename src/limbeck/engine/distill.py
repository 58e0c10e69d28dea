"""`distill`: one call that checks, resumes, runs, guards and saves."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.core.context import Context
from limbeck.core.distilled import Distilled, Storage
from limbeck.core.errors import InputError, Interrupted
from limbeck.core.execution import use_allocator
from limbeck.core.executor import Executor, InProcess
from limbeck.core.plain import encode
from limbeck.core.recipe import Recipe, part_name
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.data.images import check_ipc
from limbeck.engine.folder import RunFolder
from limbeck.engine.groups import GroupRun, chains, check_processes, first_pool
from limbeck.engine.identity import hardware, peak_memory_bytes, versions
from limbeck.engine.interrupt import Stop, stoppable
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.plan import shortage
from limbeck.engine.progress import progress
from limbeck.engine.run import Run
from limbeck.engine.run_file import DataReference, RunFile
from limbeck.engine.segments import check_segments, united
from limbeck.engine.settings import Settings
from limbeck.engine.snapshots import due_steps, iterations_done
from limbeck.engine.watch import look_steps
from limbeck.engine.workload import flops, lengths
from limbeck.execution.processes import Processes
from limbeck.networks import build
from limbeck.storage.examples import write_examples
from limbeck.storage.lock import alone
from limbeck.training.pretraining import cache_folder

__all__ = ["check_learnt_together", "check_storage", "distill", "make_context"]


def make_context(
    recipe: Recipe,
    data: Data,
    ipc: int,
    seed: int,
    settings: Settings,
    executor: Executor | None = None,
    say: Any = None,
) -> Context:
    """The surroundings of a run, and the check that the recipe can run in them.

    Raises:
        InputError: the recipe makes no sense, or not on this data or with this IPC.
    """
    recipe.check()
    if ipc < 1:
        raise InputError(f"IPC must be at least 1, not {ipc}.")
    check_ipc(data.train, ipc)
    use_allocator(settings.allocator)
    device, dtype = settings.torch_device(), settings.torch_dtype()
    context = Context(
        data=data.train.to(device, dtype),
        ipc=ipc,
        streams=Streams(seed),
        build=build,
        device=device,
        dtype=dtype,
        executor=executor or InProcess(),
        say=say or (lambda message: None),
        cache=cache_folder(settings.network_cache),
    )
    recipe.check(context)
    return replace(context, execution=settings.resolve(device, dtype, flops(recipe, context), settings.blocks))


def distill(
    recipe: Recipe,
    data: Data,
    *,
    ipc: int,
    seed: int = 0,
    out: str | Path | None = None,
    storage: Storage = "float32",
    cut_after: float | None = None,
    settings: Settings | None = None,
    executor: Executor | None = None,
) -> Distilled:
    """Distil the training part of a data set.

    Args:
        recipe: what to do.
        data: what to do it to; only its training part is looked at.
        ipc: stored synthetic images per class.
        seed: seed of all random streams.
        out: folder for checkpoints and the result. A run that was interrupted there is resumed, one that has finished
            is read back. None keeps everything in memory.
        storage: how stored pixels are kept at the end: ``float32``, or ``uint8`` like the real images.
        cut_after: seconds after which the run is cut: no inner step begins any more, and the images are the result as
            they are then. Counted is what the record counts: not interruptions, not snapshots and looks, nor a
            teacher that groups of images share. Groups have their part of it by their steps. None takes all steps.
        settings: device, dtype, checkpoints, snapshots, looks, progress.
        executor: where independent tasks run; by default this process, and as many as the settings say for groups of
            images that are learnt apart.

    Returns:
        The distilled set.

    Raises:
        InputError: something given is wrong, or another process is at work in the folder; raised before any work.
        Interrupted: SIGTERM or Ctrl-C; the same call resumes.
        RunError: the loss was not finite, twice.
    """
    settings = settings or Settings()
    _check_cut(cut_after, recipe)
    display = progress(settings.progress)
    context, stop = make_context(recipe, data, ipc, seed, settings, executor, display.say), Stop()
    context = replace(context, pause=functools.partial(_pause, stop, out is not None))
    check_storage(recipe, storage)
    if executor is None:
        check_processes(recipe, context, settings)
    loop = Loop(recipe, context, settings.class_block)
    _check_snapshots(settings.snapshots, loop, out)
    _check_watch(settings.watch, loop, out)
    asked = RunFile(
        data=DataReference(
            name=data.spec.name,
            digest=data.spec.digest,
            source=data.source,
            options=data.options,
            whitened=data.spec.normalization.whitening is not None,
        ),
        ipc=ipc,
        seed=seed,
        dtype=settings.dtype,
        precision=settings.precision,
        storage=storage,
        recipe=recipe,
        cut_after=cut_after,
    )
    steps, looks = due_steps(settings.snapshots, loop.length()), look_steps(settings.watch, loop.length())
    grouped = bool(chains(recipe, context))
    check_learnt_together(recipe, context)
    if grouped:
        check_segments(recipe, context)
    folder = RunFolder(Path(out), asked, steps, looks) if out is not None else None
    segments = recipe.curriculum.segments(ipc) if grouped and recipe.curriculum else ()
    identity = {"versions": versions()}
    empty = Distilled(torch.empty(0), context.spec, recipe, seed, storage, identity, segments=segments)

    def as_set(stored: Tensor, learnt: dict[str, Tensor] | None = None) -> Distilled:
        return replace(empty, stored=stored, learnt=learnt or {}).stored_as(storage)

    def of_state(state: LoopState) -> Distilled:
        return as_set(*loop.result(state))

    with alone(folder.path) if folder is not None else nullcontext():
        if folder is not None and folder.finished():
            done = None if cut_after is None else folder.steps()
            for kept in (folder.snapshots, folder.looks):
                kept.require(loop.length() if done is None else done)
            display.say(f"{folder.path} is finished already")
            return folder.result(empty)
        for warning in shortage(recipe, context, folder.path if folder else None, storage, settings.class_block):
            display.say(f"warning: {warning}")
        groups = folder.groups if folder else None
        pool = first_pool(recipe, context, groups) if grouped else None
        with stoppable(stop), display:
            run: Run | GroupRun
            told: dict[str, Any] = {}
            if grouped:
                workers = executor or (Processes(settings.processes) if settings.processes > 1 else None)
                run = GroupRun(recipe, context, groups, settings, display, stop, pool, workers, cut_after)
                stored = run.to_the_end(lambda images: as_set(images).stored)
                distilled = as_set(stored, run.learnt)
                told = recipe.curriculum.record(run.lessons) if segments and recipe.curriculum else {}
                for entry, own in zip(told.get("segments", ()), run.told, strict=bool(told)):
                    entry |= own
                if folder is not None:
                    folder.write_log(run.lines)
            else:
                run = Run(loop, folder, of_state, settings, display, stop, limit=cut_after)
                state = run.to_the_end()
                distilled = of_state(state)
                told = recipe.pool.record(state.parts["pool"], context) if recipe.pool is not None else {}
            record = _record(loop, run, cut_after)
            if "cut" in record:  # as a snapshot does, the set says that it is that of an earlier step
                distilled = replace(distilled, identity={**distilled.identity, "step": run.steps})
            if folder is not None:
                write_examples(folder.path, data.train)
                folder.finish(distilled, {**record, **told})
        return distilled


def _pause(stop: Stop, resumes: bool) -> None:
    """End what is trained before the first step where somebody asked to."""
    if stop.signal is not None:
        again = "; the same command resumes" if resumes else ""
        raise Interrupted(f"stopped by {stop.signal.name} while networks were trained before the first step{again}.")


def check_storage(recipe: Recipe, storage: Storage) -> None:
    """Refuse 256 levels between black and white for images that may leave them.

    Raises:
        InputError: they may.
    """
    bounded = recipe.parametrization.space == "unit" or (recipe.optimizer is not None and recipe.optimizer.bounds())
    if storage == "uint8" and not bounded:
        raise InputError("uint8 storage needs images in [0, 1]; use --storage float32 with this recipe.")


def _check_cut(cut_after: float | None, recipe: Recipe) -> None:
    if cut_after is not None and not cut_after > 0:
        raise InputError(
            f"a run is cut after more than {cut_after:g} seconds (--cut-after); give more, or take all steps."
        )
    if cut_after is not None and recipe.objective is None:
        raise InputError(f"recipe '{recipe.name}' takes no steps that could be cut; leave --cut-after out.")


def _record(loop: Loop, run: Run | GroupRun, cut_after: float | None) -> dict[str, Any]:
    """What the run cost, and on what; whether it was cut, and where."""
    device = loop.context.device
    groups = lengths(loop.recipe, loop.context)
    planned = sum(groups) if groups else loop.length()
    iteration = {} if groups else {"iteration": iterations_done(loop.recipe, run.steps)}
    cut = {"cut": {"after_seconds": cut_after, "step": run.steps, "of": planned, **iteration}}
    return {
        "method": loop.recipe.name,
        "steps": run.steps,
        **(cut if run.steps < planned else {}),
        **({"groups": len(groups)} if groups else {}),
        "seconds": run.seconds,
        "peak_memory_bytes": peak_memory_bytes(device),
        "final_loss": run.loss,
        "execution": encode(loop.context.execution),
        "versions": versions(),
        "hardware": hardware(device),
    }


def check_learnt_together(recipe: Recipe, context: Context) -> None:
    """Refuse groups of images where something is learnt that belongs to the whole set.

    Args:
        recipe: a checked recipe whose images may be learnt in groups.
        context: the run.

    Raises:
        InputError: something is.
    """
    if recipe.objective is None or recipe.curriculum is None or not recipe.curriculum.groups(context):
        return
    objective, whose = recipe.objective, None
    if objective.learnt(objective.init(context)) and not united(recipe):
        whose = f"objective '{part_name(objective)}' learns a number for all images"
    elif recipe.labels_softly():
        whose = f"labeler '{part_name(recipe.labeler)}' labels the whole set at its end"
    if whose is not None:
        raise InputError(
            f"{whose}, but curriculum '{part_name(recipe.curriculum)}' learns images group by group; use another "
            "curriculum (--with curriculum=all_at_once)."
        )


def _check_snapshots(count: int, loop: Loop, out: str | Path | None) -> None:
    if count and out is None:
        raise InputError("snapshots are kept in the folder of a run; give one (--out) or ask for none (--snapshots 0).")
    if count and not loop.length():
        raise InputError(f"recipe '{loop.recipe.name}' takes no steps to take snapshots of; leave --snapshots out.")
    if count and chains(loop.recipe, loop.context):
        raise InputError(
            f"recipe '{loop.recipe.name}' learns its images group by group, so that there is no state of the whole set "
            "to take a snapshot of; leave --snapshots out."
        )


def _check_watch(count: int, loop: Loop, out: str | Path | None) -> None:
    if count and out is None:
        raise InputError("looks are kept in the folder of a run; give one (--out) or ask for none (--watch 0).")
    if count and (loop.recipe.sampler is None or not loop.length()):
        raise InputError(f"recipe '{loop.recipe.name}' samples no real images to look at; leave --watch out.")
    if count and chains(loop.recipe, loop.context):
        raise InputError(
            f"recipe '{loop.recipe.name}' learns its images group by group, each with real images of its own; leave "
            "--watch out."
        )
