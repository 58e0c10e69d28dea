"""IDC: matching gradients of images that hold several smaller ones (Kim et al., ICML 2022).

Algorithm 1 of the paper, line by line:

| line | here |
| --- | --- |
| initialize S with real images, several packed into each | `Mixed` |
| repeat: new network theta | `AllAtOnce.iterations`, `TrainedOnReal.draw` |
| for each class: draw a real batch, decode S, augment both alike | `Epochwise`, `Partition`, `IDCAugment` |
| L = D(grad CE(real), grad CE(decoded)) | `GradientMatching` |
| S <- S - lr * grad L, one step of a shared momentum SGD per class | `SGD(turns="class")` |
| theta <- theta trained on real images | `TrainedOnReal.advance` |

Where paper and code differ the code is followed, but for the initialization, which is random as in the paper and not
the first images of each class. Settings are those of the authors' code; ``small``, ``digits`` and ``fsdd`` are ours,
for a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.contracts import Parametrization
from limbeck.core.errors import unknown
from limbeck.core.recipe import Recipe
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.initializers.real import Mixed
from limbeck.labelers.hard import Hard
from limbeck.objectives.gradient import GradientMatching
from limbeck.optimizers.sgd import SGD
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain
from limbeck.pools.trained_on_real import TrainedOnReal
from limbeck.samplers.epochwise import Epochwise
from limbeck.training.supervised import Training

__all__ = ["PRESETS", "idc"]


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """What differs between data sets."""

    metric: Literal["mse", "l1"] = "mse"
    lr: float = 5e-3
    reference_size: int = 32
    iterations: int = 2000
    steps: int = 100
    samples: int = 2000
    batch: int = 64
    network: str = "convnet3"
    cutmix: float = 0.5
    early_epochs: int = 0
    factor: int = 2
    plain_when_partitioned: bool = False
    augmented: bool = True
    network_lr: float = 0.01
    network_decay: float = 5e-4
    axes: Literal["both", "columns"] = "both"
    every_tensor: bool = False
    clamp: Literal["below"] | bool = True


_SETTINGS = {
    "cifar10": _Setting(),
    "cifar100": _Setting(),
    "svhn": _Setting(samples=500),
    "mnist": _Setting(metric="l1", lr=1e-4, reference_size=28, samples=500, plain_when_partitioned=True),
    "fashion-mnist": _Setting(metric="l1", lr=1e-4, samples=500),
    "tiny-imagenet": _Setting(samples=1000, network="convnet4"),
    "imagenet10": _Setting(
        metric="l1",
        lr=3e-3,
        reference_size=224,
        iterations=500,
        samples=500,
        network="resnet_ap10",
        cutmix=1.0,
        early_epochs=10,
        factor=3,
    ),
    "imagenet100": _Setting(
        metric="l1",
        lr=1e-3,
        reference_size=224,
        iterations=500,
        samples=500,
        batch=128,
        network="resnet_ap10",
        cutmix=1.0,
        factor=3,
        network_lr=0.1,
        network_decay=1e-4,
    ),
    "mini-speech-commands": _Setting(
        metric="l1",
        lr=3e-3,
        reference_size=64,
        iterations=1000,
        samples=500,
        network="convnet4",
        cutmix=0.0,
        augmented=False,
        # The speech code trains its networks with a step size of its own, and lets loudness grow without end.
        network_lr=3e-4,
        axes="columns",
        clamp="below",
    ),
    "small": _Setting(metric="l1", lr=1e-3, iterations=4, steps=25, samples=512, network="convnet3:width=32"),
    "fsdd": _Setting(
        metric="l1",
        lr=3e-3,
        reference_size=64,
        iterations=4,
        steps=25,
        samples=512,
        network="convnet4:width=16",
        cutmix=0.0,
        augmented=False,
        axes="columns",
    ),
    # Parts of 4 x 4 pixels would say nothing, so digits are not packed; their small networks are matched whole.
    "digits": _Setting(
        metric="l1",
        lr=2e-3,
        reference_size=8,
        iterations=8,
        steps=10,
        samples=256,
        network="convnet3:width=32",
        factor=1,
        every_tensor=True,
    ),
}

PRESETS = tuple(_SETTINGS)


def idc(preset: str = "cifar10", factor: int | None = None, ipc: int = 10) -> Recipe:
    """The recipe of IDC.

    Args:
        preset: whose settings to use: a data set of the paper, or ``small``, ``digits`` or ``fsdd`` (ours, minutes
            on a CPU).
        factor: images per side packed into a stored one; the preset's by default (2; ImageNet 3). 1 is IDC-I.
        ipc: images per class; on ImageNet, from 20 on, at most 128 decoded images of a class are packed.

    Raises:
        InputError: there is no such preset.
    """
    if preset not in _SETTINGS:
        raise unknown("preset of idc", preset, _SETTINGS)
    setting = _SETTINGS[preset]
    factor = setting.factor if factor is None else factor
    pad = 0.5 if setting.axes == "both" else 0.0
    parametrization: Parametrization = Partition(factor=factor, axes=setting.axes, pad=pad) if factor > 1 else Plain()
    if preset in ("imagenet10", "imagenet100") and factor >= 3 and ipc >= 20:
        parametrization = Partition(factor=factor, kind="bound", bound=128)
    # On MNIST the authors drop cutout and CutMix once images are packed.
    bare = setting.plain_when_partitioned and factor > 1
    matching = IDCAugment(operations=("color", "crop") if bare else ("color", "crop", "cutout"))
    training = Training(
        lr=setting.network_lr,
        weight_decay=setting.network_decay,
        batch_size=setting.batch,
        augmentation=IDCAugment(operations=("color", "crop")) if setting.augmented else None,
        cutmix=0.0 if bare else setting.cutmix,
    )
    return Recipe(
        name="idc",
        objective=GradientMatching(metric=setting.metric, bias=setting.every_tensor, classifier=setting.every_tensor),
        sampler=Epochwise(batch_size=64),
        initializer=Mixed(),
        parametrization=parametrization,
        augmentation=matching if setting.augmented else None,
        pool=TrainedOnReal(
            network=setting.network,
            training=training,
            samples=setting.samples,
            early_epochs=setting.early_epochs,
        ),
        curriculum=AllAtOnce(iterations=setting.iterations, steps=setting.steps),
        labeler=Hard(),
        optimizer=SGD(lr=setting.lr, reference_size=setting.reference_size, clamp=setting.clamp),
        references=("kim2022idc",),
    )
