from __future__ import annotations

import copy
import pickle
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.augmentations.imagenet_augment import ImagenetAugment
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.execution import ExecutionSettings
from limbeck.core.executor import Executor
from limbeck.core.real import DataSpec, Normalization, RealSet
from limbeck.data import Data
from limbeck.data import load as load_data
from limbeck.data.images import ImageSet
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.evaluation.evaluate import evaluate, evaluate_real
from limbeck.evaluation.images import Rows
from limbeck.evaluation.protocols import Protocol
from limbeck.evaluation.scores import Reached, Scores
from limbeck.formats.native import load
from limbeck.methods.random import random
from limbeck.storage.directory import write_set
from limbeck.training.supervised import Training
from tests.engine.tiny import NETWORK

PROTOCOL = Protocol(name="tiny", networks=(NETWORK, "mlp"), repeats=2, budget="updates", length=4)


@pytest.fixture(scope="module")
def distilled(digits: Data) -> Distilled:
    return distill(random(), digits, ipc=2, settings=Settings(device="cpu", progress="quiet"))


def figures(scores: Scores) -> list[tuple[float, ...]]:
    return [entry.accuracies for entry in scores.networks]


def test_scores_say_what_was_done(distilled: Distilled, digits: Data) -> None:
    calls: list[tuple[int, int]] = []
    scores = evaluate(
        distilled, digits.require_test(), PROTOCOL, seed=3, done=lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [entry.network for entry in scores.networks] == [NETWORK, "mlp"]
    assert (scores.images, scores.test_images, scores.seed) == (20, len(digits.require_test()), 3)
    assert scores.protocol == PROTOCOL
    assert scores.seconds > 0
    every = [value for entry in scores.networks for value in entry.accuracies]
    assert len(every) == 4
    assert all(0 <= value <= 1 for value in every)
    assert scores.mean == pytest.approx(statistics.fmean(every))
    assert scores.std == pytest.approx(statistics.stdev(every))
    first = scores.networks[0]
    assert first.std == pytest.approx(abs(first.accuracies[0] - first.accuracies[1]) / 2**0.5)
    assert {entry.lr for entry in scores.networks} == {0.01}


def test_an_augmentation_that_is_not_made_for_the_images_is_refused(distilled: Distilled, digits: Data) -> None:
    protocol = replace(PROTOCOL, training=Training(augmentation=ImagenetAugment()))
    with pytest.raises(InputError, match="made for three channels and 'digits' has 1"):
        evaluate(distilled, digits.require_test(), protocol)


def test_seeds_are_recorded_and_distinct_and_decide(distilled: Distilled, digits: Data) -> None:
    test = digits.require_test()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    one, other = evaluate(distilled, test, PROTOCOL), evaluate(distilled, test, PROTOCOL)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert figures(one) == figures(other)
    seeds = [seed for entry in one.networks for seed in entry.seeds]
    assert len(set(seeds)) == 4
    assert [entry.seeds for entry in other.networks] == [entry.seeds for entry in one.networks]
    changed = evaluate(distilled, test, PROTOCOL, seed=1)
    assert not {seed for entry in changed.networks for seed in entry.seeds} & set(seeds)
    assert figures(changed) != figures(one)


def test_networks_do_not_depend_on_one_another(distilled: Distilled, digits: Data) -> None:
    test = digits.require_test()
    both = evaluate(distilled, test, PROTOCOL)
    alone = evaluate(distilled, test, replace(PROTOCOL, networks=("mlp",), repeats=1))
    assert alone.networks[0].accuracies[0] == both.networks[1].accuracies[0]


# Executors.


class Remote(Executor):
    """Sends everything through pickle and works from the last task to the first."""

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        results = {}
        for index in reversed(range(len(tasks))):
            run, task = pickle.loads(pickle.dumps((function, tasks[index])))
            results[index] = pickle.loads(pickle.dumps(run(task)))
        return iter([results[index] for index in range(len(tasks))])


def test_another_executor_gives_the_same_result(distilled: Distilled, digits: Data) -> None:
    protocol = replace(PROTOCOL, learning_rates=(0.001, 0.05))
    arguments = {"validation": digits.validation, "seed": 1}
    here = evaluate(distilled, digits.require_test(), protocol, **arguments)  # type: ignore[arg-type]
    there = evaluate(distilled, digits.require_test(), protocol, **arguments, executor=Remote())  # type: ignore[arg-type]
    assert here.networks == there.networks
    short = replace(PROTOCOL, networks=(NETWORK,))
    real = evaluate_real(digits.train, digits.require_test(), short)
    assert real.networks == evaluate_real(digits.train, digits.require_test(), short, executor=Remote()).networks


def test_networks_side_by_side_reach_what_they_reach_one_after_another(distilled: Distilled, digits: Data) -> None:
    protocol, calls = replace(PROTOCOL, repeats=3, length=30), list[tuple[int, int]]()
    test, settings = digits.require_test(), ExecutionSettings(together=2)
    apart = evaluate(distilled, test, protocol)
    beside = evaluate(
        distilled, test, protocol, execution=settings, done=lambda done, total: calls.append((done, total))
    )
    assert calls == [(2, 6), (3, 6), (5, 6), (6, 6)]
    for one, other in zip(beside.networks, apart.networks, strict=True):
        assert (one.seeds, one.lr) == (other.seeds, other.lr)
        assert one.accuracies == pytest.approx(other.accuracies, abs=0.01)
        assert (one.execution.together, other.execution.together) == (2, 1)
    there = evaluate(distilled, test, protocol, execution=settings, executor=Remote())
    assert there.networks == beside.networks
    # On a CPU nothing is put side by side by itself.
    assert evaluate(distilled, test, replace(protocol, length=1)).networks[0].execution.together == 1


def test_an_architecture_that_cannot_be_side_by_side_is_not(
    distilled: Distilled, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limbeck.evaluation.evaluate.stackable", lambda network, shape: network.name == "mlp")
    scores = evaluate(distilled, digits.require_test(), PROTOCOL, execution=ExecutionSettings(together=8))
    assert [entry.execution.together for entry in scores.networks] == [1, 2]
    assert figures(scores)[0] == figures(evaluate(distilled, digits.require_test(), PROTOCOL))[0]


@dataclass
class Scripted(Executor):
    """Trains nothing, but answers with the accuracy that a step size is said to reach."""

    reached: dict[float, float]
    judged_by: list[tuple[float, list[int]]] = field(default_factory=list)

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        for (task,) in tasks:
            self.judged_by.append((task.lr, task.judges.labels.tolist()))
            yield (Reached(self.reached[task.lr]),)


def test_step_sizes_are_chosen_on_the_validation_part_only(distilled: Distilled, digits: Data) -> None:
    assert digits.validation is not None
    protocol = replace(PROTOCOL, networks=(NETWORK,), learning_rates=(0.1, 0.2, 0.3))
    executor = Scripted({0.1: 0.4, 0.2: 0.9, 0.3: 0.5})
    test = digits.require_test()
    scores = evaluate(distilled, test, protocol, validation=digits.validation, executor=executor)
    assert scores.networks[0].lr == 0.2
    held_out, final = digits.validation.labels.tolist(), test.labels.tolist()
    assert executor.judged_by == [(0.1, held_out), (0.2, held_out), (0.3, held_out), (0.2, final), (0.2, final)]


def test_the_chosen_step_size_is_used(distilled: Distilled, digits: Data) -> None:
    protocol = replace(PROTOCOL, networks=("mlp",), repeats=1, length=20, learning_rates=(1e-9, 0.02))
    chosen = evaluate(distilled, digits.require_test(), protocol, validation=digits.validation)
    fixed = replace(protocol, learning_rates=(), training=Training(lr=0.02))
    assert chosen.networks[0].lr == 0.02
    assert figures(chosen) == figures(evaluate(distilled, digits.require_test(), fixed))


def test_a_choice_without_validation_images_is_refused(distilled: Distilled, digits: Data) -> None:
    protocol = replace(PROTOCOL, learning_rates=(0.1, 0.2))
    with pytest.raises(InputError, match="--validation above 0"):
        evaluate(distilled, digits.require_test(), protocol)
    with pytest.raises(InputError, match="--validation above 0"):
        evaluate_real(digits.train, digits.require_test(), protocol)
    scores = evaluate_real(
        digits.train,
        digits.require_test(),
        replace(protocol, networks=(NETWORK,)),
        validation=digits.validation,
        executor=Scripted({0.1: 0.0, 0.2: 1.0}),
    )
    assert scores.networks[0].lr == 0.2


# The test set.


class Counting(RealSet):
    """Notes who is read when."""

    def __init__(self, data: RealSet, name: str, events: list[tuple[str, list[int]]]) -> None:
        self.spec: DataSpec = data.spec
        self._data, self._name, self._events = data, name, events

    @property
    def labels(self) -> Tensor:
        return self._data.labels

    def class_rows(self, label: int) -> Tensor:
        return self._data.class_rows(label)

    def images(self, rows: Tensor | Sequence[int]) -> Tensor:
        self._events.append((self._name, torch.as_tensor(rows).flatten().tolist()))
        return self._data.images(rows)

    def to(self, device: torch.device, dtype: torch.dtype) -> RealSet:
        other = copy.copy(self)
        other._data = self._data.to(device, dtype)
        return other


def test_the_test_set_is_read_once_per_network_after_its_training(distilled: Distilled, digits: Data) -> None:
    assert digits.validation is not None
    events: list[tuple[str, list[int]]] = []
    test = Counting(digits.require_test(), "test", events)
    validation = Counting(digits.validation, "validation", events)
    protocol = replace(PROTOCOL, learning_rates=(0.001, 0.01))
    evaluate(distilled, test, protocol, validation=validation)
    order = [name for name, _ in events]
    assert order == ["validation"] * order.count("validation") + ["test"] * order.count("test")
    rows = sorted(row for name, read in events if name == "test" for row in read)
    assert rows == sorted(list(range(len(test))) * 4)
    rows = sorted(row for name, read in events if name == "validation" for row in read)
    assert rows == sorted(list(range(len(validation))) * 4)


def test_real_training_reads_the_test_set_after_the_last_step(digits: Data) -> None:
    events: list[tuple[str, list[int]]] = []
    train, test = (Counting(data, name, events) for data, name in ((digits.train, "train"), (digits.test, "test")))
    evaluate_real(train, test, replace(PROTOCOL, networks=(NETWORK,), repeats=1))
    assert [name for name, _ in events] == ["train"] * 4 + ["test"] * -(-len(test) // 512)
    # Four batches of one shuffled epoch.
    assert len({row for _, read in events[:4] for row in read}) == 4 * 64


def test_test_images_are_seen_through_the_normalization_of_the_set(distilled: Distilled, digits: Data) -> None:
    test = digits.require_test()
    other = copy.copy(test)
    other.spec = replace(test.spec, normalization=Normalization((0.9,), (0.01,)))
    assert figures(evaluate(distilled, other, PROTOCOL)) == figures(evaluate(distilled, test, PROTOCOL))
    assert other.spec.normalization.mean == (0.9,)


@pytest.mark.parametrize(
    "change", [{"height": 16, "width": 4}, {"class_names": tuple("9876543210")}, {"channels": 3}], ids=str
)
def test_test_images_that_do_not_fit_are_refused(change: dict[str, Any], distilled: Distilled, digits: Data) -> None:
    other = copy.copy(digits.require_test())
    other.spec = replace(other.spec, **change)
    with pytest.raises(InputError, match="do not fit"):
        evaluate(distilled, other, PROTOCOL)
    with pytest.raises(InputError, match="do not fit"):
        evaluate_real(digits.train, other, PROTOCOL)


def test_an_unknown_network_is_refused_before_any_training(distilled: Distilled, digits: Data) -> None:
    executor = Scripted({})
    with pytest.raises(InputError, match="unknown network"):
        evaluate(
            distilled, digits.require_test(), replace(PROTOCOL, networks=(NETWORK, "convnetto")), executor=executor
        )
    assert executor.judged_by == []


def test_images_stored_in_normalized_space_are_trained_on_alike(distilled: Distilled, digits: Data) -> None:
    """Decoding inverts the normalization and training applies it: the same images up to rounding."""
    recipe = distilled.recipe.with_(parametrization__space="normalized")
    stored = distilled.spec.normalization.apply(distilled.stored)
    other = replace(distilled, stored=stored, recipe=recipe)
    protocol = replace(PROTOCOL, networks=("mlp",), repeats=1)
    one, two = (evaluate(some, digits.require_test(), protocol).mean for some in (distilled, other))
    assert one == pytest.approx(two, abs=0.02)


def test_images_larger_than_the_protocol_is_made_for_are_refused(distilled: Distilled, digits: Data) -> None:
    evaluate(distilled, digits.require_test(), replace(PROTOCOL, largest_side=8, repeats=1, length=1))
    with pytest.raises(InputError, match="made for images of up to 7 pixels, not 8; use protocol 'limbeck'"):
        evaluate(distilled, digits.require_test(), replace(PROTOCOL, largest_side=7))


def test_a_whitened_set_is_judged_as_its_data_are(whitened: Data, tmp_path: Path) -> None:
    """Real images kept as a set, in either space and read back, teach what they teach as data."""
    rows = torch.cat([whitened.train.class_rows(label)[:5] for label in range(10)])
    assert isinstance(whitened.train, ImageSet)
    few = whitened.train.subset(rows)
    protocol = Protocol(name="tiny", networks=(NETWORK,), repeats=2, budget="updates", length=100)
    wanted = evaluate_real(few, whitened.require_test(), protocol)
    images = few.images(range(50)).unflatten(0, (10, 5))
    for space, stored in (("unit", images), ("normalized", whitened.spec.normalization.apply(images))):
        recipe = random().with_(parametrization__space=space)
        write_set(tmp_path / space, Distilled(stored, whitened.spec, recipe, seed=0))
        found = evaluate(load(tmp_path / space), whitened.require_test(), protocol)
        # Rounding alone differs, which moves few of 901 test images.
        assert figures(found)[0] == pytest.approx(figures(wanted)[0], abs=0.01)
    assert wanted.mean > 0.3


def test_sets_and_data_that_are_whitened_otherwise_are_refused(
    distilled: Distilled, digits: Data, whitened: Data
) -> None:
    white = replace(distilled, spec=whitened.spec)
    evaluate(white, whitened.require_test(), PROTOCOL)
    with pytest.raises(InputError, match=r"\(whitened and normalized \(measured\)\); load the data with .* zca"):
        evaluate(white, digits.require_test(), PROTOCOL)
    with pytest.raises(InputError, match=r"\(normalized \(measured\) and whitened\); load the data with .* measured"):
        evaluate(distilled, whitened.require_test(), PROTOCOL)
    other = load_data("digits", normalization="zca", split_seed=5).require_test()
    with pytest.raises(InputError, match=r"not whitened alike \(mean\[\d+\]: "):
        evaluate(white, other, PROTOCOL)


# What a set has learnt beside its images.


def carrying(distilled: Distilled, **learnt: Tensor) -> Distilled:
    return replace(distilled, learnt=learnt)


def test_networks_are_trained_with_the_step_size_of_the_set(distilled: Distilled, digits: Data) -> None:
    test, needing = digits.require_test(), replace(PROTOCOL, networks=("mlp",), length=20, lr_of_set="required")
    taught = evaluate(carrying(distilled, student_lr=torch.tensor(0.05, dtype=torch.float64)), test, needing)
    fixed = replace(needing, lr_of_set="ignored", training=Training(lr=0.05))
    assert taught.networks[0].lr == 0.05
    assert figures(taught) == figures(evaluate(distilled, test, fixed))
    preferring = replace(needing, lr_of_set="preferred", training=Training(lr=0.05))
    assert figures(evaluate(distilled, test, preferring)) == figures(taught)
    small = carrying(distilled, student_lr=torch.tensor(1e-9, dtype=torch.float64))
    assert evaluate(small, test, preferring).networks[0].lr == 1e-9
    # On an equal footing, what was learnt makes no difference.
    equal = replace(needing, lr_of_set="ignored")
    assert figures(evaluate(small, test, equal)) == figures(evaluate(distilled, test, equal))


def test_a_set_without_a_usable_step_size_is_refused(distilled: Distilled, digits: Data) -> None:
    test, needing = digits.require_test(), replace(PROTOCOL, lr_of_set="required")
    with pytest.raises(InputError, match=r"the set has none; name one \(--lr\), or take protocol 'limbeck'\.$"):
        evaluate(distilled, test, needing)
    with pytest.raises(InputError, match=r"training on all real images of 'digits' has none"):
        evaluate_real(digits.train, test, needing)
    for rate in (-0.01, 0.0, float("nan")):
        with pytest.raises(InputError, match="is not above 0"):
            evaluate(carrying(distilled, student_lr=torch.tensor(rate)), test, needing)
    chosen = replace(needing, networks=(NETWORK,), repeats=1, learning_rates=(0.01, 0.02))
    assert evaluate(distilled, test, chosen, validation=digits.validation).networks[0].lr in (0.01, 0.02)


def test_soft_labels_of_a_set_are_what_networks_are_taught(distilled: Distilled, digits: Data) -> None:
    test, protocol = digits.require_test(), replace(PROTOCOL, networks=("mlp",), length=60)
    certain = torch.eye(10).repeat_interleave(2, 0).view(10, 2, 10)
    hard, same = evaluate(distilled, test, protocol), evaluate(carrying(distilled, labels=certain), test, protocol)
    assert same.mean == pytest.approx(hard.mean, abs=0.02)
    assert (hard.label_kind, hard.label_bytes, same.label_kind, same.label_bytes) == ("hard", 0, "own", 800)
    # Labels of the next class teach networks to say the next class.
    other = evaluate(carrying(distilled, labels=certain.roll(1, dims=2)), test, protocol)
    assert other.mean < 0.25 < hard.mean


def test_the_best_look_stands_beside_the_last_epoch(distilled: Distilled, digits: Data) -> None:
    events: list[tuple[str, list[int]]] = []
    test = Counting(digits.require_test(), "test", events)
    protocol = replace(PROTOCOL, networks=("mlp",), budget="epochs", length=5, checked_every=2)
    looked = evaluate(distilled, test, protocol)
    reads = sum(1 for _, rows in events if 0 in rows)
    assert reads == 2 * (3 + 1)  # after epochs 0, 2 and 4, and at the end
    plain = evaluate(distilled, digits.require_test(), replace(protocol, checked_every=0))
    assert figures(looked) == figures(plain) and plain.selected_on_test is None and not plain.networks[0].best
    lengths = [evaluate(distilled, digits.require_test(), replace(protocol, length=n, drops=())) for n in (1, 3, 5)]
    no_drops = evaluate(distilled, digits.require_test(), replace(protocol, drops=()))
    best = tuple(max(values) for values in zip(*(one.networks[0].accuracies for one in lengths), strict=True))
    assert no_drops.networks[0].best == best
    assert no_drops.selected_on_test == pytest.approx(statistics.fmean(best))


def test_segments_are_shown_in_turn(distilled: Distilled, digits: Data) -> None:
    test, in_turn = digits.require_test(), replace(PROTOCOL, networks=("mlp",), length=30, segments="in_turn")
    together = replace(in_turn, segments="together")
    whole, parts = replace(distilled, segments=(2,)), replace(distilled, segments=(1, 1))
    # One segment is the whole set; of two, the second is only seen in the second half.
    assert figures(evaluate(whole, test, in_turn)) == figures(evaluate(whole, test, together))
    assert figures(evaluate(parts, test, in_turn)) != figures(evaluate(parts, test, together))
    shown: list[int] = []

    class Counted(Rows):
        def __call__(self, rows: Tensor) -> Tensor:
            shown.extend(rows.tolist())
            return super().__call__(rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.evaluation.evaluate.Rows", Counted)
        evaluate(parts, test, replace(in_turn, repeats=1, budget="epochs", length=4))
    assert max(shown[:40]) == 9 and max(shown[40:]) == 19 and len(shown) == 80
    first, _ = parts.prefix(1).decoded()
    images, labels = parts.decoded_in_turn()[0]
    assert torch.equal(images, first) and labels.tolist() == list(range(10))


def test_what_cannot_be_shown_in_turn(distilled: Distilled, digits: Data) -> None:
    test, in_turn = digits.require_test(), replace(PROTOCOL, segments="in_turn")
    with pytest.raises(InputError, match="the images of this set were learnt together"):
        evaluate(distilled, test, in_turn)
    with pytest.raises(InputError, match="real images have none"):
        evaluate_real(digits.train, test, in_turn)
    soft = replace(distilled, segments=(1, 1), learnt={"labels": torch.full((10, 2, 10), 0.1)})
    with pytest.raises(InputError, match="do not follow"):
        evaluate(soft, test, in_turn)
