"""The handwritten digits that scikit-learn carries: 1,797 gray images of 8 x 8, no network needed."""

from __future__ import annotations

import numpy as np
import torch

from limbeck.data.framing import Framing
from limbeck.data.labelled import Labelled, LabelledSplits
from limbeck.data.splits import carve_test

__all__ = ["digits"]

TEST_FRACTION = 0.5
"""Half, so that differences of a point can be told from noise."""
_TEST_SEED = 0


def digits(framing: Framing) -> LabelledSplits:
    """Digits 0 to 9, their 17 gray levels spread over 0 .. 255; a fixed half of each class is the test part.

    Args:
        framing: size and channels to bring the images to.
    """
    from sklearn.datasets import load_digits

    bundled = load_digits()
    levels = np.rint(bundled.images * (255 / 16)).astype(np.uint8)
    splits = LabelledSplits(
        name="digits",
        class_names=tuple(map(str, range(10))),
        train=Labelled(
            pixels=framing.pixels(torch.from_numpy(levels)[:, None]),
            labels=torch.from_numpy(bundled.target.astype(np.int64)),
        ),
    )
    return carve_test(splits, TEST_FRACTION, _TEST_SEED)
