"""TESLA: trajectory matching with the graph of one step, labels by an expert (Cui et al., ICML 2023).

What differs from MTT, by the paper's algorithm:

| line | here |
| --- | --- |
| soft labels: what the expert says of S at the target epoch | `TrajectoryMatching.labels`, ``imagenet`` only |
| forward: N steps, gradients summed up, graphs thrown away | `TrajectoryMatching.engine` |
| backward: dL/dS from one graph per step, at the student's weights taken for constants | ``engine="tesla"`` |

The gradient leaves out how later weights depend on earlier batches, so that it equals MTT's for one step only; MTT's
own here is exact at the same memory. The authors' code halves the gradient in the images, to which its step sizes
belong: they are halved here instead, and presets ending in ``-code`` do as the code does, with the same images as a
result. The finished set carries what all experts say at their last target epoch, averaged, where labels are soft; the
authors keep those of the last iteration.
"""

from __future__ import annotations

from dataclasses import replace

from limbeck.core.recipe import Recipe
from limbeck.labelers.by_pool import ByPool
from limbeck.methods import mtt as _mtt
from limbeck.methods.mtt import Setting

__all__ = ["PRESETS", "tesla"]

_README: dict[str, dict[int, Setting]] = {
    "cifar10": {1: Setting(False, 50, 2, 5, 0, 1000.0, 1e-7), **dict(list(_mtt.TABLE["cifar10"].items())[1:])},
    "cifar100": _mtt.TABLE["cifar100"],
    "imagenet": {1: Setting(False, 10, 3, 10, 100, 1e4, 1e-4)},
    "tiny-imagenet": _mtt.TABLE["tiny-imagenet"],
}
"""The examples that the authors give, and MTT's settings where they give none."""
_PAPER = tuple(_README)

PRESETS = (*_PAPER, *(f"{name}-code" for name in _PAPER), *_mtt.OURS)


def tesla(preset: str = "cifar10", ipc: int = 10) -> Recipe:
    """The recipe of TESLA.

    Args:
        preset: whose settings to use: a data set of the paper, ending in ``-code`` with the code's factor, or ``small``
            or ``digits`` (ours, minutes on a CPU).
        ipc: images per class; an IPC without settings of its own takes those of the nearest.

    Raises:
        InputError: there is no such preset, or ``ipc`` is below 1.
    """
    follow_code, name = preset.endswith("-code"), preset.removesuffix("-code")
    table = {**_README, **_mtt.OURS}
    setting = _mtt.nearest("tesla", table, name if preset in PRESETS else preset, ipc)
    if name in _PAPER and not follow_code:
        setting = replace(setting, lr=setting.lr / 2)
    recipe = _mtt.compose("tesla", name, setting).with_(
        objective__engine="tesla",
        objective__tesla_scale=0.5 if follow_code else 1.0,
        references=("cui2023tesla", "cazenavette2022mtt"),
    )
    if name in _PAPER:
        recipe = recipe.with_(curriculum__iterations=10_000)
    if name == "imagenet":
        recipe = recipe.with_(objective__labels="expert", labeler=ByPool(), pool__count=50)
    return recipe
