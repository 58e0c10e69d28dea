"""How diverse a set is: its features beside those of the real images, as a network trained on the real ones sees both.

The measures are functions of `limbeck.ops.diversity`; here a teacher is trained, features are taken, and figures are
collected class by class. Nothing is read of the test images.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.execution import Execution, ExecutionSettings, use_allocator
from limbeck.core.real import DataSpec, RealSet
from limbeck.core.streams import Streams
from limbeck.networks import build
from limbeck.ops import diversity as measures
from limbeck.ops.projection import pca, tsne
from limbeck.training.embedding import embed
from limbeck.training.passes import forward
from limbeck.training.supervised import Training, accuracy, fit

__all__ = ["DiversityProtocol", "DiversityScores", "Features", "Figures", "Reference", "Scatter", "diversity", "refer"]

Features = Literal["flattened map", "globally pooled", "vector"]
Projection = Literal["tsne", "pca", "none"]
Done = Callable[[int, int], None]

_CHUNK = 256
"""Images per forward pass."""


@dataclass(frozen=True, kw_only=True)
class DiversityProtocol:
    """How diversity is measured: the teacher that looks, and what is drawn of what it sees."""

    network: str = "convnet3"
    """Architecture of the teacher, as `limbeck list networks` shows."""
    training: Training = field(default_factory=Training)
    """How the teacher is trained on the real images."""
    epochs: int = 20
    """Epochs over the real images."""
    projection: Projection = "tsne"
    """How features come to lie in a plane, for the scatter of real and distilled images: t-SNE, principal components,
    or not at all."""
    projected_classes: int = 3
    """Classes that are drawn, the first ones."""
    projected_images: int = 600
    """Real images of a class that are drawn, at most; a random choice."""

    def check(self, spec: DataSpec) -> None:
        """Refuse values that cannot be, and a network that does not fit the images.

        Raises:
            InputError: for one of these reasons.
        """
        if self.epochs < 0 or self.projected_classes < 0 or self.projected_images < 2:
            raise InputError(
                "diversity needs epochs >= 0, projected_classes >= 0 and projected_images >= 2, not "
                f"{self.epochs}, {self.projected_classes} and {self.projected_images}."
            )
        self.training.check("the teacher of diversity")
        if self.training.augmentation is not None:
            self.training.augmentation.fits(spec)
        build(self.network, spec)


@dataclass(frozen=True)
class Figures:
    """Diversity of one class, or the mean over classes.

    Distances are Euclidean, in the teacher's features. What begins with ``real_`` belongs to the real images.

    Args:
        feature_distance: sum of squared distances over all ordered pairs of images (DWA, Eq. 20).
        pair_distance: their mean over ordered pairs of different images; None for a single image.
        covariance_trace: of the population covariance.
        effective_rank: of that covariance.
        neighbour_distance: mean distance of a synthetic image to the nearest real image of its class.
        coverage: share of the real images whose nearest synthetic image is of their class and no farther away than
            ``real_neighbour_distance``.
        mmd2: squared maximum mean discrepancy to the real images, five Gaussian kernels, biased.
        real_pair_distance: ``pair_distance`` of the real images.
        real_covariance_trace: ``covariance_trace`` of the real images.
        real_effective_rank: ``effective_rank`` of the real images.
        real_neighbour_distance: median distance of a real image to the nearest other one of its class.
    """

    feature_distance: float
    pair_distance: float | None
    covariance_trace: float
    effective_rank: float
    neighbour_distance: float
    coverage: float
    mmd2: float
    real_pair_distance: float
    real_covariance_trace: float
    real_effective_rank: float
    real_neighbour_distance: float


@dataclass(frozen=True)
class Scatter:
    """Real and synthetic images of one class in a plane, both under one projection.

    Args:
        label: the class.
        real: coordinates of some real images.
        synthetic: coordinates of all decoded synthetic images.
    """

    label: int
    real: tuple[tuple[float, float], ...]
    synthetic: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class DiversityScores:
    """Diversity of a set.

    Args:
        protocol: how it was measured.
        seed: seed of the teacher and of the choice of images that are drawn.
        features: what the teacher's embedding is: the last feature map flattened, so before any global pooling;
            that map after global pooling; or a vector of another kind.
        dimensions: numbers per embedding.
        teacher_accuracy: of the teacher on the real training images.
        images: decoded synthetic images of each class.
        real_images: real training images of each class.
        classes: figures of each class.
        scatter: what is to be drawn.
        execution: how the teacher's steps were computed.
        seconds: wall time, without the teacher's training.
    """

    protocol: DiversityProtocol
    seed: int
    features: Features
    dimensions: int
    teacher_accuracy: float
    images: tuple[int, ...]
    real_images: tuple[int, ...]
    classes: tuple[Figures, ...]
    scatter: tuple[Scatter, ...]
    execution: Execution
    seconds: float

    @property
    def mean(self) -> Figures:
        """Mean figures over the classes; None where one of them has none."""
        means: dict[str, float | None] = {}
        for item in dataclasses.fields(Figures):
            values = [getattr(entry, item.name) for entry in self.classes]
            means[item.name] = None if None in values else statistics.fmean(values)
        return Figures(**means)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Reference:
    """What sets are measured against: a teacher, and what it sees in the real images. Made by `refer`, once for all.

    Args:
        protocol: how diversity is measured.
        seed: seed of the teacher.
        view: the trained teacher.
        train: the real training images, on the teacher's device.
        features: what its embedding is.
        teacher_accuracy: on the real training images.
        real: of each class mean squared distance of pairs, trace and effective rank of the covariance, and median
            distance to the nearest neighbour.
        seconds: wall time that this took.
    """

    protocol: DiversityProtocol
    seed: int
    view: View
    train: RealSet
    features: Features
    teacher_accuracy: float
    real: tuple[tuple[float, float, float, float], ...]
    seconds: float


def refer(
    train: RealSet,
    protocol: DiversityProtocol,
    *,
    seed: int = 0,
    device: torch.device | None = None,
    execution: ExecutionSettings | None = None,
    done: Done | None = None,
) -> Reference:
    """Train the teacher and measure the real images.

    Args:
        train: real training images.
        protocol: how diversity is measured.
        seed: seed of the teacher.
        device: where to compute; the CPU by default.
        execution: how the teacher's steps are computed.
        done: called after each epoch and class with the number of them done and of all.

    Raises:
        InputError: the protocol does not fit the data, or a class has a single image; raised before any training.
    """
    began = time.monotonic()
    protocol.check(train.spec)
    if min(train.class_counts()) < 2:
        raise InputError("diversity is measured against two or more real images of every class; this data has fewer.")
    device, settings, spec = device or torch.device("cpu"), execution or ExecutionSettings(), train.spec
    use_allocator(settings.allocator)
    network = build(protocol.network, spec)
    flops = 3.0 * protocol.epochs * len(train) * network.flops(spec.shape)
    network = network.to(device, torch.float32, settings.resolve(device, torch.float32, flops))
    train = train.to(device, torch.float32)
    streams = Streams(Streams(seed)(f"teacher {protocol.network}").seed)
    weights, labels = network.initial(streams("network")), train.labels.to(device)
    total = protocol.epochs + spec.classes

    def images(rows: Tensor) -> Tensor:
        return spec.normalization.apply(train.images(rows))

    for epoch, _ in fit(
        network,
        weights,
        images,
        labels,
        protocol.training.bound(spec),
        streams,
        spec.shape,
        lambda epoch: protocol.training.lr,
        protocol.epochs * -(-len(train) // protocol.training.batch_size),
    ):
        if done is not None:
            done(epoch + 1, total)
    view = View(network, {name: tensor.detach() for name, tensor in weights.items()}, train=False)
    real = []
    for label in range(spec.classes):
        seen = embed(view, train, train.class_rows(label))
        real.append(
            (
                float(measures.pair_distance(seen)),
                float(measures.covariance_trace(seen)),
                float(measures.effective_rank(seen)),
                float(measures.neighbour_distances(seen).median()),
            )
        )
        if done is not None:
            done(protocol.epochs + label + 1, total)
    return Reference(
        protocol=protocol,
        seed=seed,
        view=view,
        train=train,
        features=_kind(view, images(torch.zeros(1, dtype=torch.int64))),
        teacher_accuracy=accuracy(network, weights, images, labels),
        real=tuple(real),
        seconds=time.monotonic() - began,
    )


@torch.no_grad()
def diversity(distilled: Distilled, reference: Reference, *, done: Done | None = None) -> DiversityScores:
    """Measure the decoded images of a set, class by class and in the mean.

    Args:
        distilled: the set.
        reference: the teacher and the real images.
        done: called after each class with the number of classes done and of all.

    Raises:
        InputError: the set is of other classes or another shape than the real images.
    """
    began = time.monotonic()
    train, view, spec = reference.train, reference.view, reference.train.spec
    if distilled.spec.shape != spec.shape or distilled.spec.class_names != spec.class_names:
        raise InputError(
            f"a set of '{distilled.spec.name}' ({distilled.spec.shape}, {distilled.spec.classes} classes) cannot be "
            f"measured against images of '{spec.name}' ({spec.shape}, {spec.classes} classes); load them alike."
        )
    decoded, labels = distilled.decoded()
    images = spec.normalization.apply(decoded.detach().to(view.network.device, torch.float32))
    every = torch.cat([forward(view.network, view.weights, some, "embedding") for some in images.split(_CHUNK)])
    every, labels = every.double(), labels.to(every.device)
    classes, scatter = [], []
    for label, (real_pairs, real_trace, real_rank, radius) in enumerate(reference.real):
        real, own = embed(view, train, train.class_rows(label)), every[labels == label]
        classes.append(
            Figures(
                feature_distance=float(measures.feature_distance(own)),
                pair_distance=float(measures.pair_distance(own)) if len(own) > 1 else None,
                covariance_trace=float(measures.covariance_trace(own)),
                effective_rank=float(measures.effective_rank(own)),
                neighbour_distance=float(measures.nearest(own, real)[0].mean()),
                coverage=float(measures.coverage(real, every, labels, label, radius)),
                mmd2=max(0.0, float(measures.mmd2_mixture(own, real))),
                real_pair_distance=real_pairs,
                real_covariance_trace=real_trace,
                real_effective_rank=real_rank,
                real_neighbour_distance=radius,
            )
        )
        if label < reference.protocol.projected_classes and reference.protocol.projection != "none":
            scatter.append(_scatter(label, real, own, reference))
        if done is not None:
            done(label + 1, spec.classes)
    return DiversityScores(
        protocol=reference.protocol,
        seed=reference.seed,
        features=reference.features,
        dimensions=int(every.shape[1]),
        teacher_accuracy=reference.teacher_accuracy,
        images=tuple(torch.bincount(labels, minlength=spec.classes).tolist()),
        real_images=tuple(train.class_counts()),
        classes=tuple(classes),
        scatter=tuple(scatter),
        execution=view.network.execution,
        seconds=time.monotonic() - began,
    )


def _scatter(label: int, real: Tensor, own: Tensor, reference: Reference) -> Scatter:
    """Some real and all synthetic images of one class in a plane."""
    order = Streams(reference.seed)("images of a scatter", label).permutation(len(real))
    shown = real[order[: reference.protocol.projected_images].to(real.device)].double()
    together = torch.cat([shown, own])
    found = tsne(together, reference.seed) if reference.protocol.projection == "tsne" else pca(together)
    # Four digits are more than a picture shows.
    points = tuple((float(f"{x:.4g}"), float(f"{y:.4g}")) for x, y in found.tolist())
    return Scatter(label, points[: len(shown)], points[len(shown) :])


@torch.no_grad()
def _kind(view: View, image: Tensor) -> Features:
    """What the embedding is, by its size beside that of the last feature map."""
    last = view.network(view.weights, image, "blocks", train=False)[-1]
    size = view.network(view.weights, image, "embedding", train=False).shape[1]
    if last.ndim == 4 and last[0].numel() == size:
        return "flattened map"
    return "globally pooled" if last.ndim == 4 and last.shape[1] == size else "vector"
