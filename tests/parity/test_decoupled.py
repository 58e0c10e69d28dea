"""The official SRe2L and DWA: losses, gradients, weight adjustment and whole syntheses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.augmentations.jitter import Jitter
from limbeck.core.batch import Block, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Peers
from limbeck.core.network import FunctionalNetwork, Network, Output, Weights
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.recipe import Recipe
from limbeck.curricula.one_by_one import OneByOne
from limbeck.engine.loop import Loop
from limbeck.labelers.hard import Hard
from limbeck.objectives.batch_statistics import BatchStatistics
from limbeck.ops import batch_statistics
from limbeck.optimizers.adam import Adam
from limbeck.parametrizations.plain import Plain
from limbeck.pools.adjusted_teacher import AdjustedTeacher
from limbeck.pools.fixed_teacher import FixedTeacher
from limbeck.training.teacher import Teacher
from tests.parity.recorded import Given, RecordedSet, ReplayStreams
from tests.parity.vectors_dir import find

CLOSE: dict[str, float] = {"rtol": 1e-9, "atol": 1e-12}
RUN: dict[str, float] = {"rtol": 1e-8, "atol": 1e-11}


def named(prefix: str) -> Any:
    files = find(prefix)
    return pytest.mark.parametrize("path", files, ids=[path.stem for path in files])


class Recorded(Network):
    """The network of the vectors: two or three convolutions without bias, batch norm, the mean, a linear layer."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        convolutions = [weight for weight in weights.values() if weight.ndim == 4]
        self.convs = nn.ModuleList(
            nn.Conv2d(weight.shape[1], weight.shape[0], 3, stride=2 if index == 1 else 1, padding=1, bias=False)
            for index, weight in enumerate(convolutions)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(len(weight)) for weight in convolutions)
        self.classifier = nn.Linear(len(convolutions[-1]), len(weights["classifier.bias"]))
        self.double()

    def forward(self, x: Tensor, output: Output = "logits") -> Tensor:
        assert output == "logits"
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            found = norm(conv(x))
            x = F.relu(found + x if index == 2 else found)
        return self.classifier(x.mean(dim=(2, 3)))


class Vectors:
    """One file of vectors."""

    def __init__(self, path: Path) -> None:
        self.arrays = np.load(path)

    def __getitem__(self, name: str) -> Tensor:
        return torch.tensor(self.arrays[name])

    def __contains__(self, name: str) -> bool:
        return name in self.arrays.files

    def number(self, name: str) -> float:
        return float(self.arrays[name])

    def weights(self, prefix: str = "", suffix: str = "") -> Weights:
        """Parameters and running statistics of `Recorded`."""
        count = sum(f"bn{index}_running_mean" in self for index in range(9))
        names = []
        for index in range(count):
            names += [f"convs.{index}.weight", f"norms.{index}.weight", f"norms.{index}.bias"]
        names += ["classifier.weight", "classifier.bias"]
        weights = {name: self[f"{prefix}w{number:02d}{suffix}"] for number, name in enumerate(names)}
        for index in range(count):
            for kind in ("running_mean", "running_var"):
                weights[f"norms.{index}.{kind}"] = self[f"bn{index}_{kind}"]
        return weights

    def network(self) -> FunctionalNetwork:
        weights = self.weights()
        network = FunctionalNetwork("recorded", lambda: Recorded(weights))
        return network.to(torch.device("cpu"), torch.float64)


def spec_of(images: Tensor, classes: int, normalization: Normalization | None = None) -> DataSpec:
    channels = images.shape[1]
    plain = Normalization((0.0,) * channels, (1.0,) * channels)
    names = tuple(str(label) for label in range(classes))
    return DataSpec("recorded", *images.shape[1:], names, normalization or plain, "recorded")


