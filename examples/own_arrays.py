"""Select images from arrays in memory: noisy bars, upright or lying."""

from __future__ import annotations

import torch

import limbeck as lb
from limbeck.methods.herding import herding


def bars(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Gray images ``[count, 1, 16, 16]`` in [0, 1] and their labels ``[count]``."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, 16, 16, generator=generator) / 4
    labels = torch.arange(count) % 2
    places = torch.randint(2, 13, (count,), generator=generator)
    for image, label, place in zip(images, labels, places, strict=True):
        bar = image[:, place : place + 2] if label else image[:, :, place : place + 2]
        bar += 0.7
    return images, labels


def main() -> None:
    """Load the arrays and select two images per class."""
    data = lb.data.from_arrays(bars(200, 0), bars(100, 1), class_names=("upright", "lying"), name="bars")
    print(data.spec.shape, data.spec.class_names, len(data.train), "training images")
    selected = lb.distill(herding("small"), data, ipc=2, storage="uint8")
    print(f"{selected.ipc} images per class, {selected.bytes} bytes")


if __name__ == "__main__":
    main()
