"""Floating point operations that each step needs, by its shapes, and how many the machine does at best.

Needed are those of the mathematics: what a contender computes twice or for nothing lowers its share of the limit.
Two for each product and sum of a convolution or matrix product; all else counts as nothing.
"""

from __future__ import annotations

import time

import torch
from torch import nn

from benchmarks.speed.cases import Case

__all__ = ["conv_limit", "forward", "layers", "needed", "resnet", "second_order", "student", "with_gradient"]


def layers(case: Case) -> list[int]:
    """Of one image in each convolution."""
    inputs, side, found = 3, case.side, []
    for _ in range(3):
        found.append(2 * 9 * inputs * case.width * side**2)
        inputs, side = case.width, side // 2
    return found


def forward(case: Case) -> int:
    """Of one image through the convolutions."""
    return sum(layers(case))


def with_gradient(case: Case) -> int:
    """Of one image forward and back to the kernels; the image itself needs no gradient."""
    every = layers(case)
    return 2 * sum(every) + sum(every[1:])


def second_order(case: Case) -> int:
    """Of one image: the gradient in the kernels, and back from it to the image alone.

    Back go: the products of maps and their gradients (to both factors), the chain of gradients, the maps.
    """
    every = layers(case)
    return with_gradient(case) + 2 * sum(every) + sum(every[1:]) + sum(every)


def student(case: Case) -> int:
    """Of one image in one step of a student whose way is differentiated: to the kernels as well as to the image.

    To `second_order` come the kernels' share in the chain of gradients and in the maps.
    """
    every = layers(case)
    return second_order(case) + sum(every[1:]) + sum(every)


def resnet(case: Case) -> int:
    """Of one image through the convolutions and the classifier of a ResNet-18 with a 3 x 3 first convolution."""
    side, inputs = case.side, 64
    found = 2 * 9 * 3 * 64 * side**2
    for stage, width in enumerate((64, 128, 256, 512)):
        side = side // 2 if stage else side
        found += 2 * side**2 * (9 * inputs * width + 3 * 9 * width * width)
        found += 2 * side**2 * inputs * width if stage else 0
        inputs = width
    return found + 2 * inputs * case.classes


def needed(case: Case) -> int:
    """Of one step; of clustering the embedding and the choice alone, as the number of sweeps is not known before."""
    match case.kind:
        case "idc" | "dc":
            return case.classes * (case.real * with_gradient(case) + case.decoded * second_order(case))
        case "dm":
            return case.classes * (case.real * forward(case) + case.decoded * 2 * forward(case))
        case "dsdm":
            again = case.decoded * forward(case)  # the prototypes of the updated images
            return case.classes * (case.real * forward(case) + case.decoded * 2 * forward(case) + again)
        case "mtt":
            return case.classes * case.ipc * case.student_steps * student(case)
        case "tesla":
            return case.classes * case.ipc * case.student_steps * second_order(case)
        case "recover":
            return case.classes * case.ipc * 2 * resnet(case)
        case "clustering":
            distances = 2 * case.per_class * case.clusters * case.width * (case.side // 8) ** 2
            return case.per_class * forward(case) + distances
        case _:
            return case.samples * with_gradient(case)


def conv_limit(dtype: torch.dtype, seconds: float = 1.0) -> float:
    """FLOP/s of the fastest of many convolutions 128 -> 128 of 64 maps of 16 x 16, channels last.

    Args:
        dtype: number format.
        seconds: about how long to try.
    """
    layout = torch.channels_last
    conv = nn.Conv2d(128, 128, 3, padding=1).to(dtype=dtype, memory_format=layout)
    x = torch.randn(64, 128, 16, 16).to(dtype=dtype, memory_format=layout)
    with torch.no_grad():
        conv(x)
        best, until = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < until:
            began = time.perf_counter()
            conv(x)
            best = min(best, time.perf_counter() - began)
    return 2 * 9 * 128 * 128 * 16 * 16 * 64 / best
