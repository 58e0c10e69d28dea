from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from limbeck.core.streams import Stream
from limbeck.ops.distillation import soft_loss, soft_losses


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
@pytest.mark.parametrize("square", [False, True])
def test_it_is_the_divergence_of_the_softened_predictions(temperature: float, square: bool) -> None:
    student, teacher = (Stream(seed).normal(6, 5) * 3 for seed in (0, 1))
    expected = F.kl_div(
        F.log_softmax(student / temperature, 1), F.log_softmax(teacher / temperature, 1), log_target=True,
        reduction="batchmean",
    )  # fmt: skip
    expected = expected * (temperature**2 if square else 1)
    torch.testing.assert_close(soft_loss(student, teacher, temperature, square), expected, rtol=1e-12, atol=1e-15)
    each = soft_losses(student, teacher, temperature, square)
    assert each.shape == (6,) and (each > 0).all()
    assert soft_loss(teacher, teacher + 3.0, temperature, square).abs() < 1e-13  # logits know no common shift


def test_the_gradient_reaches_the_student_alone() -> None:
    student, teacher = Stream(0).normal(3, 4).requires_grad_(), Stream(1).normal(3, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(soft_loss(student, teacher, 2.0, False), student)
    expected = (F.softmax(student / 2, 1) - F.softmax(teacher / 2, 1)) / 2 / 3
    torch.testing.assert_close(gradient, expected.detach())
    assert not soft_loss(student.detach(), teacher, 2.0, False).requires_grad


def test_classes_without_any_chance_count_nothing() -> None:
    student = Stream(0).normal(2, 4).requires_grad_()
    chances = torch.tensor([[0.75, 0.25, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    loss = soft_loss(student, 5.0 * chances.log(), 5.0, False)
    said = F.log_softmax(student / 5, 1)
    known = 0.75 * (torch.tensor(0.75).double().log() - said[0, 0]) + 0.25 * (
        torch.tensor(0.25).double().log() - said[0, 1]
    )
    torch.testing.assert_close(loss, (known - said[1, 2]) / 2)
    (gradient,) = torch.autograd.grad(loss, student)
    assert torch.isfinite(gradient).all()
