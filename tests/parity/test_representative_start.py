"""The representative start of AST picks the recorded images: centres, one cluster of the whole, several per cluster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.network import FunctionalNetwork, Network, Output
from limbeck.core.real import Normalization
from limbeck.initializers.clustered import Clustered
from limbeck.ops import kmeans
from limbeck.parametrizations.plain import Plain
from tests.parity.recorded import RecordedSet, ReplayStreams
from tests.parity.vectors_dir import find

TOLERANCE = 1e-9

FILES = pytest.mark.parametrize("path", find("ast_repinit"), ids=lambda path: path.stem)


class Features(Network):
    """Images whose pixels are the recorded features."""

    def forward(self, x: Tensor, output: Output = "logits") -> Tensor:
        return x.flatten(1)


def load(path: Path) -> dict[str, Tensor]:
    with np.load(path) as archive:
        return {name: torch.from_numpy(np.array(archive[name])) for name in archive.files}


def start_of(vectors: dict[str, Tensor]) -> Tensor:
    """The first row of each recorded cluster: k-means itself may end elsewhere from a random start."""
    nearest = torch.cdist(vectors["features"], vectors["centroids_sorted"]).argmin(dim=1)
    return torch.stack([(nearest == cluster).nonzero()[0, 0] for cluster in range(int(vectors["k"]))])


def several(vectors: dict[str, Tensor]) -> dict[int, Tensor]:
    """Recorded selections by images per class."""
    return {int(name.removeprefix("selected_ipc")): rows for name, rows in vectors.items() if "selected_ipc" in name}


@FILES
def test_centres_and_the_rows_nearest_to_them(path: Path) -> None:
    vectors = load(path)
    features, counts = vectors["features"][None], torch.tensor([len(vectors["features"])])
    found = kmeans.kmeans(features, counts, start_of(vectors).flip(0)[None], tolerance=0.0)
    order = np.lexsort(found.centroids[0].numpy().T[::-1])
    centroids = found.centroids[0, order.copy()]
    torch.testing.assert_close(centroids, vectors["centroids_sorted"], rtol=TOLERANCE, atol=TOLERANCE)
    for rows in several(vectors).values():
        clusters, per = rows.shape
        centres = centroids if clusters > 1 else features[0].mean(dim=0, keepdim=True)
        picks = kmeans.nearest_rows(features, counts, centres[None], per)
        assert picks[0].reshape(clusters, per).tolist() == rows.tolist()


@FILES
def test_the_initializer_starts_from_the_recorded_images(path: Path) -> None:
    vectors = load(path)
    features = vectors["features"]
    width = features.shape[1]
    plain = Normalization(mean=(0.0,) * width, std=(1.0,) * width, source="published")
    data = RecordedSet(255 * features[:, :, None, None], torch.zeros(len(features), dtype=torch.int64), plain)
    network = FunctionalNetwork("features", Features).to(torch.device("cpu"), torch.float64)

    def build(name: str, spec: object) -> FunctionalNetwork:
        return network

    for ipc, rows in several(vectors).items():
        start = start_of(vectors)[: min(ipc, len(rows))]
        streams = ReplayStreams({("cluster starts", 0): [start]})
        context = Context(data=data, ipc=ipc, streams=streams, build=build, dtype=torch.float64)
        images = Clustered(clusters=int(vectors["k"])).images(context, Plain(), View(network, {}))
        expected = features[rows.flatten()]
        assert images.shape == (1, ipc, width, 1, 1)
        torch.testing.assert_close(images[0, :, :, 0, 0], expected, rtol=TOLERANCE, atol=TOLERANCE)