def pulled(vectors: Vectors, objective: BatchStatistics) -> tuple[Tensor, Tensor]:
    """Loss and gradient in the images, which stand in one class whatever their labels."""
    images, labels = vectors["images"], vectors["labels"]
    block = Block(
        labels=(0,),
        stored=images.unsqueeze(0),
        targets=labels.unsqueeze(0),
        real=images[:0].unsqueeze(0),
        counts=(0,),
        draws=({},),
    )
    peers = Peers(Plain(space="normalized"), None, spec_of(images, len(labels)))
    view = View(vectors.network(), vectors.weights(), train=False)
    losses, gradients = objective.gradients(view, block, peers)
    return losses.sum(), gradients[0]


@named("bn_losses_")
def test_losses(path: Path) -> None:
    vectors = Vectors(path)
    network, weights = vectors.network(), vectors.weights()
    logits, seen = network.observe(weights, vectors["images"])
    torch.testing.assert_close(logits, vectors["logits"], **CLOSE)
    torch.testing.assert_close(torch.cat([mean for mean, _ in seen]), vectors["batch_mean_per_layer_concat"], **CLOSE)
    torch.testing.assert_close(torch.cat([var for _, var in seen]), vectors["batch_var_per_layer_concat"], **CLOSE)
    recorded = [(weights[mean], weights[variance]) for mean, variance in network.running_statistics()]
    means, variances = batch_statistics.distances(seen, recorded)
    torch.testing.assert_close(means, vectors["layer_mean_norm"], **CLOSE)
    torch.testing.assert_close(variances, vectors["layer_var_norm"], **CLOSE)
    torch.testing.assert_close(means + variances, vectors["layer_r_feature_sre2l"], **CLOSE)
    ratio, first = vectors.number("meta_r_var"), vectors.number("meta_first_bn_multiplier")
    torch.testing.assert_close(means + ratio * variances, vectors["layer_r_feature_dwa"], **CLOSE)
    torch.testing.assert_close(
        batch_statistics.weighted(means, variances, 1.0, 1.0, first), vectors["bn_sum_sre2l"], **CLOSE
    )
    torch.testing.assert_close(
        batch_statistics.weighted(means, variances, 1.0, ratio, first), vectors["bn_sum_dwa"], **CLOSE
    )


@named("bn_losses_")
@pytest.mark.parametrize("method", ["sre2l", "dwa"])
def test_gradients(path: Path, method: str) -> None:
    vectors = Vectors(path)
    weight, first = vectors.number("meta_r_bn"), vectors.number("meta_first_bn_multiplier")
    ratio = vectors.number("meta_r_var") if method == "dwa" else 1.0
    loss, gradient = pulled(vectors, BatchStatistics(mean=weight, variance=weight * ratio, first=first))
    torch.testing.assert_close(loss, vectors[f"total_{method}"], **CLOSE)
    torch.testing.assert_close(gradient, vectors[f"grad_total_{method}"], **CLOSE)


@named("bn_losses_")
def test_gradients_of_each_term(path: Path) -> None:
    vectors = Vectors(path)
    loss, entropy = pulled(vectors, BatchStatistics(mean=0.0, variance=0.0))
    torch.testing.assert_close(loss, vectors["ce"], **CLOSE)
    torch.testing.assert_close(entropy, vectors["grad_ce"], **CLOSE)
    _, means = pulled(vectors, BatchStatistics(mean=1.0, variance=0.0, first=1.0))
    torch.testing.assert_close(means - entropy, vectors["grad_mean_sum"], **CLOSE)
    _, variances = pulled(vectors, BatchStatistics(mean=0.0, variance=1.0, first=1.0))
    torch.testing.assert_close(variances - entropy, vectors["grad_var_sum"], **CLOSE)


