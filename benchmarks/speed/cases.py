"""What is timed: the sizes of each step, and all numbers that go into it, the same for every contender.

Everything is random and seeded by what it is for, so that each contender makes its own copy of the same numbers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

__all__ = ["CASES", "MEAN", "QUICK", "STD", "Case", "Kind", "Numbers"]

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2023, 0.1994, 0.2010)
"""Of CIFAR-10, as usually published."""

Numbers = dict[str, Tensor]
"""Random numbers of one use of an augmentation, by operation."""

Kind = Literal["idc", "dc", "dm", "dsdm", "clustering", "update", "evaluation", "ensemble", "recover", "mtt", "tesla"]
"""What is done in a step."""

_ALWAYS = ("color", "flip", "cutout")


@dataclass(frozen=True)
class Case:
    """One step and its sizes; images have 3 channels, the network is a ConvNet of three blocks or a ResNet-18.

    Args:
        name: the step.
        kind: what is done in it.
        classes: classes of the data set.
        per_class: real images of each class.
        real: real images of a class in a matching step.
        ipc: stored images per class.
        factor: images per side packed into a stored one.
        clusters: clusters of a class.
        samples: images that a training step sees.
        batch: images of a training batch.
        operations: of the augmentation; of those that are not colour, flip or cutout one is drawn at a time.
        tokens: of DSA; one after the other, each for all images of one class in one step.
        cutmix: probability that a training batch is cut and mixed.
        shift: most pixels of a cyclic shift.
        lr: step size, of the stored images or of the network.
        width: channels of the network.
        side: rows and columns of an image.
        dtype: number format.
        student_steps: steps of a student on the stored images; each sees all of them, under one of ``tokens``.
        student_lr: its step size at the beginning.
        lr_step: step size at which that is learnt.
        together: networks that are trained, each on its share of ``samples``.
        seed: of everything.
    """

    name: str
    kind: Kind
    classes: int
    per_class: int
    real: int = 0
    ipc: int = 10
    factor: int = 1
    clusters: int = 0
    samples: int = 0
    batch: int = 64
    operations: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    cutmix: float = 0.0
    shift: int = 0
    student_steps: int = 0
    student_lr: float = 0.01
    lr_step: float = 1e-5
    together: int = 1
    lr: float = 0.01
    width: int = 128
    side: int = 32
    dtype: Literal["float32", "float64"] = "float32"
    seed: int = 0

    @property
    def alone(self) -> Case:
        """One network of several."""
        return replace(self, kind="evaluation", samples=self.samples // self.together, together=1)

    @property
    def decoded(self) -> int:
        """Decoded images of a class."""
        return self.ipc * self.factor**2

    @property
    def torch_dtype(self) -> torch.dtype:
        """The number format."""
        return torch.float64 if self.dtype == "float64" else torch.float32

    def generator(self, *key: object) -> torch.Generator:
        """A source of random numbers for one purpose."""
        text = "/".join(map(str, (self.seed, self.name, *key)))
        digest = hashlib.blake2b(text.encode(), digest_size=7).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "little"))

    def pixels(self) -> tuple[Tensor, Tensor]:
        """Real images, uint8 ``[N, 3, side, side]``, class after class, and their labels ``[N]``."""
        shape = (self.classes * self.per_class, 3, self.side, self.side)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=self.generator("pixels"))
        return images, torch.arange(self.classes).repeat_interleave(self.per_class)

    def weights(self) -> list[Tensor]:
        """Weights of the network in the order of its layers: kernel, bias, scale and shift of each block, classifier.

        Uniform within one over the root of the number of inputs, but for scales near one.
        """
        generator, found, inputs = self.generator("weights"), [], 3

        def uniform(*shape: int, bound: float) -> Tensor:
            return (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * bound

        for _ in range(3):
            bound = (9 * inputs) ** -0.5
            found += [uniform(self.width, inputs, 3, 3, bound=bound), uniform(self.width, bound=bound)]
            found += [1 + uniform(self.width, bound=0.1), uniform(self.width, bound=0.1)]
            inputs = self.width
        features = self.width * (self.side // 8) ** 2
        found += [uniform(self.classes, features, bound=features**-0.5), uniform(self.classes, bound=features**-0.5)]
        return [tensor.to(self.torch_dtype) for tensor in found]

    def teacher(self) -> dict[str, Tensor]:
        """Weights of a ResNet-18 with a 3 x 3 first convolution, by torchvision's names, as if it had been trained.

        Kernels keep variances as they are, running means lie around 0 and running variances around 1.
        """
        from torchvision.models import resnet18

        with torch.device("meta"):
            model = resnet18(num_classes=self.classes)
            model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
        generator, found = self.generator("teacher"), {}
        for name, tensor in model.state_dict().items():
            if name.endswith("num_batches_tracked"):
                found[name] = torch.tensor(1)
                continue
            numbers = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) * 2 - 1
            if tensor.ndim > 1:
                numbers *= (6 / tensor[0].numel()) ** 0.5
            elif name.endswith(("running_var", "weight")):
                numbers = 1 + numbers / 2
            else:
                numbers /= 10
            found[name] = numbers.to(self.torch_dtype)
        return found

    def target(self) -> list[Tensor]:
        """Weights that a student is to reach, in the order of `weights`: each number up to a fiftieth further."""
        generator = self.generator("target")
        moved = [
            torch.rand(one.shape, generator=generator, dtype=torch.float64) * 0.04 - 0.02 for one in self.weights()
        ]
        return [(own.double() + way).to(own.dtype) for own, way in zip(self.weights(), moved, strict=True)]

    def lesson(self, step: int, number: int) -> tuple[Tensor, Numbers]:
        """What a step of a student sees: rows of the stored images in their order, and numbers of one token for each.

        Args:
            step: which student.
            number: which of its steps.
        """
        generator, count = self.generator("lesson", step, number), self.classes * self.ipc
        rows = torch.randperm(count, generator=generator)
        if not self.tokens:
            return rows, {}
        token = self.tokens[int(torch.randint(len(self.tokens), (), generator=generator))]
        return rows, self.draw((token,), generator, (count,))

    def shifts(self, step: int) -> Numbers:
        """Rows and columns of the cyclic shift of all images in a step."""
        generator = self.generator("shift", step)
        return {name: torch.randint(0, self.shift + 1, (), generator=generator) for name in ("rows", "columns")}

    def stored(self) -> Tensor:
        """Stored images in [0, 1] ``[classes, ipc, 3, side, side]``."""
        shape = (self.classes, self.ipc, 3, self.side, self.side)
        return torch.rand(shape, generator=self.generator("stored"), dtype=torch.float64).to(self.torch_dtype)

    def rows(self, step: int, label: int) -> Tensor:
        """Rows of the real batch of a class in a matching step, int64 ``[real]``."""
        order = torch.randperm(self.per_class, generator=self.generator("rows", step, label))
        return label * self.per_class + order[: self.real]

    def numbers(self, step: int, label: int) -> Numbers:
        """Numbers of the augmentation that both sides of a class share in a matching step."""
        operations = self.operations
        if self.tokens:
            operations = (self.tokens[(step * self.classes + label) % len(self.tokens)],)
        return self.draw(operations, self.generator("augmentation", step, label), ())

    def draw(self, operations: tuple[str, ...], generator: torch.Generator, size: tuple[int, ...]) -> Numbers:
        """Numbers for one use of an augmentation; of the shape ``()`` all images share one set.

        Args:
            operations: all that are listed among colour, flip and cutout, and one of the others.
            generator: where they come from.
            size: ``()`` or ``(B,)``.
        """

        def uniform() -> Tensor:
            return torch.rand(size, generator=generator, dtype=torch.float64)

        def integer(low: int, high: int) -> Tensor:
            return torch.randint(low, high + 1, size, generator=generator)

        others = [name for name in operations if name not in _ALWAYS]
        chosen = [others[int(torch.randint(len(others), (), generator=generator))]] if others else []
        numbers: Numbers = {}
        shift, centre = int(self.side / 8 + 0.5), self.side - int(self.side / 2 + 0.5) % 2
        for name in (*(name for name in operations if name in _ALWAYS), *chosen):
            match name:
                case "color":
                    numbers |= {part: uniform() for part in ("brightness", "saturation", "contrast")}
                case "crop":
                    numbers |= {part: integer(-shift, shift) for part in ("crop_rows", "crop_columns")}
                case "cutout":
                    numbers |= {part: integer(0, centre) for part in ("cutout_rows", "cutout_columns")}
                case "scale":
                    numbers |= {part: uniform() for part in ("scale_x", "scale_y")}
                case "flip" | "rotate":
                    numbers[name] = uniform()
                case _:
                    raise ValueError(f"no augmentation is called {name}")
        return numbers


CASES = {
    case.name: case
    for case in (
        Case(
            "idc_matching",
            "idc",
            classes=2,
            per_class=512,
            real=128,
            factor=2,
            operations=("color", "crop", "cutout"),
            lr=5e-3,
        ),
        Case("dream_clustering", "clustering", classes=1, per_class=5000, clusters=128),
        Case("dc_matching", "dc", classes=2, per_class=512, real=256, lr=0.1),
        Case(
            "dsa_matching",
            "dc",
            classes=2,
            per_class=512,
            real=256,
            tokens=("color", "crop", "cutout", "flip", "scale", "rotate"),
            lr=0.1,
        ),
        Case(
            "dm_matching",
            "dm",
            classes=2,
            per_class=512,
            real=256,
            tokens=("color", "crop", "cutout", "flip", "scale", "rotate"),
            lr=1.0,
        ),
        Case(
            "dsdm_matching",
            "dsdm",
            classes=2,
            per_class=512,
            real=256,
            factor=2,
            operations=("color", "crop", "cutout"),
            lr=0.1,
        ),
        Case(
            "mtt_matching",
            "mtt",
            classes=10,
            per_class=10,
            tokens=("color", "crop", "cutout", "flip", "scale", "rotate"),
            student_steps=4,
            lr=100.0,
        ),
        Case(
            "tesla_matching",
            "tesla",
            classes=10,
            per_class=10,
            tokens=("color", "crop", "cutout", "flip", "scale", "rotate"),
            student_steps=4,
            lr=100.0,
        ),
        Case("dwa_recovery", "recover", classes=100, per_class=1, ipc=1, shift=4, lr=0.25),
        Case(
            "network_update",
            "update",
            classes=10,
            per_class=256,
            samples=1024,
            operations=("color", "crop"),
            cutmix=0.5,
        ),
        Case(
            "evaluation",
            "evaluation",
            classes=10,
            per_class=40,
            samples=400,
            operations=("color", "crop", "flip", "scale", "rotate"),
            cutmix=0.5,
        ),
        Case(
            "ensemble",
            "ensemble",
            classes=10,
            per_class=40,
            samples=1600,
            operations=("color", "crop", "flip", "scale", "rotate"),
            cutmix=0.5,
            width=32,
            together=4,
        ),
    )
}
"""The steps that are timed, by name."""

QUICK = ("idc_matching", "network_update")
"""The steps of a quick run."""
