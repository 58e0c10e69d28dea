"""The recursion against autograd through all steps, on functions whose gradient is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from limbeck.ops import trajectory as ops


def stretched(theta: list[Tensor], x: Tensor) -> Tensor:
    """A loss that is neither linear nor quadratic in two tensors of parameters and one of data."""
    first, second = theta
    return torch.sin(first @ x).sum() + (second * x).pow(3).sum() + (first.sum() * second).square().sum()


def gradient(theta: list[Tensor], x: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(stretched(theta, x), theta, create_graph=True))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("compared", [(5,), (2, 5), (1, 1, 3, 5)])
def test_adjoint_equals_autograd(momentum: float, compared: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    start, batches, lr = [draw(3, 4), draw(4)], draw(5, 4).requires_grad_(), torch.tensor(0.03, dtype=torch.float64)
    comparisons = [ops.Comparison(step, [draw(3, 4), draw(4)], draw().abs()) for step in compared]

    # Through the graph of all steps.
    rate = lr.clone().requires_grad_()
    theta = [part.clone().requires_grad_() for part in start]
    velocity, total = [torch.zeros_like(part) for part in start], torch.zeros((), dtype=torch.float64)
    for number in range(5):
        velocity = [momentum * old + new for old, new in zip(velocity, gradient(theta, batches[number]), strict=True)]
        theta = [part - rate * ahead for part, ahead in zip(theta, velocity, strict=True)]
        total = total + sum(each.loss(theta) for each in comparisons if each.step == number + 1)
    of_batches, of_rate = torch.autograd.grad(total, (batches, rate))

    # One step at a time.
    found = torch.zeros_like(batches)

    def advance(number: int, theta: list[Tensor], velocity: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        leaves = [part.detach().requires_grad_() for part in theta]
        ahead = [
            momentum * old + new.detach() for old, new in zip(velocity, gradient(leaves, batches[number]), strict=True)
        ]
        return [part - lr * step for part, step in zip(theta, ahead, strict=True)], ahead

    def pull(number: int, theta: list[Tensor], heading: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        leaves, x = [part.detach().requires_grad_() for part in theta], batches[number].detach().requires_grad_()
        value = sum((ahead * new).sum() for ahead, new in zip(heading, gradient(leaves, x), strict=True))
        *below, of_x = torch.autograd.grad(value, (*leaves, x))
        found[number].sub_(lr * of_x)
        return value.detach(), below

    iterates = ops.iterates(advance, start, 5)
    torch.testing.assert_close(iterates[-1], [part.detach() for part in theta], rtol=1e-12, atol=1e-14)
    assert all(part.data_ptr() != other.data_ptr() for part, other in zip(iterates[0], iterates[1], strict=True))
    terms = sum(each.loss(iterates[each.step]) for each in comparisons)
    torch.testing.assert_close(terms, total.detach(), rtol=1e-12, atol=1e-14)
    slope = ops.adjoint(pull, iterates, lr, momentum, comparisons)
    torch.testing.assert_close(slope, of_rate, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found, of_batches, rtol=1e-12, atol=1e-14)


def test_balance_grows_with_the_start_and_jumps_at_the_middle() -> None:
    found = [ops.balance(start, 20) for start in range(20)]
    assert found[10] == pytest.approx(math.log(8, 5)) and found[9] == pytest.approx(1 / math.log(9, 5))
    assert found == sorted(found)
    assert ops.balance(10, 20, base=math.e) == pytest.approx(2.0794415)


@pytest.mark.parametrize(("steps", "span", "paper", "official"), [(20, 3, (6, 13), (6, 12)), (30, 2, (15,), (15,))])
def test_points(steps: int, span: int, paper: tuple[int, ...], official: tuple[int, ...]) -> None:
    assert ops.points(steps, span) == paper
    assert ops.points(steps, span, "official") == official


def test_filters_move_by_a_share_of_their_norm_and_vectors_stay() -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = {"kernel": (6, 3, 3, 3), "bias": (6,), "matrix": (4, 10)}
    weights = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    noise = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    for linear in (False, True):
        moved = ops.perturbed_filters(weights, noise, 0.1, linear)
        step = (moved["kernel"] - weights["kernel"]).flatten(1).norm(dim=1)
        torch.testing.assert_close(step, 0.1 * weights["kernel"].flatten(1).norm(dim=1))
        assert torch.equal(moved["bias"], weights["bias"])
        assert torch.equal(moved["matrix"], weights["matrix"]) != linear
    moved = ops.perturbed_tensors(weights, noise, 1.0)
    assert torch.equal(moved["bias"], weights["bias"]) and torch.equal(moved["matrix"], weights["matrix"])
    step = (moved["kernel"] - weights["kernel"]) / weights["kernel"]
    torch.testing.assert_close(step.norm(), torch.tensor(1.0, dtype=torch.float64))


def test_dropping_sets_entries_to_zero_and_leaves_the_others() -> None:
    weight, chances = torch.arange(1.0, 7.0), torch.tensor([0.05, 0.5, 0.09, 0.1, 0.9, 0.0])
    torch.testing.assert_close(ops.dropped(weight, chances, 0.1), torch.tensor([0.0, 2.0, 0.0, 4.0, 5.0, 0.0]))
