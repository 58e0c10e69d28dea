"""DWA: diversity by directed weight adjustment (Du et al., NeurIPS 2024), on SRe2L.

Algorithm 1 of the paper, line by line:

| line | here |
| --- | --- |
| a network trained on the real images | `AdjustedTeacher.teacher` |
| for each batch of one image per class | `OneByOne` |
| S starts as random real images, each used once | `Real` |
| repeat K times: theta moves up the gradient of CE on S, by rho / K | `AdjustedTeacher.prepare` |
| repeat T times: L = CE + lambda_mean L_mean + lambda_var L_var | `BatchStatistics` |
| S <- a step down the gradient, by Adam | `Adam` |

Where paper and code differ the code is followed: a step of the weights has length rho / K by the norm over all of them
(`AdjustedTeacher.direction`), the moved weights also serve for L_mean and L_var (`BatchStatistics.statistics`), and the
images are minimized over. Two side effects of the code are options and off: gradients that it leaves standing
(`AdjustedTeacher.accumulate`) and, on ImageNet, weights that last for all groups of an image number
(`AdjustedTeacher.restore`). The ablation of table 3: ``--pool.steps 0``, ``--pool.direction random``. ``small`` and
``digits`` are ours, for a CPU.
"""

from __future__ import annotations

from limbeck.augmentations.jitter import Jitter
from limbeck.core.errors import unknown
from limbeck.core.recipe import Recipe
from limbeck.initializers.real import Real
from limbeck.methods import sre2l as _sre2l
from limbeck.pools.adjusted_teacher import AdjustedTeacher

__all__ = ["PRESETS", "dwa"]

PRESETS = _sre2l.PRESETS


def dwa(preset: str = "cifar100") -> Recipe:
    """The recipe of DWA.

    Args:
        preset: whose settings to use: a data set, or ``small`` or ``digits`` (ours, minutes on a CPU).

    Raises:
        InputError: there is no such preset.
    """
    if preset not in PRESETS:
        raise unknown("preset of dwa", preset, PRESETS)
    base = _sre2l.sre2l(preset)
    tiny = preset == "tiny-imagenet"
    large = base.augmentation is not None and getattr(base.augmentation, "shift", 0) == 32
    teacher = _sre2l.teacher_of(preset)
    recipe = base.with_(
        name="dwa",
        objective__mean=0.01,
        objective__variance=0.02 if large else 0.11,
        initializer=Real(),
        pool=AdjustedTeacher(teacher=teacher, steps=12, magnitude=0.015),
        references=("du2024dwa", "yin2023sre2l"),
    )
    if large or tiny:
        recipe = recipe.with_(
            curriculum__steps=2000, augmentation=Jitter(shift=32 if large else 4, crop=True, flip=True)
        )
    return recipe.with_(pool__teacher__epochs=100) if tiny else recipe
