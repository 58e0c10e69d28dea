from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed import flops
from benchmarks.speed.cases import CASES

CASE = CASES["idc_matching"]


def test_of_convnet3_by_hand() -> None:
    found = [flops.forward(CASE), flops.with_gradient(CASE), flops.second_order(CASE), flops.student(CASE)]
    assert found == pytest.approx([101.5e6, 297e6, 696e6, 892e6], rel=2e-3)


def test_as_many_as_autograd_takes() -> None:
    case = replace(CASE, width=8, side=16)
    kernels = [weight.double().requires_grad_() for weight in case.weights() if weight.ndim == 4]

    def counted(image: bool, student: bool = False) -> int:
        """Of convolutions for 3 images, to the kernels alone or from there on to the images (and kernels)."""
        shown = torch.rand(3, 3, 16, 16, dtype=torch.float64, requires_grad=image)
        with FlopCounterMode(display=False) as counter:
            x = shown
            for kernel in kernels:
                x = functional.avg_pool2d(functional.relu(functional.conv2d(x, kernel, padding=1)), 2)
            gradients = torch.autograd.grad(x.square().sum(), kernels, create_graph=image)
            if image:
                wanted = [shown, *kernels] if student else [shown]
                torch.autograd.grad(sum(gradient.square().sum() for gradient in gradients), wanted)
        every = counter.get_flop_counts()["Global"]
        return sum(count for name, count in every.items() if "convolution" in str(name))

    assert counted(False) == 3 * flops.with_gradient(case)
    # Differentiating a gradient in the map, the framework also makes one in the kernel, which nobody asked for.
    unasked = sum(flops.layers(case)[1:])
    assert counted(True) == 3 * (flops.second_order(case) + unasked)
    assert counted(True, student=True) == 3 * flops.student(case)


@pytest.mark.parametrize("name", CASES)
def test_every_step_needs_some(name: str) -> None:
    assert flops.needed(CASES[name]) > 1e10


def test_a_limit_is_measured() -> None:
    assert flops.conv_limit(torch.float32, seconds=0.02) > 1e6
