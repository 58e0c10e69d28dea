from __future__ import annotations

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.networks import DenseNet


def test_published_parameter_count() -> None:
    with torch.device("meta"):
        network = DenseNet((3, 32, 32), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_000_618


def test_blocks_are_stem_and_stages() -> None:
    with torch.device("meta"):
        network = DenseNet((3, 32, 32), 10, growth=4)
        maps = network(torch.empty(2, 3, 32, 32), "blocks")
    assert [block.shape[-1] for block in maps] == [32, 16, 8, 4, 4]


def test_wrong_sizes() -> None:
    with pytest.raises(InputError, match="at least 8 x 8"):
        DenseNet((3, 7, 32), 10)
    with pytest.raises(InputError, match="growth"):
        DenseNet((3, 32, 32), 10, growth=0)
