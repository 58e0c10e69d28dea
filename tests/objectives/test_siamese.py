from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from limbeck.augmentations.dsa_augment import DSAAugment
from limbeck.core.batch import ClassBatch, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Peers
from limbeck.core.errors import InputError
from limbeck.core.streams import Stream
from limbeck.objectives.siamese import Pair, Siamese
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain


@dataclass(frozen=True, kw_only=True)
class Watching(Siamese):
    """Keeps what it was shown."""

    seen: list[Pair]

    def compare(self, view: View, pair: Pair) -> Tensor:
        self.seen.append(pair)
        return pair.synthetic.sum()


def shown(peers: Peers, batch: ClassBatch, view: View) -> Pair:
    watching = Watching(seen=[])
    watching.loss(view, batch, peers)
    return watching.seen[0]


def test_both_sides_are_normalized_and_augmented_alike(
    context_of: Callable[..., Context], view_of: Callable[..., View]
) -> None:
    context = context_of()
    augmentation = DSAAugment(tokens=("color", "crop", "rotate"), mode="multiple")
    peers = Peers(Plain(), augmentation, context.spec)
    real = context.data.images(context.data.class_rows(2)[:4])
    draws = augmentation.draw(Stream(5), context.spec.shape, None)
    # The stored images are the real ones, so what is shown must be the same.
    batch = ClassBatch(2, real.clone().requires_grad_(), torch.full((4,), 2), real, draws)
    pair = shown(peers, batch, view_of(context, "convnet1:width=2"))
    left, right = pair.real, pair.synthetic
    assert torch.equal(left, right) and torch.equal(pair.labels, pair.targets)
    assert not left.requires_grad and right.requires_grad
    assert torch.equal(left, augmentation.apply(context.spec.normalization.apply(real), draws))


def test_a_subset_takes_its_targets_along(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context = context_of()
    peers = Peers(Partition(factor=2), None, context.spec)
    stored = Stream(0).uniform(2, *context.spec.shape)
    chosen = torch.tensor([7, 0, 3])
    real = context.data.images(context.data.class_rows(0)[:4])
    batch = ClassBatch(0, stored, torch.arange(8), real, {}, chosen)
    pair = shown(peers, batch, view_of(context, "convnet1:width=2"))
    assert pair.targets.tolist() == [7, 0, 3]
    assert torch.equal(pair.synthetic, context.spec.normalization.apply(peers.parametrization.decode(stored))[chosen])


def test_zero_means_all(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=2)
    peers = Peers(Partition(factor=3), None, context.spec)
    watching = Watching(seen=[], synthetic_batch=0)
    assert watching.draw(context, Moment(0, 0, 1), 0, peers) == ({}, None)
    watching.check(context)
    with pytest.raises(InputError, match="objective 'watching' needs synthetic_batch of 0"):
        Watching(seen=[], synthetic_batch=-1).check(context)