@named("decoupled_misc")
def test_priors_and_ranges(path: Path) -> None:
    vectors = Vectors(path)
    leaf = vectors["prior_in"].requires_grad_()
    euclidean, absolute = batch_statistics.total_variation(leaf)
    torch.testing.assert_close(absolute, vectors["prior_tv_l1"], **CLOSE)
    torch.testing.assert_close(euclidean, vectors["prior_tv_l2"], **CLOSE)
    torch.testing.assert_close(torch.autograd.grad(euclidean, leaf)[0], vectors["prior_tv_l2_grad"], **CLOSE)
    mean, std = (tuple(vectors[f"norm_{kind}_imagenet"].tolist()) for kind in ("mean", "std"))
    normalization = Normalization(mean, std)
    ends = normalization.apply(torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1).expand(2, 3, 1, 1))
    clamped = vectors["clip_in"].clamp(*ends)
    torch.testing.assert_close(clamped, vectors["clip_out_imagenet"], **CLOSE)
    torch.testing.assert_close(
        normalization.invert(vectors["clip_in"]).clamp(0, 1), vectors["denormalise_out_imagenet"], **CLOSE
    )


@named("decoupled_misc")
def test_step_sizes_of_images(path: Path) -> None:
    wanted = Vectors(path)["cosine_lr_base0p25_T20"]
    curriculum = OneByOne(steps=len(wanted))
    found = [Adam(lr=0.25).step_size(curriculum.moment(step)) for step in range(len(wanted))]
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), wanted, **CLOSE)


@dataclass(frozen=True, kw_only=True)
class RecordedTeacher(Teacher):
    """A teacher that was recorded."""

    vectors: Vectors

    def check(self, context: Context, where: str) -> None:
        return None

    def architecture(self, context: Context) -> FunctionalNetwork:
        return self.vectors.network()

    def load(self, context: Context) -> Weights:
        return self.vectors.weights()


@named("dwa_weight_adjust")
def test_weight_adjustment(path: Path) -> None:
    vectors = Vectors(path)
    images, labels = vectors["images"], vectors["labels"]
    steps, magnitude = int(vectors.number("meta_K")), vectors.number("meta_rho")
    teacher = RecordedTeacher(vectors=vectors)
    network, weights = vectors.network(), vectors.weights()

    def moved(**changes: Any) -> dict[str, Any]:
        pool = AdjustedTeacher(**{"teacher": teacher, "steps": steps, "magnitude": magnitude, **changes})
        context: Any = None
        return pool.prepare(pool.init(context), context, Moment(0, 0, 1), lambda: (images, labels))

    after = moved(accumulate=True)
    for name, wanted in vectors.weights(suffix="_after").items() if "w00_after" in vectors else ():
        torch.testing.assert_close(after["moved"][name], wanted, **CLOSE)
    torch.testing.assert_close(after["left"], vectors["accumulated_image_grad"], **CLOSE)
    distance = torch.stack([(after["moved"][name] - one).square().sum() for name, one in weights.items()]).sum().sqrt()
    torch.testing.assert_close(distance, vectors["delta_l2_norm"], **CLOSE)
    entropies = []
    for number in range(steps + 1):
        # The first steps of a shorter way are those of the longer one.
        part = moved(steps=number, magnitude=magnitude * number / steps)["moved"] if number else weights
        entropies.append(F.cross_entropy(network(part, images, train=False), labels))
    torch.testing.assert_close(torch.stack(entropies), vectors["ce_before_each_step_and_final"], **CLOSE)
    for name, wanted in vectors.weights("paper_", "_after").items():
        torch.testing.assert_close(moved(direction="printed")["moved"][name], wanted, **CLOSE)


def synthesis(vectors: Vectors, pool: Any, objective: BatchStatistics, initial: Tensor) -> tuple[Loop, Any]:
    """The loop on one group, with its recorded shifts, and the state to begin with."""
    targets = vectors["targets"]
    assert targets.tolist() == list(range(len(targets)))
    mean, std = (tuple(vectors[f"norm_{kind}"].tolist()) for kind in ("mean", "std"))
    normalization, offsets = Normalization(mean, std), vectors["jitter_offsets"]
    keys: dict[tuple[str | int, ...], list[Tensor]] = {
        ("augmentation", 0, step): [rows, columns] for step, (rows, columns) in enumerate(offsets)
    }
    recipe = Recipe(
        name="recorded",
        objective=objective,
        pool=pool,
        curriculum=OneByOne(steps=len(offsets)),
        optimizer=Adam(lr=vectors.number("meta_lr")),
        augmentation=Jitter(shift=int(vectors.number("meta_jitter"))),
        initializer=Given(stored=normalization.invert(initial).unsqueeze(1)),
        labeler=Hard(),
        parametrization=Plain(space="normalized"),
    )
    context = Context(
        data=RecordedSet(torch.zeros(initial.shape, dtype=torch.uint8), targets, normalization),
        ipc=1,
        streams=ReplayStreams(keys),
        build=lambda name, spec: vectors.network(),
        dtype=torch.float64,
    )
    (group,) = recipe.curriculum.groups(context)  # type: ignore[union-attr]
    loop = Loop(recipe, replace(context, group=group))
    return loop, loop.start()


