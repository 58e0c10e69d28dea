"""FTD: flat expert trajectories, and images averaged over time (Du et al., CVPR 2023).

What differs from MTT, by the paper's algorithm:

| line | here |
| --- | --- |
| experts by GSAM: up the loss by rho, the gradient there, less alpha of what leads across | `ExpertTraining.rho` |
| match trajectories as MTT does | `TrajectoryMatching` |
| S_ema <- d S_ema + (1 - d) S | `SGD.average` |

rho is 0.01 and alpha that of the paper's table, where the code's defaults are others (2.0 and 0.4). The averaged images
are judged on fresh networks; the authors' code goes on with networks that have learnt the raw images.
"""

from __future__ import annotations

from dataclasses import replace

from limbeck.core.recipe import Recipe
from limbeck.methods import mtt as _mtt
from limbeck.methods.mtt import Setting

__all__ = ["PRESETS", "TABLE", "ftd"]

TABLE: dict[str, dict[int, Setting]] = {
    "cifar10": {
        1: Setting(True, 50, 2, 2, 0, 100.0, 1e-7),
        10: Setting(True, 30, 2, 20, 0, 100.0, 1e-5, 0.001),
        50: Setting(True, 30, 2, 40, 0, 1000.0, 1e-5),
    },
    "cifar100": {
        1: Setting(True, 40, 3, 20, 0, 1000.0, 1e-5),
        10: Setting(True, 20, 2, 40, 0, 1000.0, 1e-5),
        50: Setting(True, 80, 2, 40, 1000, 1000.0, 1e-5),
    },
    "tiny-imagenet": {
        1: Setting(False, 30, 2, 10, 0, 1e4, 1e-4),
        10: Setting(False, 20, 2, 40, 500, 1e4, 1e-4),
    },
}
"""The paper's table of settings."""
_ALPHA = {("cifar10", 1): 0.3, ("cifar10", 10): 0.3}
_AVERAGE = {
    ("cifar10", 1): 0.9999,
    ("cifar10", 10): 0.9995,
    ("cifar100", 1): 0.9995,
    ("cifar100", 10): 0.9995,
    ("small", 1): 0.98,
    ("small", 10): 0.96,
    ("digits", 1): 0.98,
}

PRESETS = (*TABLE, *_mtt.OURS)


def ftd(preset: str = "cifar10", ipc: int = 10) -> Recipe:
    """The recipe of FTD.

    Args:
        preset: whose settings to use: a data set of the paper, or ``small`` or ``digits`` (ours, minutes on a CPU).
        ipc: images per class; an IPC without settings of its own takes those of the nearest.

    Raises:
        InputError: there is no such preset, or ``ipc`` is below 1.
    """
    table = {**TABLE, **_mtt.OURS}
    setting = _mtt.nearest("ftd", table, preset, ipc)
    column = preset, next(known for known, held in table[preset].items() if held is setting)
    recipe = _mtt.compose("ftd", preset, setting)
    course = recipe.pool.course  # type: ignore[union-attr]
    return recipe.with_(
        pool__course=replace(course, rho=0.01, surrogate=_ALPHA.get(column, 1.0)),
        optimizer__average=_AVERAGE.get(column, 0.999),
        references=("du2023ftd", "cazenavette2022mtt"),
    )
