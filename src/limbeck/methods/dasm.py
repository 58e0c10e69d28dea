"""DASM: segments of images from easy to hard, each learning what those before do not know (our design of a draft).

The draft that the method goes back to says what it wants and not how; every line here is ours:

| line | here |
| --- | --- |
| split the images of each class into segments S_1 .. S_K | `DifficultySegments.sizes` |
| learn S_1 with the base method on all real images | `DifficultySegments.first` |
| train networks on S_1 .. S_(k-1): the loss of a real image is its difficulty | `scorers`, `difficulty` |
| take a window of each class, from easy to hard over the segments | `ops/difficulty.py` |
| real batches: 1 - rho from the window, rho from the class but its outliers | `Focus.mixed` |
| begin S_k with real images of the window, in the base method's way | `Focus.initial`, the base's initializer |
| matching begins with one of those networks, or with a fresh one | `Context.initial` |
| learn S_k with the base method's objective; S_1 .. S_(k-1) stay as they are | the base's parts |
| trajectories: experts that go on from those networks on such batches | `SegmentExperts`, `Experts.of_segment` |

The base is IDC by default. ``small`` and ``digits`` are ours, for a CPU.
"""

from __future__ import annotations

from dataclasses import replace

from limbeck.core.errors import InputError, unknown
from limbeck.core.recipe import Recipe
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.curricula.segment_experts import SegmentExperts
from limbeck.curricula.segments import DifficultySegments
from limbeck.methods import idc as _idc
from limbeck.pools.experts import Experts
from limbeck.pools.pretrained import Pretrained
from limbeck.pools.semi_trained import SemiTrained
from limbeck.pools.trained_on_real import TrainedOnReal
from limbeck.training.supervised import Training

__all__ = ["PRESETS", "dasm"]

PRESETS = _idc.PRESETS

_EPOCHS = {"tiny-imagenet": 150, "imagenet10": 150, "imagenet100": 150, "small": 60, "digits": 200, "fsdd": 60}
"""Epochs of the networks that say how hard images are, where they are not 300."""
_LEAST = 200
"""Outer iterations of a segment at least, in runs that have more."""
_PACKED = 10
"""Images per class for which the default base packs as many as it can into each."""
_FEW = ("small", "digits", "fsdd")
"""Presets for a CPU, whose segments have few experts of their own."""
_BATCHES = {"digits": 0}
"""Real batches that a window holds at least where they are not 2: a class of digits has hardly more than one."""


def dasm(preset: str | None = None, base: Recipe | None = None, ipc: int = 10) -> Recipe:
    """The recipe of DASM on a base method.

    Args:
        preset: whose settings to use, ``cifar10`` by default; with a base, only the epochs of the scoring networks.
        base: the method to learn segments with, one that compares images with batches of real ones or imitates
            experts; IDC with the same preset by default.
        ipc: images per class, for the default base.

    Raises:
        InputError: there is no such preset, or the base learns neither by real batches nor from experts, all images
            together.
    """
    name = preset or "cifar10"
    if name not in PRESETS:
        raise unknown("preset of dasm", name, PRESETS)
    # From 20 images on IDC packs some of ImageNet's, which depends on how many there are: segments are all packed.
    base = _idc.idc(name, ipc=min(ipc, _PACKED)) if base is None else base
    schedule, imitates = base.curriculum, isinstance(base.pool, Experts)
    learns = base.objective is not None and base.pool is not None and isinstance(schedule, AllAtOnce)
    if not learns or not (imitates or base.sampler is not None):
        raise InputError(
            f"dasm gives each segment real batches or experts of its own, and '{base.name}' does not learn all its "
            "images together from either; use a base like idc, dream, dm, dsdm, mtt or ast."
        )
    assert isinstance(schedule, AllAtOnce)
    training = Training(batch_size=256, augmentation=base.augmentation)
    if isinstance(base.pool, (TrainedOnReal, Pretrained, SemiTrained)):
        training = base.pool.training
    curriculum = DifficultySegments(
        iterations=schedule.iterations,
        steps=schedule.steps,
        least=_LEAST if schedule.iterations > _LEAST else 1,
        batches=_BATCHES.get(name, 2),
        scorer_epochs=_EPOCHS.get(name, 300),
        training=training,
    )
    if imitates:
        few = {"count": 4, "epochs": 8, "starts": 4} if name in _FEW else {}
        curriculum = replace(curriculum, scope="union", experts=SegmentExperts(mode="own", **few))
    return base.with_(name="dasm", base=base.name, curriculum=curriculum, references=("dasmdraft", *base.references))
