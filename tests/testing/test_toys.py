from __future__ import annotations

import torch

from limbeck import testing
from limbeck.methods.dm import dm
from limbeck.methods.idc import idc
from limbeck.parametrizations.plain import Plain
from limbeck.samplers.random import Random
from limbeck.testing import small, small_part, toy


def test_toys_can_be_told_apart_and_are_always_the_same() -> None:
    data = toy(2, [3, 5], channels=3)
    assert data.pixels.shape == (8, 3, 8, 8) and data.class_counts() == [3, 5]
    assert torch.equal(data.pixels, toy(2, [3, 5], channels=3).pixels)
    images, labels = toy().pixels.double(), toy().labels
    means = torch.stack([images[labels == label].mean(dim=0) for label in range(3)])
    nearest = (images[:, None] - means).flatten(2).norm(dim=2).argmin(dim=1)
    assert torch.equal(nearest, labels)


def test_small_recipes_take_three_steps_on_small_networks() -> None:
    for recipe in (small(dm()), small(idc())):
        assert recipe.curriculum is not None and recipe.curriculum.length() == 3
        assert recipe.pool.network == testing.NETWORK  # type: ignore[union-attr]
    assert small(dm(), sampler__batch_size=2).sampler == Random(batch_size=2)
    assert small_part(Plain) == Plain()
