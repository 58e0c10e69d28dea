from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.core.context import Context
from limbeck.initializers.noise import Noise
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain


def test_noise_is_the_formula_class_by_class(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=4)
    images = Noise().images(context, Plain(), None)
    assert images.shape == (3, 4, 1, 8, 8) and images.dtype == torch.float64
    for label in range(3):
        normal = context.streams("initial noise", label).normal(4, 1, 8, 8)
        assert torch.equal(images[label], (normal / 4 + 0.5).clamp(0, 1))


def test_noise_lies_around_mid_grey(context_of: Callable[..., Context]) -> None:
    images = Noise().images(context_of(ipc=20), Plain(), None)
    assert images.min() == 0 and images.max() == 1
    assert images.mean().item() == pytest.approx(0.5, abs=0.02)
    # 1 / 4, a little less for the clamp at two standard deviations.
    assert images.std().item() == pytest.approx(0.24, abs=0.02)


def test_noise_fills_stored_images_whatever_they_hold(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=4)
    assert torch.equal(Noise().images(context, Partition(factor=2), None), Noise().images(context, Plain(), None))


def test_normalized_noise_is_standard_normal_as_networks_see_it(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=4)
    seen = context.spec.normalization.apply(Noise(space="normalized").images(context, Plain(space="normalized"), None))
    for label in range(3):
        normal = context.streams("initial noise", label).normal(4, 1, 8, 8)
        torch.testing.assert_close(seen[label], normal.to(torch.float64), rtol=0, atol=1e-12)
