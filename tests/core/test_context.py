from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from limbeck.core.context import Context


def test_a_network_is_built_once_and_has_the_dtype_of_the_run(context_of: Callable[..., Context]) -> None:
    context = context_of()
    network = context.network("convnet1:width=2")
    assert context.network("convnet1:width=2") is network
    assert context.network("convnet1:width=3") is not network
    weights = network.initial(context.streams("network", 0))
    assert {tensor.dtype for tensor in weights.values()} == {torch.float64}


def test_a_changed_context_does_not_share_networks(context_of: Callable[..., Context]) -> None:
    context = context_of()
    wide = context.network("convnet1:width=2")
    narrow = replace(context, dtype=torch.float32).network("convnet1:width=2")
    assert (wide.dtype, narrow.dtype) == (torch.float64, torch.float32)


def test_spec_is_that_of_the_data(context_of: Callable[..., Context]) -> None:
    context = context_of()
    assert context.spec is context.data.spec
    assert context.spec.shape == (1, 8, 8) and context.spec.classes == 3
