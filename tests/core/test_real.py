from __future__ import annotations

from collections.abc import Callable

import torch

from limbeck.core.real import DataSpec, Normalization
from limbeck.data.images import ImageSet


def test_normalization_is_per_channel_and_inverts() -> None:
    normalization = Normalization((0.5, 0.25), (0.5, 0.125))
    images = torch.tensor([[1.0, 0.0], [0.5, 0.25]], dtype=torch.float64).view(2, 2, 1, 1)
    seen = normalization.apply(images)
    assert seen.flatten().tolist() == [1.0, -2.0, 0.0, 0.0]
    assert torch.equal(normalization.invert(seen), images)
    assert seen.dtype == torch.float64


def test_normalization_takes_any_leading_axes() -> None:
    normalization = Normalization((0.5, 0.25), (0.5, 0.125))
    images = torch.rand(3, 4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(normalization.apply(images)[1, 2], normalization.apply(images[1, 2]))


def test_spec_counts_classes_and_shapes() -> None:
    spec = DataSpec("toy", 3, 4, 5, ("a", "b"), Normalization((0.0,) * 3, (1.0,) * 3), "none")
    assert spec.classes == 2
    assert spec.shape == (3, 4, 5)


def test_sets_count_their_images(portion: Callable[..., ImageSet]) -> None:
    data = portion(3, [2, 5, 3])
    assert len(data) == 10
    assert data.class_counts() == [2, 5, 3]


def test_classes_without_images_count_zero(portion: Callable[..., ImageSet]) -> None:
    data = portion(3, [2, 5, 3]).subset(torch.tensor([0]))
    assert sorted(data.class_counts()) == [0, 0, 1]
