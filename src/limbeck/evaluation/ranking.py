"""DD-Ranking's procedure on one distilled set, without its leaks: what is chosen is chosen on validation images.

Networks are trained on the set by hard labels and as its method wants it, on all real images by hard labels, and on
random real images in equal number as the method wants it. Each is judged after its last epoch, on test images that are
read once. Every run has networks, and random images, from streams of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.execution import ExecutionSettings
from limbeck.core.executor import Executor
from limbeck.core.plain import encode
from limbeck.core.real import RealSet
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.evaluation.evaluate import evaluate, evaluate_real, require_same_whitening
from limbeck.evaluation.labels import ByTeacher
from limbeck.evaluation.protocol import Protocol
from limbeck.evaluation.scores import Scores
from limbeck.labelers.hard import Hard
from limbeck.ops import ranking
from limbeck.parametrizations.plain import Plain
from limbeck.storage.atomic import write_text
from limbeck.training.batches import repeated

__all__ = ["TRAININGS", "Ranking", "RankingProtocol", "RankingRun", "rank"]

TRAININGS = {
    "synthetic_hard": "the set by hard labels, not augmented unless that is asked for",
    "full_hard": "all real images, likewise",
    "synthetic": "the set by the labels and with the augmentation of its method",
    "random": "random real images in equal number, likewise",
    "synthetic_plain": "the set by the labels of its method, not augmented",
    "random_plain": "random real images in equal number, likewise",
}
"""What networks are trained on in each run; the last two for the robustness against augmentation alone."""
_VERSION = 1
"""Goes up whenever the same settings come to give other accuracies of all real images."""


@dataclass(frozen=True, kw_only=True)
class RankingProtocol:
    """How DD-Ranking's scores are measured."""

    base: Protocol
    """How networks are trained by the labels and with the augmentation of the method; its first network is used, once
    in each run, and its step size where the set has none is chosen from ``learning_rates``."""
    runs: int = 5
    """How often everything is done, each time from other streams."""
    learning_rates: tuple[float, ...] = (0.001, 0.005, 0.01, 0.05, 0.1)
    """Step sizes to choose from on the validation part."""
    augment_hard: bool = False
    """Whether images are augmented and mixed in trainings by hard labels, too."""
    augmentation: bool = False
    """Whether the robustness against leaving out the augmentation is measured, which takes two more trainings."""
    label_weight: float = 0.5
    """Weight of the improvement over random in the label robust score."""
    augmentation_weight: float = 0.5
    """Weight of the improvement with augmentation in the augmentation robust score."""
    full_batch_size: int = 0
    """Images per step on all real images; 0 takes that of ``base``."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.runs < 1 or not self.learning_rates or len(self.base.networks) != 1 or self.full_batch_size < 0:
            raise InputError(
                f"a ranking takes one network, at least one run and step size, and no negative batch, not "
                f"{self.base.networks}, {self.runs}, {self.learning_rates} and {self.full_batch_size}."
            )
        if self.base.checked_every:
            raise InputError(
                f"protocol '{self.base.name}' looks at the test images during training, which a ranking does not; take "
                "another."
            )
        if not (0 <= self.label_weight <= 1 and 0 <= self.augmentation_weight <= 1):
            raise InputError(
                f"weights of a ranking are in [0, 1], not {self.label_weight:g} and {self.augmentation_weight:g}."
            )

    @property
    def trainings(self) -> tuple[str, ...]:
        """What is trained in each run, names of `TRAININGS`."""
        names = tuple(TRAININGS)
        return names if self.augmentation else names[:4]

    def own(self, student_lr: float | None) -> Protocol:
        """As the method wants it, at the step size that its set has learnt, or one chosen on the validation part.

        Args:
            student_lr: what the set has learnt, or None.
        """
        once = replace(self.base, repeats=1)
        if student_lr is not None:
            return replace(once, lr_of_set="required", learning_rates=())
        return replace(once, lr_of_set="ignored", learning_rates=self.learning_rates)

    def plain(self, student_lr: float | None) -> Protocol:
        """The same, not augmented and not mixed."""
        own = self.own(student_lr)
        return replace(own, training=replace(own.training, augmentation=None, cutmix=0.0, mixup=0.0))

    def hard(self) -> Protocol:
        """By hard labels, at a step size chosen on the validation part."""
        return (self.own(None) if self.augment_hard else self.plain(None)).hard()

    def full(self) -> Protocol:
        """The same on all real images."""
        hard = self.hard()
        size = self.full_batch_size or hard.training.batch_size
        return replace(hard, training=replace(hard.training, batch_size=size))


@dataclass(frozen=True)
class RankingRun:
    """One run.

    Args:
        seed: of its streams.
        accuracies: after the last epoch, in [0, 1], by names of `TRAININGS`.
        learning_rates: step sizes by the same names.
    """

    seed: int
    accuracies: dict[str, float]
    learning_rates: dict[str, float]

    @property
    def hard_label_recovery(self) -> float:
        """HLR: lower is better."""
        return ranking.hard_label_recovery(self.accuracies["full_hard"], self.accuracies["synthetic_hard"])

    @property
    def improvement_over_random(self) -> float:
        """IOR: higher is better."""
        return ranking.improvement_over_random(self.accuracies["synthetic"], self.accuracies["random"])

    @property
    def improvement_without_augmentation(self) -> float | None:
        """The same without augmentation; None where it was not measured."""
        if "random_plain" not in self.accuracies:
            return None
        return ranking.improvement_over_random(self.accuracies["synthetic_plain"], self.accuracies["random_plain"])

    def scores(self, protocol: RankingProtocol) -> dict[str, float]:
        """The scores by their names in DD-Ranking's tables, ``ars`` where it was measured.

        Args:
            protocol: whose weights count.
        """
        recovery, improvement = self.hard_label_recovery, self.improvement_over_random
        found = {
            "hard_label_recovery": recovery,
            "improvement_over_random": improvement,
            "lrs": ranking.label_robust_score(recovery, improvement, protocol.label_weight),
        }
        plain = self.improvement_without_augmentation
        if plain is not None:
            found["ars"] = ranking.augmentation_robust_score(improvement, plain, protocol.augmentation_weight)
        return found


@dataclass(frozen=True)
class Ranking:
    """DD-Ranking's scores of one set.

    Args:
        protocol: how they were measured.
        runs: all runs.
        seed: of the whole.
        labels: whose labels the set and the random images were taught by: ``hard`` or ``teacher``.
        teacher: who that is; None for hard labels.
        seconds: wall time.
    """

    protocol: RankingProtocol
    runs: tuple[RankingRun, ...]
    seed: int
    labels: str
    teacher: dict[str, Any] | None
    seconds: float

    def scores(self) -> list[dict[str, float]]:
        """The scores of each run."""
        return [run.scores(self.protocol) for run in self.runs]

    def mean(self) -> dict[str, float]:
        """Mean over runs of each score."""
        return {name: statistics.fmean(row[name] for row in self.scores()) for name in self.scores()[0]}

    def std(self) -> dict[str, float]:
        """Sample standard deviation over runs of each score; 0 for one run."""
        rows = self.scores()
        return {name: statistics.stdev(row[name] for row in rows) if len(rows) > 1 else 0.0 for name in rows[0]}


def rank(
    distilled: Distilled,
    data: Data,
    protocol: RankingProtocol,
    *,
    labels: ByTeacher | None = None,
    seed: int = 0,
    device: torch.device | None = None,
    execution: ExecutionSettings | None = None,
    executor: Executor | None = None,
    cache: Path | None = None,
    done: Callable[[int, int], None] | None = None,
) -> Ranking:
    """DD-Ranking's scores of a distilled set.

    Args:
        distilled: the set.
        data: real images; validation images choose step sizes, and test images judge.
        protocol: how.
        labels: a teacher's labels, where the protocol teaches by them; it labels the random images as well.
        seed: of everything.
        device: where to compute; the CPU by default.
        execution: how training steps are computed.
        executor: where networks are trained; this process by default.
        cache: folder where accuracies of all real images are kept, by data, network and protocol; nowhere by default.
        done: called after each training with the number of trainings done and of all.

    Returns:
        The scores of each run.

    Raises:
        InputError: there are no validation or test images, or the set carries soft labels of its own that random images
            have none of.
    """
    if data.validation is None:
        raise InputError(
            "a ranking chooses step sizes on validation images; load the data with --validation above 0 (--data)."
        )
    if labels is None and distilled.soft_labels is not None:
        raise InputError(
            "the set carries soft labels that random images cannot have; let a teacher label both (a protocol with "
            "soft labels and --taught-by), or rank it after distilling with hard labels."
        )
    require_same_whitening(distilled.spec, data.spec)
    began, test = time.monotonic(), data.require_test()
    common: dict[str, Any] = {"validation": data.validation, "device": device, "execution": execution}
    common["executor"] = executor
    rate, total, count = distilled.student_lr, protocol.runs * len(protocol.trainings), 0
    bare = replace(distilled, learnt={name: one for name, one in distilled.learnt.items() if name != "labels"})
    found = []
    for number in range(protocol.runs):
        own = Streams(seed)("ranking", number).seed
        picked = _random(distilled, data.train, Streams(own))
        accuracies, rates = {}, {}
        for name in protocol.trainings:
            if name == "full_hard":
                accuracies[name], rates[name] = _full(data, test, protocol.full(), own, common, cache)
            else:
                way, some, soft = {
                    "synthetic_hard": (protocol.hard(), bare, None),
                    "synthetic": (protocol.own(rate), distilled, labels),
                    "random": (protocol.own(None), picked, labels),
                    "synthetic_plain": (protocol.plain(rate), distilled, labels),
                    "random_plain": (protocol.plain(None), picked, labels),
                }[name]
                accuracies[name], rates[name] = _reached(evaluate(some, test, way, labels=soft, seed=own, **common))
            count += 1
            if done is not None:
                done(count, total)
        found.append(RankingRun(own, accuracies, rates))
    kind, teacher = ("hard", None) if labels is None else ("teacher", labels.teacher.as_plain())
    return Ranking(protocol, tuple(found), seed, kind, teacher, time.monotonic() - began)


def _reached(scores: Scores) -> tuple[float, float]:
    """Accuracy and step size of the only network."""
    (entry,) = scores.networks
    return entry.accuracies[0], entry.lr


def _random(distilled: Distilled, train: RealSet, streams: Streams) -> Distilled:
    """As many random real images of each class as the set stores, as a set; a class with too few repeats some."""
    rows = []
    for label in range(distilled.spec.classes):
        members = train.class_rows(label)
        order = streams("random images", label).permutation(len(members))
        rows.append(repeated(members[order], distilled.ipc))
    recipe = replace(distilled.recipe, name="random", parametrization=Plain(), labeler=Hard())
    images = train.images(torch.stack(rows)).to("cpu", torch.float32)
    return Distilled(images, distilled.spec, recipe, distilled.seed)


def _full(
    data: Data, test: RealSet, protocol: Protocol, seed: int, common: dict[str, Any], cache: Path | None
) -> tuple[float, float]:
    """Accuracy and step size after training on all real images, from the cache if they are there."""
    assert data.validation is not None
    execution = common["execution"] or ExecutionSettings()
    facts = {
        "version": _VERSION,
        "data": [data.spec.digest, data.spec.normalization.key, len(data.validation), len(test)],
        "protocol": encode(protocol),
        "seed": seed,
        "precision": execution.precision,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    path = None if cache is None else cache / f"{data.spec.name}-{digest}.json"
    if path is not None and path.is_file():
        with contextlib.suppress(ValueError, KeyError):  # a damaged file is made anew
            kept = json.loads(path.read_text(encoding="utf-8"))
            return float(kept["accuracy"]), float(kept["lr"])
    accuracy, lr = _reached(evaluate_real(data.train, test, protocol, seed=seed, **common))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"accuracy": accuracy, "lr": lr, **facts}, indent=2) + "\n")
    return accuracy, lr
