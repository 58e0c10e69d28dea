"""Whitening reproduces the recorded numbers of the library that MTT's code whitens with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from limbeck.ops import zca
from tests.parity.vectors_dir import find

TOLERANCE = 1e-9
FILES = find("zca")


@pytest.mark.skipif(not FILES, reason="no vectors zca*.npz here; set LIMBECK_PARITY_DIR to a folder that has them")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_images_are_whitened_as_recorded_and_back(path: Path) -> None:
    with np.load(path) as archive:
        vectors = {name: torch.from_numpy(np.array(archive[name])) for name in archive.files}
    train, test, eps = vectors["train"], vectors["test"], float(vectors["eps"])
    found = zca.moments(train.split(50))
    variances, basis = zca.decompose(found.covariance)
    matrix, inverse = zca.matrices(variances, basis, eps)

    def close(ours: Tensor, name: str) -> None:
        torch.testing.assert_close(ours, vectors[name].reshape(ours.shape), rtol=TOLERANCE, atol=TOLERANCE)

    close(found.mean, "mean")
    close(matrix, "W")
    close(inverse, "W_inv")
    for part, images in (("train", train), ("test", test)):
        close((images.flatten(1) - found.mean) @ matrix, f"{part}_zca")
    close(vectors["test_zca"].flatten(1) @ inverse + found.mean, "test_roundtrip")
    # What is kept is rounded to float32; what it computes in float64 is as near as that.
    kept = zca.whitening(found, eps)
    torch.testing.assert_close(kept.apply(test), vectors["test_zca"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(kept.invert(vectors["test_zca"]), test, rtol=1e-5, atol=1e-5)
