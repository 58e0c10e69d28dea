from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.context import Context
from limbeck.core.execution import Execution
from limbeck.training.ensemble import side_by_side as networks_side_by_side
from limbeck.training.ensemble import stack
from limbeck.training.gradients import Lesson, by_labels, by_teacher, gradient, side_by_side
from limbeck.training.lessons import SoftLoss
from limbeck.training.settings import Mix

MIX = Mix(torch.tensor([1, 2, 3, 4, 5, 0]), (0, 4, 0, 4))


def lesson(kind: str, seed: int, mix: Mix | None = MIX) -> tuple[Lesson, Callable[[Tensor], Tensor]]:
    """A lesson of each kind, and its loss of logits, written plainly."""
    generator = torch.Generator().manual_seed(seed)
    seen = torch.randn(6, 1, 8, 8, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 3, (6,), generator=generator)
    share = 1.0 if mix is None else 0.75
    other = labels if mix is None else labels[mix.partner]
    if kind == "classes":
        loss = lambda said: share * F.cross_entropy(said, labels) + (1 - share) * F.cross_entropy(said, other)  # noqa: E731
        return by_labels(seen, labels, mix), loss
    if kind == "probabilities":
        chances = torch.rand(6, 3, dtype=torch.float64, generator=generator).softmax(dim=1)
        mixed = chances if mix is None else share * chances + (1 - share) * chances[mix.partner]
        return by_labels(seen, chances, mix), lambda said: F.cross_entropy(said, mixed)
    logits = 5 * torch.randn(6, 3, dtype=torch.float64, generator=generator)
    found = by_teacher(seen, logits, SoftLoss(temperature=4.0))
    chances = (logits / 4).softmax(dim=1)
    return found, lambda said: F.kl_div((said / 4).log_softmax(dim=1), chances, reduction="batchmean")


@pytest.mark.parametrize("microbatch", [0, 4])
@pytest.mark.parametrize("kind", ["classes", "probabilities", "logits"])
def test_the_gradient_is_that_of_the_plain_loss_for_one_network_and_for_several(
    context_of: Callable[..., Context], kind: str, microbatch: int
) -> None:
    context = context_of()
    alone = context.network("convnet1:width=4")
    alone = alone.to(alone.device, alone.dtype, Execution(microbatch=microbatch))
    fresh = [alone.initial(context.streams("network", number)) for number in range(2)]
    lessons = [lesson(kind, 0), lesson(kind, 1, mix=None)]
    both = gradient(networks_side_by_side(alone, 2), stack(fresh), {}, side_by_side([one for one, _ in lessons]), True)
    for place, (weights, (one, plain)) in enumerate(zip(fresh, lessons, strict=True)):
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
        logits = alone(leaves, one.images)
        wanted = dict(zip(leaves, torch.autograd.grad(plain(logits), list(leaves.values())), strict=True))
        found, loss, _, guesses = gradient(alone, weights, {}, one, True)
        for name, tensor in wanted.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-12)
            torch.testing.assert_close(both[0][name][place], tensor, rtol=0, atol=1e-12)
        torch.testing.assert_close(loss, plain(logits).detach())
        torch.testing.assert_close(both[1][place], loss)
        assert torch.equal(guesses, logits.argmax(dim=1)) and torch.equal(both[3][place], guesses)


def test_nobody_guesses_unwatched_and_one_lesson_stays_as_it_is(context_of: Callable[..., Context]) -> None:
    context, (one, _) = context_of(), lesson("classes", 0)
    network = context.network("mlp")
    assert gradient(network, network.initial(context.streams("network")), {}, one, False)[3].numel() == 0
    assert side_by_side([one]) is one
