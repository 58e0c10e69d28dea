from __future__ import annotations

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.networks import MLP, AlexNet, LeNet


def test_published_parameter_count() -> None:
    with torch.device("meta"):
        network = AlexNet((3, 32, 32), 10, norm="batch")
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_874_122


def test_gray_28_gives_the_maps_of_32() -> None:
    with torch.device("meta"):
        for architecture in (LeNet, AlexNet):
            gray = architecture((1, 28, 28), 10)(torch.empty(2, 1, 28, 28), "blocks")
            color = architecture((3, 32, 32), 10)(torch.empty(2, 3, 32, 32), "blocks")
            assert [block.shape for block in gray] == [block.shape for block in color]


def test_mlp_takes_any_shape() -> None:
    assert tuple(MLP((2, 3, 5), 4, width=6)(torch.zeros(7, 2, 3, 5), "embedding").shape) == (7, 6)


def test_wrong_options() -> None:
    with pytest.raises(InputError, match="larger images"):
        LeNet((3, 12, 12), 10)
    with pytest.raises(InputError, match="larger images"):
        AlexNet((3, 7, 7), 10)
    with pytest.raises(InputError, match="unknown norm"):
        AlexNet((3, 32, 32), 10, norm="layer")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="width"):
        MLP((3, 8, 8), 10, width=0)