def gradient_of(loop: Loop, before: Any, after: Any) -> Tensor:
    """The gradient of a step, from Adam's mean before and after it."""
    first = loop.recipe.optimizer.betas[0]  # type: ignore[union-attr]
    old, new = (state.parts["optimizer"]["mean"] for state in (before, after))
    return ((new - first * old) / (1 - first)).flatten(0, 1)


@named("dwa_synthesis_run")
def test_dwa_synthesis(path: Path) -> None:
    vectors = Vectors(path)
    normalization = Normalization(*(tuple(vectors[f"norm_{kind}"].tolist()) for kind in ("mean", "std")))
    weight = vectors.number("meta_r_bn")
    pool = AdjustedTeacher(
        teacher=RecordedTeacher(vectors=vectors),
        steps=int(vectors.number("meta_K")),
        magnitude=vectors.number("meta_rho"),
        accumulate=True,
    )
    objective = BatchStatistics(
        mean=weight,
        variance=weight * vectors.number("meta_r_var"),
        first=vectors.number("meta_first_bn_multiplier"),
    )
    loop, state = synthesis(vectors, pool, objective, normalization.apply(vectors["init_pixels"]))
    total = loop.length()
    assert total == vectors.number("meta_iterations")
    recorded = dict(zip((0, 1, total - 1), vectors["image_grad_each_iteration"], strict=True))
    for step in range(total):
        before, moment = state, loop.moment(step)
        rate = loop.recipe.optimizer.step_size(moment)  # type: ignore[union-attr]
        assert rate == pytest.approx(float(vectors["lr_each_iteration"][step]), rel=1e-12)
        state, _ = loop.step(state)
        if step in recorded:
            torch.testing.assert_close(gradient_of(loop, before, state), recorded[step], **RUN)
        if step == 0:
            torch.testing.assert_close(state.stored.flatten(0, 1), vectors["images_after_iteration_0"], **RUN)
    torch.testing.assert_close(state.stored.flatten(0, 1), vectors["images_final"], **RUN)
    saved = normalization.invert(state.stored.flatten(0, 1)).clamp(0, 1)
    torch.testing.assert_close(saved, vectors["saved_pixels"], **RUN)


@named("sre2l_recover_run")
def test_sre2l_synthesis(path: Path) -> None:
    vectors = Vectors(path)
    weight = vectors.number("meta_r_bn")
    objective = BatchStatistics(mean=weight, variance=weight, first=vectors.number("meta_first_bn_multiplier"))
    loop, state = synthesis(vectors, FixedTeacher(teacher=RecordedTeacher(vectors=vectors)), objective, vectors["init"])
    for gradient in vectors["image_grad_each_iteration"]:
        before = state
        state, _ = loop.step(state)
        torch.testing.assert_close(gradient_of(loop, before, state), gradient, **RUN)
    assert state.ordinal == loop.length() == vectors.number("meta_iterations")
    torch.testing.assert_close(state.stored.flatten(0, 1), vectors["images_final"], **RUN)
    normalization = loop.context.spec.normalization
    saved = normalization.invert(state.stored.flatten(0, 1)).clamp(0, 1)
    torch.testing.assert_close(saved, vectors["saved_pixels"], **RUN)
