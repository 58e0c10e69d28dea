from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from limbeck.augmentations.dsa_augment import DSAAugment
from limbeck.core.batch import Block, ClassBatch, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Peers
from limbeck.core.errors import InputError
from limbeck.core.execution import Execution
from limbeck.core.recipe import part_name
from limbeck.core.streams import Stream
from limbeck.objectives.feature_means import FeatureMeans
from limbeck.objectives.gradient import GradientMatching
from limbeck.objectives.kernel_mmd import KernelMMD
from limbeck.objectives.mean_embedding import MeanEmbedding
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


@pytest.mark.parametrize("objective", [GradientMatching(), MeanEmbedding(), FeatureMeans(), KernelMMD()], ids=part_name)
@pytest.mark.parametrize("blocks", ["loop", "vmap"])
def test_a_union_is_compared_as_one_set(
    objective: Siamese, blocks: str, context_of: Callable[..., Context], view_of: Callable[..., View]
) -> None:
    """Finished images count as those that are learnt do, and what is learnt has its part of the gradient."""
    context = context_of(execution=Execution(blocks=blocks))
    augmentation = DSAAugment(tokens=("color", "crop"), mode="multiple")
    peers, labels, view = Peers(Plain(), augmentation, context.spec), (0, 1), view_of(context)
    real = torch.stack([context.data.images(context.data.class_rows(label)[:4]) for label in labels])
    stored = torch.stack([context.data.images(context.data.class_rows(label)[4:9]) for label in labels])
    draws = tuple(augmentation.draw(Stream(label), context.spec.shape, None) for label in labels)
    targets = torch.tensor(labels).view(2, 1).expand(2, 5)
    whole = Block(labels, stored, targets, real, (4, 4), draws)
    beside = context.spec.normalization.apply(stored[:, 2:])
    union = Block(labels, stored[:, :2], targets, real, (4, 4), draws, beside=beside)
    losses, gradients = objective.gradients(view, whole, peers)
    found, own = objective.gradients(view, union, peers)
    torch.testing.assert_close(found, losses, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(own, gradients[:, :2], rtol=1e-9, atol=1e-12)
    alone, _ = objective.gradients(view, Block(labels, stored[:, :2], targets[:, :2], real, (4, 4), draws), peers)
    assert not torch.allclose(alone, losses)


def test_room_for_finished_images() -> None:
    assert Watching(seen=[], synthetic_batch=10).room(4) == 6
    assert Watching(seen=[], synthetic_batch=10).room(12) == 0
    assert Watching(seen=[], synthetic_batch=0).room(400) is None
