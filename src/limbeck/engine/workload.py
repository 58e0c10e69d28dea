"""How much a run has to do, before it is done."""

from __future__ import annotations

from limbeck.core.context import Context
from limbeck.core.contracts import Workload
from limbeck.core.recipe import Recipe
from limbeck.engine.segments import united

__all__ = ["flops", "lengths", "workload"]


def lengths(recipe: Recipe, context: Context) -> list[int]:
    """Inner steps of each group of images, in the order of groups; empty where all is learnt together."""
    curriculum = recipe.curriculum
    if curriculum is None or recipe.objective is None:
        return []
    segments = curriculum.segments(context.ipc)
    if segments:
        return [curriculum.of_segment(context.ipc, number).length() for number in range(len(segments))]
    return [curriculum.length()] * len(curriculum.groups(context))


def workload(recipe: Recipe, context: Context) -> Workload:
    """Steps of a run and images of a class in each; of groups as if all that show a class once were one.

    Segments in whose steps those before are shown as well count as many images as the last of them.
    """
    curriculum = recipe.curriculum
    length = curriculum.length() if curriculum and recipe.objective else 0
    steps = curriculum.moment(0).steps if curriculum and length else 1
    groups = curriculum.groups(context) if curriculum and length else ()
    times = sum(len(group.labels) for group in groups) // context.spec.classes if groups else 1
    segmented = bool(curriculum and curriculum.segments(context.ipc))
    shown = len(groups[0].images) if groups and not united(recipe) else context.ipc
    return Workload(
        iterations=sum(lengths(recipe, context)) // steps if segmented else times * (length // steps),
        steps=steps,
        real=recipe.sampler.size(context) if recipe.sampler else 0,
        decoded=recipe.parametrization.parts(shown),
    )


def flops(recipe: Recipe, context: Context) -> float:
    """About how many floating point operations a run costs, by what its parts say of their passes."""
    load, total = workload(recipe, context), 0.0
    shared = recipe.pool.architecture(context) if recipe.pool is not None else None
    for slot, part in recipe.parts():
        own = recipe.initializer.architecture(context) if slot == "initializer" else None
        network = own or shared
        if network is not None:
            total += part.passes(context, load) * network.flops(context.spec.shape)
    return total
