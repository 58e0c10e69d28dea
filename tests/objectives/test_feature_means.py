from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.batch import ClassBatch, View
from limbeck.core.context import Context
from limbeck.core.contracts import Peers
from limbeck.core.errors import InputError
from limbeck.core.streams import Stream
from limbeck.objectives.feature_means import FeatureMeans
from limbeck.parametrizations.partition import Partition

NETWORK = "convnet2:width=3,activation=swish"


def batch_of(context: Context, peers: Peers) -> ClassBatch:
    stored = Stream(0).uniform(2, *context.spec.shape)
    real = context.data.images(context.data.class_rows(1)[:5])
    draws = peers.augmentation.draw(Stream(1), context.spec.shape, None) if peers.augmentation else {}
    return ClassBatch(1, stored, torch.ones(8, dtype=torch.int64), real, draws)


@pytest.mark.parametrize("block", [0, 1, -1])
def test_it_equals_an_ordinary_module(
    block: int, context_of: Callable[..., Context], view_of: Callable[..., View]
) -> None:
    context = context_of()
    view, peers = view_of(context, NETWORK), Peers(Partition(factor=2), IDCAugment(), context.spec)
    batch = batch_of(context, peers)
    module = view.network._make().double()
    module.load_state_dict(view.weights)
    seen = []
    for images in (batch.real, peers.parametrization.decode(batch.stored)):
        shown = peers.augmentation.apply(context.spec.normalization.apply(images), batch.draws)  # type: ignore[union-attr]
        seen.append(module(shown, "blocks")[block].mean(dim=0))
    loss = FeatureMeans(block=block).loss(view, batch, peers)
    torch.testing.assert_close(loss, (seen[0] - seen[1]).square().sum(), rtol=1e-12, atol=0)


def test_its_gradient_is_right(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context = context_of()
    view, peers = view_of(context, NETWORK), Peers(Partition(factor=2), None, context.spec)
    batch = batch_of(context, peers)

    def loss(stored: torch.Tensor) -> torch.Tensor:
        return FeatureMeans().loss(view, ClassBatch(1, stored, batch.targets, batch.real, {}), peers)

    assert torch.autograd.gradcheck(loss, batch.stored[:, :, :4, :4].repeat(1, 1, 2, 2).requires_grad_())


def test_a_block_that_is_not_there_is_refused(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context = context_of()
    peers = Peers(Partition(factor=2), None, context.spec)
    with pytest.raises(InputError, match=r"no block 2 in .* choose one from -2 to 1"):
        FeatureMeans(block=2).loss(view_of(context, NETWORK), batch_of(context, peers), peers)
