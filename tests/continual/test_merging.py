from dataclasses import replace

import pytest
import torch

import limbeck as lb
from limbeck.continual.merging import merged
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.data.of_classes import of_classes
from limbeck.methods.random import random

DIGITS = lb.data.load("digits")


def distilled(numbers: tuple[int, ...], **changes: int) -> Distilled:
    return lb.distill(random(), of_classes(DIGITS, numbers), **{"ipc": 2, **changes})


def test_the_sets_come_one_after_the_other() -> None:
    first, second = distilled((3, 8)), distilled((1, 0, 4))
    whole = merged([first, second], of_classes(DIGITS, (3, 8, 1, 0, 4)).spec)
    images, labels = whole.decoded()
    assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert torch.equal(images, torch.cat([first.decoded()[0], second.decoded()[0]]))
    assert whole.bytes == first.bytes + second.bytes and whole.soft_labels is None and whole.student_lr is None


def test_soft_labels_know_nothing_of_other_classes_and_step_sizes_are_averaged() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = []
    for numbers, rate in (((3, 8), 0.01), ((1, 0, 4), 0.04)):
        labels = torch.rand(len(numbers), 2, len(numbers), generator=generator).softmax(-1)
        learnt = {"labels": labels, "student_lr": torch.tensor(rate)}
        parts.append(replace(distilled(numbers), learnt=learnt))
    whole = merged(parts, of_classes(DIGITS, (3, 8, 1, 0, 4)).spec)
    soft = whole.soft_labels
    assert soft is not None and soft.shape == (10, 5)
    assert torch.equal(soft[:4, :2], parts[0].soft_labels) and torch.equal(soft[4:, 2:], parts[1].soft_labels)
    assert not soft[:4, 2:].any() and not soft[4:, :2].any()
    assert whole.student_lr == pytest.approx(0.02)


def test_what_does_not_fit_together_is_refused() -> None:
    first, second = distilled((3, 8)), distilled((1, 0))
    spec = of_classes(DIGITS, (3, 8, 1, 0)).spec
    with pytest.raises(InputError, match="merge in order"):
        merged([second, first], spec)
    with pytest.raises(InputError, match="distil all steps alike"):
        merged([first, distilled((1, 0), ipc=3)], spec)
    with pytest.raises(InputError, match="distil all steps alike"):
        merged([first, replace(second, recipe=replace(random(), name="other"))], spec)
    other = of_classes(lb.data.load("digits", split_seed=1), (1, 0))
    with pytest.raises(InputError, match="normalized otherwise"):
        merged([first, lb.distill(random(), other, ipc=2)], spec)
