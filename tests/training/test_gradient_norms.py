from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.training import gradient_norms as module
from limbeck.training.gradient_norms import gradient_norms


@pytest.mark.parametrize("name", ["convnet2:width=4", "convnet2:width=4,norm=batch"])
def test_they_are_those_of_one_image_after_the_other(
    name: str, context_of: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of()
    network = context.network(name)
    weights: dict[str, Any] = network.initial(context.streams("network"))
    rows = torch.cat([context.data.class_rows(label)[:3] for label in (0, 1)])
    images, labels = context.spec.normalization.apply(context.data.images(rows)), context.data.labels[rows]
    expected = []
    for image, label in zip(images, labels, strict=True):
        leaves = {key: weights[key].clone().requires_grad_() for key in network.parameter_names()}
        loss = F.cross_entropy(network({**weights, **leaves}, image[None], train=False), label[None])
        found = torch.autograd.grad(loss, list(leaves.values()))
        expected.append(torch.cat([one.flatten() for one in found]).norm())
    before = {key: tensor.clone() for key, tensor in weights.items()}
    for numbers in (module._NUMBERS, 1):  # all at once, and one by one
        monkeypatch.setattr(module, "_NUMBERS", numbers)
        norms = gradient_norms(View(network, weights), images, labels)
        torch.testing.assert_close(norms, torch.stack(expected))
    assert all(torch.equal(tensor, before[key]) for key, tensor in weights.items())
