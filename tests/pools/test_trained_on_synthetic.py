from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.pools.trained_on_synthetic import TrainedOnSynthetic
from limbeck.training.supervised import Training

NETWORK = "convnet1:width=4"


def synthetic(context: Context) -> tuple[Tensor, Tensor]:
    classes = context.spec.classes
    images = context.streams("synthetic").normal(2 * classes, *context.spec.shape).to(context.dtype)
    return images, torch.arange(classes).repeat_interleave(2)


def test_a_life_equals_a_plain_loop(context_of: Callable[..., Context]) -> None:
    context = context_of()
    pool = TrainedOnSynthetic(network=NETWORK, epochs=3, training=Training(lr=0.05, momentum=0.0, weight_decay=0.0))
    module = context.network(NETWORK)._make().double()
    module.load_state_dict(context.network(NETWORK).initial(context.streams("network", 4)))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    images, targets = synthetic(context)
    state = pool.draw(pool.init(context), context, 4)
    for step in range(3):
        state = pool.advance(state, context, Moment(4, step, 3), lambda: (images, targets))
        for _ in range(3 if step < 2 else 0):  # not after the last step; one batch per epoch
            optimizer.zero_grad()
            F.cross_entropy(module(images), targets).backward()
            optimizer.step()
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(state["weights"][name].detach(), tensor, rtol=0, atol=1e-12, msg=name)


def test_every_epoch_sees_all_images_in_batches(
    context_of: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of()
    images, targets = synthetic(context)
    batches: list[Tensor] = []
    monkeypatch.setattr(
        "limbeck.pools.trained_on_synthetic.supervised_step",
        lambda network, weights, velocity, images, *rest: batches.append(images),
    )
    pool = TrainedOnSynthetic(network=NETWORK, epochs=2, training=Training(batch_size=4))
    pool.advance(pool.draw(pool.init(context), context, 0), context, Moment(0, 0, 2), lambda: (images, targets))
    per_epoch = -(-len(images) // 4)
    assert len(batches) == 2 * per_epoch
    first, second = torch.cat(batches[:per_epoch]), torch.cat(batches[per_epoch:])
    assert not torch.equal(first, second)
    for epoch in (first, second):
        assert torch.equal(epoch.flatten(1).sum(1).sort().values, images.flatten(1).sum(1).sort().values)


def test_batch_norm_is_matched_with_statistics_of_real_images(context_of: Callable[..., Context]) -> None:
    context = context_of()
    network = f"{NETWORK},norm=batch"
    pool = TrainedOnSynthetic(network=network, epochs=1, statistics=4)
    state = pool.draw(pool.init(context), context, 0)
    view = pool.view(state, context)
    assert not view.train
    mean = next(name for name in state["weights"] if name.endswith("running_mean"))
    rows = [
        context.data.class_rows(label)[
            context.streams("batch norm", 0, 0, label).permutation(len(context.data.class_rows(label)))[:4]
        ]
        for label in range(context.spec.classes)
    ]
    images = context.spec.normalization.apply(context.data.images(torch.cat(rows)))
    fresh = context.network(network).initial(context.streams("network", 0))
    context.network(network)(fresh, images, train=True)
    torch.testing.assert_close(state["weights"][mean], fresh[mean])
    before = state["weights"][mean].clone()
    state = pool.advance(state, context, Moment(0, 0, 2), lambda: synthetic(context))
    assert not torch.equal(state["weights"][mean], before)
    assert TrainedOnSynthetic(network=NETWORK).view({"weights": {}, "velocity": {}}, context).train


@pytest.mark.parametrize("wrong", [{"epochs": -1}, {"statistics": 0}])
def test_wrong_values_are_refused(context_of: Callable[..., Context], wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="needs epochs >= 0 and statistics >= 1"):
        TrainedOnSynthetic(network=NETWORK, **wrong).check(context_of())  # type: ignore[arg-type]
