from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import pytest
import torch

from limbeck.augmentations.imagenet_augment import ImagenetAugment
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.data import Data, LoadOptions, load
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.evaluation.diversity import DiversityProtocol, Reference, diversity, refer
from limbeck.methods.idc import idc
from limbeck.methods.random import random
from limbeck.ops import diversity as measures
from limbeck.training.supervised import Training
from tests.engine.tiny import NETWORK

PROTOCOL = DiversityProtocol(
    network="convnet1:width=4", epochs=2, projection="pca", projected_classes=2, projected_images=20
)


@pytest.fixture(scope="module")
def distilled(digits: Data) -> Distilled:
    return distill(random(), digits, ipc=3, settings=Settings(device="cpu", progress="quiet"))


@pytest.fixture(scope="module")
def reference(digits: Data) -> Reference:
    return refer(digits.train, PROTOCOL)


def seen(reference: Reference, images: torch.Tensor) -> torch.Tensor:
    """Features by the module itself."""
    module = reference.view.network._make().eval()
    module.load_state_dict(reference.view.weights)
    with torch.no_grad():
        return module(reference.train.spec.normalization.apply(images), "embedding").double()


def test_figures_are_those_of_the_functions(distilled: Distilled, digits: Data, reference: Reference) -> None:
    calls: list[tuple[int, int]] = []
    found = diversity(distilled, reference, done=lambda *counts: calls.append(counts))
    assert calls == [(number, 10) for number in range(1, 11)]
    images, labels = distilled.decoded()
    every = seen(reference, images)
    assert found.images == (3,) * 10
    assert found.real_images == tuple(digits.train.class_counts())
    assert (found.features, found.dimensions) == ("flattened map", every.shape[1])
    assert (found.protocol, found.seed) == (PROTOCOL, 0)
    for label, entry in enumerate(found.classes):
        own = every[labels == label]
        real = seen(reference, digits.train.images(digits.train.class_rows(label)))
        radius = float(measures.neighbour_distances(real).median())
        # Torch may sum in another order over another number of images, and the features are float32.
        assert [entry.feature_distance, entry.pair_distance, entry.covariance_trace, entry.effective_rank] == [
            pytest.approx(float(measure(own)), rel=1e-5)
            for measure in (
                *(measures.feature_distance, measures.pair_distance),
                *(measures.covariance_trace, measures.effective_rank),
            )
        ]
        assert entry.neighbour_distance == pytest.approx(0, abs=1e-5)
        assert entry.mmd2 == pytest.approx(float(measures.mmd2_mixture(own, real)), rel=1e-4)
        assert entry.real_neighbour_distance == pytest.approx(radius, rel=1e-4)
        assert entry.real_pair_distance == pytest.approx(float(measures.pair_distance(real)), rel=1e-5)
        assert entry.real_effective_rank == pytest.approx(float(measures.effective_rank(real)), rel=1e-5)
        assert entry.coverage == pytest.approx(float(measures.coverage(real, every, labels, label, radius)), abs=0.02)
    assert found.mean.coverage == pytest.approx(statistics.fmean(entry.coverage for entry in found.classes))
    assert 0.3 < found.teacher_accuracy <= 1


def test_the_whole_training_set_covers_itself(digits: Data) -> None:
    rows = torch.stack([digits.train.class_rows(label)[:60] for label in range(10)])
    whole = Distilled(digits.train.images(rows), digits.spec, random(), 0)
    subset = type(digits.train)(digits.train.pixels[rows.flatten()], digits.train.labels[rows.flatten()], digits.spec)
    found = diversity(whole, refer(subset, PROTOCOL))
    for entry in found.classes:
        assert entry.coverage == 1
        assert entry.mmd2 == pytest.approx(0, abs=1e-9)
        assert entry.pair_distance == pytest.approx(entry.real_pair_distance, rel=1e-6)
        assert entry.effective_rank == pytest.approx(entry.real_effective_rank, rel=1e-4)


def test_it_repeats_and_depends_on_the_seed(distilled: Distilled, digits: Data, reference: Reference) -> None:
    one, again = diversity(distilled, reference), diversity(distilled, refer(digits.train, PROTOCOL))
    assert replace(one, seconds=0.0) == replace(again, seconds=0.0)
    other = diversity(distilled, refer(digits.train, PROTOCOL, seed=1))
    assert other.classes != one.classes and other.scatter != one.scatter


def test_single_images_have_no_pairs(digits: Data, reference: Reference) -> None:
    single = distill(random(), digits, ipc=1, settings=Settings(device="cpu", progress="quiet"))
    found = diversity(single, reference)
    assert found.mean.pair_distance is None
    assert (found.mean.feature_distance, found.mean.covariance_trace, found.mean.effective_rank) == (0, 0, 0)
    assert found.mean.coverage > 0


def test_packed_images_are_measured_decoded(digits: Data, reference: Reference) -> None:
    recipe = idc("digits", factor=2).with_(
        curriculum__iterations=1, curriculum__steps=1, pool__network=NETWORK, pool__samples=8
    )
    packed = distill(recipe, digits, ipc=1, settings=Settings(device="cpu", progress="quiet"))
    assert diversity(packed, reference).images == (4,) * 10


def test_a_scatter_holds_some_real_and_all_distilled_images(
    distilled: Distilled, digits: Data, reference: Reference
) -> None:
    found = diversity(distilled, reference)
    assert [entry.label for entry in found.scatter] == [0, 1]
    for entry in found.scatter:
        assert (len(entry.real), len(entry.synthetic)) == (20, 3)
    assert diversity(distilled, replace(reference, protocol=replace(PROTOCOL, projection="none"))).scatter == ()
    mapped = diversity(distilled, replace(reference, protocol=replace(PROTOCOL, projection="tsne")))
    assert mapped.scatter != found.scatter and len(mapped.scatter[1].synthetic) == 3


@pytest.mark.parametrize(
    ("network", "kind"),
    [("convnet1:width=4", "flattened map"), ("resnet18:width=4", "globally pooled"), ("mlp:width=8", "vector")],
)
def test_the_kind_of_features_is_told(network: str, kind: str) -> None:
    data = load("digits", LoadOptions(image_size=16))
    rows = torch.cat([data.train.class_rows(label)[:3] for label in range(10)])
    few = type(data.train)(data.train.pixels[rows], data.train.labels[rows], data.spec)
    assert refer(few, replace(PROTOCOL, network=network, epochs=0)).features == kind


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": -1}, "epochs >= 0"),
        ({"projected_images": 1}, "projected_images >= 2"),
        ({"network": "convnetto"}, "unknown network"),
        ({"training": Training(lr=0.0)}, "the teacher of diversity needs lr > 0"),
        ({"training": Training(augmentation=ImagenetAugment())}, "made for three channels"),
    ],
)
def test_what_cannot_be_is_refused(digits: Data, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        refer(digits.train, replace(PROTOCOL, **changes))


def test_other_images_are_refused(distilled: Distilled, digits: Data, reference: Reference) -> None:
    small = load("digits", LoadOptions(image_size=4))
    with pytest.raises(InputError, match="cannot be measured against images"):
        diversity(distilled, refer(small.train, replace(PROTOCOL, epochs=0)))
    rows = torch.tensor([int(digits.train.class_rows(label)[0]) for label in range(10)])
    one = type(digits.train)(digits.train.pixels[rows], digits.train.labels[rows], digits.spec)
    with pytest.raises(InputError, match="two or more real images of every class"):
        refer(one, PROTOCOL)
