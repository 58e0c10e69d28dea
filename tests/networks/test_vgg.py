from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.core.errors import InputError
from limbeck.networks import VGG11, VGG16


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)])
def test_small_images_end_in_one_pixel(shape: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        network = VGG11(shape, 10)
    assert network.classifier.in_features == 512


def test_published_parameter_count() -> None:
    with torch.device("meta"):
        network = VGG11((3, 32, 32), 10, norm="batch")
    assert sum(parameter.numel() for parameter in network.parameters()) == 9_231_114


def test_wrong_options() -> None:
    with torch.device("meta"), pytest.raises(InputError, match="larger images"):
        VGG11((3, 31, 31), 10, norm="batch")
    with pytest.raises(InputError, match="unknown norm"):
        VGG11((3, 32, 32), 10, norm="none")  # type: ignore[arg-type]


def test_vgg16_averages_what_is_left_of_the_map() -> None:
    network = VGG16((1, 28, 28), 10).eval()
    assert sum(isinstance(part, nn.Conv2d) and part.bias is not None for part in network.modules()) == 13
    with torch.device("meta"):
        large = VGG16((3, 64, 96), 10)
        assert large(torch.empty(2, 3, 64, 96), "blocks")[-1].shape == (2, 512, 2, 3)
        assert large(torch.empty(2, 3, 64, 96), "embedding").shape == (2, 512)
        with pytest.raises(InputError, match="larger images"):
            VGG16((3, 28, 28), 10)
        with pytest.raises(InputError, match="unknown norm"):
            VGG16((3, 32, 32), 10, norm="none")  # type: ignore[arg-type]
