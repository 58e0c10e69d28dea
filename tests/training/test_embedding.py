from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.training.embedding import embed


@pytest.mark.parametrize("network", ["convnet1:width=4", "convnet1:width=4,norm=batch"])
@pytest.mark.parametrize("normalize", [True, False])
def test_embeddings_are_those_of_an_ordinary_module(
    context_of: Callable[..., Context], view_of: Callable[..., View], network: str, normalize: bool
) -> None:
    context = context_of()
    view, rows = view_of(context, network), torch.tensor([3, 0, 3, 20, 7])
    module = view.network._make().double().eval()
    module.load_state_dict(view.weights)
    images = context.data.images(rows)
    expected = module(context.spec.normalization.apply(images) if normalize else images, "embedding")
    found = embed(view, context.data, rows, normalize)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 2, 7, 100])
def test_chunks_change_nothing(context_of: Callable[..., Context], view_of: Callable[..., View], chunk: int) -> None:
    context = context_of()
    # Batch norm would give different embeddings if it looked at the batch.
    view, rows = view_of(context, "convnet1:width=4,norm=batch"), torch.arange(20)
    before = {name: tensor.clone() for name, tensor in view.weights.items()}
    found = embed(view, context.data, rows, chunk=chunk)
    torch.testing.assert_close(found, embed(view, context.data, rows), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(view.weights[name], tensor) for name, tensor in before.items())


def test_logits_instead_of_embeddings(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context = context_of()
    view, rows = view_of(context, "convnet1:width=4,norm=batch"), torch.arange(20)
    images = context.spec.normalization.apply(context.data.images(rows))
    expected = view.network(view.weights, images, train=False).detach()
    found = embed(view, context.data, rows, chunk=7, features="logits")
    assert found.shape == (20, 3)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
