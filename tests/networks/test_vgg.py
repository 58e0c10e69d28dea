from __future__ import annotations

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.networks import VGG11


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
