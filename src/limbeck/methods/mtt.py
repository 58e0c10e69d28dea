"""MTT: a student that learns from the synthetic images goes where an expert went (Cazenavette et al., CVPR 2022).

Algorithm 1 of the paper, line by line:

| line | here |
| --- | --- |
| expert trajectories, trained on the real images and recorded | `Experts.course`, `Experts.count` |
| initialize S with real images, alpha with alpha_0 | `Real`, `TrajectoryMatching.student_lr` |
| sample an expert, and a start epoch t <= T+ | `Experts.draw`, `Experts.starts` |
| student parameters theta_t := theta*_t | `Trajectory.weights` |
| for n = 0 .. N-1: a batch of S, augmented; theta <- theta - alpha grad CE | `TrajectoryMatching.student_steps` |
| L = squared distance of theta_{t+N} from theta*_{t+M}, over that of theta*_t | `ops.trajectory.Comparison` |
| update S and alpha with respect to L | `SGD`, `TrajectoryMatching.learn` |

The gradient is exact and takes the memory of one step (``objective.engine``). The step size of the student is kept
positive, and steps with a loss that is no number are not taken (``objective.rate``, ``objective.guard``): the authors'
code does neither. Settings are those of the authors' list where an IPC has some, else of the nearest one that has.
``small`` and ``digits`` are ours, for a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from limbeck.augmentations.dsa_augment import DSAAugment, Token
from limbeck.core.errors import InputError, unknown
from limbeck.core.recipe import Recipe
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.initializers.real import Real
from limbeck.labelers.hard import Hard
from limbeck.objectives.trajectory_matching import TrajectoryMatching
from limbeck.optimizers.sgd import SGD
from limbeck.parametrizations.plain import Plain
from limbeck.pools.experts import Experts
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.settings import Training

__all__ = ["OURS", "PRESETS", "TABLE", "Setting", "compose", "mtt", "nearest"]


@dataclass(frozen=True)
class Setting:
    """One column of the papers' tables of settings.

    Args:
        whitened: whether images are whitened (ZCA).
        steps: student steps N.
        span: expert epochs M.
        starts: epochs that a student may start at, T+ (exclusive).
        batch: images in a student step; 0 for all.
        lr: step size of the images.
        lr_step: step size of the student's step size.
        student_lr: its first value.
        iterations: steps of the images.
    """

    whitened: bool
    steps: int
    span: int
    starts: int
    batch: int
    lr: float
    lr_step: float
    student_lr: float = 0.01
    iterations: int = 5000


TABLE: dict[str, dict[int, Setting]] = {
    "cifar10": {
        1: Setting(True, 50, 2, 2, 0, 100.0, 1e-7),
        10: Setting(True, 30, 2, 20, 0, 100.0, 1e-5, 0.001),
        50: Setting(False, 30, 2, 40, 0, 1000.0, 1e-5, 0.001),
    },
    "cifar10-channels": {
        1: Setting(False, 50, 2, 5, 0, 1000.0, 1e-7),
        10: Setting(False, 30, 2, 15, 0, 1000.0, 1e-5),
        50: Setting(False, 30, 2, 40, 0, 1000.0, 1e-5, 0.001),
    },
    "cifar100": {
        1: Setting(True, 20, 3, 20, 0, 1000.0, 1e-5),
        10: Setting(False, 20, 2, 20, 0, 1000.0, 1e-5),
        50: Setting(True, 80, 2, 40, 125, 1000.0, 1e-5),
    },
    "tiny-imagenet": {
        1: Setting(False, 10, 2, 10, 0, 1e4, 1e-4),
        10: Setting(False, 20, 2, 40, 200, 1e4, 1e-4),
        50: Setting(False, 20, 2, 40, 300, 1e4, 1e-4),
    },
    "imagenet10": {
        1: Setting(False, 20, 2, 10, 0, 1e5, 1e-6),
        10: Setting(False, 20, 2, 10, 20, 1e5, 1e-6),
    },
}
"""The authors' list of settings, and for ``cifar10-channels`` that of others without whitening."""

