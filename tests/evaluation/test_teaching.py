from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.data import Data
from limbeck.evaluation.teaching import recipe_teacher, taught_by, teacher_context, teacher_labels
from limbeck.methods.random import random
from limbeck.training.supervised import accuracy
from limbeck.training.teacher import Teacher
from tests.engine.tiny import tiny_idc
from tests.evaluation.taught import TEACHER, PoolWithTeacher, by_teacher


def with_teacher(teacher: Teacher = TEACHER) -> Any:
    return replace(random(), pool=PoolWithTeacher(teacher))


def test_a_recipe_brings_the_teacher_of_its_pool() -> None:
    assert recipe_teacher(with_teacher()) is TEACHER
    assert recipe_teacher(random()) is None and recipe_teacher(tiny_idc()) is None


def test_a_teacher_is_trained_once_and_knows_the_digits(digits: Data, tmp_path: Path) -> None:
    said: list[str] = []
    context = teacher_context(TEACHER, digits.train, cache=tmp_path, say=said.append)
    labels = teacher_labels(TEACHER, context)
    assert any("training" in line for line in said)
    known = labels.teacher
    assert known.class_names == digits.spec.class_names
    test = digits.require_test()
    images = digits.spec.normalization.apply(test.images(range(len(test))))
    assert accuracy(known.network, known.weights, lambda rows: images[rows], test.labels) > 0.8
    said.clear()
    again = teacher_labels(TEACHER, teacher_context(TEACHER, digits.train, cache=tmp_path, say=said.append))
    assert again.digest == labels.digest == by_teacher().digest
    assert said and not any(line.startswith("training") for line in said)
    assert taught_by(TEACHER, digits.train, cache=tmp_path).digest == labels.digest
    assert labels.bytes == sum(t.numel() * t.element_size() for t in known.weights.values())


def test_a_teacher_that_cannot_be_is_refused(digits: Data) -> None:
    with pytest.raises(InputError, match="did you mean 'convnet3'"):
        teacher_context(Teacher(network="convnet_3"), digits.train)
    missing = Teacher(network="convnet3", weights="nowhere.safetensors")
    with pytest.raises(
        InputError, match=r"teacher of the protocol has weights 'nowhere\.safetensors', which is no file"
    ):
        teacher_labels(missing, teacher_context(missing, digits.train))


def test_weights_do_not_depend_on_the_seed_of_a_run(digits: Data) -> None:
    context = teacher_context(TEACHER, digits.train, cache=False)
    loaded = TEACHER.load(replace(context, streams=type(context.streams)(5)))
    assert all(torch.equal(loaded[name], tensor) for name, tensor in by_teacher().teacher.weights.items())
