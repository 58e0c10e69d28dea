from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.execution import Execution
from limbeck.training.counted import counted_step
from limbeck.training.supervised import Training, still, supervised_step


@pytest.mark.parametrize("network", ["convnet1:width=4", "convnet1:width=4,norm=batch"])
@pytest.mark.parametrize("microbatch", [0, 5])
@pytest.mark.parametrize("augmented", [False, True])
def test_it_is_the_supervised_step_with_a_count(
    context_of: Callable[..., Context], network: str, microbatch: int, augmented: bool
) -> None:
    context = context_of(execution=Execution(microbatch=microbatch))
    training = Training(lr=0.1, batch_size=12, augmentation=IDCAugment() if augmented else None)
    net = context.network(network)
    ours, theirs = (net.initial(context.streams("network")) for _ in range(2))
    speeds = still(net, ours), still(net, theirs)
    for step in range(4):
        rows = context.streams("rows", step).permutation(36)[:12]
        images = context.spec.normalization.apply(context.data.images(rows))
        labels, draws = context.data.labels[rows], training.draw(context.streams, context.spec.shape, 12, step)
        seen = images if not augmented else training.augmentation.apply(images, draws.augmentation)  # type: ignore[union-attr]
        before = net({name: tensor.clone() for name, tensor in theirs.items()}, seen)
        supervised_step(net, theirs, speeds[1], images, labels, training, draws, training.lr)
        right = counted_step(net, ours, speeds[0], images, labels, training, draws)
        assert float(right) == float((before.argmax(dim=1) == labels).sum())
        for name in ours:
            assert torch.equal(ours[name], theirs[name]), name
    assert float(right) > 0


def test_images_that_fill_a_compiled_part_are_not_counted(context_of: Callable[..., Context]) -> None:
    from limbeck.training.counted import _gradient

    context = context_of()
    net = context.network("convnet1:width=4")
    weights = net.initial(context.streams("network"))
    trained = {name: weights[name] for name in net.parameter_names()}
    images = torch.zeros(5, 1, 8, 8, dtype=torch.float64)
    label = int(net(weights, images)[0].argmax())
    share = torch.tensor([0.5, 0.5, 0.0, 0.0, 0.0], dtype=torch.float64)
    _, right, _ = _gradient(net, trained, {}, images, torch.full((5,), label), share)
    assert float(right) == 2


def test_mixed_images_are_refused(context_of: Callable[..., Context]) -> None:
    context, training = context_of(), Training(cutmix=1.0)
    net = context.network("convnet1:width=4")
    weights = net.initial(context.streams("network"))
    draws = training.draw(context.streams, context.spec.shape, 4, 0)
    images, labels = context.data.images(torch.arange(4)), context.data.labels[:4]
    with pytest.raises(InputError, match="set cutmix of this training to 0"):
        counted_step(net, weights, still(net, weights), images, labels, training, draws)
