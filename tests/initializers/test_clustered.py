from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.plain import decode_dataclass, encode
from limbeck.initializers.clustered import Clustered
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain
from limbeck.training.clustering import Clustering


def test_one_representative_per_stored_image(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context = context_of(ipc=3)
    view = view_of(context)
    images = Clustered().images(context, Plain(), view)
    picks = Clustering().pick(context, view, 3, 1, ())
    assert torch.equal(images, torch.stack([context.data.images(rows) for rows in picks]))


def test_as_many_clusters_as_images_fit(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context, parametrization = context_of(ipc=2), Partition(factor=2)
    view = view_of(context)
    said: list[str] = []
    images = Clustered().images(context_of(ipc=2, say=said.append), parametrization, view)
    picks = Clustering().pick(context, view, 8, 1, ())
    assert torch.equal(
        images, torch.stack([parametrization.encode(context.data.images(rows), context.ipc) for rows in picks])
    )
    assert said == ["clustering the classes for initial images"]


def test_settings_of_the_clustering_are_used(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context = context_of(ipc=6)
    view, official = view_of(context), Clustering.official()
    images = Clustered(clustering=official).images(context, Plain(), view)
    assert torch.equal(images[0], context.data.images(official.pick(context, view, 6, 1, ())[0]))


def test_a_class_with_too_few_images_repeats_them(
    context_of: Callable[..., Context], view_of: Callable[..., View], portion: Callable[..., object]
) -> None:
    context = context_of(portion(3, [12, 3, 12]), ipc=5)
    images = Clustered().images(context, Plain(), view_of(context))
    assert images.shape == (3, 5, 1, 8, 8)
    assert torch.equal(images[1, :2], images[1, 3:])
    assert len(images[1].flatten(1).unique(dim=0)) == 3


def test_it_needs_a_network(context_of: Callable[..., Context]) -> None:
    with pytest.raises(InputError, match="initializer 'clustered' needs a network; fill the slot 'pool'"):
        Clustered().images(context_of(), Plain(), None)


@pytest.mark.parametrize("ipc", [1, 3, 10, 50])
@pytest.mark.parametrize("features", ["embedding", "logits"])
def test_a_few_clusters_give_as_many_different_images_as_are_stored(
    context_of: Callable[..., Context],
    view_of: Callable[..., View],
    portion: Callable[..., object],
    ipc: int,
    features: Literal["embedding", "logits"],
) -> None:
    context = context_of(portion(3, 80), ipc=ipc)
    images = Clustered(clusters=10, clustering=Clustering(features=features)).images(context, Plain(), view_of(context))
    assert images.shape == (3, ipc, 1, 8, 8)
    for label in range(3):
        real = {tuple(image.tolist()) for image in context.data.images(context.data.class_rows(label)).flatten(1)}
        chosen = {tuple(image.tolist()) for image in images[label].flatten(1)}
        assert len(chosen) == ipc and chosen <= real


def test_clusters_give_several_images(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context = context_of(ipc=7)
    view = view_of(context)
    picks = Clustering().spread(context, view, 7, 3, ())
    images = Clustered(clusters=3).images(context, Plain(), view)
    assert torch.equal(images, torch.stack([context.data.images(rows) for rows in picks]))


def test_it_asks_for_what_is_clustered() -> None:
    assert Clustered().needs() == {"embeddings"}
    assert Clustered(clustering=Clustering(features="logits")).needs() == {"networks"}


def test_a_number_of_clusters_below_zero_is_refused(context_of: Callable[..., Context]) -> None:
    with pytest.raises(InputError, match="clusters >= 0"):
        Clustered(clusters=-1).check(context_of())


def test_earlier_run_files_started_one_image_per_cluster() -> None:
    plain = encode(Clustered())
    del plain["clusters"]
    del plain["clustering"]["features"]
    assert plain.pop("part") == "clustered"
    assert decode_dataclass(Clustered, plain, "recipe.initializer") == Clustered()
