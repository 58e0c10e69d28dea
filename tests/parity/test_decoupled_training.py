"""What networks of decoupled distillation are trained on and how, against recorded numbers of the released code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.ops import cutmix
from limbeck.ops.distillation import soft_loss
from limbeck.training.schedules import Schedule
from limbeck.training.settings import Mix
from tests.parity.vectors_dir import find

FILES = find("decoupled_misc")
TOLERANCE = 1e-12

pytestmark = pytest.mark.skipif(not FILES, reason="this directory of vectors holds none of the decoupled family")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("temperature", [20, 30])
def test_soft_loss(path: Path, temperature: int) -> None:
    arrays = np.load(path)
    student = torch.tensor(arrays["kd_student_logits"]).requires_grad_()
    teacher = torch.tensor(arrays["kd_teacher_logits"])
    loss = soft_loss(student, teacher, float(temperature), square=False)
    (gradient,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(loss.detach(), torch.tensor(arrays[f"kd_loss_T{temperature}"]), rtol=1e-9, atol=0)
    expected = torch.tensor(arrays[f"kd_grad_T{temperature}"])
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=TOLERANCE)
    squared = soft_loss(student.detach(), teacher, float(temperature), square=True)
    expected = torch.tensor(arrays[f"kd_tiny_loss_T{temperature}_times_T2"])
    torch.testing.assert_close(squared, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_mixing(path: Path) -> None:
    arrays = np.load(path)
    images, partner = torch.tensor(arrays["mix_in"]), torch.tensor(arrays["mix_index"])
    mixed = Mix(partner, share=float(arrays["mix_lam"])).apply(images)
    torch.testing.assert_close(mixed, torch.tensor(arrays["mixup_out"]), rtol=0, atol=TOLERANCE)
    top, left, bottom, right = arrays["cutmix_bbox"].tolist()
    cut = Mix(partner, (top, bottom, left, right)).apply(images)
    assert torch.equal(cut, torch.tensor(arrays["cutmix_out"]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_box_is_one_that_we_would_draw(path: Path) -> None:
    arrays = np.load(path)
    height, width = arrays["mix_in"].shape[-2:]
    top, left, bottom, right = arrays["cutmix_bbox"].tolist()
    share = float(arrays["mix_lam"])
    boxes = {cutmix.box(share, row, column, height, width) for row in range(height) for column in range(width)}
    assert (top, bottom, left, right) in boxes


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_cosine(path: Path) -> None:
    rates = np.load(path)["cosine_lr_base0p25_T20"]
    schedule = Schedule(kind="cosine")
    ours = [0.25 * schedule.factor(step, len(rates)) for step in range(len(rates))]
    assert ours == pytest.approx(rates.tolist(), rel=1e-12)
