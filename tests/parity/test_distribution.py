"""The official distribution matching: losses, gradients and whole runs of DM, CAFE, IDM, M3D and DSDM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, Sampler, State, SyntheticImages
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import Normalization
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Streams
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.engine.loop import Loop, LoopState
from limbeck.initializers.real import Mixed
from limbeck.labelers.hard import Hard
from limbeck.networks import build
from limbeck.objectives.class_aware_mean import ClassAwareMean
from limbeck.objectives.embedding import EmbeddingDistance
from limbeck.objectives.kernel_mmd import KernelMMD
from limbeck.objectives.layer_alignment import LayerAlignment
from limbeck.objectives.mean_embedding import MeanEmbedding
from limbeck.objectives.semantic_distribution import SemanticDistribution
from limbeck.objectives.siamese import Pair
from limbeck.ops.covariance import covariance_distance
from limbeck.ops.kernels import mmd
from limbeck.optimizers.sgd import SGD
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain
from tests.parity.recorded import Given, RecordedSet
from tests.parity.vectors_dir import find
from tests.parity.weights import fresh_statistics

CLOSE: dict[str, float] = {"rtol": 1e-9, "atol": 1e-12}
RUN: dict[str, float] = {"rtol": 1e-8, "atol": 1e-11}
M3D_RUN: dict[str, float] = {"rtol": 1e-7, "atol": 1e-10}
"""The official distances of M3D differ from direct differences; its README suggests 1e-7."""


def named(prefix: str) -> Any:
    files = find(prefix)
    return pytest.mark.parametrize("path", files, ids=[path.stem for path in files])


class Vectors:
    """One file of vectors."""

    def __init__(self, path: Path) -> None:
        self.arrays = np.load(path)

    def __getitem__(self, name: str) -> Tensor:
        return torch.tensor(self.arrays[name])

    def number(self, name: str) -> int:
        return int(self.arrays[name])

    def weights(self, prefix: str = "") -> Weights:
        """Of our ConvNet: convolution, norm, ..., classifier."""
        layers = [
            layer for block in range(self.depth(prefix)) for layer in (f"blocks.{block}.conv", f"blocks.{block}.norm")
        ]
        names = [f"{layer}.{kind}" for layer in (*layers, "classifier") for kind in ("weight", "bias")]
        return {name: self[f"{prefix}w{index:02d}"] for index, name in enumerate(names)}

    def depth(self, prefix: str = "") -> int:
        return (sum(name.startswith(f"{prefix}w") and name[-2:].isdigit() for name in self.arrays.files) - 2) // 4

    def network(self, images: Tensor, classes: int, prefix: str = "", norm: str = "instance") -> FunctionalNetwork:
        """The architecture for images ``[..., C, H, W]``."""
        spec = spec_of(images, classes)
        width = len(self[f"{prefix}w00"])
        name = f"convnet{self.depth(prefix)}:width={width},norm={norm}"
        return build(name, spec).to(torch.device("cpu"), torch.float64)


def spec_of(images: Tensor, classes: int, mean: Sequence[float] = (), std: Sequence[float] = ()) -> Any:
    channels = images.shape[-3]
    normalization = Normalization(tuple(mean) or (0.0,) * channels, tuple(std) or (1.0,) * channels)
    return RecordedSet(images.reshape(-1, *images.shape[-3:])[:classes], torch.arange(classes), normalization).spec


def pairs_of(real: Tensor, synthetic: Tensor, memory: State | None = None) -> list[Pair]:
    """Pairs of all classes of ``[K, B, ...]`` and ``[K, m, ...]``."""
    return [
        Pair(label, one, other, torch.full((len(other),), label), memory or {})
        for label, (one, other) in enumerate(zip(real, synthetic, strict=True))
    ]


def by_class(vectors: Vectors, name: str) -> Tensor:
    return vectors[name].unflatten(0, (vectors.number("meta_num_classes"), vectors.number("meta_ipc")))


@named("dm_")
def test_dm(path: Path) -> None:
    vectors, batch_norm = Vectors(path), "batchnorm" in path.stem
    classes = vectors.number("meta_num_classes")
    stored = by_class(vectors, "syn")
    optimizer = SGD(
        lr=float(vectors["meta_lr_img"]), momentum=float(vectors["meta_momentum"]), turns="joint", scale_with_ipc=False
    )
    context = context_of(stored, classes)
    state, iterations = optimizer.init(context), [n for n in range(99) if f"it{n}_real" in vectors.arrays]
    assert iterations
    for iteration in iterations:
        prefix = f"it{iteration}_"
        network = vectors.network(stored, classes, prefix, "batch" if batch_norm else "instance")
        weights = vectors.weights(prefix)
        view = View(network, weights | fresh_statistics(weights) if batch_norm else weights)
        pairs = pairs_of(vectors[f"{prefix}real"], stored)
        losses, pulls = MeanEmbedding().pulls(view, pairs)
        torch.testing.assert_close(losses.sum(), vectors[f"{prefix}loss"], **CLOSE)
        gradient = torch.stack(pulls)
        torch.testing.assert_close(gradient.flatten(0, 1), vectors[f"{prefix}grad_syn"], **CLOSE)
        if f"{prefix}loss_per_class" in vectors.arrays:
            torch.testing.assert_close(losses, vectors[f"{prefix}loss_per_class"], **CLOSE)
        state, stored = optimizer.update(state, stored, gradient, context, Moment(0, 0, 1))
        if f"{prefix}syn_after" in vectors.arrays:
            torch.testing.assert_close(stored.flatten(0, 1), vectors[f"{prefix}syn_after"], **RUN)


def context_of(images: Tensor, classes: int, mean: Sequence[float] = (), std: Sequence[float] = ()) -> Context:
    """A run on images ``[K, n, C, H, W]`` of as many per class."""
    normalization = spec_of(images, classes, mean, std).normalization
    labels = torch.arange(classes).repeat_interleave(images.shape[1])
    return Context(
        data=Pixels(images.flatten(0, 1), labels, normalization),
        ipc=images.shape[1],
        streams=Streams(0),
        build=build,
        dtype=torch.float64,
    )


class Pixels(RecordedSet):
    """Recorded images that are numbers already."""

    def images(self, rows: Tensor | Sequence[int]) -> Tensor:
        return self._images[torch.as_tensor(rows)]


@named("cafe_losses")
def test_cafe(path: Path) -> None:
    vectors = Vectors(path)
    classes = vectors.number("meta_num_classes")
    real = vectors["real"].unflatten(0, (classes, -1))
    stored = by_class(vectors, "syn")
    network = vectors.network(stored, classes)
    view = View(network, vectors.weights())
    losses, pulls = LayerAlignment().pulls(view, pairs_of(real, stored))
    torch.testing.assert_close(losses.sum(), vectors["loss"] - vectors["loss_real"], **CLOSE)
    torch.testing.assert_close(torch.cat(pulls), vectors["grad_total"], **CLOSE)
    # The middle alone: without the discrimination the embedding's distance is left, which is the last map's.
    losses, _ = LayerAlignment(discrimination=0).pulls(view, pairs_of(real, stored))
    distance, _ = MeanEmbedding().pulls(view, pairs_of(real, stored))
    torch.testing.assert_close(losses.sum() - distance.sum(), vectors["loss_middle"], **CLOSE)


@named("m3d_losses")
def test_kernels(path: Path) -> None:
    vectors = Vectors(path)
    for kernel in ("gaussian", "linear", "polynomial", "laplace"):
        leaf = vectors["X"].requires_grad_()
        value = mmd(leaf, vectors["Y"], kernel)  # type: ignore[arg-type]
        torch.testing.assert_close(value.detach(), vectors[f"loss_{kernel}"], **CLOSE)
        (gradient,) = torch.autograd.grad(value, leaf)
        torch.testing.assert_close(gradient, vectors[f"grad_X_{kernel}"], **CLOSE)


@named("dsdm_losses")
def test_dsdm_losses(path: Path) -> None:
    vectors = Vectors(path)
    network = vectors.network(vectors["real"], vectors.number("meta_num_classes"))
    view = View(network, vectors.weights())
    history = vectors["history"].flatten()
    memory = {"steps": 1, "history": history.unsqueeze(0)}
    weights = {"covariance": float(vectors["lambda1"]), "history": float(vectors["lambda2"]), "history_after": 0}
    code = SemanticDistribution(**weights)
    paper = SemanticDistribution(**weights, divisor="n", history_scale="paper")
    alone = SemanticDistribution(covariance=0, history=0)
    for objective, prefix in ((code, ""), (paper, "paper_")):
        losses, pulls = objective.pulls(view, pairs_of(vectors["real"][None], vectors["syn"][None], memory))
        torch.testing.assert_close(losses[0], vectors[f"{prefix}loss_total"], **CLOSE)
        torch.testing.assert_close(pulls[0], vectors[f"{prefix}grad_total"], **CLOSE)
    losses, pulls = alone.pulls(view, pairs_of(vectors["real"][None], vectors["syn"][None], memory))
    torch.testing.assert_close(losses[0], vectors["loss_proto"], **CLOSE)
    torch.testing.assert_close(pulls[0], vectors["grad_proto"], **CLOSE)
    # Before there is a history.
    losses, _ = code.pulls(view, pairs_of(vectors["real"][None], vectors["syn"][None], {"steps": 0}))
    torch.testing.assert_close(losses[0], vectors["loss_total_no_history"], **CLOSE)
    real, synthetic = vectors["feat_real"].flatten(1), vectors["feat_syn"].flatten(1)
    size = vectors.number("d")
    apart = covariance_distance(real, synthetic)
    torch.testing.assert_close(weights["covariance"] / size * apart, vectors["loss_semantic_weighted"], **CLOSE)
    torch.testing.assert_close(apart, (vectors["cov_real"] - vectors["cov_syn"]).square().sum(), **CLOSE)
    torch.testing.assert_close(
        covariance_distance(real, synthetic, unbiased=False) / size, vectors["paper_loss_sd"], **CLOSE
    )


@named("idm_class_loop")
def test_idm(path: Path) -> None:
    vectors = Vectors(path)
    classes, stored = vectors.number("meta_num_classes"), by_class(vectors, "syn")
    parametrization: Any = Plain()
    if vectors.number("meta_aug"):
        parametrization = Partition(factor=2, order="columns", resample="bilinear")
    objective = ClassAwareMean(weight=float(vectors["ce_weight"]))
    optimizer = replace(sgd(vectors), clamp=False)
    view = View(
        vectors.network(stored, classes),
        vectors.weights(),
        train=False,
        accuracy=float(vectors["train_acc_percent"]),
    )
    run = Recorded(vectors["real"].unsqueeze(0), stored, [view])
    loop = run.loop(objective, parametrization, optimizer)
    state, losses = loop.step(loop.start())
    torch.testing.assert_close(losses.sum(), vectors["loss_sum_over_classes"], **RUN)
    terms = vectors["dm_term_per_class"] + vectors["ce_mean_per_class"] * vectors["ce_weight"] * view.accuracy
    torch.testing.assert_close(losses, terms, **RUN)
    torch.testing.assert_close(state.stored.flatten(0, 1), vectors["syn_after_each_class"][-1], **RUN)


class Recorded:
    """A recorded run: real batches, initial images, and the networks of its iterations."""

    def __init__(
        self, real: Tensor, stored: Tensor, views: Sequence[View], mean: Sequence[float] = (), std: Sequence[float] = ()
    ) -> None:
        self.real, self.stored, self.views = real, stored, tuple(views)
        iterations, classes, batch = real.shape[:3]
        images = real.transpose(0, 1).flatten(1, 2)  # a class's batches, one iteration after the other
        self.context = context_of(images, classes, mean, std)
        object.__setattr__(self.context, "ipc", stored.shape[1])
        self.iterations, self.batch = iterations, batch

    def loop(self, objective: Any, parametrization: Any, optimizer: SGD) -> Loop:
        recipe = Recipe(
            name="recorded",
            objective=objective,
            sampler=InTurn(batch_size=self.batch),
            initializer=Given(stored=self.stored),
            parametrization=parametrization,
            pool=Shown(views=self.views),
            curriculum=AllAtOnce(iterations=self.iterations, steps=1),
            labeler=Hard(),
            optimizer=optimizer,
        )
        recipe.check(self.context)
        return Loop(recipe, self.context)


@dataclass(frozen=True, kw_only=True)
class InTurn(Sampler):
    """The batches of a class one after the other."""

    batch_size: int

    def refresh(self, state: State, context: Context, moment: Moment, view: View) -> State:
        return state

    def rows(self, state: State, context: Context, moment: Moment, label: int) -> Tensor:
        first = moment.iteration * self.batch_size
        return context.data.class_rows(label)[first : first + self.batch_size]


@dataclass(frozen=True, kw_only=True)
class Shown(Pool):
    """The recorded network of each iteration."""

    views: tuple[View, ...]

    def offers(self) -> frozenset[str]:
        return super().offers() | {"training accuracy"}

    def draw(self, state: State, context: Context, iteration: int) -> State:
        return {"iteration": iteration}

    def view(self, state: State, context: Context) -> View:
        return self.views[state["iteration"]]

    def architecture(self, context: Context) -> FunctionalNetwork:
        return self.views[0].network

    def advance(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> State:
        return state


def official(vectors: Vectors, views: Sequence[View]) -> Recorded:
    """A run on pixels in [0, 1] that networks see normalized."""
    stored = by_class(vectors, "syn_init")
    return Recorded(vectors["real"], stored, views, vectors["norm_mean"].tolist(), vectors["norm_std"].tolist())


def sgd(vectors: Vectors) -> SGD:
    return SGD(lr=float(vectors["meta_lr_img"]), momentum=float(vectors["meta_momentum"]), scale_with_ipc=False)


@named("dsdm_run3")
def test_dsdm_run(path: Path) -> None:
    vectors = Vectors(path)
    classes = vectors.number("meta_num_classes")
    views = [
        View(vectors.network(vectors["real"], classes, f"pool{number}_"), vectors.weights(f"pool{number}_"))
        for number in vectors["model_index"].tolist()
    ]
    objective = SemanticDistribution(
        covariance=float(vectors["meta_lambda1"]),
        history=float(vectors["meta_lambda2"]),
        momentum=float(vectors["meta_alpha"]),
        history_after=vectors.number("meta_smooth_iter"),
    )
    partition = Partition(factor=vectors.number("meta_factor"))
    run = official(vectors, views)
    loop = run.loop(objective, partition, sgd(vectors))
    state, kept = loop.start(), vectors["history_after_iter"]
    for iteration in range(vectors.number("meta_niter")):
        state, losses = loop.step(state)
        torch.testing.assert_close(losses, vectors["losses"][iteration, :, -1], **RUN)
        if len(kept) > 1:
            torch.testing.assert_close(state.parts["objective"]["history"], kept[iteration].flatten(1), **RUN)
    torch.testing.assert_close(state.parts["objective"]["history"], kept[-1].flatten(1), **RUN)
    torch.testing.assert_close(state.stored.flatten(0, 1), vectors["syn_final"], **RUN)


@named("dsdm_run3")
def test_dsdm_initial_images(path: Path) -> None:
    vectors = Vectors(path)
    partition = Partition(factor=vectors.number("meta_factor"))
    packed = torch.stack([partition.encode(images, vectors.number("meta_ipc")) for images in vectors["init_images"]])
    torch.testing.assert_close(packed.flatten(0, 1), vectors["syn_init"], **CLOSE)
    decoded = torch.stack([partition.decode(images) for images in packed])
    torch.testing.assert_close(decoded, vectors["decoded_init"], **CLOSE)
    context = context_of(vectors["init_images"], vectors.number("meta_num_classes"))
    object.__setattr__(context, "ipc", vectors.number("meta_ipc"))
    assert Mixed().images(context, partition, None).shape == packed.shape


@named("m3d_run")
def test_m3d_run(path: Path) -> None:
    vectors = Vectors(path)
    classes, every = vectors.number("meta_num_classes"), vectors.number("meta_ipm")
    views = [
        View(
            vectors.network(vectors["real"], classes, f"net{iteration // every}_"),
            vectors.weights(f"net{iteration // every}_"),
        )
        for iteration in range(vectors.number("meta_niter"))
    ]
    run = official(vectors, views)
    loop = run.loop(KernelMMD(), Partition(factor=vectors.number("meta_factor")), sgd(vectors))
    state: LoopState = loop.start()
    for iteration in range(vectors.number("meta_niter")):
        state, losses = loop.step(state)
        torch.testing.assert_close(losses, vectors["losses"][iteration], **M3D_RUN)
    torch.testing.assert_close(state.stored.flatten(0, 1), vectors["syn_final"], **M3D_RUN)


def test_every_objective_of_embeddings_is_checked() -> None:
    assert {kind.__name__ for kind in EmbeddingDistance.__subclasses__()} >= {
        "ClassAwareMean",
        "KernelMMD",
        "MeanEmbedding",
        "SemanticDistribution",
    }
