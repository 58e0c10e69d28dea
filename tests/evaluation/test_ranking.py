from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.data import Data
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.evaluation import ranking
from limbeck.evaluation.evaluate import evaluate, evaluate_real
from limbeck.evaluation.protocols import Protocol, ast_official
from limbeck.evaluation.ranking import RankingProtocol, RankingRun, rank
from limbeck.methods.random import random
from limbeck.training.lessons import SoftLoss
from limbeck.training.settings import Training

TRAINING = Training(batch_size=32, augmentation=IDCAugment(operations=("crop",)), cutmix=0.5)
BASE = Protocol(name="tiny", networks=("mlp",), budget="updates", length=12, training=TRAINING)
PROTOCOL = RankingProtocol(base=BASE, runs=2, learning_rates=(1e-9, 0.05), augmentation=True)


@pytest.fixture(scope="module")
def distilled(digits: Data) -> Distilled:
    return distill(random(), digits, ipc=3, settings=Settings(device="cpu", progress="quiet"))


def test_scores_are_those_of_the_trainings_done_one_by_one(distilled: Distilled, digits: Data) -> None:
    calls: list[tuple[int, int]] = []
    found = rank(distilled, digits, PROTOCOL, seed=5, done=lambda done, total: calls.append((done, total)))
    assert calls == [(number, 12) for number in range(1, 13)]
    assert len({run.seed for run in found.runs}) == 2
    run, test = found.runs[1], digits.require_test()
    rated = replace(BASE, repeats=1, learning_rates=(1e-9, 0.05))
    plain = replace(rated, training=Training(batch_size=32))
    given: dict[str, Any] = {"seed": run.seed, "validation": digits.validation}
    assert run.accuracies["synthetic_hard"] == evaluate(distilled, test, plain, **given).mean
    assert run.accuracies["full_hard"] == evaluate_real(digits.train, test, plain, **given).mean
    assert run.accuracies["synthetic"] == evaluate(distilled, test, rated, **given).mean
    assert run.accuracies["synthetic_plain"] == run.accuracies["synthetic_hard"]
    assert set(run.learning_rates.values()) <= {1e-9, 0.05}
    recovery = run.accuracies["full_hard"] - run.accuracies["synthetic_hard"]
    improvement = run.accuracies["synthetic"] - run.accuracies["random"]
    scores = run.scores(PROTOCOL)
    assert scores["hard_label_recovery"] == pytest.approx(recovery)
    assert scores["improvement_over_random"] == pytest.approx(improvement)
    alpha = 0.5 * improvement - 0.5 * recovery
    assert scores["lrs"] == pytest.approx((math.exp(alpha) - math.exp(-1)) / (math.e - math.exp(-1)))
    assert found.mean()["lrs"] == pytest.approx(sum(one["lrs"] for one in found.scores()) / 2)
    assert rank(distilled, digits, PROTOCOL, seed=5).runs == found.runs


def test_random_images_are_real_ones_in_equal_number_and_others_in_every_run(
    distilled: Distilled, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    picked = ranking._random

    def noticed(*arguments: Any) -> Distilled:
        found = picked(*arguments)
        seen.append(found.stored)
        return found

    monkeypatch.setattr(ranking, "_random", noticed)
    rank(distilled, digits, replace(PROTOCOL, learning_rates=(0.05,), augmentation=False))
    one, other = seen
    assert one.shape == distilled.stored.shape
    assert not torch.equal(one, other)
    for label, images in enumerate(one):
        members = digits.train.images(digits.train.class_rows(label))
        assert all((members == image).flatten(1).all(dim=1).any() for image in images)


def test_a_set_that_has_learnt_a_step_size_keeps_it_and_random_images_search(
    distilled: Distilled, digits: Data
) -> None:
    learnt = replace(distilled, learnt={"student_lr": torch.tensor(0.03)})
    (run,) = rank(learnt, digits, replace(PROTOCOL, runs=1)).runs
    assert run.learning_rates["synthetic"] == run.learning_rates["synthetic_plain"] == pytest.approx(0.03)
    searched = ("synthetic_hard", "full_hard", "random", "random_plain")
    assert {run.learning_rates[name] for name in searched} <= {1e-9, 0.05}


def test_all_real_images_are_trained_on_once(
    distilled: Distilled, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = replace(PROTOCOL, runs=1, augmentation=False)
    first = rank(distilled, digits, protocol, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text())["accuracy"] == first.runs[0].accuracies["full_hard"]
    kept = file.read_text()
    file.write_text("{")
    assert rank(distilled, digits, protocol, cache=tmp_path).runs == first.runs, "a damaged file counts for nothing"
    assert file.read_text() == kept
    monkeypatch.setattr(ranking, "evaluate_real", None)
    assert rank(distilled, digits, protocol, cache=tmp_path).runs == first.runs
    with pytest.raises(TypeError):
        rank(distilled, digits, replace(protocol, full_batch_size=8), cache=tmp_path)
    monkeypatch.undo()
    rank(distilled, digits, protocol, cache=tmp_path, seed=1)
    assert len(list(tmp_path.iterdir())) == 2


def test_hard_trainings_are_augmented_when_that_is_asked_for() -> None:
    assert PROTOCOL.hard().training == Training(batch_size=32)
    assert replace(PROTOCOL, augment_hard=True).hard().training == TRAINING
    assert replace(PROTOCOL, full_batch_size=7).full().training.batch_size == 7
    soft = replace(PROTOCOL, base=replace(BASE, soft=SoftLoss()))
    assert soft.hard().soft is None and soft.own(None).soft == SoftLoss()
    assert PROTOCOL.trainings[-1] == "random_plain"
    assert replace(PROTOCOL, augmentation=False).trainings[-1] == "random"


def test_without_its_trainings_there_is_no_augmentation_score() -> None:
    accuracies = {"synthetic_hard": 0.2, "full_hard": 0.8, "synthetic": 0.5, "random": 0.35}
    run = RankingRun(0, accuracies, {})
    assert run.scores(PROTOCOL)["lrs"] == pytest.approx(0.1832, abs=5e-5)
    assert "ars" not in run.scores(PROTOCOL)
    whole = RankingRun(0, {**accuracies, "synthetic_plain": 0.4, "random_plain": 0.4}, {})
    assert whole.scores(PROTOCOL)["ars"] == pytest.approx((math.exp(0.075) - math.exp(-1)) / (math.e - math.exp(-1)))


def test_what_has_no_meaning_is_refused(distilled: Distilled, digits: Data) -> None:
    with pytest.raises(InputError, match="--validation above 0"):
        rank(distilled, replace(digits, validation=None), PROTOCOL)
    own = replace(distilled, learnt={"labels": torch.full((10, 3, 10), 0.1)})
    with pytest.raises(InputError, match="random images cannot have"):
        rank(own, digits, PROTOCOL)
    with pytest.raises(InputError, match="takes one network"):
        RankingProtocol(base=replace(BASE, networks=("mlp", "lenet")))
    with pytest.raises(InputError, match="looks at the test images during training"):
        RankingProtocol(base=ast_official())
    with pytest.raises(InputError, match="weights of a ranking"):
        RankingProtocol(base=BASE, label_weight=2)