OURS: dict[str, dict[int, Setting]] = {
    "small": {
        1: Setting(False, 20, 2, 4, 0, 1.0, 1e-5, 0.01, iterations=400),
        10: Setting(False, 20, 2, 4, 20, 1.0, 1e-5, 0.01, iterations=150),
    },
    "digits": {1: Setting(False, 20, 2, 10, 0, 1.0, 1e-5, 0.02, iterations=300)},
}
"""Settings for a CPU; images are learnt in [0, 1], which 8 bits can hold. Ten images per class are shown twenty at a
time, else each of these steps would take as long as ten of those for one."""
PRESETS = (*TABLE, *OURS)

_NETWORKS = {
    "tiny-imagenet": "convnet4",
    "imagenet": "convnet4",
    "imagenet10": "convnet5",
    "small": "convnet3:width=32",
    "digits": "convnet2:width=16",
}
_EXPERTS = {"small": 4, "digits": 8}


def mtt(preset: str = "cifar10", ipc: int = 10) -> Recipe:
    """The recipe of MTT.

    Args:
        preset: whose settings to use: a data set of the paper (``cifar10-channels`` without whitening), or ``small`` or
            ``digits`` (ours, minutes on a CPU).
        ipc: images per class; an IPC without settings of its own takes those of the nearest.

    Raises:
        InputError: there is no such preset, or ``ipc`` is below 1.
    """
    return compose("mtt", preset, nearest("mtt", {**TABLE, **OURS}, preset, ipc))


def nearest(name: str, table: Mapping[str, Mapping[int, Setting]], preset: str, ipc: int) -> Setting:
    """The settings of a preset for the nearest IPC, by ratio.

    Args:
        name: of the method, for errors.
        table: settings by preset and IPC.
        preset: which.
        ipc: images per class.

    Raises:
        InputError: there is no such preset, or ``ipc`` is below 1.
    """
    if preset not in table:
        raise unknown(f"preset of {name}", preset, table)
    if ipc < 1:
        raise InputError(f"{name} needs at least 1 image per class, not {ipc}.")
    return table[preset][min(table[preset], key=lambda known: abs(math.log(known / ipc)))]


def compose(name: str, preset: str, setting: Setting) -> Recipe:
    """MTT's composition with some settings.

    Args:
        name: of the method.
        preset: data set, or ``small`` or ``digits``; decides network and augmentation.
        setting: all else.
    """
    tokens: tuple[Token, ...] = ("color", "crop", "cutout", "flip", "scale", "rotate")
    if preset == "digits":
        # Eight pixels are too few to cut from, and a mirrored digit is none.
        tokens = ("color", "crop", "scale", "rotate")
    augmentation, ours = DSAAugment(tokens=tokens), preset in OURS
    training = Training(lr=0.01, momentum=0.0, weight_decay=0.0, batch_size=256, augmentation=augmentation)
    course = ExpertTraining(training=training)
    if preset == "digits":
        course = ExpertTraining(training=replace(training, lr=0.02, batch_size=64), epochs=12)
    elif preset == "small":
        course = ExpertTraining(training=training, epochs=5)
    return Recipe(
        name=name,
        objective=TrajectoryMatching(
            student_steps=setting.steps,
            student_lr=setting.student_lr,
            lr_step=setting.lr_step,
            synthetic_batch=setting.batch,
        ),
        initializer=Real(),
        parametrization=Plain(space="unit" if ours else "normalized"),
        augmentation=augmentation,
        pool=Experts(
            network=_NETWORKS.get(preset, "convnet3"),
            count=_EXPERTS.get(preset, 100),
            course=course,
            span=setting.span,
            starts=setting.starts,
            normalization="any" if ours else "zca" if setting.whitened else "channels",
        ),
        curriculum=AllAtOnce(iterations=setting.iterations, steps=1),
        labeler=Hard(),
        optimizer=SGD(lr=setting.lr, momentum=0.5, turns="joint", scale_with_ipc=False, clamp=ours),
        references=("cazenavette2022mtt",),
    )
