from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.whitening import Whitening
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


def whitening(shift: float = 0.0) -> Whitening:
    return Whitening(torch.eye(8), torch.full((8,), 3.9), torch.full((8,), 0.5 + shift))


def test_whitening_takes_the_place_of_channels() -> None:
    normalization = Normalization((0.0, 0.0), (1.0, 1.0), "zca", whitening())
    shown = torch.tensor([1.5, 0.5]).view(2, 1, 1).expand(3, 2, 2, 2)
    seen = normalization.apply(shown)
    torch.testing.assert_close(seen[:, 0], torch.full((3, 2, 2), 0.5))
    torch.testing.assert_close(normalization.invert(seen), shown.contiguous())
    assert normalization == replace(normalization) and hash(normalization) == hash(replace(normalization))
    assert pickle.loads(pickle.dumps(normalization)) == normalization
    with pytest.raises(InputError, match="choose one normalization"):
        replace(normalization, mean=(0.0, 0.5))


def test_names_of_files_know_the_whitening() -> None:
    channels, one = Normalization((0.0, 0.0), (1.0, 1.0)), whitening()
    assert channels.key == [(0.0, 0.0), (1.0, 1.0)]
    assert replace(channels, whitening=one).key == [(0.0, 0.0), (1.0, 1.0), one.digest]


def test_whitening_is_compared_in_words() -> None:
    channels = Normalization((0.0, 0.0), (1.0, 1.0), "idc")
    one, other = (replace(channels, source="zca", whitening=whitening(shift)) for shift in (0.0, 1.0))
    assert channels.whitened_otherwise(channels) == one.whitened_otherwise(one) == ""
    assert one.whitened_otherwise(channels) == "whitened and normalized (idc)"
    assert channels.whitened_otherwise(one) == "normalized (idc) and whitened"
    assert one.whitened_otherwise(other) == "mean[0]: 0.5 and 1.5"
